"""Verdicts at the precision that was printed."""

from decimal import Decimal

import pytest

from bench.compare import as_printed, rounded, verdict
from tables import Tolerance
from tables.record import parse

TWO_PERCENT = Tolerance(relative=0.02)


@pytest.mark.parametrize(
    ("printed", "measured", "expected"),
    [
        ("44", "43.988247", "="),
        ("44", "43.5", "="),  # halves are rounded up, as people print
        ("44", "43.499999", "~"),
        ("44", "44.499999", "="),
        ("44", "44.5", "~"),
        ("44", "44.88", "~"),  # exactly 2 %
        ("44", "44.8801", "x"),
        ("72", "73.41", "~"),
        ("72", "73.45", "x"),
        ("1,317", "1317.49", "="),
        ("1,317", "1316.4", "~"),
        ("48.7 ± 0.1", "48.65", "="),
        ("47.2", "47.25", "~"),
        ("47.2", "47.1499", "~"),
        ("47.20", "47.204", "="),
        ("47.20", "47.205", "~"),
        ("0.5", "0.45", "="),
        ("18G", "17.6", "="),
        ("-0.6", "-0.55", "="),
        ("44", None, "."),
        ("44", "NaN", "x"),
        ("44", "Infinity", "x"),
    ],
)
def test_verdicts(printed, measured, expected):
    assert verdict(parse(printed), None if measured is None else Decimal(measured), TWO_PERCENT) == expected


def test_a_printed_spread_is_a_tolerance():
    assert verdict(parse("48.7 ± 0.3"), Decimal("49.0"), Tolerance()) == "~"
    assert verdict(parse("48.7 ± 0.3"), Decimal("49.01"), Tolerance()) == "x"
    assert verdict(parse("48.7"), Decimal("49.0"), Tolerance()) == "x"


def test_a_contradicted_number_stays_so_whatever_was_measured():
    assert verdict(parse("67"), Decimal("67.0"), TWO_PERCENT, contradicted=True) == "!"
    assert verdict(parse("67"), None, TWO_PERCENT, contradicted=True) == "!"


def test_no_tolerance_is_none():
    assert verdict(parse("72"), Decimal("72.51"), Tolerance()) == "x"


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        ("1317.5", 0, "1,318"),
        ("44.5", 0, "45"),
        ("0.05", 1, "0.1"),
        ("80", 1, "80.0"),
        ("1234567.891", 2, "1,234,567.89"),
        ("-0.04", 1, "0.0"),
    ],
)
def test_numbers_print_as_papers_print_them(value, decimals, text):
    assert as_printed(Decimal(value), decimals) == text


def test_a_difference_that_rounds_to_nothing_has_no_sign():
    assert f"{rounded(Decimal('-0.04'), 1):+}" == "+0.0"
    assert f"{rounded(Decimal('-0.05'), 1):+}" == "-0.1"
