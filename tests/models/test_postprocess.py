"""Inference: by hand, and on predictions for which the released Mask2Former gives the same."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.inference import (
    Segment,
    instance_inference,
    pad_to_multiple,
    panoptic_inference,
    semantic_inference,
    semantic_map,
)
from models.outputs import SegmentationOutput

GOLDEN = Path(__file__).parents[1] / "golden" / "postprocess.npz"
GOLDEN_SIZES = ((96, 128), (92, 125), (59, 80))
SQUARE = ((4, 4), (4, 4), (4, 4))


def golden() -> tuple[SegmentationOutput, dict[str, np.ndarray]]:
    """22 of 100 queries of a case on which this code equals the released one in every pixel and score, at a
    quarter of its resolution and rounded to fit into bytes; expected values are this code's at that time."""
    data = dict(np.load(GOLDEN))
    classes = torch.from_numpy(data["class_logits_x8"]).float()[None] / 8
    masks = torch.from_numpy(data["mask_logits_x4"]).float()[None] / 4
    return SegmentationOutput(classes, masks), data


def predictions(
    labels: list[int], areas: list[slice], classes: int = 3, sure: float = 9.0
) -> SegmentationOutput:
    """Queries sure of a class, each with logits +-5 inside and outside of some rows of a 4x4 map."""
    logits = torch.zeros(1, len(labels), classes + 1)
    masks = torch.full((1, len(labels), 4, 4), -5.0)
    for query, (label, rows) in enumerate(zip(labels, areas, strict=True)):
        logits[0, query, label] = sure
        masks[0, query, rows] = 5.0
    return SegmentationOutput(logits, masks)


def test_padding() -> None:
    padded = pad_to_multiple(torch.ones(2, 3, 33, 64))
    assert padded.shape == (2, 3, 64, 64)
    assert padded.sum() == 2 * 3 * 33 * 64 and padded[:, :, 33:].abs().sum() == 0
    assert pad_to_multiple(torch.ones(3, 5, 8), 4).shape == (3, 8, 8)


def test_semantic_scores_by_hand() -> None:
    output = SegmentationOutput(
        torch.log(torch.tensor([[[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]])),
        torch.logit(torch.tensor([[0.9, 0.25]]))[..., None, None].expand(1, 2, 2, 2),
    )
    scores = semantic_inference(output, (8, 8), (8, 8), (3, 5))
    assert scores.shape == (1, 2, 3, 5)
    assert scores[0, 0].flatten().tolist() == pytest.approx([0.5 * 0.9 + 0.1 * 0.25] * 15, abs=1e-6)
    assert scores[0, 1].flatten().tolist() == pytest.approx([0.3 * 0.9 + 0.1 * 0.25] * 15, abs=1e-6)


def test_semantic_crops_before_it_resizes() -> None:
    """Columns beyond the image say class 1; the result must not see them."""
    masks = torch.full((1, 2, 1, 4), -9.0)
    masks[0, 0, 0, :3], masks[0, 1, 0, 3] = 9.0, 9.0
    output = SegmentationOutput(torch.tensor([[[9.0, 0, 0], [0, 9.0, 0]]]), masks)
    whole = semantic_inference(output, (1, 4), (1, 4), (1, 8))
    cropped = semantic_inference(output, (1, 4), (1, 3), (1, 8))
    assert whole.argmax(1).flatten().tolist() == [0, 0, 0, 0, 0, 0, 1, 1]
    assert cropped.argmax(1).flatten().tolist() == [0] * 8
    first = semantic_inference(output, (1, 4), (1, 4), (1, 8), masks_first=True)
    assert first[0, 1, 0, 5].item() == pytest.approx(0.0111, abs=1e-4)  # sigmoid of the mean logit, -4.5
    assert whole[0, 1, 0, 5].item() == pytest.approx(0.2500, abs=2e-4)  # mean of the sigmoids


def test_semantic_golden() -> None:
    output, data = golden()
    scores = semantic_inference(output, *GOLDEN_SIZES)
    assert scores.shape == (1, 133, 59, 80)
    assert (scores[0].argmax(0).numpy() == data["semantic"]).mean() == 1.0
    assert scores.sum().item() == pytest.approx(6391.141, rel=1e-5)


def test_panoptic_by_hand() -> None:
    """Things 0; stuff 1 twice, which merges; a hidden query; "no object"; an unsure one."""
    rows = [slice(0, 1), slice(1, 2), slice(2, 3), slice(0, 1), slice(3, 4), slice(3, 4)]
    output = predictions([0, 1, 1, 2, 3, 0], rows)
    output.class_logits[0, 3, 2] = 4.0  # confident (0.95), but query 0 wins all of its pixels
    output.class_logits[0, 5, 0] = 2.0  # 0.71 < 0.8
    result = panoptic_inference(output, *SQUARE, things={0})[0]
    assert result.segments == [Segment(1, 0, True), Segment(2, 1, False)]
    assert result.ids[:, 0].tolist() == [1, 2, 2, 0]

    apart = panoptic_inference(output, *SQUARE, things={0, 1})[0]
    assert apart.ids[:, 0].tolist() == [1, 2, 3, 0]
    assert apart.segments[2] == Segment(3, 1, True)


def test_panoptic_rejects_what_is_mostly_covered() -> None:
    output = predictions([0, 2], [slice(0, 2), slice(0, 4)])
    output.class_logits[0, 1, 2] = 5.0
    covered = panoptic_inference(output, *SQUARE, things={0})[0]  # keeps 2 of its 4 rows
    assert covered.segments == [Segment(1, 0, True)]
    assert covered.ids[:, 3].tolist() == [1, 1, 0, 0]
    half = panoptic_inference(output, *SQUARE, things={0}, overlap_threshold=0.5)[0]
    assert half.ids[:, 3].tolist() == [1, 1, 2, 2]


def test_panoptic_weighs_all_that_a_query_wins_but_keeps_what_lies_in_its_mask() -> None:
    """Query 0 loses half of its mask to query 1, and wins twice as much where nobody's mask is."""
    output = predictions([0, 2], [slice(0, 2), slice(1, 2)])
    output.mask_logits[0, 0, 2:], output.mask_logits[0, 1, 1] = -1.0, 9.0
    result = panoptic_inference(output, *SQUARE, things={0})[0]
    assert result.ids[:, 0].tolist() == [1, 2, 0, 0]


def test_the_edges_of_masks_and_of_confidence() -> None:
    """A probability of one half is inside a panoptic mask and outside an instance's; a query that is as sure
    as the threshold is not sure enough."""
    output = predictions([0], [slice(0, 1)])
    output.mask_logits[0, 0, 1] = 0.0
    assert panoptic_inference(output, *SQUARE, things={0})[0].ids[:, 0].tolist() == [1, 1, 0, 0]
    instance = instance_inference(output, *SQUARE, top=1)[0]
    assert instance.masks[0, :, 0].tolist() == [True, False, False, False]
    score = output.class_logits.softmax(-1).max().item()
    assert panoptic_inference(output, *SQUARE, things={0}, object_threshold=score)[0].segments == []


def test_panoptic_of_nothing() -> None:
    result = panoptic_inference(predictions([3, 3], [slice(0, 2), slice(2, 4)]), *SQUARE, things={0})[0]
    assert result.segments == [] and result.ids.tolist() == [[0] * 4] * 4


def test_panoptic_golden() -> None:
    output, data = golden()
    result = panoptic_inference(output, *GOLDEN_SIZES, things=range(80))[0]
    assert (result.ids.numpy() == data["panoptic"]).mean() == 1.0
    assert [s.label for s in result.segments] == [100, 76, 129, 17, 37, 84, 131, 7, 22, 108, 97]
    assert [[s.id, s.label, s.is_thing] for s in result.segments] == data["segments"].tolist()


def test_instances_by_hand() -> None:
    """One query may give several classes; the mean sigmoid inside the mask scales the score."""
    output = predictions([0, 2], [slice(0, 1), slice(1, 4)], sure=2.0)
    result = instance_inference(output, *SQUARE, top=3)[0]
    sure = np.exp(2.0) / (np.exp(2.0) + 3)
    inside = 1 / (1 + np.exp(-5.0))
    assert sorted(result.scores.tolist())[1:] == pytest.approx([sure * inside] * 2, abs=1e-5)
    assert sorted(zip(result.labels.tolist(), result.masks.sum((1, 2)).tolist(), strict=True))[-1] == (2, 12)
    assert len(result.labels) == 3

    things = instance_inference(output, *SQUARE, top=100, things={2})[0]
    assert things.labels.tolist() == [2, 2]
    assert things.scores.max().item() == pytest.approx(sure * inside, abs=1e-5)


def test_instances_golden() -> None:
    output, data = golden()
    result = instance_inference(output, *GOLDEN_SIZES, top=20, things=range(80))[0]
    order, expected = result.scores.argsort().numpy(), data["instance_scores"].argsort()
    assert result.scores.numpy()[order] == pytest.approx(data["instance_scores"][expected], abs=1e-5)
    assert result.labels.numpy()[order].tolist() == data["instance_labels"][expected].tolist()
    assert result.masks.sum((1, 2)).numpy()[order].tolist() == data["instance_areas"][expected].tolist()


@pytest.mark.parametrize("masks_first", [False, True])
@pytest.mark.parametrize("at_once", [1, 3, 16])
def test_semantic_map_is_the_argmax_of_the_scores(masks_first, at_once):
    generator = torch.Generator().manual_seed(0)
    output = SegmentationOutput(
        3 * torch.randn(2, 9, 8, generator=generator), 4 * torch.randn(2, 9, 16, 24, generator=generator)
    )
    sizes = (64, 96), (50, 90), (70, 110)
    wanted = semantic_inference(output, *sizes, masks_first=masks_first).argmax(1)
    found = semantic_map(output, *sizes, masks_first=masks_first, at_once=at_once)
    assert found.dtype == torch.int64 and wanted.unique().numel() > 3
    assert torch.equal(found, wanted)
