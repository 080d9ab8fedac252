"""What printed numbers stand for, and whether stated differences can be theirs."""

from decimal import Decimal

import pytest

from bench.audit.difference import judge
from bench.audit.interval import CUT, ROUNDED, Interval, exactly, mean, short, stands_for
from tables.record import parse


def interval(low: str, high: str) -> Interval:
    return Interval(Decimal(low), Decimal(high))


def test_a_printed_number_stands_for_what_rounds_to_it():
    assert stands_for(parse("47.2")) == interval("47.15", "47.25")
    assert stands_for(parse("47.2"), CUT) == interval("47.2", "47.3")
    assert stands_for(parse("1,317")) == interval("1316.5", "1317.5")
    assert stands_for(parse("-0.3"), CUT) == interval("-0.4", "-0.3")


def test_two_roundings_that_touch_have_nothing_in_common():
    assert not stands_for(parse("45.4")).meets(stands_for(parse("45.5")))
    assert stands_for(parse("61.5")).meets(stands_for(parse("61")))  # 61.46
    assert not stands_for(parse("61.6")).meets(stands_for(parse("61")))
    assert exactly(1).meets(interval("1", "2"))
    assert not exactly(1).meets(exactly(2))


def test_a_weighted_mean_is_as_wide_as_its_parts():
    parts = [stands_for(parse("54.4")), stands_for(parse("42.4"))]
    found = mean(parts, (80, 53))
    assert found.high - found.low == pytest.approx(Decimal("0.1"))
    assert float(found.low) == pytest.approx(49.568, abs=1e-3)


def test_numbers_in_sentences_are_short():
    assert [short(Decimal(text)) for text in ("2.00", "-0.00001", "49.59849", "100")] == [
        "2",
        "0",
        "49.5985",
        "100",
    ]


@pytest.mark.parametrize(
    ("larger", "smaller", "stated", "grade"),
    [
        ("47.9", "46.7", "+1.2", "right"),
        ("47.9", "46.7", "+1.1", "soft"),  # 47.86 - 46.74
        ("47.9", "46.7", "+1.3", "soft"),
        ("47.9", "46.7", "+0.9", "hard"),
        ("47.9", "46.7", "+1.0", "hard"),  # 1.1 at least, and 1.0 means 1.05 at most
        ("47.2", "47.2", "-0.0", "right"),
        ("45.4", "47.2", "-1.8", "right"),
        ("45.4", "47.2", "+1.8", "hard"),
        ("7,451", "6,343", "1,108", "right"),
        ("83", "72", "11", "right"),
        ("74", "63.7", "10", "right"),  # 10.3, stated without its decimal
        ("74", "63.7", "12", "hard"),
    ],
)
def test_a_stated_difference(larger, smaller, stated, grade):
    assert judge(parse(larger), parse(smaller), parse(stated))[0] == grade


@pytest.mark.parametrize(
    ("larger", "smaller", "relation", "stated", "grade"),
    [
        ("55.1", "54.7", "at most", "0.4", "right"),
        ("55.1", "54.7", "at most", "0.3", "soft"),
        ("55.1", "54.7", "at most", "0.2", "hard"),
        ("55.1", "54.7", "less than", "0.3", "hard"),
        ("52.6", "47.6", "more than", "5", "soft"),
        ("52.5", "47.6", "more than", "5", "hard"),
        ("57.8", "52.7", "more than", "5", "right"),
    ],
)
def test_a_stated_bound(larger, smaller, relation, stated, grade):
    assert judge(parse(larger), parse(smaller), parse(stated), relation)[0] == grade


def test_digits_that_were_cut_off_explain_a_difference():
    grade, text = judge(parse("2.0"), parse("1.0"), parse("0"))  # 2.01 - 1.09 = 0.92, cut to 0
    assert grade == "explained"
    assert "cut off" in text


def test_the_arithmetic_is_shown():
    _, text = judge(parse("47.9"), parse("46.7"), parse("+0.9"))
    assert text == "47.9 - 46.7 = 1.2, but +0.9 is stated; the unrounded numbers differ by 1.1 to 1.3"
    assert ROUNDED != CUT
