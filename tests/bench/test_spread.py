"""Differences over seeds, against scipy's paired t-test and figures worked by hand."""

import math

import numpy
import pytest
from scipy import stats

from bench.spread import difference, seeds_needed


def test_paired_differences():
    found = difference([50.0, 52.0, 51.0], [49.0, 50.0, 51.0])  # pairs 1, 2, 0
    assert (found.seeds, found.mean, found.deviation) == (3, 1.0, 1.0)
    half = 4.302652729911275 / math.sqrt(3)  # t of 2 degrees of freedom
    assert (found.low, found.high) == pytest.approx((1 - half, 1 + half), rel=1e-9)
    assert not found.told


def test_the_interval_is_that_of_the_paired_t_test():
    generator = numpy.random.default_rng(3)
    first, second = generator.normal(50, 2, 7), generator.normal(48, 2, 7)
    found = difference(list(first), list(second))
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert found.told == (stats.ttest_rel(first, second).pvalue < 0.05)


def test_a_common_shift_of_a_seed_does_not_count_as_spread():
    found = difference([11.0, 31.0, 21.0], [10.0, 30.0, 20.0])
    assert (found.mean, found.deviation, found.low, found.high) == (1.0, 0.0, 1.0, 1.0)
    assert found.told


def test_equal_rows_do_not_differ():
    found = difference([11.0, 31.0, 21.0], [11.0, 31.0, 21.0])
    assert (found.mean, found.deviation, found.low, found.high) == (0.0, 0.0, 0.0, 0.0)
    assert not found.told


def test_one_seed_has_no_spread():
    found = difference([50.0], [49.0])
    assert (found.mean, found.deviation, found.low, found.high, found.told) == (1.0, None, None, None, False)


def test_scores_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="2 scores cannot be paired with 3"):
        difference([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError):
        difference([], [])


def test_seeds_needed_have_the_power_they_claim():
    """The power of the paired t-test at the count given is 80 %, or nearly, and below it at half of that."""
    for size, deviation in ((0.5, 0.63), (1.1, 1.6), (0.4, 2.0)):
        count = seeds_needed(size, deviation)
        assert power(size / deviation, count) == pytest.approx(0.8, abs=0.04)
        assert power(size / deviation, count // 2) < 0.6


def power(effect: float, count: int) -> float:
    bound = stats.t.ppf(0.975, count - 1)
    return float(1 - stats.nct.cdf(bound, count - 1, effect * math.sqrt(count)))


def test_seeds_needed_at_the_ends():
    assert seeds_needed(-1.0, 0.2) == seeds_needed(1.0, 0.2) == 3
    assert seeds_needed(1.0, 0.0) == 2
    assert seeds_needed(0.01, 5.0) is None
    assert seeds_needed(0.0, 1.0) is None
