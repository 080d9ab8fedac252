"""Our number against the printed one: the verdict, at the precision that was printed."""

from decimal import ROUND_HALF_UP, Decimal

from tables import Printed, Tolerance

EQUAL = "="
NEAR = "~"
OUTSIDE = "x"
NOT_RUN = "."
CONTRADICTED = "!"

MEANING = {
    EQUAL: "equal at the printed precision",
    NEAR: "inside the declared tolerance",
    OUTSIDE: "outside the declared tolerance",
    NOT_RUN: "not run, with the command that would run it",
    CONTRADICTED: "the printed number contradicts the papers themselves",
}


def rounded(value: Decimal, decimals: int) -> Decimal:
    """`value` with this many decimals, halves away from zero, as people round when they print; no -0."""
    return value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP) + 0


def as_printed(value: Decimal, decimals: int) -> str:
    """`value` as the paper would print it: 1317.4 with 0 decimals is "1,317"."""
    return f"{rounded(value, decimals):,}"


def verdict(
    printed: Printed, measured: Decimal | None, tolerance: Tolerance, contradicted: bool = False
) -> str:
    """One of `=`, `~`, `x`, `.`, `!`.

    `measured` is in the unit of the printed number, unrounded. A number within the printed spread ("48.7 ±
    0.1") is inside the tolerance. `contradicted` says that the printed number itself is known to be wrong,
    which no measurement can mend.
    """
    if contradicted:
        return CONTRADICTED
    if measured is None:
        return NOT_RUN
    if not measured.is_finite():
        return OUTSIDE
    if rounded(measured, printed.decimals) == printed.value:
        return EQUAL
    if printed.spread is not None and abs(measured - printed.value) <= printed.spread:
        return NEAR
    return NEAR if tolerance.holds(measured, printed.value) else OUTSIDE
