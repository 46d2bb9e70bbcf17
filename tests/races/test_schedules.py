"""`store.schedule`: who goes on is the strategy's choice, is kept as data, and can be replayed to the bit."""

from itertools import pairwise
from pathlib import Path

import pytest

from tem_sim.frames import Run
from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.loader import loads
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.streams import Streams
from tem_sim.sim.schedules import Bounded, Deviating, Pct, Walk
from tem_sim.sim.world import simulate

STRATEGIES = {
    "walk": "{strategy: walk}",
    "pct": "{strategy: pct, changes: 3, within: 200}",
    "bounded": "{strategy: bounded, deviations: 8, within: 40}",
}


def scenario(schedule: str, **more: str) -> Scenario:
    """Return a scenario of three workers that compete for few rows."""
    return loads(
        f"""
scenario: scheduled
horizon: 2m
arrivals: {{kind: burst, events: 8}}
workers: {{count: 3}}
pipeline: {{batch_size: 3, lease: 5s}}
handler: {{failure_rate: 0.3, service_time: 10ms}}
store: {{interleave: statement, schedule: {schedule}}}
{"".join(f"{key}: {value}" for key, value in more.items())}
"""
    )


def replay(run: Run) -> str:
    steps = ", ".join(f"{step}: {thread}" for step, thread in run.schedule.items())
    return f"{{strategy: replay, deviations: {{{steps}}}}}"


def assert_same(one: Run, other: Run) -> None:
    assert one.digest == other.digest
    assert one.steps.equals(other.steps)
    assert one.changes.equals(other.changes)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_follows_its_seed_and_its_schedule_replays_it(strategy: str, tmp_path: Path) -> None:
    made = scenario(STRATEGIES[strategy])
    run = simulate(made, seed=3)
    assert run.schedule
    again = simulate(made, seed=3)
    assert_same(run, again)
    assert again.schedule == run.schedule
    loaded = Run.load(run.save(tmp_path / "run"))
    assert loaded.schedule == run.schedule
    replayed = simulate(scenario(replay(loaded)), seed=3)
    assert_same(run, replayed)
    assert replayed.schedule == run.schedule


@pytest.mark.server
def test_a_schedule_replays_on_postgresql(postgresql_url: str) -> None:
    run = simulate(scenario(STRATEGIES["walk"]), seed=3, store=postgresql_url)
    assert run.schedule
    assert_same(run, simulate(scenario(STRATEGIES["walk"]), seed=3, store=postgresql_url))
    assert_same(run, simulate(scenario(replay(run)), seed=3, store=postgresql_url))


def test_other_seeds_are_other_schedules_and_none_is_the_default() -> None:
    schedules = [simulate(scenario(STRATEGIES["walk"]), seed=seed).schedule for seed in (1, 2)]
    assert schedules[0] != schedules[1]
    default = simulate(scenario("{strategy: replay}"), seed=1)
    assert default.schedule == {}
    assert simulate(scenario("{strategy: random}"), seed=1).schedule == {}


def test_statements_take_no_time_unless_a_fault_makes_them_slow() -> None:
    run = simulate(scenario("{strategy: walk}"), seed=1)
    claims = run.steps[(run.steps["label"] == "claims.claim") & (run.steps["kind"] != "connect")]
    spans = claims.groupby("txn", observed=True)["t_s"].agg(lambda times: times.max() - times.min())
    assert len(spans) > 3
    assert float(spans.max()) == 0.0


def test_a_worker_that_is_killed_or_frozen_at_the_turnstile_stops_nobody() -> None:
    faults = """
  - {kind: worker_death, target: worker-1, edge: before_commit, nth: 2, restart_after: 10s}
  - {kind: worker_pause, target: worker-2, edge: before_statement, nth: 9, for: 8s}
"""
    run = simulate(scenario("{strategy: walk}", faults=faults), seed=2)
    assert set(run.events["status"]) == {"PROCESSED"}
    assert list(run.faults["landed"]) == [1, 1]
    assert_same(run, simulate(scenario(replay(run), faults=faults), seed=2))


def test_a_strategy_that_there_is_not_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"store.*strategy|schedule"):
        scenario("{strategy: luck}")


def test_a_schedule_of_statements_needs_statements() -> None:
    text = "scenario: s\narrivals: {kind: burst, events: 1}\nstore: {schedule: {strategy: walk}}\n"
    with pytest.raises(ScenarioError, match=r":3:.*store\.schedule: is about statements") as caught:
        loads(text)
    assert len(caught.value.problems) == 1


# --- the strategies


READY = ["a", "b", "c"]


def luck(seed: int = 1) -> Streams:
    return Streams(seed)


def test_walk_is_uniform() -> None:
    walk = Walk(luck().stream("x"))
    chosen = [walk.choose(step, READY, "a") for step in range(1, 3001)]
    assert all(900 < chosen.count(name) < 1100 for name in READY)


def test_pct_keeps_to_its_priorities_but_for_its_changes() -> None:
    for seed in range(20):
        pct = Pct(luck(seed).stream("x"), changes=2, within=50)
        chosen = [pct.choose(step, READY, "a") for step in range(1, 51)]
        switches = sum(one != other for one, other in pairwise(chosen))
        assert switches <= 2
        # Whoever was put last stays behind those that were never put last.
        assert len(set(chosen)) == switches + 1


def test_pct_hits_a_bug_of_depth_two_as_often_as_it_promises() -> None:
    """Thread a must stop after exactly its 4th of 10 steps: at least 1 / (2 · 20) of all schedules, but for chance."""
    hits, schedules = 0, 3000
    for seed in range(schedules):
        pct, left, order = Pct(luck(seed).stream("x"), changes=1, within=20), {"a": 10, "b": 10}, ""
        while any(left.values()):
            ready = [name for name in left if left[name]]
            name = pct.choose(len(order) + 1, ready, ready[0])
            left[name] -= 1
            order += name
        hits += order.startswith("aaaab")
    promised = 1 / 40
    assert hits / schedules >= promised - 3 * (promised / schedules) ** 0.5


def test_bounded_deviates_at_most_so_often() -> None:
    counts = set()
    for seed in range(50):
        bounded = Bounded(luck(seed).stream("x"), deviations=3, within=20)
        # Every second step there is no choice.
        steps = (READY if step % 2 else ["a"] for step in range(40))
        counts.add(sum(bounded.choose(step, ready, "a") != "a" for step, ready in enumerate(steps, start=1)))
    assert counts == {0, 1, 2, 3}


def test_a_deviation_to_a_thread_that_cannot_go_on_is_none() -> None:
    deviating = Deviating({2: "b", 3: "z"})
    assert [deviating.choose(step, READY, "a") for step in (1, 2, 3)] == ["a", "b", "a"]
