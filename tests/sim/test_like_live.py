"""What a simulated system can do as a live one does: workers that are up when the load begins, wake-ups one by one."""

import numpy as np
import pytest
from sim_worlds import burst, run

from tem_sim.checks.registry import run_checks


@pytest.mark.parametrize(("up", "first_s"), [(True, 2.0), (False, 30.0)])
def test_workers_may_be_up_when_the_run_begins(up: bool, first_s: float) -> None:
    found = run(arrivals=burst(20), workers={"startup": "30s", "up_at_start": up})
    assert found.attempts["claimed_s"].min() == pytest.approx(first_s, abs=0.05)


def test_a_worker_that_is_started_again_takes_its_time_all_the_same() -> None:
    dies = {"kind": "worker_death", "target": "workers", "at": "1s", "restart_after": "1s"}
    found = run(arrivals=burst(20), workers={"startup": "3s", "up_at_start": True}, faults=[dies])
    assert found.attempts["claimed_s"].min() == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("each", [0.0, 0.05])
def test_wakeups_of_one_send_may_go_one_after_the_other(each: float) -> None:
    """All 40 are refused in the outage, and one tick requeues and announces them."""
    refused = [{"kind": "outage", "at": "0s", "for": "5s"}]
    found = run(
        arrivals=burst(40),
        faults=refused,
        broker={"latency": "10ms", "latency_each": each},
        beat={"retry_every": "10s"},
        pipeline={"backoff": {"base": "1s", "jitter": "none"}, "batch_size": 1},
        workers={"concurrency": 20},
    )
    tick = found.messages[found.messages["delivered_s"].between(10, 19.9)]
    assert len(tick) == 40
    assert np.diff(tick["delivered_s"]) == pytest.approx(each, abs=1e-6)
    (announced,) = found.wakeups.loc[found.wakeups["task"] == "retry", "sent"]
    assert announced == 40


def test_what_is_refused_midway_is_counted_as_lost() -> None:
    """The broker goes down while the second half of a send is still to come."""
    found = run(
        arrivals=burst(40),
        pipeline={"batch_size": 1, "sweep_after": "10s"},
        broker={"latency": "0s", "latency_each": "50ms"},
        faults=[{"kind": "broker_restart", "at": "3s", "for": "2s", "messages": "kept"}],
    )
    first = found.wakeups[found.wakeups["task"] == "request"].iloc[0]
    assert (first["sent"], 15 < first["lost"] < 25) == (40, True)
    assert (found.events["status"] == "PROCESSED").all()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_transaction_that_takes_longer_than_others_writes_an_older_time_and_breaks_no_rule(seed: int) -> None:
    """As measured, most take a moment and some wait for a lock: a claim may begin before a tick, and end after it."""
    found = run(
        seed=seed,
        arrivals=burst(200),
        store={"latency": {"kind": "empirical", "values": [*[0.0005] * 40, 0.02, 0.2]}},
        faults=[{"kind": "outage", "at": "0s", "for": "10s"}],
        beat={"retry_every": "100ms"},
        workers={"concurrency": 4},
    )
    (early,) = run_checks(found, ["no_early_claim"])
    assert early.verdict == "true"
    retried = found.transitions[found.transitions["cause"] == "retry"].merge(
        found.attempts.assign(attempt_no=found.attempts["attempt_no"] - 1), on=["event_id", "attempt_no"]
    )
    assert (retried["claimed_s"] < retried["at_s"]).any()
