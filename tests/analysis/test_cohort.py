"""Rows that fail together: when their retries start, under every policy there is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_catalogue import ALL, any_policy

from tem_sim.analysis.cohort import USUAL_RETRIES, delays_of, retries_of, storm_of
from tem_sim.analysis.lineup import jitters
from tem_sim.analysis.ticks import Tick
from tem_sim.pipeline.backoff import Backoff, Exponential, Full
from tem_sim.pipeline.presets import PRESETS, preset_policy

STAMINA = PRESETS["stamina"].policy


@given(any_policy(), st.integers(1, 30), st.sampled_from([None, Tick(0.7), Tick(0.7, limit=4)]))
def test_each_retry_starts_after_the_one_before_it_and_no_sooner_than_its_delay_allows(policy, n, tick):
    cohort = storm_of(policy, n, 3, fail_s=0.25, tick=tick)
    ends_s = np.zeros(n)
    for retry in range(1, cohort.retries + 1):
        least_s, most_s = policy.support(retry)
        waited_s = cohort.due_s[retry - 1] - ends_s
        made = ~np.isnan(waited_s)
        slack = 1e-6 + 1e-9 * ends_s[made].max(initial=most_s)
        assert np.all(waited_s[made] >= least_s - slack)
        assert np.all(waited_s[made] <= most_s + slack)
        assert np.all(cohort.lags_s(retry) >= 0)
        ends_s = cohort.starts_s[retry - 1] + 0.25


@pytest.mark.parametrize("policy", ALL[::7], ids=lambda policy: policy.formula)
def test_fewer_rows_are_the_first_of_more(policy):
    assert np.array_equal(storm_of(policy, 40, 3).starts_s, storm_of(policy, 100, 3).first(40).starts_s, equal_nan=True)


def test_policies_share_the_luck_of_a_seed():
    short, long = (Backoff(Exponential(base_s), Full()) for base_s in (10.0, 30.0))
    assert storm_of(long, 50, 4).starts_s == pytest.approx(3 * storm_of(short, 50, 4).starts_s)
    assert not np.array_equal(storm_of(long, 50, 4, seed=2).starts_s, storm_of(long, 50, 4, seed=1).starts_s)


@given(any_policy(), st.floats(0.01, 100))
def test_stretched_delays_are_so_many_times_as_long(policy, factor):
    whole, stretched = (list(delays_of(policy, 5, 3, stretch=by)) for by in (1.0, factor))
    assert stretched == [pytest.approx(np.minimum(factor * one, 10 * 365 * 86_400.0)) for one in whole]


def test_a_row_gives_up_once_its_next_retry_would_be_due_past_the_budget():
    cohort = storm_of(STAMINA, 500, fail_s=4.0)
    made = ~np.isnan(cohort.due_s)
    assert made[0].all()
    assert not made[-1].all()
    assert np.nanmax(cohort.due_s) <= STAMINA.budget_s
    # Who has given up stays so.
    assert np.all(made[1:] <= made[:-1])
    assert len(cohort.of_retry(STAMINA.max_retries)) == made[-1].sum()


def test_as_many_retries_are_looked_at_as_are_asked_for_and_made():
    assert retries_of(PRESETS["taskiq"].policy, 5) == 2
    assert retries_of(PRESETS["temporal"].policy, 7) == 7
    assert retries_of(PRESETS["temporal"].policy) == USUAL_RETRIES
    assert retries_of(preset_policy("sidekiq", max_retries=0)) == 0
    assert storm_of(preset_policy("sidekiq", max_retries=0), 10).starts_s.shape == (0, 10)


@pytest.mark.parametrize(("n", "message"), [(0, "must be a whole number >= 1"), (10**9, "at most 100,000,000 / 5")])
def test_a_cohort_has_rows_and_not_more_than_memory_holds(n, message):
    with pytest.raises(ValueError, match=message):
        storm_of(jitters()["full"], n, 5)


def test_a_cohort_says_what_it_is():
    assert repr(storm_of(jitters()["full"], 1000, 2)) == "<Cohort of 1,000 rows, 2 retries, full>"
