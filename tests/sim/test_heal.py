"""`heal_at`: from then on no fault is at work, whatever its end, and every node is there."""

import math

import pytest
from sim_worlds import all_done, burst, fault_row, run, scenario

from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.loader import loads

LONG = "4m"


def healed(*faults, **sections):
    return run(heal_at="20s", faults=list(faults), **sections)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "outage", "at": "5s", "for": LONG},
        {"kind": "broker_restart", "at": "5s", "for": LONG},
        {"kind": "beat_stopped", "at": "5s", "for": LONG},
        {"kind": "gateway_disconnect", "at": "5s", "for": LONG},
        {"kind": "worker_death", "target": "workers", "at": "5s", "restart_after": "off"},
        {"kind": "worker_death", "target": "workers", "at": "5s", "restart_after": LONG},
        {"kind": "worker_pause", "target": "workers", "at": "5s", "for": LONG},
        {"kind": "worker_pause", "target": "*", "at": "5s", "for": LONG},
        {"kind": "clock_skew", "target": "beat", "at": "5s", "for": LONG, "skew": "-1h"},
        {"kind": "wakeups_lost", "at": "5s", "for": LONG},
    ],
    ids=lambda fault: fault["kind"],
)
def test_a_fault_that_would_last_is_over_at_heal_and_all_comes_to_an_end(fault):
    of = healed(fault)
    assert all_done(of)
    assert of.faults["end_s"].max() <= 20.0
    assert of.status == "complete"


def test_without_heal_the_same_fault_lasts():
    of = run(faults=[{"kind": "worker_death", "target": "workers", "at": "5s", "restart_after": "off"}])
    assert not all_done(of)


def test_what_strikes_at_a_rate_or_lies_in_wait_does_not_strike_any_more():
    at_rate = {"kind": "worker_death", "target": "workers", "rate": "1/s", "restart_after": "1s"}
    of = healed(at_rate, arrivals={"kind": "poisson", "rate": "10/s", "from": "0s", "until": "40s"})
    assert 0 < (of.faults["start_s"] < 20.0).sum() == len(of.faults)
    waiting = {"kind": "worker_death", "target": "workers", "edge": "after_claim", "nth": 1}
    late = healed(waiting, arrivals=burst(at="25s"))
    assert fault_row(late)["landed"] == 0
    assert all_done(late)


def test_nodes_that_were_dead_for_good_work_again_from_then_on():
    of = healed({"kind": "worker_death", "target": "workers", "at": "5s", "restart_after": "off"})
    claimed = of.attempts["claimed_s"]
    # Their start takes a second.
    assert not ((claimed > 5.1) & (claimed < 21.0)).any()
    assert (claimed >= 21.0).any()


def test_a_run_that_is_healed_when_nothing_is_wrong_is_the_same_run():
    assert run(heal_at="20s").digest == run().digest


TEXT = """
scenario: healed
horizon: 1m
heal_at: {heal_at}
arrivals: {{kind: burst, at: 1s, events: 1}}
faults:
  - {{kind: outage, at: 30s, for: 5s}}
"""


@pytest.mark.parametrize(
    ("heal_at", "place", "rule"),
    [
        ("20s", "faults[0].at", "must be before heal_at (20 s), by when all faults are over"),
        ("1m", "heal_at", "must be before the horizon (60 s), since it is what comes after it that is judged"),
    ],
)
def test_a_heal_that_cannot_be_is_refused_at_its_place(heal_at, place, rule):
    with pytest.raises(ScenarioError) as refused:
        loads(TEXT.format(heal_at=heal_at))
    assert [(problem.path, problem.message) for problem in refused.value.problems] == [(place, rule)]


def test_the_quiet_begins_at_heal_at_the_latest():
    made = scenario(heal_at="20s", faults=[{"kind": "outage", "at": "5s", "for": LONG}])
    assert made.quiet_after_s == 20.0
    assert math.isclose(scenario(heal_at="20s").quiet_after_s, 0.0)
