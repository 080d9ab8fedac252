"""Deformable DETR: counts of the reconstruction, outputs and names of the released detector, its parts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models import MaskTarget, SpecError, build, load_official, to_official
from models.deformable_detr import SINGLE_SCALE
from tests.models.rule import weight_by_rule

NAME = "deformable_detr_r50_coco_panoptic"
GOLDEN = Path(__file__).parents[1] / "golden" / "deformable_detr_r50.npz"
SIZES = [(90, 131), (101, 96)]
DETECTOR = {"mask_head": None, "projection_bias": True, "backbone.norm": "frozen"}
TINY = {
    "backbone.layers": (1, 1, 1, 1), "backbone.block": "basic", "backbone.width": 16,
    "backbone.norm": "frozen", "dim": 32, "encoder.layers": 1, "encoder.ffn_dim": 32, "decoder.layers": 2,
    "decoder.ffn_dim": 32, "decoder.num_queries": 6, "num_classes": 5,
}  # fmt: skip


def count(module, trainable=False):
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


def tiny(**overrides):
    torch.manual_seed(0)
    return build(NAME, overrides=TINY | overrides).eval()


@pytest.mark.parametrize(
    ("overrides", "total", "trainable"),
    [
        ({}, 42_287_441, 42_011_921),
        ({"num_classes": 250}, 42_467_855, 42_192_335),
        (dict(SINGLE_SCALE), 36_285_137, 36_009_617),
    ],
    ids=["multi-scale", "250 classes", "single-scale"],
)
def test_counts(overrides, total, trainable):
    """The printed 44.9 M is met by no reading of Panoptic SegFormer's description."""
    model = build(NAME, device="meta", overrides=overrides)
    assert (count(model), count(model, trainable=True)) == (total, trainable)


def test_released_outputs():
    """Of the authors' detector, on a padded batch: each 20th query's classes, each fourth's boxes."""
    model = build(NAME, overrides=DETECTOR | {"num_classes": 91}).eval()
    state = {
        key: torch.from_numpy(weight_by_rule(key, tuple(tensor.shape))).float()
        for key, tensor in to_official(model).items()
        if not key.startswith("transformer.decoder.bbox_embed.")
    }
    state |= {f"transformer.decoder.{key}": value for key, value in state.items() if "bbox_embed" in key}
    load_official(model, state)
    source, images = np.random.RandomState(7), torch.zeros(2, 3, 101, 131)
    for image, (height, width) in enumerate(SIZES):
        images[image, :, :height, :width] = torch.from_numpy(source.standard_normal((3, height, width)))
    with torch.no_grad():
        output = model(images, SIZES)
    golden = {key: torch.from_numpy(array) for key, array in np.load(GOLDEN).items()}
    for found, name in (
        (output.class_logits[:, ::20], "class_logits"),
        (output.boxes[:, ::4], "boxes"),
        (output.auxiliary[0].boxes[:, ::4], "first_boxes"),
    ):
        torch.testing.assert_close(found, golden[name], atol=1e-4, rtol=0)


@pytest.mark.parametrize("overrides", [{}, dict(SINGLE_SCALE)], ids=["multi-scale", "single-scale"])
def test_shapes_at_odd_sizes(overrides):
    model = tiny(**overrides)
    for height, width in ((70, 95), (65, 49)):
        output = model(torch.randn(2, 3, height, width), [(height, width - 9), (height - 5, width)])
        assert output.class_logits.shape == (2, 6, 5) and output.boxes.shape == (2, 6, 4)
        assert output.mask_logits.shape == (2, 6, -(-height // 8), -(-width // 8)) and output.sigmoid
        (first,) = output.auxiliary
        assert first.mask_logits is None and first.boxes.shape == (2, 6, 4)


def test_all_image_is_as_without_sizes():
    model, images = tiny(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        whole, same, padded = model(images), model(images, [(64, 96)]), model(images, [(64, 40)])
    for name in ("class_logits", "boxes", "mask_logits"):
        torch.testing.assert_close(getattr(same, name), getattr(whole, name), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(whole.mask_logits, padded.mask_logits, atol=1e-4)


def test_masks_are_of_the_stride_32_level():
    """Of the encoded levels, the mask head is given that of 1/32 before and after the encoder."""
    model, seen = tiny(), []
    model.mask_head.register_forward_pre_hook(lambda module, given: seen.append([x.shape for x in given[:3]]))
    model(torch.randn(2, 3, 64, 96))
    assert seen == [[(2, 6, 32), (2, 32, 2, 3), (2, 32, 2, 3)]]


def test_every_weight_has_a_gradient():
    model = tiny().train()
    output = model(torch.randn(1, 3, 96, 96))
    masks = torch.zeros(2, 96, 96, dtype=torch.bool)
    masks[0, :, :32], masks[1, :, 32:] = True, True
    criterion = model.spec.loss.build(model.spec.num_classes)
    losses = criterion(output, [MaskTarget(torch.tensor([0, 4]), masks)])
    criterion.total(losses).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert set(losses) >= {"class", "l1", "giou", "mask", "dice", "aux0/giou"} and without == []


@pytest.mark.parametrize("layout", ["released", "huggingface"])
@pytest.mark.parametrize("refine", [True, False], ids=["refined", "plain"])
@pytest.mark.parametrize("head", [{}, {"mask_head": None}], ids=["masks", "boxes"])
def test_layouts_round_trip(layout, refine, head):
    one, other = (tiny(**head, **{"decoder.refine": refine}) for _ in range(2))
    with torch.no_grad():
        for tensor in one.parameters():
            tensor.normal_()
    state = to_official(one, layout)
    boxes = "model.decoder.bbox_embed" if layout == "huggingface" else "transformer.decoder.bbox_embed"
    assert any(boxes in key for key in state) == refine
    assert sum(key.endswith("class_embed.1.weight") for key in state) == 1
    assert load_official(other, state).matched == len(one.state_dict())
    for key, tensor in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], tensor, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": ("res3",), "levels": 1}, "the mask head needs 'res5' among the inputs"),
        ({"inputs": ("res1", "res5"), "levels": 2}, r"inputs \['res1'\]: the backbone has res2"),
        ({"levels": 2}, "2 levels cannot be fewer than the 3 backbone maps"),
        ({"decoder.predicts": "centres"}, "predicts boxes"),
        ({"mask_head": None, "train": "mask_head"}, "mask_head is None"),
    ],
)
def test_parts_that_do_not_fit(changes, message):
    with pytest.raises(SpecError, match=message):
        build(NAME, device="meta", overrides=changes)


def test_the_mask_head_can_train_alone():
    model = tiny(train="mask_head")
    assert {n.partition(".")[0] for n, p in model.named_parameters() if p.requires_grad} == {"mask_head"}
