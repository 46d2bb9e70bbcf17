"""A whole run on real processes: the same luck as simulated, the same frames, and checks that hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from live_systems import need_redis_server

from tem_sim.analysis.metrics import metrics
from tem_sim.checks.registry import run_checks
from tem_sim.frames import SCHEMAS, Run, conform
from tem_sim.live.run import run_live
from tem_sim.scenario.models import Scenario
from tem_sim.sim.world import simulate

# Two whole systems at the same time would be in each other's way.
pytestmark = pytest.mark.xdist_group("live_system")

SCENARIO = Scenario.model_validate(
    {
        "scenario": "small live",
        "seed": 7,
        "horizon": "90s",
        "arrivals": [
            {"kind": "poisson", "rate": "40/s", "until": "2500ms"},
            {"kind": "burst", "at": "1s", "events": 30},
        ],
        "events": {"kinds": {"normal": 8, "bad": 1}, "duplicate_submits": 0.1},
        "api": {"batch": 20},
        "handler": {"service_time": "5ms", "failure_rate": 0.2, "kinds": {"bad": {"effect": "fail"}}},
        "pipeline": {"backoff": {"base": "200ms", "cap": "1s", "max_retries": 3}},
        "workers": {"count": 2, "concurrency": 2},
        "users": {"count": 15, "session": "2s", "away": "500ms", "connected": 0.8},
    }
)


class Both(NamedTuple):
    """The same scenario under the same seed: for real, and simulated."""

    live: Run
    simulated: Run
    logs: Path


@pytest.fixture(scope="module", params=["file", pytest.param("postgresql", marks=pytest.mark.server)])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("run")
    need_redis_server(folder)
    store = None
    if request.param == "postgresql":
        store = request.getfixturevalue("postgresql_server").url.render_as_string(hide_password=False)
    live = run_live(SCENARIO, store=store, keep=folder / "logs")
    return Both(live, simulate(SCENARIO), folder / "logs")


def by_event(run: Run, *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(map(str, row)) for row in run.events[["event_id", *columns]].itertuples(index=False)]


def outcomes(run: Run) -> dict[tuple[int, int], str]:
    rows = run.attempts[["event_id", "attempt_no", "outcome"]].itertuples(index=False)
    return {(event_id, attempt_no): str(outcome) for event_id, attempt_no, outcome in rows}


def test_the_same_events_arrive_as_simulated(both: Both) -> None:
    assert both.live.mode == "live"
    assert both.live.status == "complete"
    assert by_event(both.live, "user_id", "kind") == by_event(both.simulated, "user_id", "kind")


def test_each_attempt_has_the_luck_that_it_has_simulated(both: Both) -> None:
    assert outcomes(both.live) == outcomes(both.simulated)
    assert by_event(both.live, "status", "retry_count") == by_event(both.simulated, "status", "retry_count")


def test_all_checks_hold(both: Both) -> None:
    found = [(check.name, check.verdict, check.detail) for check in run_checks(both.live)]
    assert [one for one in found if one[1] != "true"] == []
    assert len(found) == 11


def test_frames_keep_to_their_schemas_and_name_events_by_the_numbers_of_their_arrivals(both: Both) -> None:
    numbers = set(range(1, len(both.simulated.events) + 1))
    for name in SCHEMAS:
        frame = getattr(both.live, name)
        assert conform(name, frame).equals(frame)
        assert set(frame.get("event_id", [])) <= numbers
    assert set(both.live.wakeups["first_id"]) <= numbers | {0}
    assert set(both.live.attempts["event_id"]) == numbers


def test_times_are_seconds_since_the_load_began(both: Both) -> None:
    run = both.live
    for name, column in (("transitions", "at_s"), ("attempts", "claimed_s"), ("samples", "t_s"), ("wakeups", "t_s")):
        assert getattr(run, name)[column].between(0, run.end_s).all()
    late_s = run.events["submitted_s"].to_numpy() - both.simulated.events["submitted_s"].to_numpy()
    assert (late_s > -0.01).all()


def test_an_effect_happens_during_its_attempt_and_only_where_it_went_well(both: Both) -> None:
    attempts = both.live.attempts
    well = attempts[attempts["outcome"] == "ok"]
    assert (well["effect_s"] >= well["started_s"]).all()
    assert (well["effect_s"] <= well["finished_s"]).all()
    assert attempts[attempts["outcome"] == "error"]["effect_s"].isna().all()


def test_each_user_is_shown_each_notification_once(both: Both) -> None:
    told = both.live.notifications
    assert (told["shown"] == 1).all()
    assert (told["delivered_s"] >= told["created_s"]).all()
    assert len(told) == (both.live.events["status"] == "PROCESSED").sum()


def test_every_wakeup_is_handed_to_a_worker_once(both: Both) -> None:
    wakeups, messages, samples = both.live.wakeups, both.live.messages, both.live.samples
    assert set(wakeups["task"]) == {"request", "retry"}
    assert set(wakeups["actor"]) == {"api", "beat"}
    assert set(messages["worker"]) <= {"worker-1", "worker-2"}
    sent, handed = set(range(1, wakeups["sent"].sum() + 1)), messages["message"].tolist()
    assert len(handed) == len(set(handed))
    assert set(handed) <= sent
    acked = messages[messages["fate"] == "acked"]
    assert (acked["finished_s"] >= acked["started_s"]).all()
    # A run is over when all events are: a wake-up that a busy worker is slow to take finds nothing left to do.
    last = samples.groupby("name", observed=True)["value"].last()
    assert len(sent) - len(acked) <= last["broker_ready"] + last["broker_unacked"]


def test_gauges_and_counts_are_those_of_a_simulated_run(both: Both) -> None:
    assert set(both.live.samples["name"]) == set(both.simulated.samples["name"])
    last = both.live.samples.groupby("name", observed=True)["value"].last()
    theirs = both.simulated.samples.groupby("name", observed=True)["value"].last()
    counted = [name for name in theirs.index if name.startswith("submissions_") and not name.endswith("_per_s")]
    assert last[counted].to_dict() == theirs[counted].to_dict()
    assert last["submissions_repeated"] > 0


def test_it_is_saved_loaded_and_measured_like_any_run(both: Both, tmp_path: Path) -> None:
    loaded = Run.load(both.live.save(tmp_path / "run"))
    for name in SCHEMAS:
        assert getattr(loaded, name).equals(getattr(both.live, name))
    measured, simulated = metrics(loaded), metrics(both.simulated)
    assert measured["attempts"] == simulated["attempts"]
    assert measured["lost_notifications"] == measured["duplicate_effects"] == 0
    assert np.isfinite(measured["latency_p95_s"])
    assert loaded.digest == ""
    assert "digest" not in repr(loaded)


def test_it_says_what_it_ran_on(both: Both) -> None:
    assert {"celery", "kombu", "redis", both.live.store, "sqlalchemy"} <= both.live.versions.keys()
    assert "simpy" not in both.live.versions


def test_the_logs_of_all_processes_are_kept(both: Both) -> None:
    nodes = {"api", "gateway", "downstream", "maintenance", "beat", "worker-1", "worker-2", "system"}
    assert {file.stem for file in both.logs.glob("*.jsonl")} == nodes
