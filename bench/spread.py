"""What differences between rows mean when each was trained with the same few seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit  # the quantile of Student's t by (degrees of freedom, probability)

_MOST_SEEDS = 1000


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Paired differences of one row to another: mean, standard deviation (n - 1) and 95 % t-interval over
    seeds.

    With one seed there is no spread: `deviation`, `low` and `high` are None.
    """

    seeds: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None

    @property
    def told(self) -> bool:
        """Whether the interval leaves out zero: the sign of the difference can be told from seed noise."""
        return self.low is not None and (self.low > 0 or self.high < 0)


def difference(scores: Sequence[float], reference: Sequence[float]) -> Difference:
    """The difference of two rows; the scores of one seed stand at the same place in both.

    Raises ValueError where they are not as many, or there are none.
    """
    if len(scores) != len(reference) or not scores:
        raise ValueError(f"{len(scores)} scores cannot be paired with {len(reference)}")
    pairs = [score - other for score, other in zip(scores, reference, strict=True)]
    count, mean = len(pairs), math.fsum(pairs) / len(pairs)
    if count == 1:
        return Difference(seeds=1, mean=mean, deviation=None, low=None, high=None)
    deviation = math.sqrt(math.fsum((pair - mean) ** 2 for pair in pairs) / (count - 1))
    half = float(stdtrit(count - 1, 0.975)) * deviation / math.sqrt(count)
    return Difference(seeds=count, mean=mean, deviation=deviation, low=mean - half, high=mean + half)


def seeds_needed(size: float, deviation: float) -> int | None:
    """How many seeds tell a true difference of `size` from seed noise: a paired two-sided t-test at 5 %,
    power 80 %.

    `deviation` is the standard deviation of a paired difference, in the unit of `size`. None for more than
    1000.
    """
    if size == 0:
        return None
    ratio = deviation / abs(size)
    for count in range(2, _MOST_SEEDS + 1):
        needed = (float(stdtrit(count - 1, 0.975)) + float(stdtrit(count - 1, 0.8))) * ratio
        if needed <= math.sqrt(count):
            return count
    return None
