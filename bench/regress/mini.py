"""Two rows of FASeg Table 4 trained small: their scores within what other seeds would give."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean, variance

from bench.regress.check import Change, Numbers, Progress, both, gone_or_new

PAPER, TABLE, ROWS, SEEDS, BUDGET = "faseg", "4", (1, 4), 2, "small"
CONFIDENCE = 0.999
"""Of the interval in which a difference of two means is noise: one false alarm in a thousand runs."""


class Mini:
    """mIoU by row, a number for each seed."""

    title = "Mini replications"
    by_platform = True

    def measure(self, progress: Progress) -> Numbers:
        """What the result store holds for these very sources is not trained again."""
        from bench import mini
        from bench.cells import load_table
        from bench.records import Store

        found = mini.run(load_table(PAPER, TABLE), ROWS, BUDGET, SEEDS, Store(), progress=True)
        return {f"{PAPER} {TABLE}, row {row['row']}, mIoU": row["scores"] for row in found["rows"]}

    def compare(self, was: Numbers, now: Numbers, same_platform: bool) -> Iterator[Change]:
        """A mean that left the interval which the spread over the seeds allows (pooled over the rows)."""
        yield from gone_or_new("mini", was, now)
        groups = [group for numbers in (was, now) for group in numbers.values()]
        for name, old, new in both(was, now):
            allowed = spread(groups, len(old), len(new))
            if abs(fmean(new) - fmean(old)) > allowed:
                shown = (f"{fmean(scores):.2f}" for scores in (old, new))
                yield Change("mini", name, *shown, f"± {allowed:.2f}, from the spread of the seeds")


def spread(groups: list[list[float]], old: int, new: int) -> float:
    """The largest difference of the means of `old` and `new` seeds that is noise: Student's t with the
    variance pooled over `groups`, each of the scores of one row."""
    from scipy import stats

    freedom = sum(len(group) - 1 for group in groups)
    pooled = sum((len(group) - 1) * variance(group) for group in groups if len(group) > 1) / freedom
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    return float(quantile * math.sqrt(pooled * (1 / old + 1 / new)))
