"""DETR's inference against a slow plain one, and the cases that its rules are for."""

import numpy as np
import pytest
import torch
from PIL import Image

from models.inference import Frame
from models.inference.detr import DETRInferenceSpec
from models.outputs import BoxOutput

IDS = torch.tensor([3, 0, 4, 1])  # columns of four classes, of six
THINGS = (0, 1)


def random_output(seed, sigmoid=False, queries=12):
    """Confident queries with smooth masks, some of them faint, so that segments vanish and merge."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, queries, 6 if sigmoid else 7, generator=generator)
    best = torch.randint(0, logits.shape[-1], (2, queries, 1), generator=generator)
    logits.scatter_add_(2, best, 10 * torch.rand(2, queries, 1, generator=generator))
    coarse = 3 * torch.randn(2, queries, 4, 5, generator=generator)
    masks = torch.nn.functional.interpolate(coarse, (12, 15), mode="bicubic")
    masks = masks + 0.5 * torch.randn(masks.shape, generator=generator)
    masks -= 6 * torch.rand(2, queries, 1, 1, generator=generator)
    return BoxOutput(
        logits, masks, boxes=torch.rand(2, queries, 4, generator=generator), class_ids=IDS, sigmoid=sigmoid
    )


def full_size(masks, frame):
    full = torch.nn.functional.interpolate(masks[:, None], frame.padded_size, mode="bilinear")[:, 0]
    return full[:, : frame.image_size[0], : frame.image_size[1]]


def plain_panoptic(logits, masks, frame, threshold, smallest):
    """One image, as the released code goes about it: ids from 0, pixels in loops, Pillow for the resizing."""
    probabilities = logits.softmax(-1)
    column_class = {int(column): k for k, column in enumerate(IDS)}
    kept = []
    for query, scores in enumerate(probabilities):
        column = int(scores.argmax())
        if column in column_class and scores[column] > threshold:
            kept.append((column_class[column], query))
    classes, full = [label for label, _ in kept], full_size(masks, frame)[[query for _, query in kept]]
    first = True
    while True:
        height, width = frame.image_size
        ids = np.zeros((height, width), np.int32)
        for y in range(height):
            for x in range(width):
                ids[y, x] = int(full[:, y, x].argmax()) if len(full) else 0
                label = classes[ids[y, x]] if classes else 0
                if first and classes and label not in THINGS:
                    ids[y, x] = classes.index(label)
        size = frame.output_size[::-1]
        ids = np.asarray(Image.fromarray(ids).resize(size, Image.Resampling.NEAREST))
        areas = [int((ids == i).sum()) for i in range(len(classes))]
        large = [area > smallest for area in areas]
        if all(large):
            return ids, classes
        classes = [label for label, stays in zip(classes, large, strict=True) if stays]
        full, first = full[large], False


@pytest.mark.parametrize("smallest", [4, 40])
@pytest.mark.parametrize("size", [(24, 29), (17, 41), (60, 55)])
def test_panoptic_equals_the_plain_one(size, smallest):
    inference = DETRInferenceSpec(threshold=0.5, smallest=smallest).build()
    frame = Frame((26, 31), (24, 29), size)
    vanished = merged = 0
    for seed in range(3):
        output = random_output(seed)
        results = inference.panoptic(output, frame, THINGS)
        for image, result in enumerate(results):
            logits, masks = output.class_logits[image], output.mask_logits[image]
            ids, classes = plain_panoptic(logits, masks, frame, 0.5, smallest)
            assert [segment.label for segment in result.segments] == classes
            assert [segment.id for segment in result.segments] == list(range(1, len(classes) + 1))
            assert [segment.is_thing for segment in result.segments] == [c in THINGS for c in classes]
            assert result.ids.dtype == torch.int32
            assert np.array_equal(result.ids.numpy(), ids + 1 if classes else ids)
            scores, labels = output.best()
            confident = labels[image][(scores[image] > 0.5) & (labels[image] >= 0)].tolist()
            vanished += len(confident) - len(classes)
            merged += len(confident) > len(set(confident))
    assert vanished and merged


def blocks(*boxes):
    """Mask logits [1, N, 8, 8]: 5 inside (top, left, bottom, right), -5 outside."""
    masks = torch.full((1, len(boxes), 8, 8), -5.0)
    for i, (top, left, bottom, right) in enumerate(boxes):
        masks[0, i, top:bottom, left:right] = 5.0
    return masks


def sure(*columns):
    logits = torch.zeros(1, len(columns), 7)
    for i, column in enumerate(columns):
        logits[0, i, column] = 9.0
    return logits


FRAME = Frame((8, 8), (8, 8), (8, 8))


def test_stuff_merges_things_do_not_and_no_pixel_stays_empty():
    masks = blocks((0, 0, 8, 2), (0, 2, 8, 4), (0, 4, 8, 6), (0, 6, 8, 7))
    inference = DETRInferenceSpec(smallest=0).build()
    (things,) = inference.panoptic(BoxOutput(sure(0, 0, 3, 6), masks, class_ids=IDS), FRAME, THINGS)
    found = [(segment.id, segment.label, segment.is_thing) for segment in things.segments]
    assert found == [(1, 1, True), (2, 1, True), (3, 0, True)]
    assert things.ids.min() == 1
    # Two of one stuff class: the second lends its pixels to the first, is then too small, and the pixels are
    # given out anew without it.
    (stuff,) = inference.panoptic(BoxOutput(sure(4, 4, 3), masks[:, :3], class_ids=IDS), FRAME, THINGS)
    assert [segment.label for segment in stuff.segments] == [2, 0]
    assert stuff.ids[0].tolist() == [1, 1, 1, 1, 2, 2, 1, 1]


def test_small_segments_and_unsure_queries_vanish():
    masks = blocks((0, 0, 8, 8), (0, 0, 2, 2), (4, 4, 6, 7))
    masks[0, 1:] += 1
    output = BoxOutput(sure(3, 0, 0), masks, class_ids=IDS)
    (result,) = DETRInferenceSpec().build().panoptic(output, FRAME, THINGS)
    assert [segment.label for segment in result.segments] == [0, 1]
    assert result.ids[0, 0] == 1 and (result.ids == 2).sum() == 6
    output.class_logits = output.class_logits / 9  # no query is as sure as 0.85
    (result,) = DETRInferenceSpec().build().panoptic(output, FRAME, THINGS)
    assert result.segments == [] and not result.ids.any()


@pytest.mark.parametrize("things", [None, THINGS])
def test_instances_one_a_query(things):
    output, frame = random_output(4), Frame((26, 31), (24, 29), (40, 33))
    for image, found in enumerate(DETRInferenceSpec().build().instances(output, frame, things)):
        probabilities = output.class_logits[image].softmax(-1)
        row = 0
        for query in range(12):
            scores = [probabilities[query, column].item() for column in IDS]
            label = max(range(4), key=scores.__getitem__)
            if things is not None and label not in things:
                continue
            assert found.labels[row] == label
            assert found.scores[row].item() == pytest.approx(scores[label], abs=1e-6)
            inside = full_size(output.mask_logits[image, query][None], frame) > 0
            expected = torch.nn.functional.interpolate(inside[None].float(), (40, 33))[0, 0].bool()
            assert torch.equal(found.masks[row], expected)
            row += 1
        assert row == len(found.masks)


def test_instances_of_sigmoid_scores_are_the_best_pairs():
    output = random_output(5, sigmoid=True)
    for image, found in enumerate(DETRInferenceSpec(top=9).build().instances(output, FRAME, THINGS)):
        scores = output.class_logits[image].sigmoid()[:, IDS]
        pairs = sorted(((scores[q, k].item(), k, q) for q in range(12) for k in range(4)), reverse=True)[:9]
        expected = [(score, k, q) for score, k, q in pairs if k in THINGS]
        assert found.labels.tolist() == [k for _, k, _ in expected]
        assert found.scores.tolist() == pytest.approx([score for score, _, _ in expected])
        for mask, (_, _, query) in zip(found.masks, expected, strict=True):
            assert torch.equal(mask, full_size(output.mask_logits[image, query][None], FRAME)[0] > 0)


def test_panoptic_of_sigmoid_scores():
    masks = blocks((0, 0, 8, 4), (0, 4, 8, 8))
    logits = torch.full((1, 2, 6), -3.0)
    logits[0, 0, 4] = logits[0, 1, 3] = 1.0
    output = BoxOutput(logits, masks, class_ids=IDS, sigmoid=True)
    (result,) = DETRInferenceSpec(threshold=0.5).build().panoptic(output, FRAME, THINGS)
    assert [(s.label, s.is_thing) for s in result.segments] == [(2, False), (0, True)]
    assert result.ids[0].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]


def test_without_masks_there_is_nothing_to_give():
    output, inference = BoxOutput(sure(0), None, class_ids=IDS), DETRInferenceSpec().build()
    for give in (inference.panoptic, inference.instances):
        with pytest.raises(ValueError, match="its model is without a mask head"):
            give(output, FRAME, THINGS)
    with pytest.raises(NotImplementedError, match="gives no semantic maps"):
        inference.semantic(output, FRAME)
