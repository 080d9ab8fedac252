"""The assembly: small models of each row of FASeg's Table 4, forward, backward, and how blocks are wired."""

import pytest
import torch

from models import SpecError, build, preset
from models.attention import HighResolutionCrossAttention, MaskedAttention
from models.decoders import round_robin as decoder

SMALL = {
    "backbone": {"part": "resnet", "layers": [1, 1, 1, 1], "block": "basic", "width": 16, "norm": "batch"},
    "pixel_decoder.dim": 32,
    "pixel_decoder.mask_dim": 32,
    "pixel_decoder.layers": 1,
    "pixel_decoder.ffn_dim": 64,
    "pixel_decoder.heads": 4,
    "decoder.dim": 32,
    "decoder.heads": 4,
    "decoder.ffn_dim": 64,
    "decoder.num_queries": 6,
    "num_classes": 5,
}
NO_HRCA = {"decoder.high_resolution": None, "decoder.schedule": [32, 16, 8] * 3}
NO_DFPQ = {"decoder.queries": "learnable", "pixel_decoder.positions": "sinusoidal"}
ROWS = {
    "mask2former": ("mask2former_r50_ade20k", {}),
    "dfpq": ("faseg_r50_ade20k", NO_HRCA),
    "hrca": ("faseg_r50_ade20k", NO_DFPQ),
    "faseg": ("faseg_r50_ade20k", {}),
}


def small(row="faseg", variant="released", **overrides):
    torch.manual_seed(0)
    name, changes = ROWS[row]
    changes = {**SMALL, **changes, **{k.replace("__", "."): v for k, v in overrides.items()}}
    return build(name, overrides=changes, variant=variant)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("size", [(192, 192), (64, 96)])
def test_every_parameter_gets_a_gradient(row, size):
    model = small(row)
    output = model(torch.randn(2, 3, *size))
    assert output.class_logits.shape == (2, 6, 6)
    assert output.mask_logits.shape == (2, 6, size[0] // 4, size[1] // 4)
    assert len(output.auxiliary) == (13 if row in ("hrca", "faseg") else 9)
    every = [output, *output.auxiliary]
    loss = sum(o.class_logits.square().sum() + o.mask_logits.square().mean() for o in every)
    loss.backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert not missing
    assert all(p.grad.isfinite().all() for p in model.parameters())
    if size == (192, 192):  # 36 cells, one chosen: HRCA learns too
        silent = [name for name, p in model.named_parameters() if not p.grad.any()]
        # it only steers sampling offsets and weights, whose matrices start at zero
        assert silent == ["pixel_decoder.encoder.level_embedding"]


@pytest.mark.parametrize("row", ROWS)
def test_train_and_eval_mode_and_runs_agree(row):
    model, images = small(row, backbone__norm="frozen"), torch.randn(1, 3, 192, 192)
    with torch.no_grad():
        first, second, training = model.eval()(images), model(images), model.train()(images)
    assert torch.equal(first.mask_logits, second.mask_logits)
    assert torch.equal(first.mask_logits, training.mask_logits)
    assert torch.equal(first.auxiliary[0].class_logits, training.auxiliary[0].class_logits)


def test_images_of_a_batch_do_not_see_each_other():
    model, images = small(backbone__norm="frozen").eval(), torch.randn(2, 3, 192, 224)
    with torch.no_grad():
        both, one = model(images), model(images[1:])
    torch.testing.assert_close(both.class_logits[1:], one.class_logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both.mask_logits[1:], one.mask_logits, rtol=1e-4, atol=1e-4)


def test_blocks_of_faseg():
    decoder = small().decoder
    strides = [block.stride for block in decoder.blocks]
    assert strides == [32, 16, 8, 4] * 3 + [32]
    for block in decoder.blocks:
        expected = HighResolutionCrossAttention if block.stride == 4 else MaskedAttention
        assert type(block.cross) is expected
    assert [b.keeps_scores for b in decoder.blocks] == [True, True, True, False] * 3 + [False]
    assert decoder.level_embedding.weight.shape == (4, 32)


def test_scores_are_kept_only_where_they_are_read():
    assert not any(block.keeps_scores for block in small("mask2former").decoder.blocks)
    kept = [block.keeps_scores for block in small("hrca").decoder.blocks]
    assert kept == [True, False, False, False] * 3 + [False]
    renewed = small("hrca", decoder__schedule=[32, 32, 16, 4, 32]).decoder.blocks
    assert [block.keeps_scores for block in renewed] == [False, True, False, False, False]
    paper = small(variant="paper")
    assert [block.keeps_scores for block in paper.decoder.blocks] == [True] * 11 + [False]


def test_masks_are_resized_only_where_they_steer(monkeypatch):
    sizes, real = [], decoder._probabilities
    monkeypatch.setattr(decoder, "_probabilities", lambda o, size: sizes.append(size[0]) or real(o, size))
    with torch.no_grad():
        small()(torch.randn(1, 3, 192, 192))
    assert sizes == [6, 12, 24] * 3 + [6]  # HRCA, at 48, reads none


@pytest.mark.parametrize("conditional", [True, False])
def test_encodings_at_stride_4_exist_only_where_they_are_used(conditional):
    positions = "conditional" if conditional else "sinusoidal"
    with_hrca = small(pixel_decoder__positions=positions).pixel_decoder
    without = small("dfpq", pixel_decoder__positions=positions).pixel_decoder
    assert ("4" in with_hrca.projections) == conditional
    assert "4" not in without.projections
    features = {"res2": 48, "res3": 24, "res4": 12, "res5": 6}
    widths = {"res2": 16, "res3": 32, "res4": 64, "res5": 128}
    backbone = {name: torch.randn(1, widths[name], s, s) for name, s in features.items()}
    assert set(with_hrca(backbone).features) == {32, 16, 8, 4}
    output = without(backbone)
    assert set(output.features) == set(output.positions) == {32, 16, 8}
    assert output.mask_features.shape == (1, 32, 48, 48)


@pytest.mark.parametrize(
    "overrides",
    [
        {"decoder__attention__threshold": 0.5},
        {"decoder__attention__scores": "unmasked"},
        {"decoder__queries__initial": "foreground"},
        {"decoder__queries__project_initial": False},
        {"decoder__queries__high_resolution": "dynamic"},
        {"decoder__queries__self_attention": "learnable"},
        {"decoder__queries__update_after": "all"},
        {"decoder__high_resolution__selection": "pixels"},
        {"decoder__high_resolution__selection__fraction": 16},
        {"decoder__high_resolution__score_stride": 16},
        {"decoder__high_resolution": None},
        {"pixel_decoder__positions__finest": "lateral"},
    ],
)
def test_each_switch_changes_the_result_and_no_weight(overrides):
    base, changed = small(backbone__norm="frozen").eval(), small(backbone__norm="frozen", **overrides).eval()
    with torch.no_grad():  # masks that are decided, so that some pixels are forbidden
        base.decoder.head.mask_embedding.layers[-1].weight.mul_(30)
    own = changed.state_dict()
    changed.load_state_dict({k: v for k, v in base.state_dict().items() if k in own})
    images = torch.randn(1, 3, 192, 256)
    with torch.no_grad():
        difference = (base(images).class_logits - changed(images).class_logits).abs().max()
    assert difference > 1e-6


@pytest.mark.parametrize("row", ROWS)
def test_half_precision_autocast(row):
    model, images = small(row, backbone__norm="frozen"), torch.randn(1, 3, 192, 192)
    with torch.no_grad():
        exact = model(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(images)
    loss = output.mask_logits.float().square().mean() + output.class_logits.float().square().mean()
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    start, exact_start = output.auxiliary[0].mask_logits.float(), exact.auxiliary[0].mask_logits
    assert (start - exact_start).abs().max() < 0.05 * exact_start.abs().max()


def test_parts_that_do_not_fit_are_named():
    with pytest.raises(SpecError, match="decoder.dim 64"):
        small(decoder__dim=64)
    with pytest.raises(SpecError, match="32 channels cannot be split among 5 heads"):
        small(decoder__heads=5)
    with pytest.raises(SpecError, match="norm_groups"):
        small(pixel_decoder__dim=48, decoder__dim=48)
    with pytest.raises(SpecError, match="stride 4 reads scores of stride 32"):
        small(decoder__schedule=[4, 32])
    with pytest.raises(SpecError, match="stride"):
        small("mask2former", decoder__schedule=[64, 32])
    with pytest.raises(SpecError, match="empty"):
        small("mask2former", decoder__schedule=[])


def test_sizes_that_are_not_padded_are_named():
    with pytest.raises(ValueError, match="multiples of 32"):
        small("mask2former")(torch.randn(1, 3, 100, 128))


def test_initial_weights_follow_the_released_code():
    model = preset("faseg_r50_ade20k").override({"pixel_decoder.layers": 1}).build()
    weight = model.decoder.blocks[0].cross.attention.in_proj_weight
    assert weight.abs().max() <= (6 / (768 + 256)) ** 0.5
    assert weight.std().item() == pytest.approx((2 / (768 + 256)) ** 0.5, rel=0.02)
    weight = model.decoder.blocks[0].feed_forward.linear1.weight
    assert weight.std().item() == pytest.approx((2 / (2048 + 256)) ** 0.5, rel=0.02)
    weight = model.pixel_decoder.output[0].weight
    assert weight.std().item() == pytest.approx((1 / (256 * 9)) ** 0.5, rel=0.02)
    weight = model.pixel_decoder.projections["32"][0].weight
    assert weight.std().item() == pytest.approx((2 / (2048 + 256)) ** 0.5, rel=0.02)
    for embedding in (model.decoder.content, model.decoder.queries.embedding, model.decoder.level_embedding):
        assert embedding.weight.std().item() == pytest.approx(1.0, rel=0.1)
    assert model.pixel_decoder.encoder.level_embedding.std().item() == pytest.approx(1.0, rel=0.1)
    assert model.decoder.blocks[0].cross.attention.out_proj.bias.abs().max() == 0
