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
_SHAPE = (
    '{"annotations": [{"image_id", "file_name", "segments_info": [{"id", "category_id"}, ...]}, ...]}, '
    'in the ground truth with "area" of each segment and "categories": [{"id", "isthing"}, ...]'
)


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
        UserError: a file that cannot be read or is of another form, an image without a prediction, and as
            `PanopticQuality.add`.
    """
    truth, predictions = _read_json(gt_json, truth=True), _read_json(pred_json, truth=False)
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


def _read_json(path: str | Path, *, truth: bool) -> dict[str, Any]:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no file {path}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, not a JSON") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    try:
        _require_shape(content, ("id", "category_id", "area") if truth else ("id", "category_id"))
        if truth:
            _require_numbers(content["categories"], ("id", "isthing"))
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: not panoptic labels ({error!r}); expected {_SHAPE}") from error
    return content


def _require_shape(content: Any, keys: Sequence[str]) -> None:
    """Raises KeyError or TypeError where annotations or their segments (with `keys`) are of another form."""
    for annotation in content["annotations"]:
        if not isinstance(annotation["image_id"], (int, str)) or not isinstance(annotation["file_name"], str):
            raise TypeError(f"an image {annotation['image_id']!r} in the file {annotation['file_name']!r}")
        _require_numbers(annotation["segments_info"], keys)
        if odd := [s["id"] for s in annotation["segments_info"] if not 0 <= s["id"] < 1 << 24]:
            raise TypeError(f"the segment {odd[0]} of {annotation['file_name']} has an id that is no colour")


def _require_numbers(rows: Any, keys: Sequence[str]) -> None:
    """Raises KeyError or TypeError for a row without a number for one of the keys."""
    for row in rows:
        if wrong := [key for key in keys if not isinstance(row[key], (int, float))]:
            raise TypeError(f"{wrong[0]} is {row[wrong[0]]!r}")
