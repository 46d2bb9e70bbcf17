"""A whole run: when it ends, what ends it early, and what it leaves behind."""

from __future__ import annotations

import gc
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from greenlet import greenlet
from sim_worlds import all_done, burst, run, scenario, world
from sqlalchemy.exc import IntegrityError, OperationalError

from tem_sim.frames import Run
from tem_sim.pipeline.tasks import Pipeline
from tem_sim.scenario.loader import load
from tem_sim.sim import workers as workers_module
from tem_sim.sim.kernel import SimulationError
from tem_sim.sim.world import simulate


def sigint_at(time_s: float) -> Any:
    """Return a progress callback that presses Ctrl-C at a simulated time."""

    def progress(now_s: float, horizon_s: float) -> None:
        if now_s == time_s:
            os.kill(os.getpid(), signal.SIGINT)

    return progress


# --- ends


def test_a_drained_run_ends_when_all_is_done_and_everybody_told() -> None:
    done = run()
    assert done.status == "complete"
    assert all_done(done)
    assert (done.notifications["shown"] == 1).all()
    assert 30.0 <= done.end_s < 40.0


def test_a_drained_run_waits_for_its_faults_to_be_over() -> None:
    done = run(faults=[{"kind": "clock_skew", "target": "worker-1", "at": "50s", "for": "20s", "skew": "1s"}])
    assert 70.0 <= done.end_s < 72.0


def test_a_drained_run_waits_for_a_frozen_worker_to_wake() -> None:
    """It may yet do harm, or be refused; either belongs to the run."""
    done = run(
        arrivals=burst(5),
        pipeline={"lease": "5s", "batch_size": 5},
        faults=[{"kind": "worker_pause", "target": "workers", "edge": "before_settle", "for": "60s"}],
    )
    assert done.end_s > 62.0
    assert (done.attempts["outcome"] == "superseded").sum() == 5


def test_a_run_to_the_horizon_ends_exactly_there() -> None:
    done = run(horizon="40.25s", stop="horizon")
    assert done.end_s == 40.25
    assert all_done(done)


def test_a_run_that_cannot_drain_ends_at_the_horizon() -> None:
    done = run(
        horizon="20s", arrivals=burst(3), handler={"failure_rate": 1.0}, pipeline={"backoff": {"max_retries": "off"}}
    )
    assert done.status == "complete"
    assert done.end_s == 20.0
    assert not (done.events["status"] == "PROCESSED").any()


def test_what_is_under_way_at_the_horizon_is_unfinished_and_kept() -> None:
    done = run(horizon="10s", arrivals=burst(20), handler={"service_time": "30s"}, pipeline={"batch_size": 2})
    assert (done.attempts["outcome"] == "unfinished").all()
    assert len(done.attempts) == 12
    assert done.attempts["finished_s"].isna().all()
    # The effect would have come after the end.
    assert done.attempts["effect_s"].isna().all()


def test_nobody_arriving_is_a_run_too() -> None:
    done = run(arrivals={"kind": "poisson", "rate": "0.001/s", "until": "1s"})
    assert len(done.events) == 0
    assert done.status == "complete"


# --- interrupted


def test_ctrl_c_ends_the_run_early_with_what_there_is() -> None:
    before = signal.getsignal(signal.SIGINT)
    done = simulate(scenario(), progress=sigint_at(12.0))
    assert done.status == "interrupted"
    assert done.end_s == 12.0
    assert 50 < len(done.events) < 200
    assert done.transitions["at_s"].max() <= 12.0
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupted_run_begins_as_the_whole_one_does() -> None:
    whole, part = run(), simulate(scenario(), progress=sigint_at(12.0))
    beginning = whole.transitions[whole.transitions["at_s"] <= part.transitions["at_s"].max()]
    for column in ("event_id", "at_s", "attempt_no"):
        assert (beginning[column].to_numpy()[: len(part.transitions)] == part.transitions[column].to_numpy()).all()


def test_a_run_in_another_thread_leaves_signals_alone() -> None:
    runs: list[Run] = []
    thread = threading.Thread(target=lambda: runs.append(run(arrivals=burst(5))))
    thread.start()
    thread.join(60)
    assert runs[0].digest == run(arrivals=burst(5)).digest


# --- broken


def test_an_exception_in_the_pipeline_breaks_the_run_and_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> int:
        raise IntegrityError("SELECT 1", {}, Exception("CHECK constraint failed: legal_edge"))

    monkeypatch.setattr(workers_module, "process_events_batch", broken)
    with pytest.raises(SimulationError, match=r"worker-\d/\d broke at 2\.\d+ s: IntegrityError") as caught:
        run(arrivals=burst(1))
    assert isinstance(caught.value.__cause__, IntegrityError)


def test_what_the_database_does_to_a_task_fails_the_task_and_the_worker_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, failures = workers_module.process_events_batch, iter([OperationalError("SELECT 1", {}, Exception("gone"))])

    def failing_once(pipe: Pipeline, *, worker: str) -> int:
        for failure in failures:
            raise failure
        return real(pipe, worker=worker)

    monkeypatch.setattr(workers_module, "process_events_batch", failing_once)
    done = run(arrivals=burst(1), store={"watch": True})
    assert set(done.events["status"]) == {"PROCESSED"}
    assert done.samples.set_index("name")["value"]["tasks_failed"] == 1
    assert list(done.steps["kind"]).count("task_failed") == 1


@pytest.mark.parametrize("how", ["complete", "interrupted", "broken"])
def test_no_greenlet_outlives_its_run(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def living() -> int:
        gc.collect()
        return sum(isinstance(it, greenlet) and not it.dead and it.parent is not None for it in gc.get_objects())

    before = living()
    made = scenario(faults=[{"kind": "worker_pause", "target": "workers", "at": "10s", "for": "100s"}], horizon="20s")
    if how == "broken":
        monkeypatch.setattr(workers_module, "process_events_batch", lambda *_, **__: 1 / 0)
        with pytest.raises(SimulationError):
            simulate(made)
    else:
        assert simulate(made, progress=sigint_at(5.0 if how == "interrupted" else -1.0)).status == how
    assert living() == before


# --- what is seen


def test_gauges_are_read_every_second() -> None:
    done = run()
    names = done.samples["name"].astype(str)
    counted = names.str.startswith(("submissions_", "database_"))
    assert (done.samples.loc[counted & ~names.str.endswith("_per_s"), "t_s"] == done.end_s).all()
    gauges = done.samples[~counted]
    for name, of_gauge in gauges.groupby("name", observed=True):
        assert np.array_equal(of_gauge["t_s"], np.arange(len(of_gauge))), name
    assert set(gauges["name"].astype(str)) == {
        "broker_ready",
        "broker_unacked",
        "workers_busy",
        "dependency_in_flight",
        "users_connected",
    }
    busy = done.samples[done.samples["name"] == "workers_busy"]["value"]
    assert busy.between(0, 6).all()


def test_statements_and_transactions_are_counted_whatever_the_store_calls_one() -> None:
    made = world(
        arrivals=burst(3), beat=dict.fromkeys(("retry_every", "rescue_every", "relay_every"), "1h"), horizon="9s"
    )
    made.run()
    counts = made.read_out().samples.set_index("name")["value"]
    made.close()
    # Submit: two inserts. Claim: update and read. Settle: update, attempts, outbox. And a claim that found nothing.
    assert counts["database_transactions"] == 4
    assert counts["database_statements"] == 8


def test_each_wake_up_is_noted_with_its_sender_and_what_became_of_it() -> None:
    lost = {"kind": "wakeups_lost", "at": "0s", "for": "4s", "probability": 1}
    done = run(arrivals=burst(120), faults=[lost], pipeline={"batch_size": 50, "sweep_after": "5s"})
    sent = done.wakeups
    first = sent.iloc[0]
    assert first[["actor", "task", "first_id", "sent", "lost"]].tolist() == ["api", "request", 1, 3, 3]
    # After the commit, at the far end of another round trip.
    assert first["t_s"] == pytest.approx(float(done.events["submitted_s"].iloc[0]) + 0.002)
    swept = sent[sent["task"] == "rescue"].iloc[0]
    assert (swept["actor"], swept["sent"], swept["lost"]) == ("beat", 3, 0)


def test_wake_ups_that_the_broker_refuses_are_all_lost() -> None:
    away = {"kind": "broker_restart", "at": "0s", "for": "5s"}
    sent = run(arrivals=burst(120), faults=[away], pipeline={"sweep_after": "5s"}).wakeups
    assert sent.iloc[0][["sent", "lost"]].tolist() == [3, 3]


def test_progress_is_told_every_simulated_second() -> None:
    told: list[tuple[float, float]] = []
    simulate(scenario(horizon="10s", stop="horizon"), progress=lambda now_s, horizon_s: told.append((now_s, horizon_s)))
    assert told == [(float(second), 10.0) for second in range(11)]


def test_workers_boot_before_they_work() -> None:
    done = run(arrivals=burst(10, at="0s"), workers={"startup": "7s"})
    assert done.attempts["claimed_s"].min() >= 7.0


def test_no_more_events_are_in_hand_than_there_are_slots() -> None:
    done = run(arrivals=burst(300), workers={"count": 2, "concurrency": 3}, pipeline={"batch_size": 1})
    ended = done.attempts.sort_values("claimed_s")
    steps = np.concatenate(
        [np.stack([ended["started_s"], np.ones(300)]), np.stack([ended["finished_s"], -np.ones(300)])], 1
    )
    steps = steps[:, np.lexsort((steps[1], steps[0]))]
    assert steps[1].cumsum().max() == 6


def test_batches_are_no_larger_than_the_batch_size() -> None:
    done = run(arrivals=burst(100), pipeline={"batch_size": 8})
    together = done.attempts.groupby(["worker", "claimed_s"], observed=True).size()
    assert together.max() == 8


def test_arrivals_recorded_in_a_csv_are_replayed(tmp_path: Path) -> None:
    (tmp_path / "arrivals.csv").write_text("t_s\n0.5\n2.25\n2.25\n7\n")
    (tmp_path / "replayed.yaml").write_text(
        "scenario: replayed\nhorizon: 1m\narrivals: {kind: replay, file: arrivals.csv, column: t_s, from: 1s}\n"
        "api: {latency: 0s}\nstore: {latency: 0s}\n"
    )
    done = simulate(load(tmp_path / "replayed.yaml"))
    assert done.events["submitted_s"].tolist() == [1.5, 3.25, 3.25, 8.0]
    assert all_done(done)


def test_late_acknowledgement_brings_a_dead_workers_message_back() -> None:
    """With leases and sweep off only the broker can bring the event back to mind; its row stays where it was."""
    sections: dict[str, Any] = {
        "arrivals": burst(1),
        "workers": {"count": 1, "concurrency": 1},
        "pipeline": {"lease": "5s", "sweep_after": "off"},
        "faults": [{"kind": "worker_death", "target": "worker-1", "edge": "before_claim", "restart_after": "2s"}],
        "horizon": "2m",
    }
    late = run(**sections, broker={"ack": "late", "visibility_timeout": "20s", "sweep_every": "10s"})
    early = run(**sections, broker={"ack": "early", "visibility_timeout": "20s", "sweep_every": "10s"})
    assert all_done(late)
    assert late.attempts["claimed_s"].item() == pytest.approx(30.0, abs=0.1)
    # Acknowledged before the claim, the message died with the worker: nobody will ever look.
    assert early.events["status"].astype(str).tolist() == ["QUEUED"]


def test_times_in_the_frames_are_whole_microseconds() -> None:
    done = run(store={"latency": {"kind": "exponential", "mean": "3ms"}})
    for times in (done.transitions["at_s"], done.attempts["started_s"], done.events["submitted_s"]):
        micros = times.dropna() * 1e6
        assert np.allclose(micros, micros.round(), atol=1e-3)
