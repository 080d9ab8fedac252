"""Differences over seeds, against scipy's paired t-test and figures worked by hand."""

import math

import numpy
import pytest
from scipy import stats

from bench.spread import difference, seed_effect, seeds_needed, welch


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


def test_welch_is_that_of_scipy():
    generator = numpy.random.default_rng(5)
    for count, spread in ((3, 1.0), (3, 6.0), (7, 0.2)):
        first, second = generator.normal(50, 2, count), generator.normal(48, spread, count)
        found = welch(list(first), list(second))
        test = stats.ttest_ind(first, second, equal_var=False)
        expected = test.confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
        assert found.freedom == pytest.approx(test.df, rel=1e-9)
        assert count - 1 <= found.freedom <= 2 * count - 2
        assert found.told == (test.pvalue < 0.05)
        assert found.holds(found.mean) and not found.holds(found.high + 0.01)


def test_welch_without_spread():
    assert welch([50.0], [49.0]) == difference([50.0], [49.0])
    found = welch([2.0, 2.0, 2.0], [1.0, 1.0, 1.0])
    assert (found.low, found.high, found.freedom, found.told) == (1.0, 1.0, 4, True)
    assert not welch([1.0, 1.0], [1.0, 1.0]).told
    with pytest.raises(ValueError):
        welch([1.0], [1.0, 2.0])


def test_two_independent_rows_of_three_seeds():
    """Worked by hand: equal variances of 1, so 4 degrees of freedom and a half width of t * sqrt(2 / 3)."""
    found = welch([21.0, 22.0, 23.0], [20.0, 21.0, 22.0])
    half = 2.7764451051977934 * math.sqrt(2 / 3)
    assert found.freedom == 4 and found.deviation == pytest.approx(math.sqrt(2))
    assert (found.low, found.high) == pytest.approx((1 - half, 1 + half), rel=1e-9)


def test_seeds_needed_by_two_independent_rows():
    """As many trainings of each row; twice the degrees of freedom need fewer."""
    for size, deviation in ((0.5, 0.63), (1.1, 1.6)):
        count = seeds_needed(size, deviation, rows=2)
        bound = stats.t.ppf(0.975, 2 * count - 2)
        power = 1 - stats.nct.cdf(bound, 2 * count - 2, size / deviation * math.sqrt(count))
        assert power == pytest.approx(0.8, abs=0.04) and count <= seeds_needed(size, deviation)


def test_the_effect_of_the_seed_is_that_of_a_two_way_layout():
    rows = [[20.0, 22.0, 21.0], [30.1, 32.0, 31.2], [25.0, 26.8, 26.0]]  # seeds lift all rows alike
    found = seed_effect(rows)
    table = numpy.array(rows)
    rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    ratio = (3 * table.mean(0).var(ddof=1)) / ((rest**2).sum() / 4)
    assert found.correlation == pytest.approx((ratio - 1) / (ratio + 2), rel=1e-6)
    assert found.correlation > 0.98
    assert found.chance == pytest.approx(stats.f.sf(ratio, 2, 4), rel=1e-6)
    against = seed_effect([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    assert against.correlation == pytest.approx(-1.0) and against.chance == 1.0
    assert seed_effect([[1.0, 2.0]]) is seed_effect([[1.0], [2.0]]) is seed_effect([[1.0, 1.0]] * 2) is None
