"""What the strategies generate is what they say: always valid, or always invalid for the reason that comes with it."""

import random
import time

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from tem_sim.checks.registry import run_checks
from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.loader import loads
from tem_sim.scenario.models import Scenario
from tem_sim.sim.world import simulate
from tem_sim.strategies import (
    FAULT_KINDS,
    fault_schedules,
    invalid_fault_schedules,
    invalid_policies,
    invalid_scenarios,
    policies,
    scenario_files,
    scenarios,
)
from tem_sim.testing.faults import STATEMENT_KINDS, fault_of, fault_sections
from tem_sim.testing.mistakes import MISTAKES

SMALLEST = {
    "scenario": "smallest",
    "horizon": 30,
    "arrivals": [{"kind": "burst", "events": 10}],
    "workers": {"count": 2},
}
generated = settings(phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])


@settings(generated, max_examples=15)
@given(scenario_files())
def test_a_generated_file_loads_and_says_the_same_when_it_is_written_out(text):
    scenario = loads(text)
    assert Scenario.model_validate(scenario.resolved()) == scenario


@settings(generated, max_examples=15)
@given(scenarios())
def test_a_generated_scenario_is_simulated_in_well_under_a_second(scenario):
    # Of this thread alone: others may be busy in this process, and others again on this machine.
    before = time.thread_time()
    run = simulate(scenario)
    assert time.thread_time() - before < 1.0
    assert run.status == "complete"


@settings(generated, max_examples=8)
@given(scenarios(faults=False))
def test_no_event_is_lost_in_any_generated_scenario(scenario):
    # The historic guards lose counts, none of them rows.
    assert run_checks(simulate(scenario), only=["conservation"])[0].verdict != "false"


@settings(max_examples=40)
@given(policies())
def test_a_generated_policy_has_delays_within_its_own_bounds(policy):
    low_s, high_s = policy.support(1)
    assert low_s <= policy.delay(1, random.Random(1)) <= high_s


@settings(generated, max_examples=3)
@given(st.data())
def test_every_kind_of_fault_is_generated_and_only_those_asked_for(data):
    for kind in (*FAULT_KINDS, *STATEMENT_KINDS):
        assert {fault.kind for fault in data.draw(fault_schedules(kinds=[kind]))} <= {kind}
        assert fault_of(data.draw(fault_sections(kinds=[kind]))).kind == kind


def test_a_kind_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"kinds: must be of outage.*, got meteor"):
        fault_schedules(kinds=["meteor"])


def test_the_simplest_schedule_is_empty_and_the_simplest_fault_begins_at_once():
    assert find(fault_schedules(), lambda faults: True) == ()
    (outage,) = find(fault_schedules(kinds=["outage"]), bool)
    assert (outage.at_s, outage.for_s) == (0.0, 0.5)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.where}: {mistake.rule}")
def test_each_mistake_is_told_at_its_place_and_alone(mistake):
    assert [problem.line is not None for problem in refused(mistake.made_in(SMALLEST))] == [True]


@settings(generated, max_examples=15)
@given(invalid_scenarios())
def test_an_invalid_scenario_is_refused_for_the_reason_that_comes_with_it(invalid):
    refused(invalid)


@settings(generated, max_examples=10)
@given(invalid_policies(), invalid_fault_schedules())
def test_invalid_policies_and_faults_are_invalid_there(policy, faults):
    assert policy.path.startswith("pipeline.backoff")
    assert faults.path.startswith("faults[")


def refused(invalid):
    """Load what is invalid; return the problems, of which one must be the mistake."""
    with pytest.raises(ScenarioError) as caught:
        loads(invalid.text, file="invalid.yaml")
    problems = caught.value.problems
    assert any(problem.path == invalid.path and invalid.rule in problem.message for problem in problems), problems
    return problems
