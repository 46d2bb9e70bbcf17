"""Schedulers that are several, late, behind with their ticks, killed half-way, or stuck in the queue they relieve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sim_worlds import all_done, burst, fault_row, run, scenario

from tem_sim.frames import Run

LEASED = {"lease": "5s", "sweep_after": "5s"}
FAILING = {"fail_first": 1, "service_time": "5ms"}
STEADY: dict[str, Any] = {"arrivals": {"kind": "constant", "rate": "20/s", "until": "30s"}, "handler": FAILING}


def retries(done: Run) -> Any:
    return done.transitions[done.transitions["cause"] == "retry"]


# --- several (S1)


def test_several_schedulers_each_have_their_phase_and_requeue_nothing_twice() -> None:
    doubled = {"kind": "beat_doubled", "at": "5s", "for": "20s", "phase": "250ms", "more": 3}
    done = run(**STEADY, faults=[doubled])
    row = fault_row(done)
    assert (row["landed"], row["detail"]) == (3, "3 more schedulers, each 0.25 s behind the one before")
    moved = retries(done)
    phases = {name: set(rows["at_s"] % 1.0) for name, rows in moved.groupby(moved["actor"].astype(str))}
    assert phases == {"beat": {0.0}, "beat-2": {0.25}, "beat-3": {0.5}, "beat-4": {0.75}}
    assert moved.loc[moved["actor"].astype(str) != "beat", "at_s"].between(5.0, 25.0).all()
    assert (moved.groupby(["event_id", "attempt_no"]).size() == 1).all()
    assert all_done(done)
    assert (done.notifications["shown"] == 1).all()


def test_windows_that_overlap_keep_a_scheduler_until_the_last_ends() -> None:
    faults = [
        {"kind": "beat_doubled", "at": "5s", "for": "10s", "more": 2, "phase": "200ms"},
        {"kind": "beat_doubled", "at": "10s", "for": "10s", "phase": "400ms"},
        {"kind": "worker_death", "target": "beat-3", "at": "8s", "restart_after": "1s"},
    ]
    done = run(**STEADY, faults=faults)
    moved = retries(done)
    last = moved.groupby(moved["actor"].astype(str))["at_s"].max()
    assert last["beat-2"] == 19.2
    assert last["beat-3"] == 14.4
    assert done.faults["landed"].tolist() == [2, 1, 1]


def test_a_scheduler_that_no_fault_starts_is_no_target() -> None:
    doubled = {"kind": "beat_doubled", "at": "5s", "for": "10s", "more": 2}
    assert {"beat-2", "beat-3"} < set(scenario(faults=[doubled]).nodes())
    assert "beat-4" not in scenario(faults=[doubled]).nodes()


# --- missed ticks (S4)


def test_missed_ticks_that_are_fired_at_once_release_more_than_one_limit() -> None:
    common: dict[str, Any] = {
        "arrivals": burst(200),
        "handler": FAILING,
        "pipeline": {"requeue_limit": 10, "backoff": {"growth": "fixed", "base": "1s", "jitter": "none"}},
    }
    stopped = {"kind": "beat_stopped", "at": "1500ms", "for": "12s"}
    skipped, fired = (run(**common, faults=[{**stopped, "missed": missed}]) for missed in ("skipped", "fired"))
    per_tick = [retries(done).groupby("at_s").size() for done in (skipped, fired)]
    assert per_tick[0].max() == 10
    assert per_tick[0].index.min() == 14.0
    # The ticks of 2, 3, ... 13 s, all at 13.5 s and the store's latency.
    assert per_tick[1].index.min() == pytest.approx(13.5, abs=0.01)
    assert per_tick[1][per_tick[1].index < 13.6].sum() == 120
    assert all_done(skipped)
    assert all_done(fired)


def test_a_scheduler_that_is_started_again_for_another_reason_makes_up_for_nothing() -> None:
    faults = [
        {"kind": "beat_stopped", "at": "5s", "for": "5s", "missed": "fired"},
        {"kind": "worker_death", "target": "beat", "at": "15s", "restart_after": "4500ms"},
    ]
    done = run(**STEADY, faults=faults)
    at_s = set(retries(done)["at_s"])
    assert not [at for at in at_s if 15.001 < at < 19.999]
    assert 20.0 in at_s
    assert not [at for at in at_s if 19.4 < at < 19.9]
    assert all_done(done)


# --- late ticks (S3)


def test_a_late_tick_does_its_work_late_and_skips_what_falls_due_meanwhile() -> None:
    late = {"kind": "beat_late", "at": "5s", "for": "20s", "by": "1500ms"}
    done = run(**STEADY, faults=[late])
    at_s = sorted(set(retries(done)["at_s"]))
    inside = [at for at in at_s if 5.0 <= at < 25.0]
    assert inside == [*np.arange(6.5, 25.0, 2.0)]
    # Each tick of every periodic task counts: the retry's ten, the rescue's, the relay's.
    assert fault_row(done)["landed"] > 10
    assert all_done(done)


def test_late_ticks_that_overlap_come_each_second_all_the_same_and_may_overtake_each_other() -> None:
    late = {"kind": "beat_late", "at": "5s", "for": "20s", "by": "2500ms", "overlap": True}
    done = run(**STEADY, faults=[late])
    inside = [at for at in sorted(set(retries(done)["at_s"])) if 7.0 < at < 25.0]
    assert inside == [*np.arange(7.5, 25.0, 1.0)]
    random = {"kind": "exponential", "mean": "2s"}
    jumbled = run(**STEADY, faults=[{**late, "by": random}])
    assert all_done(jumbled)
    assert (retries(jumbled).groupby(["event_id", "attempt_no"]).size() == 1).all()


# --- killed half-way (S5)


def test_rows_whose_scheduler_dies_between_the_update_and_the_send_wait_for_the_sweep() -> None:
    death = {"kind": "worker_death", "target": "beat", "edge": "after_commit_before_wake", "restart_after": "1s"}
    done = run(arrivals=burst(20), handler=FAILING, pipeline=LEASED | {"batch_size": 50}, faults=[death])
    row = fault_row(done)
    requeued = retries(done)
    struck = requeued[requeued["at_s"] <= row["start_s"]]
    assert len(struck) >= 1
    # Nobody was sent a wake-up for them until a later tick of the rescue found them, unless another came by.
    waits = done.wakeups[(done.wakeups["actor"] == "beat")]["t_s"]
    assert waits.min() > row["start_s"]
    assert all_done(done)


# --- stuck in the queue it should relieve (S6)

BUSY: dict[str, Any] = {
    "arrivals": burst(120),
    "handler": {"fail_first": 1, "service_time": "500ms"},
    "pipeline": LEASED | {"batch_size": 1},
    "workers": {"count": 2, "concurrency": 2},
}


def test_tasks_that_go_to_the_queue_are_done_by_workers_when_they_have_time() -> None:
    misrouted = {"kind": "beat_misrouted", "at": "0s", "for": "4m"}
    calm, stuck = run(**BUSY), run(**BUSY, faults=[misrouted])
    assert set(retries(calm)["actor"].astype(str)) == {"beat"}
    assert set(retries(stuck)["actor"].astype(str)) <= {f"worker-{n}/{slot}" for n in (1, 2) for slot in (0, 1)}
    first_told_s = [done.notifications["published_s"].min() for done in (calm, stuck)]
    assert first_told_s[1] > first_told_s[0] + 5
    # Its tasks stand behind 120 wake-ups, at first.
    assert retries(stuck)["at_s"].min() > retries(calm)["at_s"].min() + 5
    assert fault_row(stuck)["landed"] > 20
    assert all_done(stuck)
    assert (stuck.notifications["shown"] == 1).all()


def test_what_the_broker_forgets_is_a_tick_lost_and_no_more() -> None:
    faults = [
        {"kind": "beat_misrouted", "at": "0s", "for": "1m"},
        {"kind": "broker_restart", "at": "10s", "for": "5s", "messages": "lost"},
    ]
    done = run(**BUSY, faults=faults)
    assert all_done(done)
    assert done.faults["landed"].gt(0).all()


# --- a limit that starves (S7)


def test_a_limit_below_what_falls_due_starves_nobody_as_long_as_the_longest_due_go_first() -> None:
    """More falls due than a tick may move: all wait longer and longer, and none for ever."""
    tight = {"requeue_limit": 5, "backoff": {"growth": "fixed", "base": "1s", "jitter": "full", "max_retries": 8}}
    done = run(**STEADY, pipeline=tight)
    due = done.attempts[done.attempts["delay_s"].notna()]
    both = retries(done).merge(due, on=["event_id", "attempt_no"])
    due_s = (both["finished_s"] + both["delay_s"]).to_numpy()
    waited_s = both["at_s"].to_numpy() - due_s
    assert waited_s.max() > 60
    # In the order in which they fell due: no row is overtaken by one that was due a tick later.
    order = np.argsort(both["at_s"].to_numpy(), kind="stable")
    latest = np.maximum.accumulate(due_s[order])
    assert (latest - due_s[order] < 1.01).all()
    assert all_done(done)
