"""Boundary metrics against another definition: distances to the nearest pixel outside, pair by pair."""

import json
import math
import random

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from bench.evaluate import MaskAP, PanopticQuality, pq_compute
from bench.evaluate.boundary import band_width, map_band, mask_band
from models.inference import Instances
from tests.bench.evaluate.slow_pq import scene


def distant_band(mask, width):
    """The pixels whose nearest pixel outside mask and image is at most `width` king's moves away."""
    padded = np.pad(mask, 1)
    return mask & (ndimage.distance_transform_cdt(padded, "chessboard")[1:-1, 1:-1] <= width)


def boundary_iou(a, b, width, ignored=None):
    a, b = distant_band(a, width), distant_band(b, width)
    b = b if ignored is None else b & ~ignored
    return (a & b).sum() / (a | b).sum()


def blobs(rng, count, size):
    """Masks [N, H, W] with ragged contours, some across the border, one of them empty."""
    noise = rng.normal(size=(count, *size))
    masks = np.stack([ndimage.gaussian_filter(plane, 4) for plane in noise]) > 0.01
    masks[0] = False
    return masks


def test_band_of_a_square():
    mask = np.zeros((9, 9), dtype=bool)
    mask[2:7, 2:9] = True  # touches the right border
    inner = np.zeros_like(mask)
    inner[3:6, 3:8] = True
    assert (mask_band(mask, 1) == (mask & ~inner)).all()
    assert (mask_band(mask, 3) == mask).all()


def test_width_is_a_fiftieth_of_the_diagonal():
    assert band_width((480, 640)) == 16 and band_width((3, 4)) == 1
    assert band_width((1024, 2048), 0.005) == 11  # Cityscapes
    assert band_width((360, 640)) == 15  # of 14.7


@pytest.mark.parametrize("width", [1, 2, 5])
def test_bands_of_masks_and_maps(width):
    rng = np.random.default_rng(width)
    for mask in blobs(rng, 6, (40, 56)):
        assert (mask_band(mask, width) == distant_band(mask, width)).all()
    truth, *_ = scene(rng, (40, 56), 9, {1: True, 2: False})
    expected = np.zeros(truth.shape, dtype=bool)
    for number in np.unique(truth):
        expected |= distant_band(truth == number, width)
    assert (map_band(truth, width) == expected).all()


def slow_boundary_quality(images, categories, ratio):
    """Per category (iou, tp, fp, fn); each pair of segments is compared on its own masks."""
    totals = {category: [0.0, 0, 0, 0] for category in categories}
    for truth, true, predicted, found in images:
        width, void = max(1, round(ratio * math.hypot(*truth.shape))), truth == 0
        hits = {}
        for p in found:
            for t in true:
                a, b = truth == t["id"], predicted == p["id"]
                if t["category_id"] != p["category_id"] or t["iscrowd"] or not (a & b).any():
                    continue
                whole = (a & b).sum() / (a | (b & ~void)).sum()
                iou = min(whole, boundary_iou(a, b, width, void))
                if iou > 0.5:
                    hits[p["id"]] = t["id"]
                    totals[t["category_id"]][0] += iou
                    totals[t["category_id"]][1] += 1
        crowds = {t["category_id"]: t["id"] for t in true if t["iscrowd"]}
        for t in true:
            totals[t["category_id"]][3] += not t["iscrowd"] and t["id"] not in hits.values()
        for p in found:
            mask = predicted == p["id"]
            free = void | (truth == crowds.get(p["category_id"], -1))
            totals[p["category_id"]][2] += p["id"] not in hits and (mask & free).sum() / mask.sum() <= 0.5
    return totals


@pytest.mark.parametrize("ratio", [0.04, 0.1])
def test_boundary_panoptic_quality(ratio):
    rng, categories = np.random.default_rng(7), {3: True, 7: True, 250: False}
    images = [scene(rng, (60, 84), 9, categories) for _ in range(12)]
    quality, plain = PanopticQuality(categories, boundary=True, ratio=ratio), PanopticQuality(categories)
    for image in images:
        quality.add(*image)
        plain.add(*image)
    totals = slow_boundary_quality(images, categories, ratio).values()
    assert quality.iou == pytest.approx([t[0] for t in totals], abs=1e-12)
    found = (quality.tp.tolist(), quality.fp.tolist(), quality.fn.tolist())
    assert found == tuple([t[i] for t in totals] for i in (1, 2, 3))
    assert 4 < sum(quality.tp) <= sum(plain.tp) and sum(quality.iou) < sum(plain.iou)


def slow_average_precision(images, ratio):
    """AP of one class, without crowds: thresholds, matching and the interpolated curve written out."""
    values = []
    for threshold in np.linspace(0.5, 0.95, 10):
        hits, count = [], 0
        for truths, masks, scores in images:
            width, free = max(1, round(ratio * math.hypot(*truths.shape[1:]))), set(range(len(truths)))
            count += len(truths)
            for place in np.argsort(-scores, kind="stable"):
                ious = {}
                for t in free:
                    union = (truths[t] | masks[place]).sum()
                    whole = (truths[t] & masks[place]).sum() / union if union else 0.0
                    ious[t] = min(whole, boundary_iou(truths[t], masks[place], width)) if whole else 0.0
                best = max(ious, key=ious.get, default=None)
                hit = best is not None and ious[best] >= threshold
                free -= {best} if hit else set()
                hits.append((scores[place], hit))
        right = np.array([hit for _, hit in sorted(hits, key=lambda pair: -pair[0])])
        recall = right.cumsum() / count
        precision = right.cumsum() / np.arange(1, len(right) + 1)
        levels = [precision[recall >= r - 1e-12].max(initial=0.0) for r in np.linspace(0, 1, 101)]
        values.append(np.mean(levels))
    return 100 * np.mean(values)


def test_boundary_average_precision():
    rng, images = np.random.default_rng(5), []
    precision, plain = MaskAP(1, boundary=True, ratio=0.05), MaskAP(1)
    for _ in range(4):
        truths = blobs(rng, 5, (40, 56))[1:]
        masks = np.stack([np.roll(mask, rng.integers(-1, 2, 2), (0, 1)) for mask in (*truths, truths[0])])
        masks ^= rng.random(masks.shape) < 0.02
        scores = rng.random(len(masks))
        images.append((truths, masks, scores))
        kinds, guesses = torch.zeros(5, dtype=torch.int64), torch.from_numpy(masks)
        for metric in (precision, plain):
            found = Instances(guesses, kinds, torch.from_numpy(scores))
            metric.add(kinds[:4], torch.from_numpy(truths), found)
    expected = slow_average_precision(images, 0.05)
    assert precision.scores()["AP"] == pytest.approx(expected, abs=1e-9)
    assert 1 < expected < plain.scores()["AP"] - 1


def test_the_truth_as_prediction_is_perfect(tmp_path):
    rng, categories = np.random.default_rng(2), {1: True, 2: False}
    image = scene(rng, (60, 84), 6, categories)
    true = [{**segment, "iscrowd": 0} for segment in image[1]]
    quality = PanopticQuality(categories, boundary=True)
    quality.add(image[0], true, image[0], true)
    assert quality.results()["All"]["pq"] == 1.0
    masks = torch.from_numpy(blobs(rng, 4, (40, 56))[1:])
    precision = MaskAP(2, boundary=True)
    found = Instances(masks, torch.tensor([0, 1, 1]), torch.tensor([0.9, 0.8, 0.7]))
    precision.add(found.labels, masks, found)
    assert precision.scores()["AP"] == pytest.approx(100)


def test_a_crowd_keeps_its_mask_iou():
    """A small prediction inside a crowd: its band has nothing to do with the crowd's."""
    crowd, inside = torch.zeros(1, 40, 60, dtype=torch.bool), torch.zeros(1, 40, 60, dtype=torch.bool)
    crowd[:, 2:38, 2:58], inside[:, 18:22, 20:30] = True, True
    other = torch.zeros(1, 40, 60, dtype=torch.bool)
    other[:, 0:2, 0:2] = True
    precision = MaskAP(1, boundary=True)
    found = Instances(torch.cat([inside, other]), torch.tensor([0, 0]), torch.tensor([0.9, 0.5]))
    precision.add(torch.tensor([0, 0]), torch.cat([crowd, other]), found, crowd=[True, False])
    assert precision.scores()["AP"] == pytest.approx(100)


def test_files_with_boundaries(tmp_path):
    rng, categories = np.random.default_rng(4), {1: True, 2: False}
    truth, true, predicted, found = scene(rng, (60, 84), 6, categories)
    for name, ids, segments in (("gt", truth, true), ("pred", predicted, found)):
        (tmp_path / name).mkdir()
        picture = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], -1).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / name / "0.png")
        kinds = [{"id": c, "name": str(c), "isthing": int(thing)} for c, thing in categories.items()]
        record = {"image_id": 0, "file_name": "0.png", "segments_info": segments}
        (tmp_path / f"{name}.json").write_text(json.dumps({"categories": kinds, "annotations": [record]}))
    quality = PanopticQuality(categories, boundary=True)
    quality.add(truth, true, predicted, found)
    assert pq_compute(tmp_path / "gt.json", tmp_path / "pred.json", boundary=True) == quality.results()


def test_tallies_in_any_order():
    """Through JSON, shuffled, from several objects: the same scores to the last digit."""
    rng, categories = np.random.default_rng(0), {1: True, 2: True, 3: False}
    images = [scene(rng, (40, 56), 8, categories) for _ in range(20)]
    quality, merged = (PanopticQuality(categories, boundary=True, ratio=0.05) for _ in range(2))
    tallies = [json.dumps(quality.tally(*image)) for image in images]
    assert quality.tp.sum() == 0
    for image in images:
        quality.add(*image)
    random.Random(1).shuffle(tallies)
    for tally in tallies:
        merged.merge(json.loads(tally))
    assert merged.results() == quality.results() and sum(quality.tp) > 10


def test_exactly_half_of_the_bands_is_no_match():
    """The masks share 2/3, their bands 1/2."""
    truth, predicted = np.zeros((8, 8), int), np.zeros((8, 8), int)
    truth[1:7, 1:7], predicted[1:7, 1:5] = 1, 1
    assert boundary_iou(truth > 0, predicted > 0, 1) == 0.5
    for boundary, iou in ((True, 0.0), (False, pytest.approx(2 / 3))):
        quality = PanopticQuality({1: True}, boundary)
        true = [{"id": 1, "category_id": 1, "area": 36}]
        quality.add(truth, true, predicted, [{"id": 1, "category_id": 1}])
        assert quality.results()["All"]["pq"] == iou


def test_void_is_left_out_of_bands_far_from_its_border():
    """The prediction ends in the middle of the pixels that nobody labelled."""
    truth, predicted = np.zeros((16, 24), int), np.zeros((16, 24), int)
    truth[:, :12], predicted[:, :18] = 1, 1
    expected = boundary_iou(truth > 0, predicted > 0, 1, ignored=truth == 0)
    quality = PanopticQuality({1: True}, boundary=True, ratio=0.01)
    true = [{"id": 1, "category_id": 1, "area": 192}]
    quality.add(truth, true, predicted, [{"id": 1, "category_id": 1}])
    assert quality.ious == [[pytest.approx(expected)]] and 0.5 < expected < 1


def test_more_predictions_than_count():
    """Of a class in an image the best hundred count, with boundaries too."""
    corner, middle = torch.zeros(2, 12, 12, dtype=torch.bool)
    corner[:2, :2], middle[4:9, 4:9] = True, True
    for place, counts in ((99, True), (100, False)):
        masks = corner.repeat(101, 1, 1)
        masks[place] = middle
        found = Instances(masks, torch.zeros(101, dtype=torch.int64), torch.linspace(1, 0.1, 101))
        precision = MaskAP(1, boundary=True)
        precision.add(torch.tensor([0]), middle[None], found)
        assert (precision.scores()["AP"] > 0) == counts


def test_the_smallest_masks():
    """A single pixel, and a mask without any, are their own bands."""
    assert mask_band(np.ones((1, 1), bool), 1).all() and not mask_band(np.zeros((3, 3), bool), 1).any()
    assert map_band(np.zeros((1, 1), int), 1).all() and map_band(np.eye(3, dtype=int), 1).all()
