from decimal import Decimal

import pytest

from tables import Tolerance
from tables.record import parse


@pytest.mark.parametrize(
    ("text", "value", "decimals", "spread", "suffix"),
    [
        ("47.2", "47.2", 1, None, ""),
        ("80.0", "80.0", 1, None, ""),
        ("44", "44", 0, None, ""),
        ("1,317", "1317", 0, None, ""),
        ("1,317.25", "1317.25", 2, None, ""),
        ("48.7 ± 0.1", "48.7", 1, "0.1", ""),
        ("48.70+/-0.15", "48.70", 2, "0.15", ""),
        ("18G", "18", 0, None, "G"),
        (" 62.5 % ", "62.5", 1, None, "%"),
        ("-0.6", "-0.6", 1, None, ""),
        ("+1.0", "1.0", 1, None, ""),
        ("512²", "512", 0, None, "²"),
        ("160k", "160", 0, None, "k"),
        ("6e-5", "0.00006", 5, None, ""),
    ],
)
def test_printed_numbers_are_read(text, value, decimals, spread, suffix):
    printed = parse(text)
    assert (printed.value, printed.decimals, printed.suffix) == (Decimal(value), decimals, suffix)
    assert printed.spread == (Decimal(spread) if spread else None)
    assert printed.text == text.strip()


@pytest.mark.parametrize("text", ["-", "–", "—", "", "  "])
def test_dashes_are_no_numbers(text):
    assert parse(text) is None


@pytest.mark.parametrize("text", ["n/a", "47.2.1", "1,31", "13,17", "47,2", "~47", "±0.1", "1 317", "47.2 ±"])
def test_anything_else_is_an_error(text):
    with pytest.raises(ValueError, match="is not a printed number"):
        parse(text)


def test_tolerance_is_closed_and_either_kind():
    relative, absolute = Tolerance(relative=0.02), Tolerance(absolute=0.5)
    assert relative.holds(Decimal("73.44"), Decimal(72))
    assert not relative.holds(Decimal("73.4401"), Decimal(72))
    assert absolute.holds(Decimal("46.7"), Decimal("47.2"))
    assert not absolute.holds(Decimal("46.69"), Decimal("47.2"))
    assert not Tolerance().holds(Decimal("47.21"), Decimal("47.2"))
