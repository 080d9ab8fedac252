"""Panoptic SegFormer: the released model's counts, names and outputs, and what its variants change.

Counts and the digests of the released entries are of the released code (commit cdb9b68). The golden file
holds what that code gave in evaluation mode for weights and an image by rule (`rule.py`); the layers that
make masks of maps have weights of their own, in the file, to spread the masks around 0.5. Kept are every
6th query of the class logits and thing masks, every 3rd stuff class, every 2nd row and column; `spread` are
the standard deviations of the whole tensors.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from models import build, load_official, preset, to_official
from models.official import CheckpointError
from models.panoptic_output import MaskDecoding, rows
from models.presets.panoptic_segformer import JOINT_MATCHING
from models.spec import SpecError
from tests.models.rule import weight_by_rule

GOLDEN = Path(__file__).parents[1] / "golden" / "panoptic_segformer_r50_coco.npz"
R50 = "panoptic_segformer_r50_coco"
SMALL = {
    "backbone.layers": (1, 1, 1, 1),
    "backbone.block": "basic",
    "backbone.width": 8,
    "dim": 32,
    "encoder.layers": 1,
    "location.layers": 2,
    "things.layers": 2,
    "stuff.layers": 3,
}

BACKBONES = {  # parameters of the backbone and its projections, all, trained; entries and their digest
    "r50": (23_508_032, 5_638_144, 51_271_900, 50_996_380, 955, "a956114c1a137fce"),
    "r101": (42_500_160, 5_638_144, 70_264_028, 69_936_284, 1261, "061b753bd7a0fb4b"),
    "swin_l": (194_997_780, 4_229_120, 221_352_624, 221_352_624, 968, "b75d3ba3a82b439d"),
    "pvt_v2_b0": (3_409_760, 714_752, 26_250_236, 26_250_236, 813, "941f65138e017520"),
    "pvt_v2_b2": (24_849_856, 1_427_456, 48_403_036, 48_403_036, 969, "51a10b56618f4386"),
    "pvt_v2_b5": (81_443_008, 1_427_456, 104_996_188, 104_996_188, 1689, "5a1fab52214dfd79"),
}


def count(module, trained=False):
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


def small(overrides=None, variant="released", name=R50):
    torch.manual_seed(0)
    return build(name, overrides={**SMALL, **(overrides or {})}, variant=variant).eval()


def image(height=65, width=97, batch=1):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_counts_and_names_of_the_released_models(backbone):
    model = build(f"panoptic_segformer_{backbone}_coco", device="meta")
    *counts, entries, digest = BACKBONES[backbone]
    parts = (model.backbone, model.projections, model)
    assert [*map(count, parts), count(model, trained=True)] == counts
    shapes = {key: "x".join(map(str, tensor.shape)) for key, tensor in to_official(model).items()}
    text = "\n".join(sorted(f"{key} {shape}" for key, shape in shapes.items()))
    assert len(shapes) == entries
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


def test_counts_of_the_parts():
    model = build(R50, device="meta")
    location = model.location
    assert count(model.encoder.layers) == 4_541_184
    assert model.encoder.level_embedding.numel() == 1_024
    assert count(location.layers) == 6_123_264
    assert count(location.reference) == 514
    assert count(location.queries) == 153_600
    assert count(location.class_heads) == 123_360
    assert count(location.box_heads) == 795_672
    assert count(model.thing_decoder) == 4 * 790_001 + 131_825
    assert count(model.stuff_decoder) == 6 * 1_053_681 + 131_825
    assert count(model.thing_decoder.tail.fusion) == 241
    assert count(model.thing_heads.classes) == 82_240
    assert count(model.thing_heads.boxes) == 530_448
    assert count(model.stuff_heads) == 1_542
    assert count(model.stuff_queries) == 27_136


def test_what_does_not_train():
    model = build(R50, device="meta").train()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    first = ("backbone.conv1", "backbone.layer1")
    assert all("bn" in name or "downsample.1" in name or name.startswith(first) for name in frozen)
    assert "backbone.layer1.0.conv1.weight" in frozen
    assert "backbone.layer2.0.conv1.weight" not in frozen
    assert "backbone.layer4.2.bn3.weight" in frozen
    assert not any(module.training for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d))


def test_outputs_equal_the_released_model():
    golden = np.load(GOLDEN)
    model = build(R50).eval()
    state = {}
    for key, tensor in to_official(model).items():
        if not key.endswith("num_batches_tracked"):
            own = f"state:{key}"
            made = golden[own] if own in golden else weight_by_rule(key, tuple(tensor.shape))
            tensor = torch.from_numpy(np.asarray(made, dtype=np.float32))
        state[key] = tensor
    older = {
        key.replace(".things_mask_head.", ".mask_head.")
        .replace(".stuff_mask_head.", ".mask_head2.")
        .replace(".cls_thing_branches.", ".cls_branches2."): tensor
        for key, tensor in state.items()
    }
    assert older.keys() != state.keys()
    report = load_official(model, {"state_dict": older, "meta": {"epoch": 24}})
    assert (report.matched, report.values) == (955, 51_325_073)
    saved = to_official(model)
    assert saved.keys() == state.keys()
    assert all(torch.equal(saved[key], state[key]) for key in state)

    pixels = np.random.RandomState(45).standard_normal((1, 3, 224, 320)).astype(np.float32)
    with torch.no_grad():
        output = model(torch.from_numpy(pixels))
    pairs = list(zip(output.selected[0].tolist(), output.selected_labels[0].tolist(), strict=True))
    theirs = list(zip(golden["selected"].tolist(), golden["labels"].tolist(), strict=True))
    assert len(set(pairs) & set(theirs)) >= 98  # near ties among 24,000 scores
    both = [i for i, pair in enumerate(theirs[::6]) if pair in pairs]
    ours = {
        "class_logits": output.class_logits[0, ::6],
        "boxes": output.boxes[0],
        "thing_masks": output.thing_masks[0, [pairs.index(theirs[6 * i]) for i in both], ::2, ::2],
        "stuff_masks": output.stuff_masks[0, ::3, ::2, ::2],
        "stuff_logits": output.stuff_logits[0],
    }
    for (name, tensor), spread in zip(ours.items(), golden["spread"], strict=True):
        expected = golden[name][both] if name == "thing_masks" else golden[name]
        assert tensor.shape == expected.shape, name
        close = np.abs(tensor.numpy() - expected) <= 1e-3 * spread
        assert close.mean() >= 0.995, f"{name}: {close.mean():.2%} of the elements agree"


def test_swin_keeps_the_released_names():
    shape = {"depths": (1, 1, 2, 1), "heads": (1, 2, 4, 8), "width": 16}
    changes = {f"backbone.{key}": value for key, value in shape.items()}
    kept = {key: value for key, value in SMALL.items() if not key.startswith("backbone")}
    model = build("panoptic_segformer_swin_l_coco", overrides={**kept, **changes}).eval()
    state = to_official(model)
    state["backbone.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49)
    report = load_official(model, state)
    assert report.ignored == ("backbone.layers.0.blocks.0.attn.relative_position_index",)
    assert "backbone.norm0.weight" not in state
    assert model(image()).thing_masks.shape == (1, 100, 9, 13)
    del state["bbox_head.stuff_query.weight"]
    with pytest.raises(CheckpointError, match=r"1 missing: bbox_head\.stuff_query\.weight"):
        load_official(model, state)


@pytest.mark.parametrize("size", [(65, 97), (40, 131)])
def test_odd_sizes(size):
    model = small()
    output = model(image(*size))
    h, w = -(-size[0] // 8), -(-size[1] // 8)
    assert output.class_logits.shape == (1, 300, 80)
    assert output.boxes.shape == (1, 300, 4)
    assert 0 <= output.boxes.min() <= output.boxes.max() <= 1
    assert output.selected.shape == (1, 100)
    assert [tuple(masks.shape) for masks in output.thing_mask_layers] == [(1, 100, h, w)] * 3
    assert [tuple(masks.shape) for masks in output.stuff_mask_layers] == [(1, 53, h, w)] * 4
    assert [tuple(logits.shape) for logits in output.stuff_class_layers] == [(1, 53, 1)] * 3
    assert output.stuff_masks.min() >= 0
    assert len(output.locations) == 2


def test_the_best_pairs_are_kept_best_first():
    output = small()(image())
    scores = output.class_logits[0].sigmoid()
    found = scores[output.selected[0], output.selected_labels[0]]
    torch.testing.assert_close(found, output.selected_scores[0])
    torch.testing.assert_close(found, scores.flatten().sort(descending=True).values[:100])


def test_the_criterion_decodes_what_it_chooses():
    model = small()
    output = model(image())
    assert output.decode is not None
    again = output.decode(output.selected[:, :5])
    torch.testing.assert_close(again.masks[-1], output.thing_masks[:, :5])
    torch.testing.assert_close(again.boxes[0], output.things.boxes[0][:, :5])
    padded = output.decode(torch.tensor([[int(output.selected[0, 0]), -1]]))
    torch.testing.assert_close(padded.masks[-1][:, 0], output.thing_masks[:, 0])
    assert output.decode(torch.empty(1, 0, dtype=torch.int64)).masks[0].shape == (1, 0, 9, 13)
    training = model.train()(image())
    assert training.things is None
    assert training.selected is None
    training.decode(torch.tensor([[3, 7]])).masks[-1].sum().backward()
    assert model.location.queries.weight.grad is not None


def test_rows_and_absent_rows():
    values = torch.arange(12.0).view(1, 3, 2, 2)
    taken = rows(values, torch.tensor([[2, -1]]))
    assert taken.tolist() == [[[[8, 9], [10, 11]], [[0, 0], [0, 0]]]]
    decoding = MaskDecoding(masks=[values], queries=[values[:, :, 0]])
    assert decoding.of(torch.tensor([[1]])).queries[0].tolist() == [[[4, 5]]]


def test_a_mask_layer_can_be_the_last():
    whole, early = small(), small({"mask_layers": 2})
    early.load_state_dict(whole.state_dict())
    all_layers, two = whole(image()), early(image())
    assert (len(two.thing_mask_layers), len(two.stuff_mask_layers)) == (2, 2)
    torch.testing.assert_close(two.thing_masks, all_layers.thing_mask_layers[1])
    torch.testing.assert_close(two.stuff_logits, all_layers.stuff_class_layers[1])
    assert len(early.train()(image()).stuff_mask_layers) == 4


@pytest.mark.parametrize(
    ("overrides", "locations", "boxes", "things", "stuff"),
    [
        ({"location.layers": 0}, 2, 4, 3, 4),
        ({"location.layers": 1}, 1, 4, 3, 4),
        ({"location.predicts": "centres"}, 2, 2, 3, 4),
        ({"location.refine": False}, 2, 4, 3, 4),
        ({"things.heads": 1, "stuff.heads": 1}, 2, 4, 3, 4),
        ({"stuff": None}, 2, 4, 3, 3),
        ({"scores": "masks"}, 2, 4, 3, 4),
        ({"levels": 3}, 2, 4, 3, 4),
        ({"things.fusion": "convolution", "things.tail": False}, 2, 4, 2, 4),
    ],
)
def test_variants(overrides, locations, boxes, things, stuff):
    base = SMALL if "stuff" not in overrides else {k: v for k, v in SMALL.items() if "stuff" not in k}
    output = build(R50, overrides={**base, **overrides}).eval()(image())
    assert len(output.locations) == locations
    assert output.boxes.shape == (1, 300, boxes)
    assert output.class_logits.shape == (1, 300, 80)
    assert output.thing_masks.shape == (1, 100, 9, 13)
    assert len(output.thing_mask_layers) == things
    assert len(output.stuff_mask_layers) == stuff
    assert output.stuff_masks.shape == (1, 53, 9, 13)


def test_counts_of_the_ablations():
    def total(changes, variant="released"):
        return count(build(R50, device="meta", overrides=changes, variant=variant), trained=True)

    assert total({"location.layers": 2}) == 50_996_380 - 4 * (1_020_544 + 20_560 + 132_612)
    assert total({"location.predicts": "centres"}) == 50_996_380 - (6 + 4) * 2 * 257
    assert total({"things.heads": 1, "stuff.heads": 1}) == 50_996_380 - 12 * (241 - 10)
    assert total({"stuff": None}) == 50_996_380 - 6_453_911 - 2 * 257
    assert total({"location.num_queries": 353}) == 51_023_516  # joint matching with the released decoders
    assert total(JOINT_MATCHING) == 44_677_137
    assert total({}, "paper") == 41_281_566


def test_ade20k_has_100_things_and_50_kinds_of_stuff():
    model = build("panoptic_segformer_r50_ade20k_panoptic", device="meta").eval()
    output = model(torch.empty(1, 3, 64, 96, device="meta"))
    assert output.class_logits.shape == (1, 300, 100)
    assert output.thing_masks.shape[:2] == (1, 100) and output.stuff_logits.shape == (1, 50, 1)
    assert model.spec.loss.build(model.spec.num_classes).num_stuff == 50
    classes = {"num_classes": 133, "num_things": 80, "loss.num_things": 80}
    assert model.spec.override(classes) == preset(R50)
    assert preset("panoptic_segformer_r50_ade20k_panoptic", "paper").levels == 3


def test_joint_matching_has_no_queries_for_stuff():
    base = {key: value for key, value in SMALL.items() if not key.startswith("stuff")}
    output = build(R50, overrides={**base, **JOINT_MATCHING}).eval()(image())
    assert output.class_logits.shape == (1, 353, 133)
    assert output.thing_masks.shape == (1, 153, 9, 13)
    assert output.stuff is None
    assert output.stuff_mask_layers == []


def test_scores_of_the_mask_decoder():
    output = small({"scores": "masks"})(image())
    best = output.class_logits[0].sigmoid().amax(-1).topk(100).indices
    assert set(output.selected[0].tolist()) <= set(best.tolist())
    told = output.things.class_logits[-1][0].sigmoid()
    found = told.gather(1, output.selected_labels[0][:, None])[:, 0]
    torch.testing.assert_close(found, output.selected_scores[0])
    torch.testing.assert_close(output.decode(output.selected).masks[-1], output.thing_masks)


def test_first_predictions():
    """Scores of 0.01, boxes at the reference points, of size sigmoid(-2) after the first layer."""
    model = small({"location.layers": 1})
    for head in model.location.class_heads:
        torch.nn.init.zeros_(head.weight)
    output = model(image())
    torch.testing.assert_close(output.class_logits.sigmoid(), torch.full((1, 300, 80), 0.01))
    places = model.location.reference(model.location.queries.weight[:, :32]).sigmoid()
    torch.testing.assert_close(output.boxes[0, :, :2], places, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.boxes[0, :, 2:], torch.full((300, 2), 0.1192029))


def test_thresholds_follow_the_released_configurations():
    for backbone, threshold in (("r50", 0.25), ("pvt_v2_b2", 0.25), ("swin_l", 0.3), ("pvt_v2_b5", 0.3)):
        inference = preset(f"panoptic_segformer_{backbone}_coco").inference
        assert (inference.confidence_things, inference.confidence_stuff) == (threshold, threshold)


def test_what_does_not_fit_is_named():
    with pytest.raises(SpecError, match=r"num_things 80 and loss\.num_things 50 must be equal"):
        build(R50, device="meta", overrides={"loss.num_things": 50})
    with pytest.raises(SpecError, match="levels must be at least 3, not 2"):
        build(R50, overrides={"levels": 2})
    with pytest.raises(SpecError, match="no variant 'old'"):
        preset(R50, "old")
    with pytest.raises(ValueError, match="do not fit 1 images"):
        small()(image(), sizes=[(65, 98)])


@pytest.mark.slow
def test_exports_as_one_graph():
    model = small({"location.layers": 1, "things.layers": 1, "stuff.layers": 1})
    exported = torch.export.export(model, (image(),)).module()(image())
    torch.testing.assert_close(exported.thing_masks, model(image()).thing_masks)
    assert exported.decode is None


def test_masks_that_there_are_not_are_named():
    model = small().train()
    output = model(image())
    with pytest.raises(ValueError, match="in training mode the criterion decodes them"):
        _ = output.thing_masks
    assert output.thing_mask_layers == [] and output.stuff_masks.shape[1] == 53
    joint = small(JOINT_MATCHING)(image())
    for name in ("stuff_masks", "stuff_logits"):
        with pytest.raises(ValueError, match="no queries of stuff: with joint matching"):
            getattr(joint, name)
