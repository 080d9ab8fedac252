"""Panoptic quality (Kirillov et al. 2019), with the figures of COCO's own evaluation, panopticapi.

A predicted and a true segment of one category match if their IoU is above 1/2; then PQ = sum of IoU / (TP +
FP/2 + FN/2) for each category, the product of SQ = sum of IoU / TP and RQ = TP / (TP + FP/2 + FN/2). Pixels
without a true segment (id 0) leave a prediction's union; an unmatched prediction that lies by more than half
on them or on a crowd of its category is not a false positive.

What an image adds is a tally of JSON's types. Sums over images are rounded once, so the scores do not depend
on the order of the images or on who evaluated them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bench.errors import UserError
from bench.evaluate.boundary import DILATION_RATIO
from bench.evaluate.pq_pairs import PairCounter, Pairs

Segments = Iterable[Mapping[str, Any]]
Tally = dict[str, Any]


class PanopticQuality:
    """Matches and misses of each category, gathered over images.

    Args:
        categories: id -> whether it is a thing.
        boundary: Boundary PQ (Cheng et al. 2021, section 5): the IoU of a pair of segments is the smaller one
            of its mask IoU and its Boundary IoU.
        ratio: the width of the boundary's band, as a share of the image's diagonal.

    Attributes:
        ious: of the matched pairs of each category, [categories] lists.
        fp, fn: [categories] unmatched predicted and true segments.
    """

    def __init__(
        self, categories: Mapping[int, bool], boundary: bool = False, ratio: float = DILATION_RATIO
    ) -> None:
        self.categories, self.boundary, self.ratio = dict(categories), boundary, ratio
        self._index = {category: i for i, category in enumerate(self.categories)}
        self.ious: list[list[float]] = [[] for _ in self.categories]
        self.fp, self.fn = (np.zeros(len(self.categories), dtype=np.int64) for _ in range(2))
        self._counter = PairCounter()

    @property
    def tp(self) -> np.ndarray:
        """[categories] matched pairs."""
        return np.array([len(ious) for ious in self.ious], dtype=np.int64)

    @property
    def iou(self) -> np.ndarray:
        """[categories] sums of the IoU of matched pairs."""
        return np.array([math.fsum(ious) for ious in self.ious])

    def add(
        self,
        truth: np.ndarray,
        truth_segments: Segments,
        predicted: np.ndarray,
        predicted_segments: Segments,
        name: object = "",
    ) -> None:
        """Adds an image; takes and raises what `tally` does."""
        self.merge(self.tally(truth, truth_segments, predicted, predicted_segments, name))

    def tally(
        self,
        truth: np.ndarray,
        truth_segments: Segments,
        predicted: np.ndarray,
        predicted_segments: Segments,
        name: object = "",
    ) -> Tally:
        """What an image adds, for `merge`; JSON keeps it exactly. Nothing is added yet.

        Two maps [H, W] of segment ids (0: none), and their segments as in COCO's JSON: a true one has "id",
        "category_id", "area" and perhaps "iscrowd"; a predicted one "id" and "category_id". `name` is for
        messages.

        Raises:
            UserError: maps of two sizes; a predicted segment in the map or the list alone, or of an unknown
                category; a true one whose area is not positive.
            ValueError: ids that are no colours.
        """
        if truth.shape != predicted.shape:
            raise UserError(f"image {name}: prediction is {predicted.shape}, truth is {truth.shape}")
        true = {int(segment["id"]): segment for segment in truth_segments}
        found = {int(segment["id"]): segment for segment in predicted_segments}
        for number, segment in true.items():
            if segment["area"] < 1:
                raise UserError(f"image {name}: the area of segment {number} is {segment['area']}")
        maps = truth, list(true), predicted, list(found)
        pairs = self._counter.count(*maps)
        self._check(predicted, found, pairs, name)
        known = _Truth(true, self._index)
        kinds = np.array([self._index[s["category_id"]] for s in found.values()], dtype=np.int64)
        rows, columns, iou = _candidates(known, kinds, pairs)
        if self.boundary and len(iou):
            bands = self._counter.count_bands(*maps, self.ratio)
            iou = np.minimum(iou, _iou(bands, bands.true, rows, columns))
        matched = iou > 0.5
        return self._told(known, kinds, pairs, rows[matched], columns[matched], iou[matched])

    def merge(self, tally: Tally) -> None:
        """Adds what `tally` gave, of this object or one with the same options."""
        for category, ious, fp, fn in tally["categories"]:
            place = self._index[category]
            self.ious[place] += ious
            self.fp[place] += fp
            self.fn[place] += fn

    def results(self) -> dict[str, Any]:
        """As panopticapi's `pq_compute`: "All", "Things", "Stuff" with "pq", "sq", "rq" (0..1, means over the
        `n` categories that occur; nan where none does) and "per_class" by category id."""
        done = self.tp + 0.5 * self.fp + 0.5 * self.fn
        totals, counts = self.iou, self.tp
        per_class, groups = {}, {"All": [], "Things": [], "Stuff": []}
        for category, i in self._index.items():
            if not done[i]:
                per_class[category] = {"pq": 0.0, "sq": 0.0, "rq": 0.0}
                continue
            iou, tp = float(totals[i]), int(counts[i])
            values = {"pq": iou / done[i], "sq": iou / tp if tp else 0.0, "rq": tp / done[i]}
            per_class[category] = {key: float(value) for key, value in values.items()}
            for group in ("All", "Things" if self.categories[category] else "Stuff"):
                groups[group].append(per_class[category])
        means = {group: _mean(values) for group, values in groups.items()}
        return {"All": means.pop("All"), "per_class": per_class, **means}

    def _check(
        self, predicted: np.ndarray, found: Mapping[int, Mapping], pairs: Pairs, name: object
    ) -> None:
        for segment in found.values():
            if segment["category_id"] not in self._index:
                text = f"segment {segment['id']} has the unknown category {segment['category_id']}"
                raise UserError(f"image {name}: {text}")
        missing = [number for number, area in zip(found, pairs.found, strict=True) if not area]
        if missing:
            raise UserError(f"image {name}: segments {missing[:5]} are in the JSON but not in the PNG")
        if pairs.unlisted:
            unlisted = np.setdiff1d(predicted, [0, *found])
            wrong = unlisted[:5].tolist()
            raise UserError(f"image {name}: segments {wrong} are in the PNG but not in the JSON")

    def _told(
        self,
        true: _Truth,
        kinds: np.ndarray,
        pairs: Pairs,
        rows: np.ndarray,
        columns: np.ndarray,
        iou: np.ndarray,
    ) -> Tally:
        """The tally of an image whose true segments `rows` match the predicted ones `columns`."""
        missed = ~true.crowd & (true.kinds < len(self.categories))
        missed[rows] = False
        wrong = _forgiven(true, kinds, pairs) / pairs.found <= 0.5
        wrong[columns] = False
        told: dict[int, tuple[list[float], int, int]] = {}
        for kind in sorted({*true.kinds[missed].tolist(), *kinds.tolist()}):
            ious = iou[kinds[columns] == kind].tolist()
            counts = int((kinds[wrong] == kind).sum()), int((true.kinds[missed] == kind).sum())
            told[kind] = (ious, *counts)
        categories = list(self.categories)
        return {"categories": [[categories[kind], *parts] for kind, parts in told.items()]}


class _Truth:
    """Categories [N] (places; for one that is not evaluated their number), areas [N] (of the JSON) and crowds
    [N] of the true segments."""

    def __init__(self, segments: Mapping[int, Mapping[str, Any]], index: Mapping[int, int]) -> None:
        listed = segments.values()
        self.kinds = np.array([index.get(s["category_id"], len(index)) for s in listed], dtype=np.int64)
        self.areas = np.array([s["area"] for s in listed], dtype=np.int64)
        self.crowd = np.array([bool(s.get("iscrowd", 0)) for s in listed], dtype=bool)


def _candidates(true: _Truth, kinds: np.ndarray, pairs: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs (true, found) of one category that share more than half of their union, and their IoU."""
    alike = (true.kinds[:, None] == kinds) & (pairs.shared > 0) & ~true.crowd[:, None]
    rows, columns = alike.nonzero()
    iou = _iou(pairs, true.areas, rows, columns)
    matched = iou > 0.5
    return rows[matched], columns[matched], iou[matched]


def _iou(pairs: Pairs, areas: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """IoU of pairs; the true segments have these areas [true]."""
    common = pairs.shared[rows, columns]
    return common / (pairs.found[columns] + areas[rows] - common - pairs.on_void[columns])


def _forgiven(true: _Truth, kinds: np.ndarray, pairs: Pairs) -> np.ndarray:
    """[found], pixels of predicted segments on no true segment or on a crowd of their category."""
    forgiven = pairs.on_void.copy()
    crowds = {kind: row for row, kind in enumerate(true.kinds) if true.crowd[row]}
    for column, kind in enumerate(kinds):
        if kind in crowds:  # of several crowds of one category the last counts, as in panopticapi
            forgiven[column] += pairs.shared[crowds[kind], column]
    return forgiven


def _mean(values: list[dict[str, float]]) -> dict[str, float | int]:
    count = len(values)
    if not count:
        return {"pq": float("nan"), "sq": float("nan"), "rq": float("nan"), "n": 0}
    return {**{key: sum(v[key] for v in values) / count for key in ("pq", "sq", "rq")}, "n": count}
