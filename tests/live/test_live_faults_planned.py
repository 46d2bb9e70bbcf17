"""Which faults can be inflicted for real is said of every kind, and of a scenario before anything is started."""

from pathlib import Path
from typing import Any

import pytest
from fault_kit import scenario_of

from tem_sim.live.faults.plan import check_faults, needs_memory
from tem_sim.live.faults.refusals import Ground
from tem_sim.live.faults.registry import LIVE, Inflicted
from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.faults.kinds import KINDS
from tem_sim.scenario.loader import load, places_in

ROOT = Path(__file__).parents[2]
GROUND = Ground(own_redis=True, dialect="postgresql")


def refusals(*faults: dict[str, Any], ground: Ground = GROUND, **sections: Any) -> list[str]:
    """Return what is said of a scenario with these faults, one line for each problem."""
    try:
        check_faults(scenario_of(faults, **sections), ground)
    except ScenarioError as error:
        return [problem.headline for problem in error.problems]
    return []


def test_every_kind_of_fault_is_inflicted_or_refused_with_a_reason() -> None:
    assert set(LIVE) == set(KINDS)
    assert [kind for kind, how in LIVE.items() if not (how.how if isinstance(how, Inflicted) else how.why)] == []


def test_every_fault_that_cannot_be_inflicted_is_listed_at_once() -> None:
    assert refusals(
        {"kind": "clock_skew", "target": "worker-1", "at": "1s", "for": "5s", "skew": "3s"},
        {"kind": "outage", "at": "1s", "for": "5s"},
        {"kind": "broker_restart", "at": "1s", "for": "5s", "undone": "2s"},
        {"kind": "worker_death", "target": "worker-1", "edge": "before_commit"},
    ) == [
        "live: faults[0].kind: cannot be inflicted live: all processes read the clock of one machine, which is not the "
        "system's to set; leave it out, or run the simulator (got clock_skew)",
        "live: faults[2].undone: cannot be inflicted live: what a killed Redis has written is the kernel's, and kept; "
        "leave it out (got 2.0)",
        "live: faults[3].edge: lies between the statements of a transaction, where nothing can be inflicted live; use "
        "another edge (got before_commit)",
    ]


def test_a_refusal_shows_the_place_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "skewed.yaml"
    file.write_text(
        "scenario: skewed\narrivals: {kind: burst, at: 1s, events: 1}\nfaults:\n"
        "  - {kind: clock_skew, target: worker-1, at: 1s, for: 5s, skew: 3s}\n"
    )
    with pytest.raises(ScenarioError) as caught:
        check_faults(load(file), GROUND, places_in(file))
    assert str(caught.value).splitlines()[0].startswith(f"{file}:4:12: faults[0].kind: cannot be inflicted live")


# What a kind is refused for, on the ground that lets it be otherwise.
REFUSED: list[tuple[str, dict[str, Any], Ground]] = [
    ("faults[0]: broker_restart needs a Redis", {"kind": "broker_restart"}, Ground(False, "postgresql")),
    ("faults[0].resubscribe_after: ", {"kind": "broker_restart", "resubscribe_after": "1s"}, GROUND),
    ("faults[0]: broker_frozen needs a Redis", {"kind": "broker_frozen"}, Ground(False, "postgresql")),
    ("faults[0].socket_timeout: is 2 s", {"kind": "broker_frozen", "socket_timeout": "5s"}, GROUND),
    ("faults[0]: subscriber_gap needs a Redis", {"kind": "subscriber_gap"}, Ground(False, "postgresql")),
    ("faults[0].counted: ", {"kind": "subscriber_gap", "counted": True}, GROUND),
    ("faults[0].missed: ", {"kind": "beat_stopped", "missed": "fired"}, GROUND),
    ("faults[0].policy: ", {"kind": "slow_consumers", "policy": "close"}, GROUND),
    ("faults[0].factor: ", {"kind": "metastable_kick"}, GROUND),
    ("faults[0]: correlated needs a Redis", {"kind": "correlated"}, Ground(False, "postgresql")),
]
STRIKES: list[tuple[str, dict[str, Any], Ground]] = [
    ("faults[0].connection_closes_after: ", {"kind": "worker_death", "connection_closes_after": "1s"}, GROUND),
    ("faults[0]: child_death needs workers with processes", {"kind": "child_death"}, Ground(True, "sqlite", "threads")),
    ("faults[0].poison: ", {"kind": "child_death", "poison": True}, GROUND),
    ("faults[0]: connections_dropped needs a PostgreSQL", {"kind": "connections_dropped"}, Ground(True, "sqlite")),
]


@pytest.mark.parametrize(("said", "fault", "ground"), REFUSED, ids=lambda value: "")
def test_a_window_is_refused_for_what_it_cannot_do(said: str, fault: dict[str, Any], ground: Ground) -> None:
    told = refusals({"at": "1s", "for": "5s", **fault}, ground=ground)
    assert len(told) == 1
    assert told[0].startswith(f"live: {said}")


@pytest.mark.parametrize(("said", "fault", "ground"), STRIKES, ids=lambda value: "")
def test_a_strike_is_refused_for_what_it_cannot_do(said: str, fault: dict[str, Any], ground: Ground) -> None:
    told = refusals({"at": "1s", "target": "workers", **fault}, ground=ground)
    assert len(told) == 1
    assert told[0].startswith(f"live: {said}")


def test_a_restart_that_keeps_messages_needs_a_redis_that_writes_to_its_disk() -> None:
    restart = {"kind": "broker_restart", "at": "1s", "for": "5s"}
    forgetful = {"broker": {"durable": False}}
    assert needs_memory(scenario_of([restart]))
    assert not needs_memory(scenario_of([restart], **forgetful))
    assert needs_memory(scenario_of([restart | {"messages": "kept"}], **forgetful))
