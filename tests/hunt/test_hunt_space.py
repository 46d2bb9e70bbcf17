"""What is searched is valid, ends in time, and does not depend on which modules happen to be loaded."""

import hypothesis
import pytest
from hunt_scenarios import BASE, scenario
from hypothesis import HealthCheck, Phase

from tem_sim.hunt.coverage import SEARCHED, coverage_of, steps_of
from tem_sim.hunt.space import Times, candidates
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
    assert twice.reached(scenario())[0] == len(covered.steps)
    assert twice.reached(scenario())[1] == len(SEARCHED) * len(steps_of(scenario())) + 2 * 9
