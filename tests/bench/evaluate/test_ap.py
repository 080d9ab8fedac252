"""AP: worked examples, and pycocotools called through its own files."""

import contextlib
import io
import json
import math

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.evaluate import MaskAP
from bench.evaluate.ap import annotation, encode
from models.inference import Instances


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


def test_against_pycocotools_with_files(tmp_path):
    generator = torch.Generator().manual_seed(3)
    precision, truths, results, images = MaskAP(3), [], [], []
    for image in range(1, 6):
        corners = torch.randint(0, 30, (8, 2), generator=generator)
        sides = torch.randint(6, 30, (8, 2), generator=generator)
        rectangles = torch.cat([corners, corners + sides], 1).tolist()
        truth = boxes(*rectangles)
        moved = boxes(*[(t + 1, le, b + 2, r + 1) for t, le, b, r in rectangles])
        labels = torch.randint(0, 3, (8,), generator=generator)
        guesses = torch.where(torch.rand(8, generator=generator) < 0.7, labels, 0)
        scores = torch.rand(8, generator=generator)
        precision.add(labels, truth, Instances(moved, guesses, scores))
        images.append({"id": image, "height": 40, "width": 60})
        for mask, label in zip(plain(truth), labels.tolist(), strict=True):
            truths.append(annotation(len(truths) + 1, image, label, mask))
        for mask, label, score in zip(plain(moved), guesses.tolist(), scores.tolist(), strict=True):
            record = {"image_id": image, "category_id": label, "segmentation": mask, "score": score}
            results.append(record)
    categories = [{"id": i, "name": str(i)} for i in range(3)]
    file = tmp_path / "truth.json"
    file.write_text(json.dumps({"images": images, "categories": categories, "annotations": truths}))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(file))
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    scores = precision.scores()
    for name, value in zip(("AP", "AP50", "AP75", "APs"), evaluation.stats, strict=False):
        assert scores[name] == pytest.approx(100 * value, abs=1e-9), name
    assert 5 < scores["AP"] < 95 and math.isnan(scores["APm"])


def plain(masks):
    """Run-length codes that JSON can hold."""
    return [{"size": code["size"], "counts": code["counts"].decode()} for code in encode(masks)]
