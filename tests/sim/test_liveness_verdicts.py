"""What excuses rows that wait at the end of a run, and what does not."""

from __future__ import annotations

from typing import Any

from sim_worlds import run

from tem_sim.checks.registry import run_checks


def liveness(**sections: Any) -> str:
    (verdict,) = run_checks(run(**sections), only=["liveness"])
    return verdict.verdict


ONE_WORKER = {"workers": {"count": 1, "concurrency": 2}}


def test_that_the_only_worker_is_dead_for_good_is_no_excuse() -> None:
    dead = {"kind": "worker_death", "target": "worker-1", "at": "10s", "restart_after": "off"}
    assert liveness(**ONE_WORKER, faults=[dead]) == "false"


def test_a_fault_that_holds_no_row_up_is_no_excuse() -> None:
    dead = {"kind": "worker_death", "target": "worker-1", "at": "10s", "restart_after": "off"}
    sockets = {"kind": "gateway_disconnect", "at": "290s", "for": "5s", "fraction": 0.1}
    assert liveness(**ONE_WORKER, faults=[dead, sockets]) == "false"


def test_a_scheduler_that_is_away_to_the_end_is_one() -> None:
    away = {"kind": "beat_stopped", "at": "5s", "for": "295s"}
    assert liveness(handler={"failure_rate": 0.5}, faults=[away]) == "unknown"
