"""Worse, equivalent, or not to be told: tests against a tolerance."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from tem_sim.analysis.equivalence import ALPHA_WORSE, Tolerance, contrast, fieller, holm, pairs_needed, vanished_p

numbers = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=2, max_size=12)
tolerances = st.builds(Tolerance, st.floats(0, 0.5), st.booleans())


@settings(max_examples=150, deadline=None)
@given(numbers, tolerances, st.sampled_from(["more", "less"]))
def test_what_is_surely_worse_is_never_equivalent_nor_better_nor_no_worse(rows, tolerance, worse):
    a, b = np.array(rows).T
    found = contrast(a, b, tolerance, worse)
    surely_worse = found.p_worse <= ALPHA_WORSE
    assert not (surely_worse and found.judged(worse=False) in ("equivalent", "better", "no_worse"))


@settings(max_examples=150, deadline=None)
@given(numbers, st.floats(0.01, 0.5))
def test_a_relative_effect_is_surely_worse_where_its_interval_lies_above_the_tolerance(rows, share):
    a, b = np.array(rows).T
    found = contrast(a, b, Tolerance(share))
    assume(found.relative and abs(found.low - share) > 1e-6 and found.scatter > 1e-6)
    assert (found.p_worse <= ALPHA_WORSE) == (found.low > share)


@settings(max_examples=60, deadline=None)
@given(numbers, tolerances)
def test_better_one_way_is_worse_the_other_way(rows, tolerance):
    a, b = np.array(rows).T
    up, down = contrast(a, b, tolerance, "more"), contrast(a, b, tolerance, "less")
    assert (up.p_worse, up.p_better) == pytest.approx((down.p_better, down.p_worse))


def test_an_absolute_tolerance_is_tested_as_scipy_does():
    a, b = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.5, 3.0, 5.5, 5.0])
    found = contrast(a, b, Tolerance(0.5, relative=False))
    assert found.p_worse == pytest.approx(stats.ttest_1samp(b - a, 0.5, alternative="greater").pvalue)
    assert found.p_no_better == pytest.approx(stats.ttest_1samp(b - a, -0.5, alternative="greater").pvalue)


def test_fiellers_interval_covers_the_true_ratio_as_often_as_it_says():
    chance = np.random.default_rng(1)
    within = 0
    for _ in range(600):
        a = 10 + chance.standard_normal(6)
        b = 1.1 * a + 0.5 * chance.standard_normal(6)
        low, high = fieller(a, b)
        within += low <= 0.1 <= high
    assert 0.92 < within / 600 < 0.98


def test_fiellers_interval_is_not_there_where_the_mean_may_be_zero():
    assert all(map(math.isnan, fieller([0, 0, 0, 1], [1, 2, 1, 2])))


def test_what_does_not_scatter_is_known_for_sure():
    at_it = contrast([2.0] * 3, [2.1] * 3, Tolerance(0.05))
    above = contrast([2.0] * 3, [2.2] * 3, Tolerance(0.05))
    assert (at_it.p_worse, at_it.judged(worse=False)) == (1.0, "equivalent")
    assert above.p_worse == 0.0


def test_rounding_is_no_difference():
    assert contrast([0.1 + 0.2] * 4, [0.3] * 4, Tolerance(0.0)).judged(worse=False) == "same"


def test_infinite_and_missing_values_are_left_out_in_pairs():
    found = contrast([1, math.inf, 3, 4], [1, 2, math.nan, 5], Tolerance(0.05))
    assert (found.n, found.mean_a, found.mean_b) == (2, 2.5, 3.0)


def test_holm_rejects_what_it_does_by_the_book():
    # Holm's own order: 0.01 ≤ 0.05/4, 0.015 ≤ 0.05/3, 0.02 ≤ 0.05/2, 0.2 > 0.05.
    assert holm([0.02, 0.01, math.nan, 0.2, 0.015], 0.05).tolist() == [True, True, False, False, True]
    # 0.02 would pass 0.05/2, but 0.03 before it did not pass 0.05/3 — so nothing after it does.
    assert holm([0.001, 0.03, 0.03, 0.04], 0.05).tolist() == [True, False, False, False]


def test_as_many_pairs_as_are_said_to_be_needed_do_nine_times_of_ten():
    needed = pairs_needed(over=0.05, scatter=0.08, alpha=0.025)
    assert needed is not None
    chance = np.random.default_rng(3)
    draws = 0.05 + 0.08 * chance.standard_normal((2000, needed))
    found = stats.ttest_1samp(draws, 0, axis=1, alternative="greater").pvalue <= 0.025
    assert 0.88 < found.mean() < 0.94


def test_no_number_of_pairs_tells_an_effect_that_lies_at_the_tolerance():
    assert pairs_needed(over=0.0, scatter=0.1) is None
    assert pairs_needed(over=1e-9, scatter=1.0) is None
    assert pairs_needed(over=-1.0, scatter=0.0) == 2


def test_ten_of_ten_that_vanish_are_no_luck():
    assert vanished_p(10, 0) == pytest.approx(2**-10)
    assert vanished_p(1, 1) == pytest.approx(0.75)


@pytest.mark.parametrize("size", [-0.1, math.nan, math.inf])
def test_a_tolerance_is_a_number_from_zero_on(size):
    with pytest.raises(ValueError, match="from 0 on"):
        Tolerance(size)
