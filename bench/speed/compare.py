"""Frames a second compared as ratios: one factor for a whole column takes the device out.

For printed p_i and measured m_i, `fps/ratio-v1` gives k m_i with k = (product of p_i / m_i)^(1/n) over the
n rows of the column that were measured: the one factor with which the ratios agree best, in the logarithm. A
row that differs then is faster or slower, beside the other rows, than the paper says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from statistics import median

from bench.speed.timing import Timed
from tables import TableRecord

RATIO, RAW = "fps/ratio-v1", "fps/batch-1-v1"
_FEWEST = 2


@dataclass(frozen=True, kw_only=True)
class Speed:
    """A cell's speed in frames a second: `raw` on the device, `scaled` by the column's `factor`."""

    raw: Decimal
    scaled: Decimal
    factor: float


def speeds(record: TableRecord, timed: Iterable[Timed]) -> dict[tuple[int, str], Speed]:
    """The speed of each timed cell by row and column; nothing for a column with fewer than two of them, which
    has no ratio."""
    measured = {(found.row, found.column): 1 / median(found.seconds) for found in timed}
    printed = {
        (row.number, column.id): float(cell.printed.value)
        for row, column, cell in record.cells
        if column.metric == "fps"
    }
    found = {}
    for column in {name for _, name in measured}:
        places = [place for place in measured if place[1] == column and place in printed]
        if len(places) < _FEWEST:
            continue
        factor = math.exp(sum(math.log(printed[place] / measured[place]) for place in places) / len(places))
        for place in places:
            raw, scaled = _decimal(measured[place]), _decimal(factor * measured[place])
            found[place] = Speed(raw=raw, scaled=scaled, factor=factor)
    return found


def _decimal(value: float) -> Decimal:
    return Decimal(f"{value:.6g}")
