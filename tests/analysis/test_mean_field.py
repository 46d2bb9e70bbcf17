"""Collapse on paper: which loads have two steady states, which outages tip them, and that nothing gets lost."""

import math

import pytest

from tem_sim.analysis.theory import (
    Downstream,
    collapses,
    downstream_of,
    hidden_capacity_per_s,
    mean_field,
    regime,
    tipping_outage_s,
)
from tem_sim.pipeline.backoff import Backoff, Decorrelated, Exponential, Fixed, Full
from tem_sim.scenario.models import Scenario

DOWN = Downstream(servers=4, service_s=0.1, timeout_s=1.0, queue=1000, slots=200)
POLICY = Backoff(Exponential(1.0), Full(), cap_s=10.0, max_retries=3)


def after(load_per_s, outage_s, down=DOWN, policy=POLICY):
    return mean_field(policy, load_per_s, down, outage_s=outage_s, after_s=60.0, step_s=0.1)


def test_hidden_capacity_is_what_is_left_when_every_attempt_is_made():
    assert hidden_capacity_per_s(300.0, 1) == 150.0
    assert hidden_capacity_per_s(40.0, 3) == 10.0
    assert hidden_capacity_per_s(40.0, 0) == 40.0
    assert hidden_capacity_per_s(40.0, None) == 0.0


@pytest.mark.parametrize(("load_per_s", "word"), [(9.9, "stable"), (10.1, "vulnerable"), (40.0, "overloaded")])
def test_a_load_between_hidden_and_real_capacity_is_vulnerable(load_per_s, word):
    assert regime(load_per_s, DOWN, 3) == word


@pytest.mark.parametrize("down", [Downstream(4, 0.1, 1.0, queue=30), Downstream(4, 0.1, 1.0, slots=38)])
def test_a_short_queue_or_few_slots_are_a_bulkhead(down):
    assert not down.can_tip
    assert regime(36.0, down, 3) == "stable"
    assert not collapses(after(36.0, 20.0, down), 36.0)


def test_without_an_outage_a_load_below_capacity_is_served():
    table = after(36.0, 0.0)
    assert table["goodput_per_s"].iloc[10:].to_numpy() == pytest.approx(36.0)
    assert table["extinct"].iloc[-1] == 0


def test_a_stable_load_recovers_from_any_outage():
    assert not collapses(after(9.0, 60.0), 9.0)
    assert tipping_outage_s(POLICY, 9.0, DOWN, longest_s=60.0, after_s=60.0, step_s=0.1) == math.inf


def test_an_outage_past_the_tipping_point_leaves_it_collapsed_and_one_before_does_not():
    tipping_s = tipping_outage_s(POLICY, 28.0, DOWN, longest_s=30.0, after_s=60.0, step_s=0.1)
    assert 1.0 < tipping_s < 5.0
    assert collapses(after(28.0, tipping_s + 0.5), 28.0)
    assert not collapses(after(28.0, tipping_s - 1.0), 28.0)


def test_the_collapsed_state_makes_every_attempt_and_finishes_nothing():
    end = after(28.0, 10.0).iloc[-1]
    assert end["attempts_per_s"] == pytest.approx(4 * 28.0, rel=0.01)
    assert end["goodput_per_s"] == 0
    assert end["waiting"] > DOWN.tipping_queue


def test_more_load_tips_sooner():
    tipping_s = [
        tipping_outage_s(POLICY, load, DOWN, longest_s=30.0, after_s=60.0, step_s=0.1) for load in (24.0, 30.0, 36.0)
    ]
    assert tipping_s == sorted(tipping_s, reverse=True)
    assert tipping_s[-1] < tipping_s[0]
    assert tipping_outage_s(POLICY, 41.0, DOWN, longest_s=30.0, after_s=60.0, step_s=0.1) == 0.0


@pytest.mark.parametrize("slots", [math.inf, 30])
@pytest.mark.parametrize("outage_s", [0.0, 2.0, 10.0])
def test_every_event_is_somewhere(slots, outage_s):
    down = Downstream(4, 0.1, 1.0, queue=25, slots=slots)
    table = after(35.0, outage_s, down)
    submitted = 35.0 * 0.1 * len(table)
    processed = table["goodput_per_s"].sum() * 0.1
    end = table.iloc[-1]
    in_calls = submitted - processed - end["extinct"] - end["queued"] - end["in_backoff"]
    # What is left is in a call, or was answered and holds its slot: a call is counted good when it begins.
    assert in_calls > -1e-6
    assert in_calls < 0.1 * submitted


def test_rows_in_backoff_settle_where_littles_law_says():
    # In an outage that never ends every event waits out all its delays: λ·Σ E d_k, and the time of its calls.
    policy = Backoff(Fixed(2.0), max_retries=3)
    table = after(30.0, 60.0, policy=policy)
    waiting = table["in_backoff"].loc[30.0:59.0]
    assert waiting.mean() == pytest.approx(30.0 * (3 * 2.0 + 3 * 0.1), rel=0.02)


def test_endless_and_decorrelated_retries_have_a_mean_field_too():
    endless = Backoff(Fixed(1.0), Full(), max_retries=None)
    assert collapses(after(30.0, 10.0, policy=endless), 30.0)
    assert after(30.0, 10.0, policy=endless)["extinct"].iloc[-1] == 0
    chained = Backoff(Fixed(1.0), Decorrelated(), cap_s=10.0, max_retries=3)
    assert not collapses(after(9.0, 10.0, policy=chained), 9.0)


def test_a_scenario_says_what_its_downstream_is():
    handler = {"service_time": "100ms", "capacity": {"servers": 4, "timeout": "1s", "queue": 50}}
    scenario = {
        "scenario": "s",
        "arrivals": {"kind": "burst", "events": 1},
        "workers": {"count": 3, "concurrency": 5},
        "handler": handler,
    }
    assert downstream_of(Scenario.model_validate(scenario)) == Downstream(4, 0.1, 1.0, queue=50, fail_s=0.05, slots=15)
    with pytest.raises(ValueError, match="capacity is off"):
        downstream_of(Scenario.model_validate(scenario | {"handler": {}}))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hidden_capacity_per_s(0.0, 3), "capacity_per_s must be > 0"),
        (lambda: hidden_capacity_per_s(10.0, -1), "max_retries must be a whole number"),
        (lambda: Downstream(0, 0.1, 1.0), "servers >= 1"),
        (lambda: Downstream(1, 0.1, 0.0), "timeout_s > 0"),
        (lambda: mean_field(POLICY, 0.0, DOWN, outage_s=1.0, after_s=1.0, step_s=0.1), "load_per_s > 0"),
        (lambda: mean_field(POLICY, 1.0, DOWN, outage_s=1.0, after_s=1.0, step_s=2.0), "at most the timeout"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
