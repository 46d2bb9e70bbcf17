"""Hunts find what was switched off, shrink it to next to nothing, and say what they tried."""

import pytest
from hunt_scenarios import NO_OUTBOX, STALE, hunted, scenario

from tem_sim.hunt import hunt as hunting
from tem_sim.hunt import shrink, tries
from tem_sim.hunt.goal import BREAKS, goal_of
from tem_sim.hunt.hunt import Hunt, hunt
from tem_sim.hunt.tries import attempt
from tem_sim.sim.kernel import SimulationError

# One process has the hunts that these tests share.
pytestmark = pytest.mark.xdist_group("hunt")


def test_without_the_outbox_a_lost_notification_is_found_and_shrunk(without_outbox: Hunt) -> None:
    found = without_outbox.finding
    assert without_outbox.word == "FOUND"
    assert found.violation.name == "notifications"
    assert found.last[0] <= 2
    assert found.last[1] <= 3
    assert found.complete


def test_the_stale_write_is_found_and_shrunk() -> None:
    found = hunted(scenario(**STALE), seed=6, checks=["retry_count"]).finding
    assert found.last[0] <= 2
    assert found.last[1] <= 3


@pytest.mark.slow
def test_several_processes_find_what_one_does(without_outbox: Hunt) -> None:
    where = scenario(**NO_OUTBOX)
    goal = goal_of(where, checks=["notifications"])
    assert hunt(where, goal, budget_s=300, jobs=3).finding == without_outbox.finding


@pytest.mark.slow
@pytest.mark.parametrize("switched_off", [NO_OUTBOX, STALE], ids=["outbox", "stale"])
@pytest.mark.parametrize("seed", range(10))
def test_whatever_the_seed_it_is_found_and_shrunk(seed: int, switched_off: dict[str, object]) -> None:
    found = hunted(scenario(**switched_off), seed=seed, tries=600).finding
    assert found.last[0] <= 2
    assert found.last[1] <= 3


def test_a_finding_is_as_small_as_what_is_run(without_outbox: Hunt) -> None:
    found = without_outbox.finding
    again = attempt(found.scenario, without_outbox.goal)
    assert again.digest == found.digest
    assert again.seen.violation == found.violation
    assert again.size[:2] == found.last


def test_a_clean_hunt_says_how_much_it_covered() -> None:
    made = hunted(scenario(), tries=12)
    assert made.word == "CLEAN"
    assert made.exit_code == 0
    assert made.coverage.tries >= 12
    assert sum(made.coverage.landed.values()) > 0
    assert f"{made.coverage.tries} tries" in made.sentence()


def test_the_scenario_as_it_stands_is_tried_first() -> None:
    broken = scenario(handler={"failure_rate": 1.0}, **STALE)
    found = hunted(broken, tries=1).finding
    assert found.at_try == 1
    assert found.last[0] == 0


def test_a_budget_for_no_more_than_the_scenario_as_it_stands_is_inconclusive() -> None:
    made = hunt(scenario(), budget_s=1e-6, jobs=1)
    assert made.word == "INCONCLUSIVE"
    assert made.exit_code == 4


def test_shrinking_ends_with_its_time_and_says_so(without_outbox: Hunt) -> None:
    tried = attempt(without_outbox.finding.scenario, without_outbox.goal)
    small = shrink.shrink(tried, without_outbox.goal, until_s=0.0)
    assert not small.complete
    assert small.best == tried


def test_ctrl_c_keeps_what_was_found(monkeypatch: pytest.MonkeyPatch, without_outbox: Hunt) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shrink, "attempt", interrupted)
    where = without_outbox.finding.scenario.model_copy(update={"horizon_s": 60.0})
    made = hunted(where)
    assert made.word == "INTERRUPTED"
    assert made.exit_code == 130
    assert made.finding.violation.name == "notifications"


def test_ctrl_c_before_anything_is_found_ends_the_hunt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hunting, "search_round", interrupted)
    made = hunted(scenario())
    assert made.word == "INTERRUPTED"
    assert made.finding is None


def test_a_simulation_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise SimulationError("worker-1/3 broke: ValueError: no")

    monkeypatch.setattr("tem_sim.sim.world.simulate", breaks)
    tried = tries.attempt(scenario(), goal_of(scenario()))
    assert tried.seen.violation.name == BREAKS
    assert tried.digest is None
