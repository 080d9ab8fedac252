"""Inference a slice of the queries at a time gives what it gives at once."""

import pytest
import torch
import torch.nn.functional as F

from models.inference import Frame, MaskClassificationSpec, sliced
from models.outputs import SegmentationOutput

FRAME = Frame((64, 96), (60, 90), (80, 120))


@pytest.fixture
def output():
    """Two images whose 20 queries see smooth regions with confidence."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn(2, 20, 8, generator=generator)
    labels = torch.randint(0, 7, (2, 20, 1), generator=generator)
    masks = 6 * torch.randn(2, 20, 3, 5, generator=generator)
    return SegmentationOutput(
        classes.scatter_add(2, labels, torch.full(labels.shape, 7.0)),
        F.interpolate(masks, size=(16, 24), mode="bicubic"),
    )


@pytest.fixture
def in_threes(monkeypatch):
    """Three queries at a time, nothing held."""

    def switch():
        monkeypatch.setattr(sliced, "CHUNK", 3 * 80 * 120)
        monkeypatch.setattr(sliced, "HELD", 0)

    return switch


@pytest.mark.parametrize("pixels", ["inside", "won"])
def test_panoptic_maps_are_equal(output, in_threes, pixels):
    inference = MaskClassificationSpec(object_threshold=0.3, overlap_threshold=0.05, pixels=pixels).build()
    whole = inference.panoptic(output, FRAME, range(4))
    in_threes()
    parts = inference.panoptic(output, FRAME, range(4))
    for one, other in zip(whole, parts, strict=True):
        assert torch.equal(one.ids, other.ids) and one.segments == other.segments
    assert min(len(one.segments) for one in whole) > 3


def test_instances_are_equal(output, in_threes):
    inference = MaskClassificationSpec(top=30).build()
    whole = inference.instances(output, FRAME, range(4))
    in_threes()
    for one, other in zip(whole, inference.instances(output, FRAME, range(4)), strict=True):
        assert torch.equal(one.masks, other.masks) and torch.equal(one.labels, other.labels)
        assert torch.allclose(one.scores, other.scores, rtol=0, atol=1e-6) and len(one.labels) > 5


@pytest.mark.parametrize("masks_first", [False, True])
def test_semantic_scores_are_equal(output, in_threes, masks_first):
    inference = MaskClassificationSpec(masks_first=masks_first).build()
    scores, labels = inference.semantic(output, FRAME), inference.semantic_map(output, FRAME)
    in_threes()
    assert torch.allclose(inference.semantic(output, FRAME), scores, atol=1e-6)
    assert (inference.semantic_map(output, FRAME) != labels).float().mean() < 1e-3
    assert torch.equal(labels, scores.argmax(1)) and len(labels.unique()) > 3


def test_an_image_without_confident_queries_is_empty(output):
    (first, _) = MaskClassificationSpec(object_threshold=0.9999999).build().panoptic(output, FRAME, range(4))
    assert not first.segments and not first.ids.any() and first.ids.shape == (80, 120)
