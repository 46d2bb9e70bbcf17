"""The soak: 2 000 events on processes that are killed and cut off; nothing is lost, and all repeats are known."""

from collections import Counter
from pathlib import Path

import pytest
from live_systems import need_redis_server
from sqlalchemy import Engine

from tem_sim.analysis.metrics import metrics
from tem_sim.checks.registry import run_checks
from tem_sim.frames import Run
from tem_sim.live.logs import lines
from tem_sim.live.run import run_live
from tem_sim.scenario.loader import load

pytestmark = [pytest.mark.long, pytest.mark.server, pytest.mark.xdist_group("live_system")]
SCENARIO = load(Path(__file__).parents[2] / "scenarios" / "live_soak.yaml")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("soak")


@pytest.fixture(scope="module")
def soak(logs: Path, postgresql_server: Engine) -> Run:
    need_redis_server(logs)
    return run_live(SCENARIO, store=postgresql_server.url.render_as_string(hide_password=False), keep=logs)


def test_every_fault_that_was_asked_for_landed(soak: Run) -> None:
    landed = soak.faults[soak.faults.landed > 0]
    strikes = Counter(landed.kind.astype(str))
    # A cut of all connections is one strike at each node that has any.
    strikes["connections_dropped"] = landed[landed.kind == "connections_dropped"].fault_id.nunique()
    assert strikes == {"worker_death": 20, "broker_restart": 3, "connections_dropped": 3, "gateway_disconnect": 2}


def test_no_event_is_lost_or_stuck(soak: Run) -> None:
    assert soak.status == "complete"
    assert dict(Counter(soak.events.status)) == {"PROCESSED": 2000}
    assert (metrics(soak)["lost_events"], metrics(soak)["stuck_rows"], metrics(soak)["rejected_submissions"]) == (
        0,
        0,
        0,
    )


def test_every_user_is_told_once_of_each_event(soak: Run) -> None:
    told = soak.notifications
    assert len(told) == 2000
    assert (told.user_id == soak.events.user_id).all()
    assert set(told.shown) == {1}
    assert (metrics(soak)["lost_notifications"], metrics(soak)["duplicate_notifications"]) == (0, 0)


def test_no_check_is_broken(soak: Run) -> None:
    verdicts = {one.name: one.verdict for one in run_checks(soak)}
    # Nobody watches real processes statement by statement.
    unseen = {"leases_reclaimed", "no_livelock"}
    assert verdicts == {name: "unknown" if name in unseen else "true" for name in verdicts}
    assert {"conservation", "legal_edges", "single_lease", "notifications", "ends_in_time", "told_in_time"} <= set(
        verdicts
    )


def test_effects_that_came_twice_are_those_that_the_downstream_counted(soak: Run, logs: Path) -> None:
    written = (line for line in lines(logs / "downstream.jsonl") if line["event"] == "effect")
    effects = Counter(line["n"] for line in written)
    assert set(effects) == set(range(1, 2001))
    again = sum(effects.values()) - 2000
    assert metrics(soak)["duplicate_effects"] == again
    # At least once is what is promised: of every event that had its effect again an attempt was lost.
    lost = Counter(soak.attempts[soak.attempts.outcome != "ok"].event_id)
    assert [number for number, count in effects.items() if count > 1 + lost[number]] == []


def test_notifications_that_came_twice_are_those_that_clients_suppressed(soak: Run) -> None:
    told = soak.notifications
    assert (told.received >= told.shown).all()
    (notes,) = run_checks(soak, ["notifications"])
    assert f"{int((told.received - told.shown).sum()):,} repeats suppressed by clients" in notes.detail


def test_workers_really_died_with_work_in_hand(soak: Run) -> None:
    assert (soak.attempts.outcome == "lost").sum() > 0
    assert soak.events.crash_count.sum() > 0
