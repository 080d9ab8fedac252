"""What differences between rows mean when each was trained with the same few seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from scipy.special import (
    fdtrc,
    stdtrit,
)  # F's upper tail; the quantile of Student's t by (freedom, probability)

_MOST_SEEDS = 1000


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One row minus another: mean, and its 95 % t-interval with so many degrees of `freedom`.

    `deviation` is the standard deviation of the difference of two trainings. With one seed there is no
    spread: `deviation`, `freedom`, `low` and `high` are None.
    """

    seeds: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    freedom: float | None = None

    @property
    def told(self) -> bool:
        """Whether the interval leaves out zero: the sign of the difference can be told from seed noise."""
        return self.low is not None and (self.low > 0 or self.high < 0)

    def holds(self, size: float) -> bool:
        """Whether `size` is inside the interval."""
        return self.low is not None and self.low <= size <= self.high


def difference(scores: Sequence[float], reference: Sequence[float]) -> Difference:
    """The difference of two rows, paired: the scores of one seed stand at the same place in both.

    It asks nothing of how a seed moves the two rows, and pays with half of Welch's degrees of freedom.
    Raises ValueError where they are not as many, or there are none.
    """
    _require_pairs(scores, reference)
    pairs = [score - other for score, other in zip(scores, reference, strict=True)]
    mean = math.fsum(pairs) / len(pairs)
    if len(pairs) == 1:
        return Difference(seeds=1, mean=mean, deviation=None, low=None, high=None)
    deviation = math.sqrt(math.fsum((pair - mean) ** 2 for pair in pairs) / (len(pairs) - 1))
    return _interval(len(pairs), mean, deviation, len(pairs) - 1)


def welch(scores: Sequence[float], reference: Sequence[float]) -> Difference:
    """The difference of two rows whose trainings are taken for independent; each has a spread of its own.

    Welch's t-interval with the degrees of freedom of Satterthwaite. Raises ValueError as `difference` does.
    """
    _require_pairs(scores, reference)
    count, mean = len(scores), fmean(scores) - fmean(reference)
    if count == 1:
        return Difference(seeds=1, mean=mean, deviation=None, low=None, high=None)
    spreads = variance(scores), variance(reference)
    total, squares = sum(spreads), sum(spread**2 for spread in spreads)
    freedom = (count - 1) * (total**2 / squares if squares else 2)
    return _interval(count, mean, math.sqrt(total), freedom)


def _require_pairs(scores: Sequence[float], reference: Sequence[float]) -> None:
    if len(scores) != len(reference) or not scores:
        raise ValueError(f"{len(scores)} scores cannot be paired with {len(reference)}")


def _interval(count: int, mean: float, deviation: float, freedom: float) -> Difference:
    half = float(stdtrit(freedom, 0.975)) * deviation / math.sqrt(count)
    return Difference(
        seeds=count, mean=mean, deviation=deviation, low=mean - half, high=mean + half, freedom=freedom
    )


def seeds_needed(size: float, deviation: float, rows: int = 1) -> int | None:
    """How many seeds tell a true difference of `size` from seed noise: a two-sided t-test at 5 %, power 80 %.

    `deviation` is the standard deviation of the difference of two trainings, in the unit of `size`. `rows`: 1
    for the paired test, 2 for Welch's, which has twice the degrees of freedom. None for more than 1000.
    """
    if size == 0:
        return None
    ratio = deviation / abs(size)
    for count in range(2, _MOST_SEEDS + 1):
        freedom = rows * (count - 1)
        needed = (float(stdtrit(freedom, 0.975)) + float(stdtrit(freedom, 0.8))) * ratio
        if needed <= math.sqrt(count):
            return count
    return None


@dataclass(frozen=True, kw_only=True)
class SeedEffect:
    """Whether a seed lifts all rows alike: the correlation of two rows over the seeds (intraclass), and the
    probability of one as large by chance (F test of a two-way layout without interaction)."""

    correlation: float
    chance: float


def seed_effect(rows: Sequence[Sequence[float]]) -> SeedEffect | None:
    """The effect of the seed on `rows`, the scores of one seed at the same place in all.

    None with fewer than two rows or seeds, or without any spread. Raises ValueError for rows of other
    lengths.
    """
    if len(rows) < 2 or len(rows[0]) < 2:
        return None
    if len({len(row) for row in rows}) > 1:
        raise ValueError("every row needs a score for every seed")
    count, seeds = len(rows), len(rows[0])
    middle, means = fmean(fmean(row) for row in rows), [fmean(row) for row in rows]
    lifts = [fmean(row[seed] for row in rows) - middle for seed in range(seeds)]
    between = count * math.fsum(lift**2 for lift in lifts) / (seeds - 1)
    rest = [row[s] - mean - lifts[s] for row, mean in zip(rows, means, strict=True) for s in range(seeds)]
    freedom = (seeds - 1) * (count - 1)
    within = math.fsum(value**2 for value in rest) / freedom
    total = between + (count - 1) * within
    if not total:
        return None
    chance = float(fdtrc(seeds - 1, freedom, between / within)) if within else 0.0
    return SeedEffect(correlation=(between - within) / total, chance=chance)
