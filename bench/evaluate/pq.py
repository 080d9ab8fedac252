"""Panoptic quality (Kirillov et al. 2019), with the figures of COCO's own evaluation, panopticapi.

A predicted and a true segment of one category match if their IoU is above 1/2; then PQ = sum of IoU / (TP +
FP/2 + FN/2) for each category, the product of SQ = sum of IoU / TP and RQ = TP / (TP + FP/2 + FN/2). Pixels
without a true segment (id 0) leave a prediction's union; an unmatched prediction that lies by more than half
on them or on a crowd of its category is not a false positive.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.panoptic import read_panoptic
from bench.errors import UserError

_IDS = 1 << 24
"""Segment ids are RGB colours."""
_AHEAD = 8

Segments = Iterable[Mapping[str, Any]]


class PanopticQuality:
    """Matches and misses of each category, summed over images.

    Args:
        categories: id -> whether it is a thing.
    """

    def __init__(self, categories: Mapping[int, bool]) -> None:
        self.categories = dict(categories)
        self._index = {category: i for i, category in enumerate(self.categories)}
        size = len(self.categories) + 1  # the last: truths of categories that are not evaluated
        self.iou = np.zeros(size)
        self.tp, self.fp, self.fn = (np.zeros(size, dtype=np.int64) for _ in range(3))
        self._table = np.zeros(_IDS, dtype=np.int32)

    def add(
        self,
        truth: np.ndarray,
        truth_segments: Segments,
        predicted: np.ndarray,
        predicted_segments: Segments,
        name: object = "",
    ) -> None:
        """Adds an image: two maps [H, W] of segment ids (0: none), and their segments as in COCO's JSON.

        A true segment has "id", "category_id", "area" and perhaps "iscrowd"; a predicted one "id" and
        "category_id". `name` is for messages.

        Raises:
            UserError: maps of two sizes; a predicted segment in the map or the list alone, or of an unknown
                category.
        """
        if truth.shape != predicted.shape:
            raise UserError(f"image {name}: prediction is {predicted.shape}, truth is {truth.shape}")
        true = {int(segment["id"]): segment for segment in truth_segments}
        found = {int(segment["id"]): segment for segment in predicted_segments}
        counts, void = self._count(truth, list(true), predicted, list(found))
        areas = counts.sum(0)
        self._check(predicted, found, areas, name)
        self._match(_Truth(true, self._index), self._kinds(found), counts, void, areas[2:])

    def results(self) -> dict[str, Any]:
        """As panopticapi's `pq_compute`: "All", "Things", "Stuff" with "pq", "sq", "rq" (0..1, means over the
        `n` categories that occur; nan where none does) and "per_class" by category id."""
        done = self.tp + 0.5 * self.fp + 0.5 * self.fn
        per_class, groups = {}, {"All": [], "Things": [], "Stuff": []}
        for category, i in self._index.items():
            if not done[i]:
                per_class[category] = {"pq": 0.0, "sq": 0.0, "rq": 0.0}
                continue
            iou, tp = float(self.iou[i]), int(self.tp[i])
            values = {"pq": iou / done[i], "sq": iou / tp if tp else 0.0, "rq": tp / done[i]}
            per_class[category] = {key: float(value) for key, value in values.items()}
            for group in ("All", "Things" if self.categories[category] else "Stuff"):
                groups[group].append(per_class[category])
        means = {group: _mean(values) for group, values in groups.items()}
        return {"All": means.pop("All"), "per_class": per_class, **means}

    def _count(
        self, truth: np.ndarray, true: list[int], predicted: np.ndarray, found: list[int]
    ) -> tuple[np.ndarray, int]:
        """Pixels [2 + true, 2 + found] of each pair of segments, and the row of the pixels without truth.

        Rows and columns 0 are ids that are not listed, 1 is the id 0, the others are the listed segments.
        """
        truth, predicted = truth.reshape(-1), predicted.reshape(-1)
        starts = np.flatnonzero((truth[1:] != truth[:-1]) | (predicted[1:] != predicted[:-1])) + 1
        starts = np.concatenate([[0], starts])  # of runs of one pair: pixels are not looked at one by one
        lengths = np.diff(starts, append=truth.size)
        rows, void = self._places(truth[starts], true)
        columns, _ = self._places(predicted[starts], found)
        width = len(found) + 2
        counts = np.bincount(rows * width + columns, lengths, minlength=(len(true) + 2) * width)
        return counts.astype(np.int64).reshape(-1, width), void

    def _places(self, ids: np.ndarray, listed: list[int]) -> tuple[np.ndarray, int]:
        """The place of each of `ids`, and that of the id 0."""
        known = np.array([0, *listed])
        if known.max() >= _IDS or known.min() < 0:
            raise ValueError(f"segment ids are 0 to {_IDS - 1}, not {known.min()} to {known.max()}")
        self._table[known] = np.arange(1, len(known) + 1, dtype=np.int32)
        try:
            return self._table[ids], int(self._table[0])
        finally:
            self._table[known] = 0

    def _kinds(self, segments: Mapping[int, Mapping[str, Any]]) -> np.ndarray:
        return np.array([self._index[s["category_id"]] for s in segments.values()], dtype=np.int64)

    def _check(
        self, predicted: np.ndarray, found: Mapping[int, Mapping], areas: np.ndarray, name: object
    ) -> None:
        for segment in found.values():
            if segment["category_id"] not in self._index:
                text = f"segment {segment['id']} has the unknown category {segment['category_id']}"
                raise UserError(f"image {name}: {text}")
        missing = [number for number, area in zip(found, areas[2:], strict=True) if not area]
        if missing:
            raise UserError(f"image {name}: segments {missing[:5]} are in the JSON but not in the PNG")
        if areas[0]:
            unlisted = np.setdiff1d(predicted, [0, *found])
            wrong = unlisted[:5].tolist()
            raise UserError(f"image {name}: segments {wrong} are in the PNG but not in the JSON")

    def _match(
        self, true: _Truth, kinds: np.ndarray, counts: np.ndarray, void: int, areas: np.ndarray
    ) -> None:
        on_void, shared = counts[void, 2:], counts[2:, 2:]
        alike = (true.kinds[:, None] == kinds) & (shared > 0) & ~true.crowd[:, None]
        rows, columns = alike.nonzero()
        common = shared[rows, columns]
        iou = common / (areas[columns] + true.areas[rows] - common - on_void[columns])
        rows, columns, iou = rows[iou > 0.5], columns[iou > 0.5], iou[iou > 0.5]
        np.add.at(self.iou, true.kinds[rows], iou)
        np.add.at(self.tp, true.kinds[rows], 1)
        missed = ~true.crowd
        missed[rows] = False
        np.add.at(self.fn, true.kinds[missed], 1)
        forgiven = on_void.copy()
        crowds = {kind: row for row, kind in enumerate(true.kinds) if true.crowd[row]}
        for column, kind in enumerate(kinds):
            if kind in crowds:  # of several crowds of one category the last counts, as in panopticapi
                forgiven[column] += shared[crowds[kind], column]
        wrong = forgiven / areas <= 0.5
        wrong[columns] = False
        np.add.at(self.fp, kinds[wrong], 1)


class _Truth:
    """Categories [N] (places), areas [N] (of the JSON) and crowds [N] of the true segments."""

    def __init__(self, segments: Mapping[int, Mapping[str, Any]], index: Mapping[int, int]) -> None:
        listed = segments.values()
        self.kinds = np.array([index.get(s["category_id"], len(index)) for s in listed], dtype=np.int64)
        self.areas = np.array([s["area"] for s in listed], dtype=np.int64)
        self.crowd = np.array([bool(s.get("iscrowd", 0)) for s in listed], dtype=bool)


def pq_compute(
    gt_json: str | Path,
    pred_json: str | Path,
    gt_folder: str | Path | None = None,
    pred_folder: str | Path | None = None,
) -> dict[str, Any]:
    """The panoptic quality of predictions in COCO's format; takes and returns what panopticapi's does.

    A folder is by default its JSON's path without ".json"; the PNG in it hold ids as R + 256 G + 256^2 B. See
    `PanopticQuality.results` for what it returns (fractions of 1).

    Raises:
        UserError: a file that cannot be read, an image without a prediction, and as `PanopticQuality.add`.
    """
    truth, predictions = _read_json(gt_json), _read_json(pred_json)
    folders = [
        Path(folder) if folder is not None else Path(str(file).removesuffix(".json"))
        for folder, file in ((gt_folder, gt_json), (pred_folder, pred_json))
    ]
    quality = PanopticQuality({c["id"]: bool(c["isthing"]) for c in truth["categories"]})
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


def _mean(values: list[dict[str, float]]) -> dict[str, float | int]:
    count = len(values)
    if not count:
        return {"pq": float("nan"), "sq": float("nan"), "rq": float("nan"), "n": 0}
    return {**{key: sum(v[key] for v in values) / count for key in ("pq", "sq", "rq")}, "n": count}
