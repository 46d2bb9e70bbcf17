"""Workers that are stopped, run out of memory, are slow, or run other code than they should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sim_worlds import all_done, fault_row, run, scenario

from tem_sim.frames import Run

LEASED = {"lease": "5s", "sweep_after": "5s"}
SLOW = {"service_time": {"kind": "exponential", "mean": "300ms"}}


def of_worker(done: Run, name: str) -> pd.DataFrame:
    return done.attempts[done.attempts["worker"].astype(str).str.startswith(f"{name}/")]


# --- stopped


def test_a_worker_that_is_stopped_ends_what_it_has_in_hand_and_begins_nothing_new() -> None:
    stop = {"kind": "worker_stop", "target": "worker-1", "at": "10s", "grace": "30s", "restart_after": "6s"}
    done = run(pipeline=LEASED | {"batch_size": 1}, handler=SLOW, faults=[stop])
    row = fault_row(done)
    assert (row["target"], row["start_s"], row["landed"]) == ("worker-1", 10.0, 1)
    assert row["detail"].startswith("ended by itself after ")
    took_s = float(row["detail"].split()[4])
    assert 0 < took_s < 5
    assert row["end_s"] == pytest.approx(10 + took_s + 6, abs=0.01)
    its = of_worker(done, "worker-1")
    assert its["claimed_s"].between(9.0, 10.0).any()
    # One task may have been handed over and not have claimed yet.
    assert not its["claimed_s"].between(10.01, row["end_s"] + 0.99).any()
    assert not (done.attempts["outcome"] == "lost").any()
    assert (done.events["crash_count"] == 0).all()
    assert all_done(done)


def test_one_that_takes_too_long_is_killed_with_its_tasks_in_hand() -> None:
    long = {"service_time": "4s"}
    stop = {"kind": "worker_stop", "target": "workers", "at": "10s", "grace": "1s", "restart_after": "1s"}
    done = run(pipeline=LEASED | {"batch_size": 1}, handler=long, faults=[stop])
    assert len(done.faults) == 3
    assert set(done.faults["detail"]) == {"killed with 2 tasks in hand"}
    assert done.faults["end_s"].tolist() == [12.0] * 3
    assert (done.attempts["outcome"] == "lost").sum() == 6
    assert all_done(done)


@pytest.mark.parametrize("ack", ["early", "late"])
def test_wakeups_that_it_had_reserved_go_back_to_the_queue_at_once(ack: str) -> None:
    """A killed worker's reserved messages wait for the visibility timeout; a stopped one hands them back."""
    common: dict[str, Any] = {
        "pipeline": LEASED | {"batch_size": 1, "sweep_after": "off"},
        "handler": {"service_time": "1s"},
        "workers": {"count": 2, "concurrency": 1, "prefetch": 8},
        "broker": {"ack": ack},
        "arrivals": {"kind": "burst", "at": "2s", "events": 12},
    }
    fault = {"target": "worker-1", "at": "3500ms", "restart_after": "off"}
    stopped = run(**common, faults=[{**fault, "kind": "worker_stop", "grace": "10s"}])
    assert all_done(stopped)
    assert stopped.end_s < 20
    killed = run(**common, faults=[{**fault, "kind": "worker_death"}])
    assert not all_done(killed)


def test_a_stop_of_a_worker_that_is_down_or_ending_already_does_nothing() -> None:
    faults = [
        {"kind": "worker_death", "target": "worker-1", "at": "9s", "restart_after": "5s"},
        {"kind": "worker_stop", "target": "worker-1", "at": "10s"},
        {"kind": "worker_stop", "target": "worker-2", "at": "10s", "grace": "9s"},
        {"kind": "worker_stop", "target": "worker-2", "at": "10100ms", "grace": "0s"},
    ]
    done = run(pipeline=LEASED | {"batch_size": 1}, handler={"service_time": "1s"}, faults=faults)
    assert list(done.faults.groupby("fault_id")["landed"].sum()) == [1, 0, 1, 0]
    assert all_done(done)


def test_a_worker_that_is_killed_while_it_ends_is_not_ended_once_more() -> None:
    faults = [
        {"kind": "worker_stop", "target": "worker-1", "at": "10s", "grace": "5s", "restart_after": "1s"},
        {"kind": "worker_death", "target": "worker-1", "at": "11s", "restart_after": "1s"},
    ]
    done = run(pipeline=LEASED | {"batch_size": 1}, handler={"service_time": "10s"}, faults=faults, horizon="10m")
    assert fault_row(done, 0)["detail"] == ""
    claims = of_worker(done, "worker-1")["claimed_s"]
    assert claims.between(13.0, 25.0).any()
    assert (done.attempts["outcome"] == "lost").sum() == 2


# --- out of memory

HUGE = {"events": {"kinds": {"normal": 0.9, "huge": 0.1}}}


def test_an_event_that_is_too_large_kills_every_worker_that_it_meets() -> None:
    """A fleet cascade: the event goes from worker to worker, until its crash budget is spent."""
    oom = {"kind": "out_of_memory", "at": "0s", "for": "5m", "event_kind": "huge", "restart_after": "1s"}
    done = run(**HUGE, pipeline=LEASED, faults=[oom], arrivals={"kind": "poisson", "rate": "2/s", "until": "20s"})
    huge = done.events[done.events["kind"] == "huge"]
    assert len(huge) >= 2
    assert (huge["status"] == "EXTINCT").all()
    assert (done.events.loc[done.events["kind"] == "normal", "status"] == "PROCESSED").all()
    assert len(done.faults) > 3 * len(huge)
    assert done.faults["landed"].eq(1).all()
    assert set(done.faults["target"].astype(str)) == {"worker-1", "worker-2", "worker-3"}
    blamed = {int(detail.split()[1]) for detail in done.faults["detail"]}
    assert blamed == set(huge["event_id"])
    # The call never came to its end.
    assert done.attempts.merge(huge[["event_id"]])["effect_s"].isna().all()


def test_it_is_the_same_events_each_time_and_when_it_is_over_they_get_through() -> None:
    oom = {"kind": "out_of_memory", "at": "0s", "for": "12s", "probability": 0.02, "restart_after": "1s"}
    done = run(pipeline=LEASED | {"crash_budget": 20}, faults=[oom])
    blamed = [int(detail.split()[1]) for detail in done.faults["detail"]]
    assert len(set(blamed)) < len(blamed)
    assert done.faults["start_s"].max() < 12.5
    assert all_done(done)


def test_with_a_child_killed_the_worker_goes_on() -> None:
    oom = {"kind": "out_of_memory", "at": "10s", "for": "10s", "probability": 0.02, "kills": "child"}
    done = run(pipeline=LEASED | {"crash_budget": 20}, handler=SLOW, faults=[oom])
    assert len(done.faults) > 0
    first = done.faults.iloc[0]
    assert first["end_s"] == first["start_s"]
    claims = of_worker(done, str(first["target"]))["claimed_s"]
    assert claims.between(first["start_s"], first["start_s"] + 3).any()
    assert all_done(done)


def test_a_kind_of_event_that_there_is_not_is_a_mistake() -> None:
    oom = {"kind": "out_of_memory", "at": "0s", "for": "2m", "event_kind": "hug"}
    with pytest.raises(ValidationError, match=r"must be a kind of events.kinds \(normal, huge\)"):
        scenario(**HUGE, faults=[oom])


# --- slow


@pytest.mark.parametrize("interleave", ["transaction", "statement"])
def test_a_slow_node_takes_longer_for_its_calls_and_its_statements(interleave: str) -> None:
    slow = {"kind": "worker_slow", "target": "worker-1", "at": "5s", "for": "20s", "factor": 8}
    done = run(
        store={"interleave": interleave, "latency": "5ms", "statement_latency": "2ms"},
        handler={"service_time": "50ms"},
        pipeline={"batch_size": 1},
        faults=[slow],
    )
    assert fault_row(done)["landed"] == 1
    window = done.attempts["claimed_s"].between(5.5, 23.0)
    took_s = done.attempts["finished_s"] - done.attempts["started_s"]
    slowed = done.attempts["worker"].astype(str).str.startswith("worker-1/")
    assert took_s[window & slowed].median() == pytest.approx(0.4, abs=1e-5)
    assert took_s[window & ~slowed].median() == pytest.approx(0.05, abs=1e-5)
    # From the claim to the call there is the answer of the store.
    if interleave == "statement":
        wait_s = done.attempts["started_s"] - done.attempts["claimed_s"]
        assert wait_s[window & slowed].median() > 5 * wait_s[window & ~slowed].median()
    assert all_done(done)


def test_when_it_is_over_it_is_as_fast_as_before_to_the_bit() -> None:
    slow = [{"kind": "worker_slow", "target": "*", "at": "1s", "for": "1s", "factor": 3}] * 2
    done = run(arrivals={"kind": "constant", "rate": "1/s", "from": "5s", "until": "20s"}, faults=slow)
    calm = run(arrivals={"kind": "constant", "rate": "1/s", "from": "5s", "until": "20s"})
    assert done.digest == calm.digest


# --- old code


def test_an_old_version_retries_by_its_own_policy_while_it_runs() -> None:
    old = {
        "kind": "old_version",
        "target": "worker-1",
        "at": "8s",
        "for": "10s",
        "backoff": {"growth": "fixed", "base": "7s", "jitter": "none", "max_retries": 8},
    }
    done = run(handler={"failure_rate": 0.4}, faults=[old])
    assert fault_row(done)["landed"] == 1
    failed = done.attempts[done.attempts["delay_s"].notna()]
    by_old = failed["delay_s"] == 7.0
    assert by_old.sum() > 10
    assert set(failed.loc[by_old, "worker"].astype(str)) == {"worker-1/0", "worker-1/1"}
    assert failed.loc[by_old, "finished_s"].between(8.0, 18.5).all()


def test_a_worker_without_the_fence_among_others_with_it_is_what_breaks_the_rows() -> None:
    pause = {"kind": "worker_pause", "target": "worker-1", "edge": "before_settle", "nth": 20, "for": "12s"}
    common: dict[str, Any] = {
        "pipeline": LEASED | {"batch_size": 5},
        "handler": SLOW | {"failure_rate": 0.2},
        "arrivals": {"kind": "poisson", "rate": "15/s", "until": "30s"},
    }
    from tem_sim.checks.registry import run_checks

    old = {"kind": "old_version", "target": "worker-1", "at": "0s", "for": "1m", "write_guard": "refresh"}
    for faults, broken in (([pause], False), ([pause, old], True)):
        wrong = {verdict.name for verdict in run_checks(run(**common, faults=faults)) if verdict.verdict == "false"}
        assert ("single_lease" in wrong) == broken


def test_an_old_version_must_differ_in_something() -> None:
    with pytest.raises(ValidationError, match="must differ in a setting"):
        scenario(faults=[{"kind": "old_version", "target": "worker-1", "at": 1, "for": 1}])


def test_two_changes_of_one_worker_add_up_and_each_ends_for_itself() -> None:
    faults = [
        {"kind": "old_version", "target": "worker-1", "at": 5, "for": 20, "lease": "9s"},
        {"kind": "forked_seed", "target": "worker-1", "at": 6, "for": 4},
        {"kind": "old_version", "target": "worker-1", "at": 7, "for": 8, "write_guard": "version"},
    ]
    from sim_worlds import world

    made = world(faults=faults)
    seen: list[tuple[float, float | None, str, bool]] = []
    worker = made.workers["worker-1"]

    def look(at_s: float) -> None:
        settings = worker.pipe.settings
        seen.append((at_s, settings.lease_s, str(settings.write_guard), worker.pipe.chance is made.streams))

    for at_s in (4.5, 5.5, 6.5, 7.5, 10.5, 15.5, 25.5):
        made.kernel.call_later(at_s, lambda at_s=at_s: look(at_s))
    made.run()
    made.close()
    assert seen == [
        (4.5, 60.0, "fenced", True),
        (5.5, 9.0, "fenced", True),
        (6.5, 9.0, "fenced", False),
        (7.5, 9.0, "version", False),
        (10.5, 9.0, "version", True),
        (15.5, 9.0, "fenced", True),
        (25.5, 60.0, "fenced", True),
    ]


# --- one seed for all


def delays_of_slots(done: Run, worker: str) -> list[np.ndarray]:
    """Each slot's first delays in the order in which it drew them."""
    failed = done.attempts[done.attempts["delay_s"].notna()].sort_values("finished_s")
    slots = failed[failed["worker"].astype(str).str.startswith(f"{worker}/")].groupby(failed["worker"].astype(str))
    return [slot["delay_s"].to_numpy() for _, slot in slots]


FIXED = {"backoff": {"growth": "fixed", "base": "4s", "jitter": "full", "max_retries": 20}, "batch_size": 1}


def test_processes_forked_with_one_seed_draw_the_same_jitter() -> None:
    fork = {"kind": "forked_seed", "target": "worker-1", "at": "0s", "for": "4m"}
    done = run(pipeline=FIXED, handler={"failure_rate": 0.6}, workers={"count": 2, "concurrency": 3}, faults=[fork])
    slots = delays_of_slots(done, "worker-1")
    shortest = min(map(len, slots))
    assert (len(slots), shortest > 20) == (3, True)
    for other in slots[1:]:
        assert (slots[0][:shortest] == other[:shortest]).all()
    # On one worker alone: elsewhere each event draws its own.
    others = delays_of_slots(done, "worker-2")
    assert not (others[0][:20] == others[1][:20]).any()
    assert all_done(done)


def test_without_the_fault_no_two_slots_draw_alike() -> None:
    done = run(pipeline=FIXED, handler={"failure_rate": 0.6}, workers={"count": 2, "concurrency": 3})
    slots = delays_of_slots(done, "worker-1")
    assert not (slots[0][:20] == slots[1][:20]).any()


# --- pauses and what was read before


def test_a_worker_that_is_frozen_between_its_look_at_the_clock_and_its_claim_books_a_lease_that_has_run_out() -> None:
    """It goes on with the clock reading from before: the claim is dated by it, and so is the lease."""
    pauses = [{"kind": "worker_pause", "target": f"worker-{n}", "at": "10300ms", "for": "20s"} for n in (1, 2)]
    done = run(
        store={"latency": "300ms"},
        pipeline=LEASED | {"batch_size": 1},
        arrivals={"kind": "constant", "rate": "20/s", "until": "40s"},
        faults=pauses,
    )
    claims = done.transitions[(done.transitions["cause"] == "claim")].copy()
    claims["actor"] = claims["actor"].astype(str)
    # The log's true order against the time that the claim says.
    order = claims.sort_values("seq")
    later = np.maximum.accumulate(order["at_s"].to_numpy())
    stale = order[later - order["at_s"].to_numpy() > 10]
    assert len(stale) >= 1
    assert set(stale["actor"].str[:8]) <= {"worker-1", "worker-2"}
    assert stale["at_s"].between(9.9, 10.3).all()
    assert all_done(done)


def test_dead_connections_stay_open_as_long_as_it_says() -> None:
    """W1h, a host lost without a word: its transaction keeps its locks until the database notices."""
    death = {"kind": "worker_death", "target": "worker-1", "at": "10s", "connection_closes_after": "4s"}
    assert scenario(faults=[death]).faults[0].describe() == (
        "worker-1 killed at 10 s, back after 5 s, its connections open for another 4 s"
    )
    kills = [{**death, "target": "workers", "at": f"{at_s}s", "restart_after": "1s"} for at_s in range(5, 25, 2)]
    common: dict[str, Any] = {
        "store": {"interleave": "statement", "statement_latency": "20ms", "commit_latency": "20ms"},
        "pipeline": LEASED | {"batch_size": 2},
        "handler": {"service_time": "5ms"},
    }
    long, short = (
        run(**common, faults=[{**kill, "connection_closes_after": after} for kill in kills]) for after in ("4s", "0s")
    )
    # On SQLite whoever writes holds the one lock there is: meanwhile the API gets nothing committed.
    gaps = [of.wakeups.loc[of.wakeups["actor"] == "api", "t_s"].diff().max() for of in (long, short)]
    assert gaps[0] > 3.5
    assert gaps[1] < 2.5
    assert all_done(long)
    assert all_done(short)
