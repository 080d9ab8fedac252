"""The variants of the ablation tables of Mask2Former and FASeg: forward, backward, and how they are wired."""

import time

import pytest
import torch

from models import SpecError, build
from models.attention import PlainAttention
from models.decoders import round_robin

SMALL = {
    "backbone": {"part": "resnet", "layers": [1, 1, 1, 1], "block": "basic", "width": 16, "norm": "batch"},
    "pixel_decoder.dim": 32,
    "pixel_decoder.mask_dim": 32,
    "decoder.dim": 32,
    "decoder.heads": 4,
    "decoder.ffn_dim": 64,
    "decoder.num_queries": 6,
    "num_classes": 5,
}
ENCODER = {"pixel_decoder.layers": 1, "pixel_decoder.ffn_dim": 64, "pixel_decoder.heads": 4}

MASK2FORMER = {
    "- masked attention": {"decoder.attention": "plain"},
    "SMCA": {"decoder.attention": "smca"},
    "mask pooling": {"decoder.attention": "mask_pooling"},
    "- learnable query features": {"decoder.content": "zero", "decoder.supervise_start": False},
    "learnable w/o supervision": {"decoder.supervise_start": False},
    "- cross-attention first": {"decoder.order": "self_first"},
    "- remove dropout": {"decoder.dropout": 0.1},
    "- all 3 components": {
        "decoder.content": "zero",
        "decoder.supervise_start": False,
        "decoder.order": "self_first",
        "decoder.dropout": 0.1,
    },
    "single scale (1/32)": {"decoder.schedule": [32] * 9},
    "single scale (1/8)": {"decoder.schedule": [8] * 9},
    "naive m.s.": {"decoder.schedule": [[32, 16, 8]] * 9},
    "FPN": {"pixel_decoder": "fpn"},
    "Semantic FPN": {"pixel_decoder": "semantic_fpn"},
    "FaPN": {"pixel_decoder": "fapn"},
    "BiFPN": {"pixel_decoder": "bifpn"},
}
FASEG = {
    "grid anchor": {"decoder.queries": "grid_anchor"},
    "dynamic anchor": {"decoder.queries": "dynamic_anchor"},
    "dynamic foreground": {"decoder.queries": "dynamic_foreground"},
    "Vanilla": {"decoder.high_resolution": "plain"},
    "masked at 1/4": {"decoder.high_resolution": None},
    "Random": {"decoder.high_resolution.selection": "random"},
    "RCDA": {"decoder.high_resolution": "rcda"},
    "RCDA, pooled": {"decoder.high_resolution": {"part": "rcda", "values": "pooled"}},
    "HW/16": {"decoder.high_resolution.selection.fraction": 16},
    "1/4 and 1/8": {"decoder.high_resolution_strides": [4, 8]},
    "1/8": {"decoder.high_resolution_strides": [8], "decoder.schedule": [32, 16, 8] * 3 + [32]},
    "scores of 1/16": {"decoder.high_resolution.score_stride": 16},
    "scores of 1/8": {"decoder.high_resolution.score_stride": 8},
    "DFPQ later": {"decoder.queries.begin": 0.125},
    "masks and HRCA everywhere": {
        "decoder.queries": {"part": "dynamic_foreground", "high_resolution": "dynamic"},
    },
}
ROWS = {
    **{row: ("mask2former_r50_coco_panoptic", changes) for row, changes in MASK2FORMER.items()},
    **{row: ("faseg_r50_ade20k", changes) for row, changes in FASEG.items()},
    "Mask2Former + DFPQ": (
        "mask2former_r50_coco_instance",
        {"pixel_decoder.positions": "conditional", "decoder.queries": "dfpq"},
    ),
}


def small(row, **more):
    torch.manual_seed(0)
    name, changes = ROWS[row] if row in ROWS else (row, {})
    encoder = {} if isinstance(changes.get("pixel_decoder"), str) else ENCODER
    fields = {k.replace("__", "."): v for k, v in more.items()}
    return build(name, overrides={**SMALL, **encoder, **changes, **fields})


@pytest.mark.parametrize("row", ROWS)
def test_forward_at_odd_sizes_and_backward(row):
    model = small(row)
    blocks = len(model.decoder.blocks)
    for size in ((64, 96), (192, 224)):
        output = model(torch.randn(2, 3, *size))
        assert output.class_logits.shape == (2, 6, 6)
        assert output.mask_logits.shape == (2, 6, size[0] // 4, size[1] // 4)
        assert len(output.auxiliary) == (blocks if model.decoder.supervise_start else blocks - 1)
    every = [output, *output.auxiliary]
    sum(o.class_logits.square().sum() + o.mask_logits.square().mean() for o in every).backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    silent = {n for n, p in model.named_parameters() if not p.grad.any()}
    # these steer sampling offsets and deformable offsets, whose matrices start at zero
    harmless = ["pixel_decoder.encoder.level_embedding", "pixel_decoder.align."]
    if row == "- all 3 components":  # zeros attend to zeros, as in DETR's first layer
        harmless.append("decoder.blocks.0.self_attention.")
    assert all(name.startswith(tuple(harmless)) for name in silent)


@pytest.mark.parametrize("row", ROWS)
def test_full_size_builds_quickly(row):
    name, changes = ROWS[row]
    start = time.perf_counter()
    build(name, device="meta", overrides=changes)
    assert time.perf_counter() - start < 5  # 0.3 s on an idle machine


def released():
    return small("mask2former_r50_coco_panoptic", backbone__norm="frozen").eval()


def same_weights(row, other, **more):
    model = small(row, backbone__norm="frozen", **more).eval()
    model.load_state_dict(other.state_dict())
    return model


def test_naive_multi_scale_sees_all_levels_at_once():
    """With plain attention a block is attention over the concatenated levels."""
    model = small("naive m.s.", decoder__attention="plain", decoder__schedule=[[32, 16, 8]])
    decoder, block = model.decoder.eval(), model.decoder.blocks[0]
    assert isinstance(block.cross, PlainAttention)
    pixels = {stride: torch.randn(1, 32, 64 // stride, 96 // stride) for stride in (32, 16, 8)}
    places = {stride: torch.randn(1, 32, 64 // stride, 96 // stride) for stride in (32, 16, 8)}
    output = decoder(pixels, places, torch.randn(1, 32, 16, 24))
    tokens = torch.cat(
        [
            pixels[s].flatten(2).mT + decoder.level_embedding.weight[i]
            for i, s in enumerate((32, 16, 8))
        ],
        dim=1,
    )  # fmt: skip
    positions = torch.cat([places[s].flatten(2).mT for s in (32, 16, 8)], dim=1)
    queries, learned = decoder.content.weight[None], decoder.queries.embedding.weight[None]
    attended = block.cross.attention(queries + learned, tokens + positions, tokens)[0]
    queries = block.self_attention(block.cross.norm(queries + attended), learned)
    expected = decoder.head.classes(decoder.head.norm(block.feed_forward(queries)))
    torch.testing.assert_close(output.class_logits, expected, rtol=1e-4, atol=1e-5)


def test_naive_multi_scale_masks_each_level_at_its_size():
    levels = [round_robin.Level(torch.randn(1, n, 4), torch.randn(1, n, 4), size, stride)
              for n, size, stride in ((2, (1, 2), 32), (8, (2, 4), 16))]  # fmt: skip
    masks = round_robin.SegmentationOutput(torch.randn(1, 3, 2), torch.randn(1, 3, 8, 16))
    joined = round_robin._at_level(masks, round_robin.join(levels))
    assert joined.shape == (1, 3, 1, 10)
    for level, part in zip(levels, joined.split((2, 8), dim=-1), strict=True):
        torch.testing.assert_close(part.flatten(2), round_robin._at_level(masks, level).flatten(2))


def test_single_scale_reads_one_level():
    decoder = small("single scale (1/8)").decoder
    assert decoder.strides == (8,) and decoder.level_embedding.weight.shape == (1, 32)


def test_zero_content_predicts_the_same_for_every_query_and_is_not_supervised():
    model = small("- learnable query features", decoder__supervise_start=True).eval()
    assert model.decoder.content.weight.abs().max() == 0
    with torch.no_grad():
        start = model(torch.randn(1, 3, 64, 64)).auxiliary[0]
    assert torch.equal(start.class_logits[:, :1].expand_as(start.class_logits), start.class_logits)
    assert torch.equal(start.mask_logits[:, :1].expand_as(start.mask_logits), start.mask_logits)


def test_without_supervision_only_the_first_auxiliary_output_is_gone():
    model, images = released(), torch.randn(1, 3, 64, 96)
    without = same_weights("learnable w/o supervision", model)
    with torch.no_grad():
        full, less = model(images), without(images)
    assert torch.equal(full.mask_logits, less.mask_logits)
    assert len(less.auxiliary) == 8
    for a, b in zip(full.auxiliary[1:], less.auxiliary, strict=True):
        assert torch.equal(a.class_logits, b.class_logits)


def test_self_attention_first_by_hand():
    model = small("- cross-attention first", decoder__schedule=[32], decoder__attention="plain").eval()
    decoder, block = model.decoder, model.decoder.blocks[0]
    pixels, places = torch.randn(1, 32, 2, 3), torch.randn(1, 32, 2, 3)
    output = decoder({32: pixels}, {32: places}, torch.randn(1, 32, 16, 24))
    learned = decoder.queries.embedding.weight[None]
    queries = block.self_attention(decoder.content.weight[None], learned)
    tokens = pixels.flatten(2).mT + decoder.level_embedding.weight[0]
    attended = block.cross.attention(queries + learned, tokens + places.flatten(2).mT, tokens)[0]
    queries = block.feed_forward(block.cross.norm(queries + attended))
    expected = decoder.head.classes(decoder.head.norm(queries))
    torch.testing.assert_close(output.class_logits, expected, rtol=1e-4, atol=1e-5)


def test_dropout_changes_training_only():
    model, images = released(), torch.randn(1, 3, 64, 96)
    dropped = same_weights("- remove dropout", model)
    with torch.no_grad():
        exact, same = model(images), dropped(images)
        assert torch.equal(exact.class_logits, same.class_logits)
        noisy = dropped.train()(images)
        assert torch.equal(noisy.auxiliary[0].class_logits, exact.auxiliary[0].class_logits)  # the start
        assert not torch.allclose(noisy.class_logits, exact.class_logits)
    block = dropped.decoder.blocks[0]
    parts = (block.cross, block.cross.attention, block.self_attention, block.self_attention.attention)
    assert [part.dropout for part in (*parts, block.feed_forward)] == [0.1] * 5


def test_masks_renew_positions_before_each_block_but_hrca(monkeypatch):
    sizes, real = [], round_robin._probabilities
    monkeypatch.setattr(round_robin, "_probabilities", lambda o, size: sizes.append(size[0]) or real(o, size))
    with torch.no_grad():
        small("dynamic foreground")(torch.randn(1, 3, 192, 192))
        assert sizes == [6, 12, 24] * 3 + [6]
        sizes.clear()
        small("masks and HRCA everywhere")(torch.randn(1, 3, 192, 192))
        assert sizes == [6, 12, 24, 48] * 3 + [6]
        sizes.clear()
        small("- masked attention")(torch.randn(1, 3, 192, 192))
    assert sizes == [6]  # nothing reads it, but strategies of queries are asked


def test_where_hrca_is_applied():
    both = small("1/4 and 1/8").decoder.blocks
    assert [b.stride for b in both if b.high_resolution] == [8, 4] * 3
    eighth = small("1/8").decoder
    assert [b.stride for b in eighth.blocks if b.high_resolution] == [8] * 3
    assert eighth.strides == (32, 16, 8)


def test_vanilla_is_hrca_with_the_entire_map():
    """FASeg's Tables 6 and 7: the high-resolution blocks attend to all pixels; what surrounds them stays."""
    model, seen = small("Vanilla"), []
    fine = [block for block in model.decoder.blocks if block.stride == 4]
    assert all(block.high_resolution and type(block.cross) is PlainAttention for block in fine)
    assert not any(block.keeps_scores for block in fine)  # DFPQ is not renewed by them
    for block in fine:
        block.cross.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1:3]))
    with torch.no_grad():
        model(torch.randn(1, 3, 64, 96))
    assert len(seen) == 3
    for places, level in seen:
        assert torch.equal(places[0], model.decoder.queries.embedding.weight)
        assert level.tokens.shape[1] == 16 * 24


def test_schedules_without_a_level_are_named():
    with pytest.raises(SpecError, match="empty"):
        small("naive m.s.", decoder__schedule=[[32], []])
    with pytest.raises(SpecError, match="decoder.order"):
        small("- cross-attention first", decoder__order="first")


def test_parts_that_no_block_can_use_are_named():
    with pytest.raises(SpecError, match=r"high_resolution is 'hrca', but no block .*strides \[4\]"):
        build("mask2former_r50_ade20k", device="meta", overrides={"decoder.high_resolution": "hrca"})
    with pytest.raises(SpecError, match=r"but no block .* \[2\]"):
        small("Vanilla", decoder__high_resolution_strides=[2])
    build("faseg_r50_ade20k", device="meta", overrides={"decoder.high_resolution": None})
    for part in ("rcda", "hrca"):
        with pytest.raises(SpecError, match=rf"block 0 joins the levels \[32, 16, 8\], but '{part}'"):
            small("naive m.s.", decoder__attention=part)
