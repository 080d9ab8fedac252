"""Panoptic quality of predictions in COCO's files, with the interface and the figures of panopticapi."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.panoptic import read_panoptic
from bench.errors import UserError
from bench.evaluate.boundary import DILATION_RATIO
from bench.evaluate.pq import PanopticQuality

_AHEAD = 8


def pq_compute(
    gt_json: str | Path,
    pred_json: str | Path,
    gt_folder: str | Path | None = None,
    pred_folder: str | Path | None = None,
    *,
    boundary: bool = False,
    ratio: float = DILATION_RATIO,
) -> dict[str, Any]:
    """The panoptic quality of predictions in COCO's format; takes and returns what panopticapi's does.

    A folder is by default its JSON's path without ".json"; the PNG in it hold ids as R + 256 G + 256^2 B. See
    `PanopticQuality.results` for what it returns (fractions of 1), and `PanopticQuality` for `boundary`
    (Boundary PQ) and `ratio`.

    Raises:
        UserError: a file that cannot be read, an image without a prediction, and as `PanopticQuality.add`.
    """
    truth, predictions = _read_json(gt_json), _read_json(pred_json)
    folders = [
        Path(folder) if folder is not None else Path(str(file).removesuffix(".json"))
        for folder, file in ((gt_folder, gt_json), (pred_folder, pred_json))
    ]
    things = {category["id"]: bool(category["isthing"]) for category in truth["categories"]}
    quality = PanopticQuality(things, boundary, ratio)
    by_image = {annotation["image_id"]: annotation for annotation in predictions["annotations"]}
    pairs = []
    for annotation in truth["annotations"]:
        if annotation["image_id"] not in by_image:
            raise UserError(f"{pred_json}: no prediction for image {annotation['image_id']}")
        pairs.append((annotation, by_image[annotation["image_id"]]))
    files = [folder / a["file_name"] for pair in pairs for folder, a in zip(folders, pair, strict=True)]
    maps = _read_ahead(files)
    for true, found in pairs:
        segments = true["segments_info"], found["segments_info"]
        quality.add(next(maps), segments[0], next(maps), segments[1], true["image_id"])
    return quality.results()


def _read_ahead(files: Sequence[Path]) -> Iterator[np.ndarray]:
    """The maps in the files, in order; threads read a few of them in advance."""
    with ThreadPoolExecutor(2) as pool:
        waiting = iter(files)
        reading = [pool.submit(read_panoptic, file) for file in islice(waiting, _AHEAD)]
        while reading:
            yield reading.pop(0).result()
            reading += [pool.submit(read_panoptic, file) for file in islice(waiting, 1)]


def _read_json(path: str | Path) -> dict[str, Any]:
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise UserError(f"no file {path}") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
