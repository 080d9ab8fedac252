"""Panoptic quality of files against panopticapi on one core: `nox -s bench`.

panopticapi (`pip install git+https://github.com/cocodataset/panopticapi`) takes part where it is installed;
the definition in tests/bench/evaluate/slow_pq.py, which sorts pixels as panopticapi does but has the maps in
memory, always.
"""

import contextlib
import importlib.util
import io
import json
import os

import numpy as np
import pytest
from contest import contest
from PIL import Image

from bench.evaluate import pq_compute
from ops import active_backend
from tests.bench.evaluate.slow_pq import scene, slow_quality

IMAGES, CATEGORIES = 200, {c: c <= 80 for c in range(1, 134)}
SORTED = "sorted pixels, without files"
AT_LEAST = 5.0
"""How many times faster than panopticapi it has to be, files on both sides."""


@pytest.fixture(scope="module")
def maps():
    rng = np.random.default_rng(0)
    return [scene(rng, (480, 640), 15, CATEGORIES) for _ in range(IMAGES)]


@pytest.fixture(scope="module")
def files(maps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("panoptic")
    kinds = [{"id": c, "name": str(c), "isthing": int(thing)} for c, thing in CATEGORIES.items()]
    for name, place in (("gt", 0), ("pred", 2)):
        (folder / name).mkdir()
        annotations = []
        for image, parts in enumerate(maps):
            ids, file = parts[place], f"{image:012d}.png"
            picture = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], -1).astype(np.uint8)
            Image.fromarray(picture).save(folder / name / file)
            record = {"image_id": image, "file_name": file, "segments_info": parts[place + 1]}
            annotations.append(record)
        content = {"categories": kinds, "annotations": annotations}
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder / "gt.json", folder / "pred.json"


@pytest.fixture
def one_core():
    """Where the system allows it, the process is kept on one core."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def theirs(evaluation, files):
    """panopticapi's results for a single core."""
    truth, predictions = (json.loads(file.read_text()) for file in files)
    pairs = list(zip(truth["annotations"], predictions["annotations"], strict=True))
    categories = {category["id"]: category for category in truth["categories"]}
    folders = [str(file.with_suffix("")) for file in files]
    with contextlib.redirect_stdout(io.StringIO()):
        stat = evaluation.pq_compute_single_core(0, pairs, *folders, categories)
    return stat.pq_average(categories, isthing=None)


@pytest.mark.benchmark(group="panoptic quality of 200 maps of 480 x 640, one core")
def bench_panoptic_quality(benchmark, maps, files, one_core):
    totals, results = slow_quality(maps, CATEGORIES), pq_compute(*files)
    for category, (iou, tp, fp, fn) in totals.items():
        expected = iou / (tp + fp / 2 + fn / 2)
        assert results["per_class"][category]["pq"] == pytest.approx(expected, abs=1e-12)
    others = {SORTED: lambda: slow_quality(maps, CATEGORIES)}
    if importlib.util.find_spec("panopticapi"):
        evaluation = importlib.import_module("panopticapi.evaluation")
        others["panopticapi"] = lambda: theirs(evaluation, files)
        everything, per_class = theirs(evaluation, files)
        assert results["All"] == pytest.approx(everything, abs=1e-12)
        assert all(results["per_class"][c] == pytest.approx(v, abs=1e-12) for c, v in per_class.items())
    contest(benchmark, lambda: pq_compute(*files), others, rounds=3)
    benchmark.extra_info["backend"] = active_backend("cpu")
    slow, fast = benchmark.extra_info["others"].get("panopticapi"), benchmark.stats.stats.median
    assert slow is None or slow > AT_LEAST * fast, f"{slow:.2f} s against {fast:.2f} s"
