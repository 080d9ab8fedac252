"""Whether a stated difference is that of two printed numbers."""

from decimal import Decimal

from bench.audit.finding import EXPLAINED, HARD, RIGHT, SOFT
from bench.audit.interval import ROUNDED, WAYS, Interval, short, stands_for
from bench.compare import rounded
from tables import Printed


def judge(larger: Printed, smaller: Printed, stated: Printed, relation: str = "equal") -> tuple[str, str]:
    """Grade and arithmetic of "`larger` minus `smaller` is `stated`", or at most, less or more than it.

    The difference may have been taken before the numbers were rounded: what no such numbers give is hard,
    what only they give is soft.
    """
    plain = larger.value - smaller.value
    shown = f"{larger.value:,} - {smaller.value:,} = {short(plain)}"
    said = stated.text if relation == "equal" else f"{relation} {stated.text}"
    if _holds(plain, stated, relation):
        return RIGHT, f"{shown}, stated {said}"
    possible = {way: stands_for(larger, way) - stands_for(smaller, way) for way in WAYS}
    text = f"{shown}, but {said} is stated; the unrounded numbers differ by {possible[ROUNDED]}"
    if _can_hold(possible[ROUNDED], stated, relation, ROUNDED):
        return SOFT, f"{text}: right only by digits that are not printed"
    if any(_can_hold(possible[way], stated, relation, way) for way in WAYS):
        return EXPLAINED, f"{text}: possible only if the numbers were cut off, not rounded"
    return HARD, text


def _holds(plain: Decimal, stated: Printed, relation: str) -> bool:
    """Whether the printed numbers have the relation at the stated precision."""
    value = stated.value
    if relation == "equal":
        return rounded(plain, stated.decimals) == value
    return {"at most": plain <= value, "less than": plain < value, "more than": plain > value}[relation]


def _can_hold(possible: Interval, stated: Printed, relation: str, way: str) -> bool:
    if relation == "equal":
        return possible.meets(stands_for(stated, way))
    if relation == "more than":
        return possible.high > stated.value
    return possible.low < stated.value or (relation == "at most" and possible.low == stated.value)
