"""Against panopticapi's own figures, and against the definition."""

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import UserError
from bench.evaluate import pq_compute
from bench.evaluate.pq import PanopticQuality
from tests.bench.evaluate.slow_pq import scene, slow_quality

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "panoptic_quality.npz"
"""12 images with crowds and void, their predictions, and what panopticapi says of them."""


def write(folder, name, content, maps):
    """The JSON `content` and a PNG for each map, in COCO's layout."""
    (folder / name).mkdir(parents=True)
    (folder / f"{name}.json").write_text(json.dumps(content))
    for annotation, ids in zip(content["annotations"], maps, strict=True):
        picture = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], -1).astype(np.uint8)
        Image.fromarray(picture).save(folder / name / annotation["file_name"])
    return folder / f"{name}.json"


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    stored, folder = np.load(GOLDEN), tmp_path_factory.mktemp("golden")
    files = []
    for kind in ("gt", "pred"):
        content = json.loads(str(stored[f"{kind}_json"]))
        maps = [stored[f"{kind}_{a['image_id']}"] for a in content["annotations"]]
        files.append(write(folder, kind, content, maps))
    return *files, json.loads(str(stored["expected"]))


def test_every_figure_of_panopticapi(golden):
    truth, predictions, expected = golden
    results = pq_compute(str(truth), str(predictions))
    assert list(results) == ["All", "per_class", "Things", "Stuff"]
    for group in ("All", "Things", "Stuff"):
        assert results[group] == pytest.approx(expected[group], abs=1e-12, rel=0)
    assert {str(category) for category in results["per_class"]} == set(expected["per_class"])
    for category, values in expected["per_class"].items():
        assert results["per_class"][int(category)] == pytest.approx(values, abs=1e-12, rel=0)
    assert results["All"]["pq"] == pytest.approx(0.43032949771395124, abs=1e-12)


def test_folders_can_be_named(golden, tmp_path):
    truth, predictions, expected = golden
    other = tmp_path / "predictions.json"
    other.write_text(predictions.read_text())
    results = pq_compute(truth, other, pred_folder=predictions.with_suffix(""))
    assert results["All"]["pq"] == pytest.approx(expected["All"]["pq"], abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_against_the_definition(seed):
    rng = np.random.default_rng(seed)
    categories = {3: True, 7: True, 100: False, 250: False}
    images = [scene(rng, (40, 56), 9, categories) for _ in range(12)]
    quality = PanopticQuality(categories)
    for image in images:
        quality.add(*image)
    totals = slow_quality(images, categories)
    places = range(len(categories))
    assert [quality.tp[i] for i in places] == [t[1] for t in totals.values()]
    assert [quality.fp[i] for i in places] == [t[2] for t in totals.values()]
    assert [quality.fn[i] for i in places] == [t[3] for t in totals.values()]
    assert quality.iou == pytest.approx([t[0] for t in totals.values()], abs=1e-12)
    assert sum(t[1] for t in totals.values()) > 10 and sum(t[2] for t in totals.values()) > 10


def test_worked_example():
    truth = np.array([[1, 1, 1, 0], [2, 2, 2, 0]])
    predicted = np.array([[5, 5, 5, 5], [6, 0, 0, 0]])
    quality = PanopticQuality({1: True, 2: False})
    true = [{"id": 1, "category_id": 1, "area": 3}, {"id": 2, "category_id": 2, "area": 3}]
    quality.add(truth, true, predicted, [{"id": 5, "category_id": 1}, {"id": 6, "category_id": 2}])
    results = quality.results()
    assert results["per_class"][1] == {"pq": 1.0, "sq": 1.0, "rq": 1.0}  # its pixel on void does not count
    assert results["per_class"][2] == {"pq": 0.0, "sq": 0.0, "rq": 0.0}  # IoU 1/3
    assert results["All"] == {"pq": 0.5, "sq": 0.5, "rq": 0.5, "n": 2}
    assert results["Things"]["pq"] == 1.0 and results["Stuff"]["pq"] == 0.0


def test_exactly_half_is_no_match():
    truth, predicted = np.array([[1, 1]]), np.array([[1, 0]])
    quality = PanopticQuality({1: True})
    quality.add(truth, [{"id": 1, "category_id": 1, "area": 2}], predicted, [{"id": 1, "category_id": 1}])
    assert quality.results()["All"] == {"pq": 0.0, "sq": 0.0, "rq": 0.0, "n": 1}


def test_predictions_on_void_and_crowds_are_forgiven():
    truth = np.array([[0, 0, 1, 2, 2, 2]])
    predicted = np.array([[1, 1, 1, 2, 2, 3]])
    true = [
        {"id": 1, "category_id": 1, "area": 1},
        {"id": 2, "category_id": 2, "area": 3, "iscrowd": 1},
    ]
    found = [{"id": i, "category_id": c} for i, c in ((1, 2), (2, 2), (3, 1))]
    quality = PanopticQuality({1: True, 2: True})
    quality.add(truth, true, predicted, found)
    assert quality.fp.tolist() == [1, 0] and quality.fn.tolist() == [1, 0]


def test_nothing_to_score():
    results = PanopticQuality({1: True, 2: False}).results()
    assert math.isnan(results["All"]["pq"]) and results["Things"]["n"] == 0


TRUE, FOUND = [{"id": 1, "category_id": 1, "area": 4}], [{"id": 1, "category_id": 1}]


@pytest.mark.parametrize(
    ("predicted", "found", "message"),
    [
        (np.ones((2, 3), int), FOUND, r"image x: prediction is \(2, 3\), truth is \(2, 2\)"),
        (np.full((2, 2), 9), FOUND, r"segments \[1\] are in the JSON but not in the PNG"),
        (np.array([[1, 9], [8, 1]]), FOUND, r"segments \[8, 9\] are in the PNG but not in the JSON"),
        (np.ones((2, 2), int), [{"id": 1, "category_id": 4}], "segment 1 has the unknown category 4"),
    ],
)
def test_wrong_predictions_are_named(predicted, found, message):
    with pytest.raises(UserError, match=message):
        PanopticQuality({1: True}).add(np.ones((2, 2), int), TRUE, predicted, found, "x")


def test_wrong_files_are_named(golden, tmp_path):
    truth, predictions, _ = golden
    content = json.loads(predictions.read_text())
    content["annotations"] = content["annotations"][1:]
    short = tmp_path / "short.json"
    short.write_text(json.dumps(content))
    with pytest.raises(UserError, match="no prediction for image 0"):
        pq_compute(truth, short)
    with pytest.raises(UserError, match="no file .*nowhere.json"):
        pq_compute(truth, tmp_path / "nowhere.json")
    with pytest.raises(UserError, match="000000000000.png: no such file"):
        pq_compute(truth, predictions, pred_folder=tmp_path)
    short.write_text("{")
    with pytest.raises(UserError, match="short.json is not JSON"):
        pq_compute(truth, short)


def test_faster_than_sorting_the_pixels():
    """Seconds of one thread at COCO's size; reading the PNG files, which both need, is left out."""
    rng, categories = np.random.default_rng(0), {c: c < 80 for c in range(133)}
    images = [scene(rng, (480, 640), 15, categories) for _ in range(4)]
    quality, ours, slow = PanopticQuality(categories), [], []
    for _ in range(5):
        start = time.thread_time()
        for image in images:
            quality.add(*image)
        ours.append(time.thread_time() - start)
        start = time.thread_time()
        slow_quality(images, categories)
        slow.append(time.thread_time() - start)
    assert min(slow) > 5 * min(ours), (slow, ours)


def test_ids_that_are_no_colours_are_told():
    quality = PanopticQuality({1: True})
    with pytest.raises(ValueError, match="segment ids are 0 to 16777215, not 1 to 33554432"):
        quality.add(np.ones((2, 2), int), TRUE, np.array([[1, 1], [1, 1 << 25]]), FOUND)
    with pytest.raises(ValueError, match="segment ids are 0 to 16777215, not -3 to 1"):
        quality.add(np.array([[1, 1], [1, -3]]), TRUE, np.ones((2, 2), int), FOUND)


def test_areas_that_cannot_be_are_told():
    """The area of the JSON is that of the union; 0 would make a PQ of any size."""
    ones, true = np.ones((2, 2), int), [{**TRUE[0], "area": 0}]
    with pytest.raises(UserError, match="image x: the area of segment 1 is 0"):
        PanopticQuality({1: True}).add(ones, true, ones, FOUND, "x")


def broken(content, change):
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda c: c.pop("annotations"), "KeyError.'annotations'"),
        (lambda c: c.pop("categories"), "KeyError.'categories'"),
        (lambda c: c["categories"][0].pop("isthing"), "KeyError.'isthing'"),
        (lambda c: c["annotations"][0].pop("image_id"), "KeyError.'image_id'"),
        (lambda c: c["annotations"][0].update(file_name=5), "file 5"),
        (lambda c: c["annotations"][0].update(segments_info=7), "TypeError"),
        (lambda c: c["annotations"][0]["segments_info"][0].pop("area"), "KeyError.'area'"),
        (lambda c: c["annotations"][0]["segments_info"][0].update(id="x"), "id is 'x'"),
        (lambda c: c["annotations"][0]["segments_info"][0].update(id=1 << 24), "16777216 .*no colour"),
    ],
)
def test_files_of_another_form_are_named(change, fault, golden, tmp_path):
    truth, predictions, _ = golden
    short = tmp_path / "short.json"
    short.write_text(json.dumps(broken(json.loads(truth.read_text()), change)))
    with pytest.raises(UserError, match=f"short.json: not panoptic labels .*{fault}.*; expected"):
        pq_compute(short, predictions, gt_folder=truth.with_suffix(""))
    short.write_text("[]")
    with pytest.raises(UserError, match="short.json: not panoptic labels"):
        pq_compute(truth, short)
    with pytest.raises(UserError, match="is a folder, not a JSON"):
        pq_compute(truth, tmp_path)
