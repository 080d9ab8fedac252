"""What a printed number can stand for: an interval, by the way its digits came about."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tables import Printed

ROUNDED = "rounded"
CUT = "cut off"
WAYS = (ROUNDED, CUT)


@dataclass(frozen=True)
class Interval:
    """All numbers between `low` and `high`; one number where they are equal."""

    low: Decimal
    high: Decimal

    def __add__(self, other: "Interval") -> "Interval":
        return Interval(self.low + other.low, self.high + other.high)

    def __sub__(self, other: "Interval") -> "Interval":
        return Interval(self.low - other.high, self.high - other.low)

    def __mul__(self, factor: Decimal | int) -> "Interval":
        """Scaled by a number that is not negative."""
        return Interval(self.low * factor, self.high * factor)

    def __str__(self) -> str:
        return f"{short(self.low)} to {short(self.high)}"

    def meets(self, other: "Interval") -> bool:
        """Whether they have numbers in common. The border between two roundings belongs to one of them."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        return low < high or (low == high and (self.low == self.high or other.low == other.high))


def step(printed: Printed) -> Decimal:
    """One unit in the last printed digit: 0.1 for "47.2"."""
    return Decimal(1).scaleb(-printed.decimals)


def stands_for(printed: Printed, way: str = ROUNDED) -> Interval:
    """The numbers that are printed like this when they are rounded to the nearest, or cut off."""
    value, unit = printed.value, step(printed)
    if way == ROUNDED:
        return Interval(value - unit / 2, value + unit / 2)
    return Interval(value, value + unit) if value >= 0 else Interval(value - unit, value)


def exactly(value: Decimal | int) -> Interval:
    """One number."""
    return Interval(Decimal(value), Decimal(value))


def total(parts: Iterable[Interval]) -> Interval:
    """The sum of intervals."""
    return sum(parts, exactly(0))


def mean(parts: Sequence[Interval], weights: Sequence[int] | None = None) -> Interval:
    """The mean of intervals, each with its weight."""
    weights = weights or [1] * len(parts)
    whole = total(part * weight for part, weight in zip(parts, weights, strict=True))
    return Interval(whole.low / sum(weights), whole.high / sum(weights))


def ways_to_meet(stated: Printed, computed: dict[str, Interval]) -> list[str]:
    """The ways of printing, one for all numbers, by which `stated` can be what was computed."""
    return [way for way in WAYS if stands_for(stated, way).meets(computed[way])]


def short(value: Decimal) -> str:
    """A number for a sentence: at most four decimals, without zeros at the end."""
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
