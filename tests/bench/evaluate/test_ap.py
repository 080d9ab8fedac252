"""AP: worked examples, and pycocotools called through its own files."""

import contextlib
import io
import json
import math
import random

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.evaluate import MaskAP
from bench.evaluate.ap_image import annotation, encode
from models.inference import Instances

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def boxes(*corners, size=(40, 60)):
    """Masks [N, H, W] of rectangles (top, left, bottom, right)."""
    masks = torch.zeros(len(corners), *size, dtype=torch.bool)
    for mask, (top, left, bottom, right) in zip(masks, corners, strict=True):
        mask[top:bottom, left:right] = True
    return masks


def found(masks, labels, scores):
    return Instances(masks, torch.tensor(labels), torch.tensor(scores))


def test_everything_found():
    masks = boxes((0, 0, 10, 10), (20, 20, 30, 50))
    precision = MaskAP(3)
    precision.add(torch.tensor([0, 2]), masks, found(masks, [0, 2], [0.9, 0.8]))
    scores = precision.scores()
    assert [scores[name] for name in ("AP", "AP50", "APs")] == pytest.approx([100, 100, 100])
    assert scores["per_class"][0] == pytest.approx(100) and math.isnan(scores["per_class"][1])
    assert math.isnan(scores["APl"])


def test_half_of_the_thresholds():
    """IoU 0.72: right for 0.5 .. 0.7, which is 5 of 10 thresholds, and wrong for the others."""
    precision = MaskAP(1)
    truth = boxes((0, 0, 10, 50))
    precision.add(torch.tensor([0]), truth, found(boxes((0, 0, 10, 36)), [0], [0.6]))
    scores = precision.scores()
    assert scores["AP"] == pytest.approx(50) and scores["AP50"] == pytest.approx(100)
    assert scores["AP75"] == pytest.approx(0, abs=1e-9)


def test_a_false_positive_above_the_true_one():
    precision = MaskAP(1)
    masks = boxes((0, 0, 10, 10), (20, 0, 30, 10))
    precision.add(torch.tensor([0]), masks[:1], found(masks, [0, 0], [0.5, 0.9]))
    assert precision.scores()["AP"] == pytest.approx(50)


def test_nothing_found_and_nothing_there():
    nothing = found(boxes(), [], [])
    precision = MaskAP(2)
    precision.add(torch.tensor([1]), boxes((0, 0, 5, 5)), nothing)
    assert precision.scores()["AP"] == 0.0
    empty = MaskAP(2)
    empty.add(torch.tensor([], dtype=torch.int64), boxes(), nothing)
    assert math.isnan(empty.scores()["AP"])


def test_masks_of_another_size():
    with pytest.raises(ValueError, match=r"\(40, 60\), true ones \(40, 61\)"):
        MaskAP(1).add(torch.tensor([0]), boxes((0, 0, 5, 5), size=(40, 61)), found(boxes(), [], []))


def scenes(images=12):
    """True labels, masks, what was found, crowds and areas of generated images; scores have few values, so
    many are equal."""
    generator = torch.Generator().manual_seed(3)
    for _ in range(images):
        corners = torch.randint(0, 30, (8, 2), generator=generator)
        sides = torch.randint(6, 40, (8, 2), generator=generator)
        rectangles = torch.cat([corners, corners + sides], 1).tolist()
        truth = boxes(*rectangles, size=(60, 80))
        moved = boxes(*[(t + 1, le, b + 2, r + 1) for t, le, b, r in rectangles * 2], size=(60, 80))
        labels = torch.randint(0, 3, (8,), generator=generator)
        guesses = torch.where(torch.rand(16, generator=generator) < 0.7, labels.repeat(2), 0)
        scores = torch.randint(1, 9, (16,), generator=generator) / 8
        crowd = torch.rand(8, generator=generator) < 0.25
        areas = truth.sum((1, 2)) * (0.8 + 0.4 * torch.rand(8, generator=generator))
        yield labels, truth, Instances(moved, guesses, scores), crowd, areas


def test_against_pycocotools_with_files(tmp_path):
    """With crowds, and areas that are not those of the masks, as polygons' are not."""
    precision, truths, results, images = MaskAP(3), [], [], []
    for image, (labels, truth, guessed, crowd, areas) in enumerate(scenes(), start=1):
        precision.add(labels, truth, guessed, crowd, areas, image)
        images.append({"id": image, "height": 60, "width": 80})
        listed = zip(plain(truth), labels.tolist(), crowd.tolist(), areas.tolist(), strict=True)
        for mask, label, is_crowd, area in listed:
            record = annotation(len(truths) + 1, image, label, mask)
            truths.append({**record, "iscrowd": int(is_crowd), "area": area})
        listed = zip(plain(guessed.masks), guessed.labels.tolist(), guessed.scores.tolist(), strict=True)
        results += [
            {"image_id": image, "category_id": label, "segmentation": mask, "score": score}
            for mask, label, score in listed
        ]
    categories = [{"id": i, "name": str(i)} for i in range(3)]
    file = tmp_path / "truth.json"
    file.write_text(json.dumps({"images": images, "categories": categories, "annotations": truths}))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(file))
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    scores = precision.scores()
    for name, value in zip(NAMES, evaluation.stats, strict=False):
        assert scores[name] == 100 * value or value == -1, name
    assert all(5 < scores[name] < 95 for name in ("AP", "APs", "APm")) and math.isnan(scores["APl"])


def plain(masks):
    """Run-length codes that JSON can hold."""
    return [{"size": code["size"], "counts": code["counts"].decode()} for code in encode(masks)]


def test_a_crowd_takes_any_number_and_need_not_be_found():
    crowd, alone = (0, 0, 30, 60), (32, 0, 38, 10)
    truth = boxes(crowd, alone)
    inside = boxes(alone, (0, 0, 9, 9), (10, 10, 20, 20), (12, 30, 25, 50))
    precision = MaskAP(1)
    precision.add(
        torch.tensor([0, 0]), truth, found(inside, [0] * 4, [0.1, 0.9, 0.8, 0.7]), crowd=[True, False]
    )
    assert precision.scores()["AP"] == pytest.approx(100)
    strict = MaskAP(1)
    strict.add(torch.tensor([0, 0]), truth, found(inside, [0] * 4, [0.1, 0.9, 0.8, 0.7]))
    assert strict.scores()["AP"] < 20


def test_areas_say_which_size_a_mask_has():
    masks = boxes((0, 0, 10, 10))
    precision = MaskAP(1)
    precision.add(torch.tensor([0]), masks, found(masks, [0], [0.9]), areas=[2000.0])
    scores = precision.scores()
    assert scores["APm"] == pytest.approx(100) and math.isnan(scores["APs"])


@pytest.mark.parametrize("boundary", [False, True])
def test_tallies_in_any_order(boundary):
    """Through JSON, shuffled, into another object: the same scores to the last digit, with equal scores of
    predictions too."""
    whole, merged = (MaskAP(3, boundary, ratio=0.1) for _ in range(2))
    tallies = []
    for image, (labels, truth, guessed, crowd, areas) in enumerate(scenes()):
        whole.add(labels, truth, guessed, crowd, areas)
        tallies.append(json.dumps(merged.tally(labels, truth, guessed, crowd, areas, image)))
    random.Random(2).shuffle(tallies)
    for tally in tallies:
        merged.merge(json.loads(tally))
    first, second = whole.scores(), merged.scores()
    assert 5 < first["AP"] < 95 and str(first) == str(second)
    with pytest.raises(ValueError, match="image 3 was added before"):
        merged.merge(json.loads(tallies[0]) | {"image": 3})


def test_wrong_input_is_told():
    masks = boxes((0, 0, 5, 5))
    one = torch.tensor([0]), masks, found(masks, [0], [0.5])
    with pytest.raises(ValueError, match="crowd has 2 values for 1 true masks"):
        MaskAP(1).add(*one, crowd=[True, False])
    with pytest.raises(ValueError, match=r"classes are 0 to 0, not \[3\]"):
        MaskAP(1).add(torch.tensor([3]), *one[1:])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_told(bad):
    """A nan is sorted anywhere, and JSON has none."""
    masks, one = boxes((0, 0, 10, 10)), torch.tensor([0])
    with pytest.raises(ValueError, match="scores are not all finite"):
        MaskAP(1).add(one, masks, found(masks, [0], [bad]))
    with pytest.raises(ValueError, match="areas are not all finite"):
        MaskAP(1).add(one, masks, found(masks, [0], [0.5]), areas=[bad])


@pytest.mark.parametrize("boundary", [False, True])
def test_masks_without_a_pixel_and_images_of_crowds_alone(boundary):
    empty, one = boxes((0, 0, 0, 0)), torch.tensor([0])
    precision = MaskAP(1, boundary)
    precision.add(one, empty, found(empty, [0], [0.5]))
    assert precision.scores()["AP"] == 0
    precision = MaskAP(1, boundary)
    masks = boxes((0, 0, 20, 20))
    precision.add(one, masks, found(masks, [0], [0.5]), crowd=[True])
    assert math.isnan(precision.scores()["AP"])  # there is nothing that must be found
