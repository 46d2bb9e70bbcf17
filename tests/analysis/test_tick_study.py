"""Jitter against the scheduler's tick: bursts drawn and on paper, the warning, and what LIMIT costs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_catalogue import any_policy

from tem_sim.analysis.burst_theory import mean_largest_tick_share
from tem_sim.analysis.lineup import jitters
from tem_sim.analysis.tick_law import largest_share, tick_shares, tick_warning
from tem_sim.analysis.tick_study import tick_study
from tem_sim.analysis.ticks import Tick
from tem_sim.pipeline.backoff import Additive, Backoff, Decorrelated, Fixed, Full, NoJitter

TWO_S = Backoff(Fixed(10), Additive(2.0), max_retries=3, name="two")


@pytest.fixture(scope="module")
def study():
    return tick_study([TWO_S, jitters()["full"]], [0.1, 1.0, 10.0], n=3_000, seeds=6)


def test_the_burst_drawn_is_the_one_on_paper_at_every_retry(study):
    table = study.table
    assert table["expected_burst"].notna().all()
    # Both are means over the same places between two ticks, so only the luck of the rows is left.
    assert table["burst"].to_numpy() == pytest.approx(table["expected_burst"].to_numpy(), rel=0.08)


def test_a_jitter_narrower_than_the_tick_is_erased(study):
    erased = study.table[study.table["erased"]]
    assert set(zip(erased["policy"], erased["period_s"], strict=True)) == {("two", 10.0)}
    assert (erased["burst_share"] > 0.85).all()
    assert (study.table.query("period_s == 0.1")["burst_share"] < 0.1).all()
    assert "J 2 s against T 10 s at retry 1" in study.verdict


def test_the_warning_has_the_numbers_and_what_to_do(study):
    said = tick_warning(TWO_S, 10.0)
    assert "two: the jitter before retry 1 is 2 s wide (J) and the scheduler looks every 10 s (T). J < T" in said
    assert "95% of the rows that fail together on average" in said
    assert "A tick of 0.2 s would release them in ten parts." in said
    assert said in study.notes


@pytest.mark.parametrize(("policy", "period_s"), [(TWO_S, 2.0), (Backoff(Fixed(10), NoJitter()), 60.0)])
def test_there_is_nothing_to_warn_of_when_the_tick_is_short_or_no_jitter_is_there(policy, period_s):
    assert tick_warning(policy, period_s) == ""


@given(st.floats(0.05, 50.0), st.floats(0.05, 50.0))
def test_the_largest_share_of_a_uniform_jitter_has_its_closed_form(width_s, period_s):
    found = largest_share(Backoff(Fixed(10), Additive(width_s)), period_s)
    assert found == pytest.approx(mean_largest_tick_share(width_s, period_s), abs=0.02)


@settings(max_examples=40)
@given(any_policy(), st.sampled_from([0.5, 7.0]), st.sampled_from([0.0, 0.3]), st.sampled_from([0.0, 0.4]))
def test_the_ticks_shares_are_a_distribution_over_ticks_from_the_delay_to_a_period_later(
    policy, period_s, fail_s, phase_s
):
    tick = Tick(period_s, phase_s=phase_s)
    least_s = most_s = 0.0
    for retry, law in enumerate(tick_shares(policy, tick, 2, fail_s), 1):
        assert law.shares.sum() == pytest.approx(1.0, abs=1e-6)
        low_s, high_s = policy.support(retry)
        least_s, most_s = least_s + low_s, most_s + high_s + period_s + (fail_s + period_s) * (retry - 1)
        held = law.first + np.flatnonzero(law.shares > 1e-9)
        assert tick.at_s(float(held[0])) >= least_s - 1e-6
        assert tick.at_s(float(held[-1])) <= most_s + period_s


def test_where_later_delays_depend_on_earlier_ones_only_the_first_tick_is_told():
    grown = Backoff(Fixed(1), Decorrelated(), max_retries=3, name="grown")
    assert len(tick_shares(grown, Tick(1.0), 3)) == 1
    told = tick_study(grown, [1.0], n=200, seeds=2).table["expected_burst"].notna()
    assert told.tolist() == [True, False, False]


def test_a_limit_bounds_the_burst_and_is_paid_for_in_lag():
    free, limited = (tick_study(TWO_S, [1.0], n=2_000, seeds=3, limit=limit, retries=1) for limit in (None, 100))
    assert limited.table["burst"].tolist() == [100]
    assert free.table["lag_max_s"].iloc[0] <= 1.0
    # Two thousand rows take twenty ticks, and the last of them were due within two.
    assert 17 < limited.table["lag_max_s"].iloc[0] <= 20
    assert "LIMIT 100 bounds it" in limited.verdict
    assert limited.table["expected_burst"].isna().all()


def test_a_tick_comes_half_a_period_late_on_average(study):
    first = study.table.query("policy == 'full' and retry == 1 and period_s == 1.0")
    assert first["lag_mean_s"].iloc[0] == pytest.approx(0.5, abs=0.02)


def test_full_jitter_over_many_ticks_leaves_each_its_part(study):
    full = study.table.query("policy == 'full' and retry == 1 and period_s == 1.0").iloc[0]
    assert full["burst_share"] == pytest.approx(0.1, abs=0.02)
    assert Full().interval_s(10.0) == (0.0, full["width_s"])
