"""Intervals, paired differences and false discoveries: against scipy, by coverage, and by what must always hold."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tem_sim.analysis.statistics import false_discoveries, mean_interval, paired, wilson, z_against

NAN = math.nan
numbers = st.floats(-1e6, 1e6)


def uniforms(shape, seed=1):
    return np.random.default_rng(seed).random(shape)


# --- the mean


def test_the_mean_and_its_interval_are_scipys():
    values = uniforms(12)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    estimate, low, high, n = mean_interval(values, level=0.9)
    assert (estimate, low, high) == pytest.approx((values.mean(), expected.low, expected.high), rel=1e-12)
    assert n == 12


def test_what_was_not_observed_is_left_out_and_counted_out():
    assert mean_interval([1.0, NAN, 3.0, NAN]) == mean_interval([1.0, 3.0])
    assert mean_interval([1.0, NAN, 3.0, NAN]).n == 2


def test_one_value_has_a_mean_and_no_interval():
    one, none = mean_interval([4.0]), mean_interval([])
    assert (one.estimate, one.n) == (4.0, 1)
    assert all(math.isnan(number) for number in (one.low, one.high, none.estimate))
    assert none.n == 0


def test_a_nominal_95_percent_interval_covers_the_mean_95_percent_of_the_time():
    draws = np.random.default_rng(2).normal(7.0, 2.0, (4000, 10))
    covered = np.mean([low <= 7.0 <= high for _, low, high, _ in map(mean_interval, draws)])
    # Four standard errors of a share of 4000.
    assert covered == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


@given(st.lists(numbers, min_size=2, max_size=20), st.floats(0.5, 0.99))
def test_the_mean_lies_in_the_middle_of_its_interval(values, level):
    estimate, low, high, _ = mean_interval(values, level)
    assert low <= estimate <= high
    assert estimate - low == pytest.approx(high - estimate, abs=1e-9 * (1 + abs(high)))


@pytest.mark.parametrize("level", [0.0, 1.0, 95, NAN])
def test_a_level_is_a_share(level):
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        mean_interval([1.0, 2.0], level)
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        wilson(1, 2, level)


def test_a_table_is_not_a_list_of_values():
    with pytest.raises(ValueError, match="must be a list of numbers"):
        mean_interval([[1.0, 2.0], [3.0, 4.0]])


# --- shares


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (1, 5), (5, 5), (37, 1000), (999, 1000)])
def test_wilsons_interval_is_scipys(successes, n):
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    made = wilson(successes, n)
    assert (made.low, made.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert (made.estimate, made.n) == (successes / n, n)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.01, 0.999))
def test_a_share_and_its_interval_stay_within_0_and_1(counted, level):
    made = wilson(*counted, level)
    assert 0 <= made.low <= made.estimate <= made.high <= 1
    assert made.low < made.high


def test_nothing_tried_is_no_share():
    assert wilson(0, 0).n == 0
    assert all(math.isnan(number) for number in wilson(0, 0)[:3])


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5)])
def test_more_successes_than_trials_are_refused(successes, n):
    with pytest.raises(ValueError, match="successes must be from 0 to n"):
        wilson(successes, n)


def test_wilsons_interval_covers_small_shares_on_average():
    # One share's coverage swings with the lattice of counts; over many shares the mean is what is promised.
    rng = np.random.default_rng(3)
    shares = rng.uniform(0.02, 0.98, 4000)
    made = [wilson(int(k), 40) for k in rng.binomial(40, shares)]
    covered = np.mean([one.low <= share <= one.high for one, share in zip(made, shares, strict=True)])
    assert covered == pytest.approx(0.95, abs=0.014)


# --- pairs


def test_a_paired_difference_is_scipys():
    a, b = uniforms((2, 9))
    expected = stats.ttest_rel(b, a)
    made = paired(a, b)
    assert (made.low, made.high) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-10)
    assert made.p == pytest.approx(expected.pvalue, rel=1e-10)
    assert (made.mean_a, made.mean_b, made.difference) == pytest.approx((a.mean(), b.mean(), (b - a).mean()))


def test_shared_luck_narrows_the_difference_by_the_variance_it_explains():
    luck, own_a, own_b = np.random.default_rng(4).normal(size=(3, 20_000))
    made = paired(luck + 0.1 * own_a, 0.5 + luck + 0.1 * own_b)
    assert made.variance_reduction == pytest.approx(2.02 / 0.02, rel=0.1)
    assert paired(own_a, own_b).variance_reduction == pytest.approx(1, rel=0.1)


def test_a_pair_with_a_hole_is_left_out_whole():
    whole = paired([1.0, 4.0, 2.0], [2.0, 7.0, 4.0])
    assert paired([1.0, NAN, 4.0, 9.0, 2.0], [2.0, 5.0, 7.0, NAN, 4.0]) == whole
    assert whole.n == 3


def test_a_difference_that_never_varies_is_certain():
    same, shifted = paired([1.0, 2.0], [1.0, 2.0]), paired([1.0, 2.0], [2.0, 3.0])
    assert (same.difference, same.p) == (0.0, 1.0)
    assert (shifted.low, shifted.high, shifted.p, shifted.variance_reduction) == (1.0, 1.0, 0.0, math.inf)


def test_one_pair_says_nothing_about_its_uncertainty():
    one = paired([1.0], [3.0])
    assert one.difference == 2.0
    assert all(math.isnan(number) for number in (one.low, one.high, one.p, one.variance_reduction))


def test_lists_of_different_lengths_are_no_pairs():
    with pytest.raises(ValueError, match="equal length"):
        paired([1.0], [1.0, 2.0])


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=12))
def test_exchanging_a_and_b_turns_the_difference_around(pairs):
    a, b = zip(*pairs, strict=True)
    there, back = paired(a, b), paired(b, a)
    assert there.difference == -back.difference
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.p == pytest.approx(back.p)


# --- many at once


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0.01, 0.5))
def test_discoveries_are_those_whose_adjusted_p_is_at_most_q(p_values, q):
    adjusted = stats.false_discovery_control(p_values)
    clear = np.abs(adjusted - q) > 1e-9
    assert (false_discoveries(p_values, q)[clear] == (adjusted <= q)[clear]).all()


def test_benjamini_and_hochbergs_own_example():
    # The 15 p values of their paper's section 3.2: four rejections at q = 0.05, where Bonferroni has three.
    p_values = [
        *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
        *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000),
    ]
    assert false_discoveries(p_values).tolist() == [True] * 4 + [False] * 11


def test_what_was_not_tested_is_no_discovery_and_costs_nothing():
    assert false_discoveries([0.04, NAN, NAN]).tolist() == [True, False, False]
    assert false_discoveries([NAN]).tolist() == [False]
    assert false_discoveries([]).tolist() == []


def test_the_false_share_of_discoveries_stays_below_q():
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(400):
        true = rng.random(50) < 0.3
        p_values = stats.norm.sf(rng.normal(size=50) + 3 * true)
        found = false_discoveries(p_values, 0.1)
        shares.append((found & ~true).sum() / max(1, found.sum()))
    # Theory: q times the share of true nulls, here 0.07; the mean of 400 has a standard error of about 0.003.
    assert np.mean(shares) == pytest.approx(0.07, abs=0.012)


@pytest.mark.parametrize("p_values", [[1.1], [-0.1], [[0.5]]])
def test_a_p_value_is_a_probability(p_values):
    with pytest.raises(ValueError, match="from 0 to 1"):
        false_discoveries(p_values)


# --- against what is expected


def test_z_has_the_tail_probability_of_the_t_test():
    values = np.array([1.0, 2.0, 4.0, 8.0])
    expected = stats.ttest_1samp(values, 9.0).pvalue
    assert 2 * stats.norm.sf(abs(z_against(values, 9.0))) == pytest.approx(expected, rel=1e-9)
    assert z_against(values, 9.0) < 0 < z_against(values, 1.0)


def test_z_exceeds_3_as_rarely_as_a_normal_deviate():
    draws = np.random.default_rng(6).normal(1.0, 1.0, (20_000, 5))
    z = np.array([z_against(row, 1.0) for row in draws])
    # 0.0027 of 20 000 is 54, give or take 7.
    assert 25 < (np.abs(z) > 3).sum() < 85
    assert np.std(z) == pytest.approx(1, abs=0.02)


def test_z_of_values_that_never_vary_is_all_or_nothing():
    assert z_against([2.0, 2.0], 2.0) == 0
    assert z_against([2.0, 2.0], 1.0) == math.inf
    assert z_against([2.0, 2.0], 3.0) == -math.inf
    assert math.isnan(z_against([2.0], 2.0))
