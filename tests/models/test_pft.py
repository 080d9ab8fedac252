"""The Pyramid Fusion Transformer: parameters of its printed rows, how its parts are wired, its variants."""

import time

import pytest
import torch

from models import SpecError, build, from_dict, preset, presets, to_dict
from models.attention.base import Level
from models.attention.memory import MemoryAttention
from models.decoders.exchange import InterQueryAttention, LayerShape, PixelAttention
from models.inference import pad_to_multiple
from models.layers import FeedForward, SelfAttention
from models.pft import BIPARTITE, PREDICTION_AVERAGE, PFTSpec

# backbone, pixel decoder, decoder, and the millions that tables II to V print
COUNTS = {
    "pft_r50_ade20k": (23_508_032, 7_540_480, 31_021_827, 62),
    "pft_r101_ade20k": (42_500_160, 7_540_480, 31_021_827, 81),
    "pft_r101c_ade20k": (42_519_392, 7_540_480, 31_021_827, 81),
    "pft_swin_t_ade20k": (27_520_698, 4_304_640, 31_021_827, 63),
    "pft_swin_s_ade20k": (48_838_602, 4_304_640, 31_021_827, 84),
    "pft_swin_b_ade20k": (86_880_376, 4_951_808, 31_021_827, 123),
    "pft_swin_l_ade20k": (195_201_204, 6_246_144, 31_021_827, 232),
    "pft_r50_coco_stuff10k": (23_508_032, 7_540_480, 31_054_083, 62),
    "pft_r101_coco_stuff10k": (42_500_160, 7_540_480, 31_054_083, 81),
    "pft_r101c_coco_stuff10k": (42_519_392, 7_540_480, 31_054_083, 81),
    "pft_swin_t_coco_stuff10k": (27_520_698, 4_304_640, 31_054_083, 63),
    "pft_swin_s_coco_stuff10k": (48_838_602, 4_304_640, 31_054_083, 84),
    "pft_swin_l_coco_stuff10k": (195_201_204, 6_246_144, 31_054_083, 233),
    "pft_r50_pascal_context": (23_508_032, 7_540_480, 30_882_051, 62),
    "pft_r101_pascal_context": (42_500_160, 7_540_480, 30_882_051, 81),
    "pft_r101c_pascal_context": (42_519_392, 7_540_480, 30_882_051, 81),
}
CLASSES = {"ade20k": 150, "coco_stuff10k": 171, "pascal_context": 59}
SMALL = {
    "backbone": {"part": "resnet", "layers": [1, 1, 1, 1], "block": "basic", "width": 16, "norm": "group"},
    "pixel_decoder.dim": 32,
    "pixel_decoder.mask_dim": 32,
    "decoder.dim": 32,
    "decoder.heads": 4,
    "decoder.layers": 3,
    "decoder.dropout": 0.0,
    "num_classes": 5,
}
VARIANTS = {
    "paper": {},
    "split": {"decoder.feed_forward": "split"},
    "everywhere": {"decoder.feed_forward": "everywhere"},
    "pre": {"decoder.norm": "pre"},
    "pre everywhere": {"decoder.norm": "pre", "decoder.feed_forward": "everywhere"},
    "without IQA": {"decoder.exchange": None},
    "pixel attention": {"decoder.exchange": "pixel_attention"},
    "one scale": {"decoder.strides": [32]},
    "two scales": {"decoder.strides": [32, 16]},
    "four scales": {"decoder.strides": [32, 16, 8, 4]},
    "shared masks": {"decoder.predictions.shared_masks": True},
    "unprojected": {"decoder.input_projection": False},
    "prediction average": PREDICTION_AVERAGE,
    "bipartite": {**BIPARTITE, "decoder.predictions.num_queries": 7},
    "MSAttn": {
        "pixel_decoder": {"part": "msdeformattn", "layers": 1, "heads": 4, "ffn_dim": 32, "norm_groups": 8}
    },
}


def small(**overrides):
    torch.manual_seed(0)
    changes = {**SMALL, **{k.replace("__", "."): v for k, v in overrides.items()}}
    if "pixel_decoder" in changes:
        changes["pixel_decoder"] = {**changes["pixel_decoder"], "dim": 32, "mask_dim": 32}
        changes = {k: v for k, v in changes.items() if not k.startswith("pixel_decoder.")}
    return build("pft_r50_ade20k", overrides=changes)


def count(module):
    return sum(p.numel() for p in module.parameters())


def outputs(output):
    return [output, *output.auxiliary]


@pytest.mark.parametrize("name", COUNTS)
def test_parameters(name):
    start = time.process_time()
    model = build(name, device="meta")
    assert time.process_time() - start < 2
    *parts, printed = COUNTS[name]
    assert [count(model.backbone), count(model.pixel_decoder), count(model.decoder)] == parts
    assert count(model) == sum(parts)
    assert round(sum(parts) / 1e6) == printed
    classes = next(number for dataset, number in CLASSES.items() if name.endswith(dataset))
    output = model.eval()(torch.empty(2, 3, 64, 96, device="meta"))
    assert output.class_logits.shape == (2, classes)
    assert output.mask_logits.shape == (2, classes, 16, 24)
    assert len(output.auxiliary) == 6
    assert len(output.scales) == 3


def test_presets_are_the_rows_of_the_tables():
    assert [name for name in presets() if name.startswith("pft_")] == list(COUNTS)


@pytest.mark.parametrize(
    ("overrides", "total"),
    [  # Swin-T on ADE20K; tables VII, IX, V and the options that fit the printed counts equally well
        ({"decoder.exchange": None}, 62_847_165 - 6 * (263_168 + 512)),
        ({"decoder.exchange": "pixel_attention"}, 61_265_085 + 3 * (263_168 + 512 + 1_050_880 + 512)),
        ({"decoder.strides": [32]}, 43_220_667),
        ({"decoder.strides": [32, 16]}, 53_033_916),
        ({"decoder.strides": [32, 16, 8, 4]}, 72_660_414),
        ({"decoder.feed_forward": "split"}, 62_847_165 + 18 * 768),
        ({"decoder.feed_forward": "everywhere"}, 62_847_165 + 18 * 768 + 6 * 526_080),
        ({"decoder.input_projection": False}, 62_847_165 - 3 * 65_792),
        ({"decoder.predictions.shared_masks": True}, 62_847_165 - 2 * 197_376),
        ({"decoder.norm": "pre"}, 62_847_165),
        ({"decoder.heads": 4}, 62_847_165),
        (BIPARTITE, 62_847_165 + 3 * 150 * 257),
    ],
)
def test_parameters_of_variants(overrides, total):
    assert count(build("pft_swin_t_ade20k", device="meta", overrides=overrides)) == total


def test_parameters_of_swin_l_with_the_pixel_decoder_of_mask2former():
    model = build("pft_swin_l_ade20k", device="meta", overrides={"pixel_decoder": "msdeformattn"})
    assert count(model) == 232_013_175  # 232 M in table V


def test_parameters_of_a_layer():
    attention, norm = 4 * 256 * 256 + 4 * 256, 2 * 256
    feed_forward = 2 * 256 * 2048 + 2048 + 256 + norm
    decoder = build("pft_r50_ade20k", device="meta").decoder
    layer = decoder.layers[0]
    assert count(layer.exchange) == attention + norm  # no feed-forward network
    assert [count(scale) for scale in layer.scales] == [2 * (attention + norm) + feed_forward] * 3
    assert count(layer) == 4_999_936
    head = norm + 257 + 3 * (256 * 256 + 256)
    assert [count(each) for each in decoder.heads.heads] == [head] * 3
    assert count(decoder) == 6 * count(layer) + 3 * (head + 65_792 + 2 * 150 * 256)


@pytest.mark.parametrize(("variant", "size"), [*((v, (64, 96)) for v in VARIANTS), ("paper", (160, 96))])
def test_every_parameter_gets_a_gradient(variant, size):
    model = small(**{k.replace(".", "__"): v for k, v in VARIANTS[variant].items()})
    output = model(torch.randn(2, 3, *size))
    bipartite = variant == "bipartite"
    classes, masks = ((2, 21, 6), 21) if bipartite else ((2, 5), 5)
    assert output.class_logits.shape == classes
    assert output.mask_logits.shape == (2, masks, size[0] // 4, size[1] // 4)
    assert len(output.auxiliary) == 3
    loss = sum(o.class_logits.square().sum() + o.mask_logits.square().mean() for o in outputs(output))
    loss.backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    silent = {name for name, p in model.named_parameters() if not p.grad.any()}
    assert silent <= {"pixel_decoder.encoder.level_embedding"}  # steers only what starts at zero
    with torch.no_grad():
        again = model.eval()(torch.randn(1, 3, *size))
    assert not any(o.attention for o in outputs(again))


def test_images_of_a_batch_do_not_see_each_other():
    model, images = small().eval(), torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        both, one = model(images), model(images[1:])
    torch.testing.assert_close(both.class_logits[1:], one.class_logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both.mask_logits[1:], one.mask_logits, rtol=1e-4, atol=1e-4)


def test_odd_sizes_are_padded():
    model = small().eval()
    with torch.no_grad():
        assert model(pad_to_multiple(torch.randn(1, 3, 75, 131))).mask_logits.shape == (1, 5, 24, 40)
    with pytest.raises(ValueError, match="multiples of 32"):
        model(torch.randn(1, 3, 75, 131))


def test_logits_are_averaged_over_scales():
    output = small()(torch.randn(1, 3, 64, 64))
    for each in outputs(output):
        classes = torch.stack([scale.class_logits for scale in each.scales])
        masks = torch.stack([scale.mask_logits for scale in each.scales])
        torch.testing.assert_close(each.class_logits, classes.mean(0))
        torch.testing.assert_close(each.mask_logits, masks.mean(0))


def decode(model, features):
    """Scales' class logits [S, K] after the input queries and each layer."""
    positions = {s: model.pixel_decoder.positions(f, s) for s, f in features.items()}
    with torch.no_grad():
        output = model.decoder.eval()(features, positions, torch.ones(1, 32, 8, 8))
    ordered = [*output.auxiliary, output]
    return [torch.stack([scale.class_logits[0] for scale in each.scales]) for each in ordered]


@pytest.mark.parametrize(
    ("exchange", "changed"),
    [  # which layers' queries of the other scales (32, 16) know of a change in the pixels at stride 8
        (None, [False, False, False, False]),
        ("inter_query", [False, False, True, True]),  # queries meet before they look at the pixels
        ("pixel_attention", [False, True, True, True]),
    ],
)
def test_what_the_scales_know_of_each_other(exchange, changed):
    model = small(decoder__exchange=exchange)
    features = {32: torch.randn(1, 32, 2, 2), 16: torch.randn(1, 32, 4, 4), 8: torch.randn(1, 32, 8, 8)}
    before = decode(model, features)
    after = decode(model, {**features, 8: torch.randn(1, 32, 8, 8)})
    for layer, expected in enumerate(changed):
        other = (before[layer][:2] - after[layer][:2]).abs().amax(1)
        assert ((other > 1e-6) == expected).all()
        own = (before[layer][2] - after[layer][2]).abs().max()
        assert (own > 1e-6) == (layer > 0)


def test_classes_are_equal_but_for_their_queries():
    model = small()
    features = {s: torch.randn(1, 32, 64 // s, 64 // s) for s in (32, 16, 8)}
    before, order = decode(model, features)[-1], torch.tensor([3, 1, 4, 0, 2])
    with torch.no_grad():
        for table in (model.decoder.content, model.decoder.places):
            table.weight.copy_(table.weight.view(3, 5, 32)[:, order].reshape(15, 32))
    torch.testing.assert_close(decode(model, features)[-1], before[:, order])


def test_inter_query_attention_treats_scales_alike():
    torch.manual_seed(0)
    attention = InterQueryAttention(LayerShape(dim=16, heads=2, dropout=0.0, pre_norm=False), 8)
    queries, places = torch.randn(3, 2, 5, 16), torch.randn(3, 2, 5, 16)
    with torch.no_grad():
        forward, levels = attention(list(queries), list(places), [])
        backward, _ = attention(list(queries.flip(0)), list(places.flip(0)), [])
        together = attention.feed_forward(
            attention.attention(torch.cat([*queries], 1), torch.cat([*places], 1))
        )
    torch.testing.assert_close(torch.stack(backward).flip(0), torch.stack(forward))
    torch.testing.assert_close(torch.cat(forward, 1), together)
    assert levels == []


def test_pixel_attention_changes_pixels_only():
    torch.manual_seed(0)
    attention = PixelAttention(LayerShape(dim=16, heads=2, dropout=0.0, pre_norm=False), 8)
    levels = [
        Level(torch.randn(2, 4, 16), torch.randn(1, 4, 16), (2, 2), 32),
        Level(torch.randn(2, 16, 16), torch.randn(1, 16, 16), (4, 4), 16),
    ]
    queries = [torch.randn(2, 3, 16)] * 2
    same, changed = attention(queries, queries, levels)
    assert all(a is b for a, b in zip(same, queries, strict=True))
    assert [level.tokens.shape for level in changed] == [(2, 4, 16), (2, 16, 16)]
    assert [level.positions is old.positions for level, old in zip(changed, levels, strict=True)] == [
        True
    ] * 2
    assert not torch.allclose(changed[0].tokens, levels[0].tokens)


def test_pixel_attention_is_in_every_other_layer():
    decoder = build("pft_r50_ade20k", device="meta", decoder__exchange="pixel_attention").decoder
    assert [layer.exchange is not None for layer in decoder.layers] == [True, False] * 3
    decoder = build(
        "pft_r50_ade20k", "meta", {"decoder.exchange": {"part": "pixel_attention", "every": 1}}
    ).decoder
    assert all(layer.exchange is not None for layer in decoder.layers)


def test_attention_of_a_layer_in_training():
    model, images = small(decoder__layers=1), torch.randn(1, 3, 64, 96)
    output = model.train()(images)
    assert output.auxiliary[0].attention == []
    assert [tuple(a.shape) for a in output.attention] == [(1, 5, 2, 3), (1, 5, 4, 6), (1, 5, 8, 12)]
    torch.manual_seed(0)
    cross = MemoryAttention(16, 4)
    x, place = torch.randn(1, 3, 16), torch.randn(1, 3, 16)
    memory, where = torch.randn(1, 7, 16), torch.randn(1, 7, 16)
    result, logits = cross.attend(x, place, memory, where, scores="logits")
    torch.testing.assert_close(result, cross(x, place, memory, where))
    wq, wk, _ = cross.attention.in_proj_weight.chunk(3)
    q, k = ((t @ w.T).view(1, -1, 4, 4) for t, w in ((x + place, wq), (memory + where, wk)))
    torch.testing.assert_close(logits, torch.einsum("bqmd,bnmd->bqnm", q, k).mean(-1) / 2)


def test_pre_norm_layers():
    torch.manual_seed(0)
    x, zeros = torch.randn(2, 3, 16), torch.zeros(2, 3, 16)
    before, after = FeedForward(16, 8, pre_norm=True), FeedForward(16, 8)
    after.load_state_dict(before.state_dict())
    inner = before.norm(x)
    torch.testing.assert_close(after.norm(before(x) - x + inner), after(inner))
    layer, plain = SelfAttention(16, 2, pre_norm=True), SelfAttention(16, 2)
    plain.load_state_dict(layer.state_dict())
    inner = layer.norm(x)
    torch.testing.assert_close(plain.norm(layer(x, zeros) - x + inner), plain(inner, zeros))
    cross, plain = MemoryAttention(16, 2, pre_norm=True), MemoryAttention(16, 2)
    plain.load_state_dict(cross.state_dict())
    memory, inner = torch.randn(2, 5, 16), cross.norm(x)
    places = torch.zeros(2, 5, 16)
    expected = plain(inner, zeros, memory, places)
    torch.testing.assert_close(plain.norm(cross(x, zeros, memory, places) - x + inner), expected)


@pytest.mark.parametrize("name", COUNTS)
def test_every_spec_survives_json(name):
    for overrides in ({}, BIPARTITE, PREDICTION_AVERAGE):
        spec = preset(name).override(overrides)
        assert from_dict(PFTSpec, to_dict(spec)) == spec


def test_parts_that_do_not_fit_are_named():
    with pytest.raises(SpecError, match="decoder.dim 64"):
        small(decoder__dim=64)
    with pytest.raises(SpecError, match="name each scale's stride once"):
        small(decoder__strides=[32, 32])
    with pytest.raises(SpecError, match="name each scale's stride once"):
        small(decoder__strides=[])
    with pytest.raises(SpecError, match="no features at stride"):
        small(decoder__strides=[64, 32])
    with pytest.raises(SpecError, match="'set' has bipartite assignment, loss 'pft_loss' fixed"):
        small(decoder__predictions="set")
    with pytest.raises(SpecError, match="inference 'mask_classification' does not fit 'per_class'"):
        small(inference="mask_classification")
    with pytest.raises(SpecError, match="layers must be at least 1"):
        small(decoder__layers=0)
    with pytest.raises(SpecError, match="no variant 'paper'"):
        preset("pft_r50_ade20k", variant="paper")


def test_loss_weights_of_table_x():
    weights = {name: preset(name).loss for name in COUNTS}
    assert {n for n, loss in weights.items() if loss.class_weight != 1.0} == {
        n for n in COUNTS if "pascal" in n
    }
    assert weights["pft_r50_pascal_context"].class_weight == 0.5
    assert {n for n, loss in weights.items() if loss.focal_class_weight != 1.0} == {
        n for n in COUNTS if "swin_t" in n or "swin_s" in n
    }
    assert weights["pft_swin_t_ade20k"].focal_class_weight == 2.0
    for loss in weights.values():
        assert (loss.mask_weight, loss.dice_weight, loss.alpha, loss.gamma) == (20.0, 1.0, 0.25, 2.0)
        assert (loss.attention.weight, loss.attention.absent_weight, loss.attention.stop) == (0.1, 0.1, 0.75)


def test_the_stem_of_r101c():
    spec = preset("pft_r101c_ade20k").backbone
    with torch.device("meta"):
        backbone = spec.build()
        deeplab = spec.override({"stem": [64, 64, 128]}).build()
    stem = [m.weight.shape[:2] for m in backbone.conv1 if hasattr(m, "stride") and m.weight.ndim == 4]
    assert [tuple(shape) for shape in stem] == [(32, 3), (32, 32), (64, 32)]
    assert count(backbone) == 42_519_392
    assert deeplab.layer1[0].conv1.in_channels == 128
    names = {backbone.official_key(name) for name in backbone.state_dict()}
    assert len(names) == len(backbone.state_dict())
    assert {n for n in names if n.startswith("stem.") and n.endswith("weight")} == {
        f"stem.conv{i}.{leaf}" for i in (1, 2, 3) for leaf in ("weight", "norm.weight")
    }
    features = backbone(torch.empty(1, 3, 64, 64, device="meta"))
    assert [tuple(f.shape[1:]) for f in features.values()] == [
        (256, 16, 16), (512, 8, 8), (1024, 4, 4), (2048, 2, 2)
    ]  # fmt: skip
