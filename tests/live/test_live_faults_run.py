"""Faults in whole runs: at users' and clients' ends, and at the edges between two steps of the code."""

from pathlib import Path
from typing import Any

import pytest
from fault_kit import scenario_of
from live_systems import need_redis_server

from tem_sim.analysis.metrics import metrics
from tem_sim.checks.registry import run_checks
from tem_sim.frames import Run
from tem_sim.live.logs import lines
from tem_sim.live.run import run_live
from tem_sim.pipeline.ports import EDGES
from tem_sim.scenario.load import Load
from tem_sim.scenario.streams import Streams

pytestmark = [pytest.mark.long, pytest.mark.server, pytest.mark.xdist_group("live_system")]
QUICK: dict[str, Any] = {
    "pipeline": {
        "backoff": {"growth": "fixed", "base": "200ms", "jitter": "none", "max_retries": 20},
        "lease": "2s",
        "sweep_after": "1s",
        "batch_size": 3,
        "settle_every": 3,
        "crash_budget": 20,
    },
    "beat": {"retry_every": "200ms", "rescue_every": "500ms", "relay_every": "200ms"},
    # It is over when all is done; a busy machine takes its time.
    "horizon": "5m",
}


def landed(run: Run) -> dict[int, int]:
    """Return how often each fault landed, by its number."""
    counts: dict[int, int] = run.faults.groupby("fault_id").landed.sum().to_dict()
    return counts


def broken(run: Run) -> list[str]:
    return [repr(verdict) for verdict in run_checks(run) if verdict.verdict == "false"]


SEED = 3
AROUND: dict[str, Any] = {
    **QUICK,
    # Nobody dies, and nobody who is slow is to be taken for dead: what happens twice is the faults' doing.
    "pipeline": QUICK["pipeline"] | {"lease": "2m", "backoff": QUICK["pipeline"]["backoff"] | {"max_retries": 40}},
    "arrivals": {"kind": "constant", "rate": "10/s", "from": "0s", "until": "11s"},
    "workers": {"count": 1, "concurrency": 4},
    "users": {"count": 10, "heartbeat": "1s", "resend_after": "1s"},
}


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run in which all goes wrong that can around the system's own processes."""
    need_redis_server(tmp_path_factory.mktemp("redis"))
    faults = [
        {"kind": "hot_key", "share": 1, "at": "0s", "for": "3s"},
        {"kind": "outage", "at": "1s", "for": "2s"},
        {"kind": "flaky", "at": "2s", "for": "4s", "probability": 0.5},
        {"kind": "partial_effect", "at": "2s", "for": "4s", "probability": 0.5},
        {"kind": "downstream_slow", "at": "5s", "for": "3s", "factor": 3},
        {"kind": "answers_lost", "at": "2s", "for": "3s", "probability": 0.5},
        {"kind": "acks_lost", "at": "2s", "for": "4s", "probability": 0.5},
        {"kind": "gateway_disconnect", "fraction": 0.5, "at": "4s", "for": "1s", "reconnect_within": "200ms"},
        {"kind": "users_offline", "fraction": 0.5, "at": "6s", "for": "1s", "reconnect_within": "200ms"},
        {"kind": "huge_events", "share": 1, "payload_bytes": 200000, "slowdown": 3, "at": "7s", "for": "3s"},
        {"kind": "metastable_kick", "factor": 1, "events": 30, "at": "8s", "for": "1s"},
        {"kind": "sockets_half_open", "fraction": 0.5, "at": "8500ms", "for": "3s"},
        {"kind": "slow_consumers", "at": "9s", "for": "2s", "read_every": "off"},
    ]
    return run_live(scenario_of(faults, **AROUND), SEED)


def test_every_fault_around_the_system_lands(around: Run) -> None:
    assert [number for number, count in sorted(landed(around).items()) if not count] == []
    assert len(landed(around)) == 13


def test_nothing_that_happens_around_the_system_makes_it_lose_anything(around: Run) -> None:
    assert broken(around) == []
    assert len(around.events) == 140
    assert (metrics(around)["lost_notifications"], metrics(around)["stuck_rows"]) == (0, 0)
    assert set(around.notifications.shown) == {1}


def test_what_came_twice_is_what_the_faults_say(around: Run) -> None:
    by_kind = around.faults.set_index("kind").landed
    assert metrics(around)["duplicate_effects"] == by_kind["partial_effect"]
    repeated = around.samples[around.samples.name == "submissions_repeated"].value.iloc[-1]
    assert repeated == by_kind["answers_lost"]


def test_faults_of_the_load_change_what_arrives_meanwhile(around: Run) -> None:
    load = Load(scenario_of([], **AROUND), Streams(SEED))
    events = around.events.set_index("event_id")
    hot = [number for number, user in events.user_id.items() if user != load.user_id(number)]
    assert set(events.user_id[hot]) == {1}
    # All that arrived from the first to the last of them; those among them who are user 1 anyway count as well.
    assert len(hot) <= by_number(around, "hot_key")
    assert set(events.user_id[hot[0] : hot[-1]]) == {1}
    assert max(hot) < 110
    own, crowd = events[events.index <= 110], events[events.index > 110]
    assert len(crowd) == by_number(around, "metastable_kick") == 30
    # While the load went on.
    assert 8.0 <= crowd.submitted_s.min() < own.submitted_s.max()


def by_number(run: Run, kind: str) -> int:
    return int(run.faults[run.faults.kind == kind].landed.iloc[0])


# --- edges

OF_WORKERS = [edge for edge in EDGES if edge not in ("after_commit_before_wake", "before_publish", "after_publish")]


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run in which somebody dies at every edge there is; and the folder of its logs."""
    folder = tmp_path_factory.mktemp("edges")
    need_redis_server(folder)
    death = {"kind": "worker_death", "target": "workers", "restart_after": "200ms"}
    faults = [
        *(death | {"edge": edge, "nth": 4 + place} for place, edge in enumerate(OF_WORKERS)),
        death | {"target": "api", "edge": "after_commit_before_wake", "nth": 8},
        # Of the scheduler's own: what it requeues, rescues or finds.
        death | {"target": "beat", "edge": "after_commit_before_wake"},
        death | {"target": "beat", "edge": "before_publish", "nth": 2},
        death | {"target": "beat", "edge": "after_publish", "nth": 4},
        {"kind": "child_death", "target": "workers", "edge": "after_handle", "nth": 60},
        {"kind": "worker_pause", "target": "workers", "edge": "before_settle", "nth": 30, "for": "3s"},
        {"kind": "worker_death", "target": "workers", "edge": "before_handle", "nth": 100000},
    ]
    scenario = scenario_of(
        faults,
        **QUICK,
        arrivals={"kind": "constant", "rate": "8/s", "from": "0s", "until": "15s"},
        workers={"count": 2, "concurrency": 2, "restart_after": "200ms"},
        handler={"service_time": "30ms", "failure_rate": 0.1},
        # The API takes seconds to come back on a busy machine.
        api={"retries": 60},
    )
    return run_live(scenario, 3, keep=folder), folder


def test_somebody_dies_at_each_edge(edges: tuple[Run, Path]) -> None:
    assert landed(edges[0]) == {**dict.fromkeys(range(len(OF_WORKERS) + 6), 1), len(OF_WORKERS) + 6: 0}


def test_whoever_dies_at_an_edge_loses_nothing(edges: tuple[Run, Path]) -> None:
    run, _ = edges
    assert broken(run) == []
    assert set(run.events.status) == {"PROCESSED"}
    assert len(run.events) == 120
    assert set(run.notifications.shown) == {1}


def test_a_death_at_an_edge_is_told_at_the_node_that_passed_it(edges: tuple[Run, Path]) -> None:
    run, _ = edges
    targets = run.faults.set_index("fault_id").target.astype(str).to_dict()
    nodes = [targets[number].partition("-")[0] for number in range(len(OF_WORKERS) + 6)]
    assert nodes == [*["worker"] * len(OF_WORKERS), "api", "beat", "beat", "beat", "worker", "worker"]


def test_what_was_killed_at_an_edge_has_done_nothing_beyond_it(edges: tuple[Run, Path]) -> None:
    run, logs = edges
    deaths = run.faults[(run.faults.kind == "worker_death") & (run.faults.landed > 0)]
    assert len(deaths) == len(OF_WORKERS) + 4
    # The scheduler's work is done by another process.
    for node in {"maintenance" if target == "beat" else str(target) for target in deaths.target}:
        killed = [
            line["t"] for line in lines(logs / "system.jsonl") if line["event"] == "killed" and line["name"] == node
        ]
        assert killed
        for dead in killed:
            said = [(line["t"] > dead, line["pid"]) for line in lines(logs / f"{node}.jsonl")]
            before, beyond = ({pid for is_beyond, pid in said if is_beyond is which} for which in (False, True))
            assert not before & beyond, (node, dead)
