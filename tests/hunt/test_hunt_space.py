"""What is searched is valid, ends in time, and does not depend on which modules happen to be loaded."""

import hypothesis
import pytest
from hunt_scenarios import BASE, scenario
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from tem_sim.hunt.coverage import coverage_of, steps_of
from tem_sim.hunt.draws import OF_KIND
from tem_sim.hunt.kinds import LEFT_OUT, SEARCHED, at_edges, searched
from tem_sim.hunt.space import Times, candidates, fault
from tem_sim.scenario.faults.kinds import KINDS
from tem_sim.scenario.loader import load
from tem_sim.scenario.models import Scenario
from tem_sim.sim.world import simulate

few_tries = hypothesis.settings(
    max_examples=60, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
)

WHERE = {
    "small": scenario(),
    "short": scenario(horizon="3s", arrivals={"kind": "burst", "at": "0s", "events": 1}),
    "large": scenario(arrivals={"kind": "poisson", "rate": "1000/s", "until": "60s"}),
    "statement": scenario(store={"interleave": "statement"}),
    "shipped": load("scenarios/two_beats.yaml"),
}


@pytest.mark.parametrize("name", WHERE)
def test_every_fault_that_has_a_time_is_over_by_the_middle_of_the_run(name: str) -> None:
    where = WHERE[name]
    seen: set[str] = set()

    @few_tries
    @hypothesis.given(candidates(where))
    def over_in_time(drawn: Scenario) -> None:
        fresh = [fault for fault in drawn.faults if fault not in where.faults]
        seen.update(fault.kind for fault in fresh)
        assert all((fault.over_s or fault.for_s) <= where.horizon_s / 2 for fault in fresh)
        assert drawn.pipeline == where.pipeline

    over_in_time()
    assert len(seen) >= 5


def test_every_kind_of_fault_is_drawn_or_left_out_for_a_reason() -> None:
    assert set(SEARCHED) | set(LEFT_OUT) == set(KINDS)
    assert not set(SEARCHED) & set(LEFT_OUT)
    assert set(OF_KIND) <= set(SEARCHED)


@pytest.mark.parametrize("kind", SEARCHED)
@pytest.mark.parametrize("name", ["small", "short", "statement"])
def test_each_kind_is_drawn_so_that_it_is_valid_and_over_by_the_middle_of_the_run(name: str, kind: str) -> None:
    where = WHERE[name]
    if kind not in searched(where):
        return
    times = Times.of(where, 2.0, (1, 2))

    @hypothesis.settings(few_tries, max_examples=12)
    @hypothesis.given(st.data())
    def valid(data: st.DataObject) -> None:
        drawn = fault(data.draw, kind, where, times)
        (made,) = Scenario.model_validate({**where.resolved(), "faults": [drawn]}).faults
        assert made.kind == kind
        assert (made.over_s or made.for_s or 0.0) <= where.horizon_s / 2 + 1e-9

    valid()


@pytest.mark.parametrize("name", WHERE)
def test_no_list_is_so_long_that_loaded_modules_have_a_say(name: str) -> None:
    times = Times.of(WHERE[name], 30.0, (1,))
    assert max(map(len, (times.anchors_s, times.offsets_s, times.lengths_s))) <= 100


def test_coverage_tells_what_landed_from_what_was_asked() -> None:
    run = simulate(
        scenario(
            faults=[
                {"kind": "outage", "at": "0s", "for": "2s"},
                {"kind": "worker_death", "target": "workers", "edge": "before_settle"},
                {"kind": "worker_pause", "target": "api", "edge": "before_settle", "for": "1s"},
            ]
        )
    )
    covered = coverage_of(run)
    assert covered.asked == {"outage": 1, "worker_death": 1, "worker_pause": 1}
    assert covered.landed == {"outage": 1, "worker_death": 1}
    assert covered.edges == {("worker_death", "before_settle"): 1}
    assert covered.waits == {("worker_death", "before_settle"): 1, ("worker_pause", "before_settle"): 1}
    assert covered.steps["outage", "error"] == 1


def test_steps_that_the_settings_rule_out_are_not_missed() -> None:
    deadline = scenario(pipeline={**BASE["pipeline"], "deadline": "30s"})
    assert set(steps_of(deadline)) - set(steps_of(scenario())) == {"expired"}


def test_what_is_covered_adds_up() -> None:
    covered = coverage_of(simulate(scenario(faults=[{"kind": "outage", "at": "0s", "for": "2s"}])))
    twice = coverage_of(simulate(scenario()))
    twice.add(covered)
    assert (twice.tries, twice.faultless) == (2, 1)
    kinds = searched(scenario())
    assert twice.reached(scenario())[0] == len(covered.steps)
    assert twice.reached(scenario())[1] == len(kinds) * len(steps_of(scenario())) + len(at_edges(kinds)) * 9
