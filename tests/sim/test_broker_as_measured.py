"""The broker's parameters are as measured on real Celery and Redis: each test names the runs that it repeats.

The runs are those of a reference of 43 on Celery 5.7.0, kombu 5.7.0, redis-py 8.1.0 and Redis 7.0.15, or, where it says
so, on Celery 5.5.3, kombu 5.5.4 and redis-py 5.2.1. Starts and ends of a task are rows of the frame `messages`.
"""

from __future__ import annotations

from typing import Any

import pytest
from sim_worlds import burst, run

from tem_sim.frames import Run
from tem_sim.scenario.broker import BEHAVIOURS, Broker

# One worker process with one child, or two of them; a task in the hands of one takes so long.
ONE = {"count": 1, "concurrency": 1}
# The runs with a visibility timeout of 4 s looked for overdue messages all the time, not every 100 s.
SHORT = {"visibility_timeout": "4s", "sweep_every": "500ms"}
# So that nobody else sends wake-ups.
QUIET: dict[str, Any] = {"lease": "10m", "sweep_after": "off"}


def measured(**sections: Any) -> Run:
    """Run one task at 2 s, without anything else that sends wake-ups, to the horizon."""
    given: dict[str, Any] = {"arrivals": burst(1), "pipeline": QUIET, "stop": "horizon", "workers": ONE}
    return run(**{"horizon": "60s", **given, **sections})


def lasting(seconds: float) -> dict[str, Any]:
    """Return a handler that takes so long."""
    return {"service_time": f"{seconds}s"}


def starts_and_ends(of: Run, message: int = 1) -> tuple[int, int]:
    """Return how often a message was begun on, and how often its task came to its end."""
    rows = of.messages[of.messages["message"] == message]
    return int(rows["started_s"].notna().sum()), int(rows["finished_s"].notna().sum())


def left(of: Run, at_s: float) -> tuple[int, int]:
    """Return the messages in the queue, and those unacknowledged."""
    gauges = of.samples[of.samples["t_s"] == at_s].set_index("name")["value"]
    return int(gauges["broker_ready"]), int(gauges["broker_unacked"])


# --- a pool child is killed; 1 s into its task


KILLED = [{"kind": "child_death", "at": "3s", "target": "worker-1"}]


def child_killed(faults: list[dict[str, Any]] | None = None, **broker: Any) -> Run:
    return measured(broker=broker, handler=lasting(2), faults=KILLED if faults is None else faults)


def test_an_early_ack_is_lost_with_its_child() -> None:
    # "child SIGKILL, acks_late=False, VT=120": reran false, 1s/0e, queue 0, unacked 0, settled after 0.01 s.
    killed = child_killed(visibility_timeout="120s")
    assert starts_and_ends(killed) == (1, 0)
    assert left(killed, 3.0) == left(killed, 59.0) == (0, 0)


def test_a_late_ack_is_lost_too_once_the_worker_notices() -> None:
    # "child SIGKILL, acks_late=True, VT=120": reran false, 1s/0e, queue 0, unacked 0, settled after 3.7 s.
    killed = child_killed(visibility_timeout="120s", ack="late")
    (row,) = killed.messages.itertuples()
    assert starts_and_ends(killed) == (1, 0)
    assert (row.fate, row.settled_s - 3.0) == ("lost", pytest.approx(3.7))


def test_reject_on_worker_lost_runs_it_again() -> None:
    # "child SIGKILL, acks_late+reject_on_worker_lost, VT=120": reran true, 2s/1e, settled after 3.54 s.
    killed = child_killed(visibility_timeout="120s", ack="late", reject_on_worker_lost=True)
    assert starts_and_ends(killed) == (2, 1)
    first, second = killed.messages.itertuples()
    assert (first.fate, second.redelivered, second.fate) == ("returned", 1, "acked")
    assert second.started_s - 3.0 == pytest.approx(3.54, abs=0.2)


def test_a_shorter_visibility_timeout_comes_first() -> None:
    # "child SIGKILL, acks_late=True" with VT=4: reran true, after 4.66 s of its start.
    second_worker = {"count": 2, "concurrency": 1}
    killed = measured(broker={"ack": "late", **SHORT}, handler=lasting(2), faults=KILLED, workers=second_worker)
    starts = killed.messages["started_s"].dropna().sort_values().tolist()
    assert starts[1] - starts[0] == pytest.approx(4.66, abs=0.7)


def test_a_poison_task_that_is_rejected_loops_without_bound() -> None:
    # "poison task kills its child every time, reject_on_worker_lost, 25s": 9 starts. One time for what a worker takes
    # to notice makes it 7.
    poison = [{**KILLED[0], "poison": True}]
    killed = child_killed(poison, visibility_timeout="120s", ack="late", reject_on_worker_lost=True)
    starts = killed.messages["started_s"]
    assert starts.between(2.0, 27.0).sum() == 7
    # As long as anybody looks, so long does it go on.
    assert starts.max() > 55.0
    assert starts_and_ends(killed)[1] == 0


# --- the whole worker is killed


@pytest.mark.parametrize(("ack", "lost"), [("early", [1]), ("late", [])])
def test_a_killed_worker_loses_what_it_acknowledged_early(ack: str, lost: list[int]) -> None:
    # "worker group SIGKILL, acks_late=False, VT=4s": lost [1]; acks_late=True: lost [], 1 ran again after 4.3 s.
    killed = measured(
        arrivals=burst(3),
        pipeline={**QUIET, "batch_size": 1},
        broker={"ack": ack, **SHORT},
        handler=lasting(1),
        workers={**ONE, "prefetch": 2},
        faults=[{"kind": "worker_death", "target": "worker-1", "at": "2500ms", "restart_after": "1s"}],
    )
    assert [number for number in (1, 2, 3) if starts_and_ends(killed, number)[1] == 0] == lost
    if ack == "late":
        again = killed.messages[(killed.messages["message"] == 1) & (killed.messages["redelivered"] == 1)]
        assert again["delivered_s"].min() - 2.0 == pytest.approx(4.3, abs=0.7)


def test_with_the_default_cadence_it_comes_back_after_a_hundred_seconds() -> None:
    # "worker group SIGKILL, acks_late, VT=4s, DEFAULT restore cadence": reran after 100.6 s.
    killed = measured(
        horizon="150s",
        broker={"ack": "late", "visibility_timeout": "4s"},
        handler=lasting(2),
        faults=[{"kind": "worker_death", "target": "worker-1", "at": "3s", "restart_after": "1s"}],
    )
    again = killed.messages.loc[killed.messages["redelivered"] == 1, "delivered_s"]
    assert again.min() == pytest.approx(100.6, abs=1.0)


def test_half_of_the_kills_of_a_busy_worker_lose_what_it_was_taking() -> None:
    # "SIGKILL worker at random moment of a 1500-task burst, acks_late, 8 trials": lost in 0 1 0 0 0 1 1 1, 4 in all.
    strikes = {"kind": "pop_then_die", "rate": "0.5/s", "from": "5s", "until": "295s", "restart_after": "100ms"}
    killed = measured(
        horizon="300s",
        arrivals={"kind": "constant", "rate": "20/s", "from": "0s", "until": "300s"},
        pipeline={**QUIET, "batch_size": 1},
        broker={"ack": "late"},
        workers={**ONE, "startup": "0s"},
        handler=lasting(0.2),
        faults=[strikes],
    )
    lost = (killed.messages["fate"] == "lost").sum()
    kills = len(killed.faults)
    assert kills > 100
    assert lost / kills == pytest.approx(4 / 8, abs=4 * (0.25 / kills) ** 0.5)
    assert (killed.faults["detail"] == "the wake-up that it was taking is lost").sum() == lost
    assert BEHAVIOURS["celery-5.7"].pop_loss == 4 / 8


# --- tasks and countdowns longer than the visibility timeout


def test_a_task_longer_than_the_visibility_timeout_is_begun_three_times() -> None:
    # "task 11s > VT 4s, acks_late, no fault": starts at 0, 4.7 and 8.7 s, 3s.
    # A wake-up that finds nothing to do is done at once; so that each run takes as long, it finds other events waiting.
    slow = measured(
        arrivals=[burst(1), burst(2, "2500ms")],
        pipeline={**QUIET, "batch_size": 1},
        broker={"ack": "late", **SHORT},
        handler=lasting(11),
        workers={"count": 3, "concurrency": 1},
        faults=[{"kind": "wakeups_lost", "at": "2400ms", "for": "1s"}],
    )
    starts = (slow.messages["started_s"].dropna() - slow.messages["started_s"].min()).tolist()
    assert starts[:3] == [0.0, pytest.approx(4.7, abs=0.8), pytest.approx(8.7, abs=0.8)]


@pytest.mark.parametrize("ack", ["early", "late"])
def test_a_countdown_longer_than_the_visibility_timeout_runs_as_often_as_it_is_longer(ack: str) -> None:
    # "countdown 14s > VT 4s, 2 workers": 4s/4e, acks early and late alike.
    delayed = measured(
        broker={"ack": ack, **SHORT},
        handler=lasting(0.01),
        workers={"count": 2, "concurrency": 1},
        faults=[{"kind": "wakeups_delayed", "at": "0s", "for": "5s", "countdown": "14s"}],
    )
    assert starts_and_ends(delayed) == (4, 4)
    assert delayed.messages["started_s"].min() == pytest.approx(16.0, abs=0.1)
    assert left(delayed, 59.0) == (0, 0)


@pytest.mark.parametrize(("limit", "queue", "unacked"), [("off", 0, 300), (20, 280, 20)])
def test_a_worker_holds_any_number_of_countdowns_or_its_limit(limit: Any, queue: int, unacked: int) -> None:
    # "300 ETA tasks, concurrency 1, prefetch 1": unacked 300; with worker_eta_task_limit=20: queue 280, unacked 20.
    hoarding = measured(
        arrivals=burst(300),
        pipeline={**QUIET, "batch_size": 1},
        broker={"eta_limit": limit},
        faults=[{"kind": "wakeups_delayed", "at": "0s", "for": "5s", "countdown": "10m"}],
    )
    assert left(hoarding, 30.0) == (queue, unacked)


# --- restarts


@pytest.mark.parametrize(("durable", "queue"), [(False, 0), (True, 100)])
def test_a_restart_loses_the_queue_unless_it_is_on_disk(durable: bool, queue: int) -> None:
    # "redis SIGKILL+restart, 100 queued": appendonly=no: queue 0; appendonly=yes: queue 100.
    restarted = measured(
        arrivals=burst(100),
        pipeline={**QUIET, "batch_size": 1},
        broker={"durable": durable},
        workers={**ONE, "startup": "50s"},
        faults=[{"kind": "broker_restart", "at": "5s", "for": "1s"}],
    )
    assert left(restarted, 4.0) == (100, 0)
    assert left(restarted, 10.0) == (queue, 0)


def across_a_restart(behaves_like: str, ack: str) -> Run:
    """Let Redis be down for 1 s during the first task, and send another when it is back."""
    return measured(
        arrivals=[burst(1), burst(1, "10s")],
        handler=lasting(4),
        broker={"ack": ack, "behaves_like": behaves_like},
        workers={**ONE, "restart_after": "off"},
        faults=[{"kind": "broker_restart", "at": "3s", "for": "1s", "messages": "kept"}],
    )


def test_a_restart_with_a_late_ack_task_in_hand_ends_the_worker() -> None:
    # "acks_late busy, redis down 1s": exit 1, the new task not processed, 1s/1e, queue 1, unacked 1.
    done = across_a_restart("celery-5.7", "late")
    assert starts_and_ends(done, 1) == (1, 1)
    assert left(done, 40.0) == (1, 1)
    assert (done.events["status"].astype(str) == ["PROCESSED", "QUEUED"]).all()


def test_the_older_version_carries_on_and_leaves_the_task_unacknowledged() -> None:
    # Celery 5.5: the new task processed, 1s/1e each, queue 0, unacked 1.
    done = across_a_restart("celery-5.5", "late")
    assert starts_and_ends(done, 1) == starts_and_ends(done, 2) == (1, 1)
    assert left(done, 40.0) == (0, 1)


def test_with_early_acks_the_newer_version_carries_on_too() -> None:
    # "early-ack task running 3s, redis SIGKILL 1s down, AOF": both 1s/1e, queue 0, unacked 0.
    done = across_a_restart("celery-5.7", "early")
    assert starts_and_ends(done, 1) == starts_and_ends(done, 2) == (1, 1)
    assert left(done, 40.0) == (0, 0)


# Measured with Celery 5.7.0, kombu 5.7.0, Redis 7.0.15: an idle worker whose Redis was down for so long dials when it
# loses its connection, 2 s later, 4 s after that, then 6, 8 and so on. One run each; the second is the matrix's "idle
# worker, redis down 3s", which counts its 3.0 s from when Redis was back.
DOWN_S_AND_BACK_S = [(1, 2.0), (3, 6.0), (7, 12.0), (13, 20.0)]


@pytest.mark.parametrize(("down_s", "back_s"), DOWN_S_AND_BACK_S)
def test_an_idle_worker_dials_ever_more_rarely_while_redis_is_down(down_s: int, back_s: float) -> None:
    done = measured(
        broker={"ack": "late", "behaves_like": "celery-5.7"},
        arrivals=burst(1, f"{10_010 + 1000 * down_s}ms"),
        faults=[{"kind": "broker_restart", "at": "10s", "for": f"{down_s}s"}],
    )
    assert done.messages["started_s"].iloc[0] == pytest.approx(10.0 + back_s, abs=0.1)


@pytest.mark.parametrize(("through", "first_after_s"), [("itself", 11.0), ("broker", 16.0)])
def test_ticks_that_go_through_the_broker_wait_until_its_worker_is_back(through: str, first_after_s: float) -> None:
    done = measured(
        broker={"behaves_like": "celery-5.7"},
        beat={"through": through, "retry_every": "500ms"},
        pipeline={**QUIET, "backoff": {"growth": "fixed", "base": "8500ms", "jitter": "none"}},
        handler={**lasting(0.01), "fail_first": 1},
        faults=[{"kind": "broker_restart", "at": "10s", "for": "3s"}],
    )
    retried_s = done.transitions.loc[done.transitions["cause"] == "retry", "at_s"]
    assert retried_s.min() == pytest.approx(first_after_s, abs=0.55)


@pytest.mark.parametrize(("every", "at_s"), [("7s", 16.0), ("12s", 24.0)])
def test_a_tick_that_is_sent_meanwhile_is_done_as_soon_as_its_worker_is_back(every: str, at_s: float) -> None:
    """Redis is back at 13 s, and who does the work at 16 s: a tick at 14 s waits, one at 12 s could not be sent."""
    done = measured(
        broker={"behaves_like": "celery-5.7"},
        beat={"through": "broker", "retry_every": every},
        pipeline={**QUIET, "backoff": {"growth": "fixed", "base": "8s", "jitter": "none"}},
        handler={**lasting(0.01), "fail_first": 1},
        faults=[{"kind": "broker_restart", "at": "10s", "for": "3s"}],
    )
    retried_s = done.transitions.loc[done.transitions["cause"] == "retry", "at_s"]
    assert retried_s.min() == pytest.approx(at_s, abs=0.1)


def test_what_is_published_before_the_subscriber_is_back_reaches_nobody_and_nobody_is_told() -> None:
    # "redis pub/sub across restart": receivers 1 before, 0 during, 1 after; messages 5-9 lost; 0 errors.
    done = measured(
        pipeline={**QUIET, "outbox": False},
        broker={"durable": True},
        arrivals=[burst(1, "9s"), burst(1, "13s"), burst(1, "20s")],
        handler=lasting(0.01),
        faults=[{"kind": "broker_restart", "at": "10s", "for": "2s", "resubscribe_after": "3s"}],
    )
    assert (done.events["status"] == "PROCESSED").all()
    assert done.notifications["event_id"].tolist() == [1, 3]


# --- sending


def time_to_fail(broker: dict[str, Any], fault: dict[str, Any]) -> float:
    """Return after how long a sender is refused."""
    done = measured(broker={"latency": 0, **broker}, faults=[fault], store={"latency": 0}, api={"latency": 0})
    (sent,) = done.wakeups[done.wakeups["task"] == "request"].itertuples()
    assert sent.lost == sent.sent
    return float(sent.t_s) - 2.0


@pytest.mark.parametrize(
    ("broker", "low", "high"),
    [
        # "apply_async with redis down x4, default": 0.74, 0.77, 0.77, 0.73; in another run 0.85.
        ({"behaves_like": "celery-5.7"}, 0.73, 0.85),
        # The same with task_publish_retry=False: 6.14, 6.15, 6.14, 6.15; in another run 6.25.
        ({"publish_gives_up_after": "6.15s"}, 6.14, 6.25),
    ],
)
def test_a_send_to_a_broker_that_is_down_fails_after_the_clients_own_tries(
    broker: dict[str, Any], low: float, high: float
) -> None:
    assert low <= time_to_fail(broker, {"kind": "broker_restart", "at": "1s", "for": "30s"}) <= high


def test_a_frozen_broker_blocks_a_send_for_as_long_as_it_is_frozen() -> None:
    # "apply_async with redis frozen (SIGSTOP), default": still blocked after 30 s.
    done = measured(faults=[{"kind": "broker_frozen", "at": "1s", "for": "40s"}])
    assert done.wakeups.loc[done.wakeups["task"] == "request", "t_s"].iloc[0] == 41.0


def test_a_socket_timeout_ends_the_wait() -> None:
    # The same with socket_timeout=2: OperationalError after 4.27 s.
    frozen = {"kind": "broker_frozen", "at": "1s", "for": "40s", "socket_timeout": "2s"}
    assert time_to_fail({}, frozen) == pytest.approx(4.27, rel=0.1)


def test_the_keys_of_the_section_win_over_what_the_version_does() -> None:
    own = Broker.model_validate({"behaves_like": "celery-5.7", "pop_loss": 0, "on_connection_loss": "deaf"})
    assert own.behaviour == BEHAVIOURS["celery-5.7"]._replace(pop_loss=0.0, on_connection_loss="deaf")
