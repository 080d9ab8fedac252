"""DETR: counts and names of the released models, their outputs, padding, class ids, what is trained."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from models import CheckpointError, SpecError, build, load_official, preset, to_official
from models.presets.detr import COCO_PANOPTIC_IDS
from tests.models.rule import weight_by_rule

GOLDEN = Path(__file__).parents[1] / "golden" / "detr_r50_coco_panoptic.npz"
SIZES = [(90, 131), (101, 96)]
TINY = {
    "backbone.layers": (1, 1, 1, 1), "backbone.block": "basic", "backbone.width": 16, "encoder.layers": 1,
    "decoder.layers": 2, "decoder.dim": 32, "encoder.ffn_dim": 32, "decoder.ffn_dim": 32,
    "decoder.num_queries": 6, "mask_head.heads": 4,
}  # fmt: skip


def count(module, trainable=False):
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


def padded_images():
    source = np.random.RandomState(7)
    images = torch.zeros(2, 3, 101, 131)
    for image, (height, width) in enumerate(SIZES):
        images[image, :, :height, :width] = torch.from_numpy(source.standard_normal((3, height, width)))
    return images


def tiny(**overrides):
    torch.manual_seed(0)
    return build("detr_r50_coco_panoptic", overrides=TINY | overrides).eval()


@pytest.mark.parametrize(
    ("backbone", "total", "trainable", "detector", "keys", "digest"),
    [
        ("r50", 42_899_288, 42_676_888, 41_524_768, 490, "2cbbfae8d6b668082d0c33d0b7f5afb8"),
        ("r101", 61_839_192, 61_616_792, 60_464_672, 745, "3ef71a92928d38dc9eb83876f7bf0b20"),
    ],
)
def test_counts_and_names_are_the_released(backbone, total, trainable, detector, keys, digest):
    """The digest is of the released model's keys and shapes, sorted; the detector has 91 classes."""
    name = f"detr_{backbone}_coco_panoptic"
    model = build(name, device="meta")
    assert (count(model), count(model, trainable=True)) == (total, trainable)
    assert (count(model.mask_head), count(model.mask_head.attention)) == (1_333_657, 131_584)
    boxes = {"mask_head": None, "num_classes": 91, "columns": None, "class_ids": None}
    assert count(build(name, device="meta", overrides=boxes)) == detector
    shapes = {key: list(tensor.shape) for key, tensor in to_official(model).items()}
    assert shapes["detr.transformer.decoder.layers.5.multihead_attn.in_proj_weight"] == [768, 256]
    assert shapes["mask_head.adapter1.weight"] == [128, 1024, 1, 1]
    text = "\n".join(f"{key} {shape}" for key, shape in sorted(shapes.items()))
    assert len(shapes) == keys and hashlib.sha256(text.encode()).hexdigest()[:32] == digest


def golden_weight(key, shape):
    """By the rule, sharpened where else all queries would be nearly alike."""
    weight = torch.from_numpy(weight_by_rule(key, shape)).float()
    if key.endswith("multihead_attn.in_proj_weight"):
        weight[:512] *= 3
    if key == "detr.query_embed.weight":
        weight *= 3
    if key == "mask_head.lay1.weight":
        weight[:, 256:] *= 1000
    return weight


def test_released_outputs():
    """Of facebookresearch/detr, on a padded batch: each 20th query, all boxes."""
    model = build("detr_r50_coco_panoptic").eval()
    shapes = {key: tuple(tensor.shape) for key, tensor in to_official(model).items()}
    load_official(model, {key: golden_weight(key, shape) for key, shape in shapes.items()})
    with torch.no_grad():
        output = model(padded_images(), SIZES)
    golden = {key: torch.from_numpy(array) for key, array in np.load(GOLDEN).items()}
    assert golden["mask_logits"].std(1).mean() > 1e-3 and golden["class_logits"].std(1).mean() > 1e-2
    for found, name in (
        (output.class_logits[:, ::20], "class_logits"),
        (output.boxes, "boxes"),
        (output.mask_logits[:, ::20], "mask_logits"),
        (output.auxiliary[0].boxes, "first_boxes"),
    ):
        torch.testing.assert_close(found, golden[name], atol=2e-5, rtol=0)


def test_shapes_at_odd_sizes_and_one_output_a_layer():
    model = tiny()
    for height, width in ((33, 70), (65, 49)):
        output = model(torch.randn(2, 3, height, width))
        assert output.class_logits.shape == (2, 6, 251) and output.boxes.shape == (2, 6, 4)
        assert output.mask_logits.shape == (2, 6, -(-height // 4), -(-width // 4))
        (first,) = output.auxiliary
        assert first.mask_logits is None and first.class_logits.shape == (2, 6, 251)
        assert 0 < output.boxes.min() and output.boxes.max() < 1


def test_padding_is_not_looked_at():
    """A batch that is all image is the same with sizes and without; with padding it is not."""
    model = tiny()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        whole, same = model(images), model(images, [(64, 96)])
        padded = model(images, [(64, 64)])
    torch.testing.assert_close(whole.class_logits, same.class_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(whole.mask_logits, same.mask_logits, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(whole.class_logits, padded.class_logits, atol=1e-3)
    with pytest.raises(ValueError, match=r"sizes \[\(65, 96\)\] do not fit 1 images padded to 64 x 96"):
        model(images, [(65, 96)])


def test_classes_have_the_category_ids_as_columns():
    spec = preset("detr_r50_coco_panoptic")
    assert spec.num_classes == len(spec.class_ids) == 133 and spec.ids() == COCO_PANOPTIC_IDS
    assert COCO_PANOPTIC_IDS[:3] == (1, 2, 3) and COCO_PANOPTIC_IDS[79:82] == (90, 92, 93)
    assert sum(COCO_PANOPTIC_IDS) == 11_963 and COCO_PANOPTIC_IDS[-1] == 200
    output = tiny()(torch.randn(1, 3, 32, 32))
    output.class_logits = torch.zeros(1, 3, 251)
    output.class_logits[0, 0, 92] = output.class_logits[0, 1, 91] = output.class_logits[0, 2, 250] = 9.0
    scores, labels = output.best()
    assert labels.tolist() == [[80, -1, -1]]  # a class, a column of no class, no object
    assert scores[0, 0].item() == pytest.approx(np.exp(9) / (np.exp(9) + 250), rel=1e-5)
    assert output.probabilities().shape == (1, 3, 133)
    assert output.probabilities()[0, 0].argmax() == 80


def test_fewer_classes_keep_their_ids_and_other_widths_are_errors():
    model = build("detr_r50_coco_panoptic", device="meta", overrides={"num_classes": 7})
    assert model.class_ids.shape == (7,) and model.classes.out_features == 251
    model = build("detr_r50_coco_panoptic", device="meta", num_classes=7, class_ids=None, columns=None)
    assert model.class_ids is None and model.classes.out_features == 8
    for changes, message in (
        ({"num_classes": 150}, "133 class_ids for num_classes = 150"),
        ({"columns": 200}, "different columns below 200"),
        ({"class_ids": None}, "columns = 250 for 133 classes: class_ids must say which"),
        ({"mask_head": None, "train": "mask_head"}, "mask_head is None"),
        ({"mask_head.heads": 7}, "256 channels cannot be split among 7 heads"),
        ({"mask_head.levels": ("res1",)}, r"mask_head.levels \['res1'\]: the backbone has res2"),
    ):
        with pytest.raises(SpecError, match=message):
            build("detr_r50_coco_panoptic", device="meta", overrides=changes)


def test_the_mask_head_can_train_alone():
    model = tiny(train="mask_head").train()
    trained = {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"mask_head"}
    output = model(torch.randn(1, 3, 32, 64))
    assert not output.boxes.requires_grad and output.mask_logits.requires_grad


@pytest.mark.parametrize("layout", ["released", "huggingface"])
@pytest.mark.parametrize("head", [{}, {"mask_head": None}], ids=["masks", "boxes"])
def test_layouts_round_trip(layout, head):
    base = {key: value for key, value in TINY.items() if not (head and key.startswith("mask_head"))}
    torch.manual_seed(0)
    one, other = (build("detr_r50_coco_panoptic", overrides=base | head) for _ in range(2))
    state = to_official(one, layout)
    assert load_official(other, state).matched == len(one.state_dict())
    for key, tensor in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], tensor, atol=0, rtol=0)
    del state[next(key for key in state if key.endswith("norm.weight"))]
    with pytest.raises(CheckpointError, match="1 missing: .*norm.weight"):
        load_official(other, state)
