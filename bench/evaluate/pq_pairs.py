"""How many pixels the true and the predicted segments of an image share, which panoptic quality needs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.evaluate.boundary import band_width, map_band

_IDS = 1 << 24
"""Segment ids are RGB colours; this is none."""


class Pairs(NamedTuple):
    """Pixels of pairs of segments.

    Attributes:
        shared: [true, found].
        on_void: [found], pixels of predicted segments that belong to no true one.
        true: [true], areas in the map.
        found: [found], areas in the map.
        unlisted: pixels of the prediction whose id is not listed.
    """

    shared: np.ndarray
    on_void: np.ndarray
    true: np.ndarray
    found: np.ndarray
    unlisted: int


class PairCounter:
    """Counts pairs with one table of all ids, which is made once."""

    def __init__(self) -> None:
        self._table = np.zeros(_IDS + 1, dtype=np.int32)

    def count(self, truth: np.ndarray, true: list[int], predicted: np.ndarray, found: list[int]) -> Pairs:
        """Pairs of the listed segments of two maps [H, W] of ids (0: none).

        Raises ValueError for ids that no RGB colour stands for.
        """
        truth, predicted = truth.reshape(-1), predicted.reshape(-1)
        starts = np.flatnonzero((truth[1:] != truth[:-1]) | (predicted[1:] != predicted[:-1])) + 1
        starts = np.concatenate([[0], starts])  # of runs of one pair: pixels are not looked at one by one
        lengths = np.diff(starts, append=truth.size)
        # Place 0 is an id that is not listed, 1 the id 0, the others are the listed segments.
        rows, void = self._places(truth[starts], true)
        columns, _ = self._places(predicted[starts], found)
        width = len(found) + 2
        flat = np.bincount(rows * width + columns, lengths, minlength=(len(true) + 2) * width)
        counts = flat.astype(np.int64).reshape(-1, width)
        areas = counts.sum(0)
        return Pairs(counts[2:, 2:], counts[void, 2:], counts.sum(1)[2:], areas[2:], int(areas[0]))

    def count_bands(
        self, truth: np.ndarray, true: list[int], predicted: np.ndarray, found: list[int], ratio: float
    ) -> Pairs:
        """The same of the segments' boundary bands. Pixels without a true segment count in the bands of the
        prediction, wherever they lie."""
        width = band_width(truth.shape, ratio)
        bands = [
            np.where(map_band(ids, width) | (ids == 0), ids, _IDS).astype(np.int64)
            for ids in (truth, predicted)
        ]
        return self.count(bands[0], true, bands[1], found)

    def _places(self, ids: np.ndarray, listed: list[int]) -> tuple[np.ndarray, int]:
        """The place of each of `ids`, and that of the id 0."""
        known = np.array([0, *listed])
        for numbers, end in ((known, _IDS), (ids, _IDS + 1)):  # the band's maps have one more
            if numbers.min() < 0 or numbers.max() >= end:
                raise ValueError(f"segment ids are 0 to {_IDS - 1}, not {numbers.min()} to {numbers.max()}")
        self._table[known] = np.arange(1, len(known) + 1, dtype=np.int32)
        try:
            return self._table[ids], int(self._table[0])
        finally:
            self._table[known] = 0
