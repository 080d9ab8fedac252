"""Mask-wise merging and what it is compared with: by hand, and against the released Panoptic SegFormer."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.inference import (
    PIXEL_ARGMAX_WEIGHTED,
    Frame,
    HeuristicSpec,
    MaskClassificationSpec,
    MaskWiseSpec,
    PixelArgmaxSpec,
    Segment,
    mask_wise_merging,
)
from models.inference.candidates import candidates
from models.inference.mask_wise import mask_quality
from models.outputs import BoxOutput, SegmentationOutput
from models.panoptic_output import Location, MaskDecoding, PanopticSegFormerOutput

GOLDEN = Path(__file__).parents[1] / "golden" / "postprocess_panoptic_segformer.npz"
GOLDEN_FRAME = Frame((160, 216), (160, 216), (150, 205))
FRAME = Frame((4, 4), (4, 4), (4, 4))
MERGERS = [MaskWiseSpec(), PixelArgmaxSpec(), PIXEL_ARGMAX_WEIGHTED, HeuristicSpec(stuff_area=1)]


def psf_output(scores, labels, thing_masks, stuff_scores, stuff_masks, things):
    """An output in evaluation mode: scores [S], labels [S], masks [S, h, w], and of stuff the same."""
    stuff = torch.as_tensor(stuff_scores).float()
    return PanopticSegFormerOutput(
        [Location(torch.zeros(1, 5, things), torch.zeros(1, 5, 4))],
        MaskDecoding([stuff_masks[None]], class_logits=[stuff.logit()[None, :, None]]),
        MaskDecoding([thing_masks[None]]),
        torch.zeros(1, len(labels), dtype=torch.int64),
        torch.as_tensor(labels, dtype=torch.int64)[None],
        torch.as_tensor(scores).float()[None],
    )


def rows(*bands, value=1.0):
    """Masks [N, 4, 4] with some of their rows set."""
    masks = torch.zeros(len(bands), 4, 4)
    for mask, band in zip(masks, bands, strict=True):
        mask[band] = value
    return masks


def released() -> tuple[PanopticSegFormerOutput, dict[str, np.ndarray]]:
    """40 things and 20 stuff queries of random predictions that the released code (cdb9b68) merged; others
    stayed below t_cnf and below the best 40 instances."""
    data = dict(np.load(GOLDEN))
    stuff_masks, stuff_logits = torch.zeros(53, 20, 27), torch.full((53,), -20.0)
    which = torch.from_numpy(data["stuff_labels"].astype(np.int64)) - 80
    stuff_masks[which] = torch.from_numpy(data["stuff_masks"])
    stuff_logits[which] = torch.from_numpy(data["stuff_logits"])
    output = psf_output(
        data["thing_scores"],
        data["thing_labels"].astype(np.int64),
        torch.from_numpy(data["thing_masks"]),
        stuff_logits.sigmoid(),
        stuff_masks,
        80,
    )
    return output, data


# COCO's category ids of the segments in the golden map, by contiguous class.
CATEGORIES = {11: 13, 22: 24, 35: 40, 38: 43, 69: 79, 97: 145, 104: 156, 113: 178}


def test_panoptic_map_is_the_released_one():
    output, data = released()
    (found,) = MaskWiseSpec().build().panoptic(output, GOLDEN_FRAME, range(80))
    assert [segment.label for segment in found.segments] == [104, 38, 97, 35, 11, 35, 113, 69, 22]
    ids, things = found.ids.numpy(), 0
    categories, instances = np.zeros_like(data["categories"]), np.zeros_like(data["instances"])
    for segment in found.segments:
        assert segment.is_thing == (segment.label < 80)
        things += segment.is_thing
        categories[ids == segment.id] = CATEGORIES[segment.label]
        instances[ids == segment.id] = things if segment.is_thing else 0
    np.testing.assert_array_equal(categories, data["categories"])
    np.testing.assert_array_equal(instances, data["instances"])


def test_instances_are_the_released_ones():
    output, data = released()
    (found,) = MaskWiseSpec(top=40).build().instances(output, GOLDEN_FRAME, range(80))
    np.testing.assert_array_equal(found.labels.numpy(), data["instance_labels"])
    np.testing.assert_allclose(found.scores.numpy(), data["instance_scores"], atol=1e-5, rtol=0)
    masks = np.unpackbits(data["instance_masks"], axis=1)[:, : 150 * 205].reshape(40, 150, 205)
    np.testing.assert_array_equal(found.masks.numpy(), masks.astype(bool))


def test_better_masks_paint_first_and_enough_must_be_left():
    masks = rows(slice(0, 2), slice(1, 4), slice(0, 3)).bool()
    scores, labels = torch.tensor([0.5, 0.9, 0.8]), torch.tensor([0, 1, 2])
    found = mask_wise_merging(scores, labels, masks, {0, 1, 2}, (0.5, 0.5))
    # The best takes rows 1 to 3; a third of the second and a half of the third mask is left, row 0.
    assert found.segments == [Segment(1, 1, True), Segment(2, 0, True)]
    assert found.ids[:, 0].tolist() == [2, 1, 1, 1]
    found = mask_wise_merging(scores, labels, masks, {0, 1, 2}, (0.51, 0.5))
    assert found.segments == [Segment(1, 1, True)]
    found = mask_wise_merging(scores, labels, masks, {0, 1, 2}, (0.3, 0.5))
    assert found.segments == [Segment(1, 1, True), Segment(2, 2, True)]
    assert found.ids[:, 0].tolist() == [2, 1, 1, 1]


def test_t_keep_of_things_and_stuff_and_stuff_of_a_class_is_one():
    masks = rows(slice(0, 1), slice(0, 2), slice(2, 4)).bool()
    scores, labels = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 1])
    found = mask_wise_merging(scores, labels, masks, {0}, (0.6, 0.5))
    assert found.segments == [Segment(1, 0, True), Segment(2, 1, False)]
    assert found.ids[:, 3].tolist() == [1, 2, 2, 2]
    found = mask_wise_merging(scores, labels, masks, {0}, (0.5, 0.6))
    assert found.ids[:, 3].tolist() == [1, 0, 2, 2]


def test_quality_by_equation_6():
    masks = torch.tensor([[[0.6, 0.8], [0.4, 0.0]], [[0.1, 0.0], [0.0, 0.2]]])
    inside = masks > 0.5
    assert mask_quality(masks, inside).tolist() == pytest.approx([1.4 / 3, 0])
    assert mask_quality(masks, inside, "mean").tolist() == pytest.approx([0.7, 0])


@pytest.mark.parametrize(
    ("alpha", "beta", "expected"), [(1, 2, 0.5 * 0.64), (1, 0, 0.5), (0, 1, 0.8), (2, 1, 0.2)]
)
def test_confidence_weighs_class_and_mask(alpha, beta, expected):
    output = psf_output([0.5], [1], rows(slice(0, 2), value=0.8), [], torch.zeros(0, 4, 4), 3)
    spec = MaskWiseSpec(alpha=float(alpha), beta=float(beta), average="mean")
    (found,) = spec.build().instances(output, FRAME)
    assert found.scores.tolist() == pytest.approx([expected])
    assert found.masks[0, :, 0].tolist() == [True, True, False, False]
    for limit, segments in ((expected - 1e-4, 1), (expected + 1e-4, 0)):
        merge = spec.override({"confidence_things": limit}).build()
        assert len(merge.panoptic(output, FRAME, range(3))[0].segments) == segments


def test_stuff_has_its_own_confidence():
    output = psf_output([0.5], [1], rows(slice(0, 2)), [0.5], rows(slice(2, 4)), 3)
    spec = MaskWiseSpec(average="mean", confidence_things=0.4, confidence_stuff=0.6)
    (found,) = spec.build().panoptic(output, FRAME, range(3))
    assert found.segments == [Segment(1, 1, True)]
    (found,) = spec.override({"confidence_stuff": 0.4}).build().panoptic(output, FRAME, range(3))
    assert found.segments == [Segment(1, 1, True), Segment(2, 3, False)]


def test_semantic_scores_take_the_best_candidate_of_a_class():
    output = psf_output([0.5, 0.9], [1, 1], rows(slice(0, 2), slice(0, 1)), [0.4], rows(slice(1, 4)), 2)
    scores = MaskWiseSpec(average="mean").build().semantic(output, FRAME)
    assert scores.shape == (1, 3, 4, 4)
    assert scores[0, 1, :, 2].tolist() == pytest.approx([0.9, 0.5, 0, 0])
    assert scores[0, 2, :, 2].tolist() == pytest.approx([0, 0.4, 0.4, 0.4])
    assert float(scores[0, 0].abs().max()) == 0


def mask_classification(queries: int = 12, seed: int = 0) -> SegmentationOutput:
    """Random predictions of a system with a softmax: 4 classes, 8 x 8 masks, in a batch of 2."""
    source = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(2, queries, 5, generator=source)
    return SegmentationOutput(logits, 3 * torch.randn(2, queries, 8, 8, generator=source))


def test_pixel_argmax_weighted_is_maskformers():
    """(p*) is what the released MaskFormer does: mask_classification with the same thresholds."""
    frame = Frame((32, 32), (30, 31), (25, 40))
    segments = 0
    for seed in range(5):
        output = mask_classification(seed=seed)
        spec = PIXEL_ARGMAX_WEIGHTED.override({"confidence": 0.6, "keep": 0.3})
        ours = spec.build().panoptic(output, frame, {0, 1})
        other = MaskClassificationSpec(object_threshold=0.6, overlap_threshold=0.3).build()
        for found, expected in zip(ours, other.panoptic(output, frame, {0, 1}), strict=True):
            assert found.segments == expected.segments
            assert torch.equal(found.ids, expected.ids)
            segments += len(found.segments)
    assert segments > 20


def test_pixel_argmax_looks_at_the_masks_alone():
    """A sure query with a faint mask loses to an unsure one; all pixels go to someone (Figure 4, B.1)."""
    masks = torch.cat([rows(slice(0, 4), value=0.8), rows(slice(2, 4), value=0.9)])
    output = psf_output([0.9, 0.3], [0, 1], masks, [], torch.zeros(0, 4, 4), 2)
    (found,) = PixelArgmaxSpec().build().panoptic(output, FRAME, {0, 1})
    assert found.ids[:, 0].tolist() == [1, 1, 2, 2]
    (found,) = PixelArgmaxSpec(by_class=True).build().panoptic(output, FRAME, {0, 1})
    assert found.ids[:, 0].tolist() == [1, 1, 1, 1]
    output.things.masks[-1] = masks[None] * 0.01
    (found,) = PixelArgmaxSpec().build().panoptic(output, FRAME, {0, 1})
    assert found.ids[:, 0].tolist() == [1, 1, 2, 2]
    (found,) = MaskWiseSpec().build().panoptic(output, FRAME, {0, 1})
    assert found.segments == []


def test_pixel_argmax_gives_small_segments_to_the_others():
    masks = torch.stack([torch.full((4, 4), 0.5), torch.zeros(4, 4)])
    masks[1, 0, :3] = 0.9
    output = psf_output([0.9, 0.9], [0, 1], masks, [], torch.zeros(0, 4, 4), 2)
    (found,) = PixelArgmaxSpec(min_area=3).build().panoptic(output, FRAME, {0, 1})
    assert found.segments == [Segment(1, 0, True)] and found.ids.unique().tolist() == [1]
    (found,) = PixelArgmaxSpec(min_area=2).build().panoptic(output, FRAME, {0, 1})
    assert found.ids[0].tolist() == [2, 2, 2, 1]


def test_heuristic_prefers_things_and_drops_small_stuff():
    output = psf_output([0.6, 0.4], [0, 1], rows(slice(0, 2), slice(0, 4)), [0.99, 0.5],
                        rows(slice(0, 3), slice(1, 4)), 2)  # fmt: skip
    (found,) = HeuristicSpec(stuff_area=4).build().panoptic(output, FRAME, {0, 1})
    # The second thing is not confident enough; the first stuff wins row 2 from the second, but not rows 0, 1.
    assert found.segments == [Segment(1, 0, True), Segment(2, 2, False), Segment(3, 3, False)]
    assert found.ids[:, 1].tolist() == [1, 1, 2, 3]
    (found,) = HeuristicSpec(stuff_area=5).build().panoptic(output, FRAME, {0, 1})
    assert found.ids[:, 1].tolist() == [1, 1, 0, 0]
    (found,) = HeuristicSpec(stuff_area=4, confidence=0.3, keep=0.5).build().panoptic(output, FRAME, {0, 1})
    assert found.ids[:, 1].tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("spec", MERGERS, ids=lambda spec: spec.part)
@pytest.mark.parametrize("output", ["mask_classification", "panoptic_segformer", "detr"])
def test_maps_and_segments_agree(spec, output):
    """On any output ids are 1..n without gaps, every segment has pixels, and stuff classes come once."""
    made = mask_classification(seed=3)
    if output == "panoptic_segformer":
        source = torch.Generator().manual_seed(1)
        made = psf_output(
            torch.rand(9, generator=source), torch.arange(9) % 2, 2 * torch.rand(9, 5, 6, generator=source),
            torch.rand(2, generator=source), 2 * torch.rand(2, 5, 6, generator=source), 2,
        )  # fmt: skip
    elif output == "detr":
        made = BoxOutput(made.class_logits, made.mask_logits, boxes=torch.rand(2, 12, 4))
    for found in spec.build().panoptic(made, Frame((40, 48), (37, 48), (19, 23)), {0, 1}):
        assert found.ids.shape == (19, 23) and found.ids.dtype == torch.int32
        numbers = [segment.id for segment in found.segments]
        assert numbers == list(range(1, len(numbers) + 1))
        assert sorted(set(found.ids.unique().tolist()) - {0}) == numbers
        stuff = [segment.label for segment in found.segments if not segment.is_thing]
        assert len(stuff) == len(set(stuff))
        assert all(segment.is_thing == (segment.label < 2) for segment in found.segments)


@pytest.mark.parametrize("spec", MERGERS, ids=lambda spec: spec.part)
@pytest.mark.parametrize(("things", "stuff"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_nothing_or_one_query(spec, things, stuff):
    output = psf_output(
        [0.9] * things, [0] * things, torch.ones(things, 4, 4), [0.9] * stuff, torch.ones(stuff, 4, 4), 1
    )
    (found,) = spec.build().panoptic(output, FRAME, {0})
    assert len(found.segments) == min(1, things + stuff)
    assert found.ids.unique().tolist() == [min(1, things + stuff)]
    empty = psf_output([0.9] * things, [0] * things, torch.zeros(things, 4, 4), [], torch.zeros(0, 4, 4), 1)
    (found,) = spec.build().panoptic(empty, FRAME, {0})
    assert found.segments == [] and int(found.ids.abs().sum()) == 0
    if isinstance(spec, MaskWiseSpec):
        (instances,) = spec.build().instances(output, FRAME)
        assert instances.masks.shape == (things, 4, 4) and len(instances.scores) == things
        assert spec.build().semantic(output, FRAME).shape == (1, 1 + stuff, 4, 4)


def test_masks_without_padding_are_resized_once():
    masks = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0))
    output = psf_output([0.9] * 3, [0] * 3, masks, [], torch.zeros(0, 5, 7), 1)
    (found,) = candidates(output)
    once = torch.nn.functional.interpolate(masks[None], size=(30, 31), mode="bilinear")[0]
    assert torch.equal(found.whole(Frame((37, 50), (37, 50), (30, 31))), once)
    padded = torch.nn.functional.interpolate(masks[None], size=(40, 56), mode="bilinear")
    expected = torch.nn.functional.interpolate(padded[..., :37, :50], size=(30, 31), mode="bilinear")[0]
    assert torch.equal(found.whole(Frame((40, 56), (37, 50), (30, 31))), expected)


def test_columns_that_are_no_class_are_left_out():
    """Of four columns 1 and 3 are classes: queries of the others, or without an object, are left out."""
    logits = 5 * torch.eye(5)[None, [0, 1, 2, 3, 4]]
    output = BoxOutput(logits, torch.arange(5.0)[None, :, None, None].expand(1, 5, 2, 2))
    output.class_ids = torch.tensor([1, 3])
    (found,) = candidates(output)
    assert found.labels.tolist() == [0, 1] and found.num_classes == 2
    assert found.masks[:, 0, 0].tolist() == [1, 3]
    torch.testing.assert_close(found.scores, logits.softmax(-1)[0, 0, :1].expand(2))
    output.class_ids = None
    assert candidates(output)[0].labels.tolist() == [0, 1, 2, 3]


def test_what_is_no_candidate_is_refused():
    output = psf_output([0.9], [0], torch.ones(1, 4, 4), [], torch.zeros(0, 4, 4), 1)
    output.things = None
    with pytest.raises(ValueError, match="training mode, call eval"):
        candidates(output)
    with pytest.raises(TypeError, match="expected a SegmentationOutput or PanopticSegFormerOutput, got dict"):
        candidates({})
    with pytest.raises(ValueError, match="without a mask head"):
        candidates(SegmentationOutput(torch.zeros(1, 2, 3), None))
