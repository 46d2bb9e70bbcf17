"""The broker's scenarios show what their comments say, and each "Try:" line does what it names."""

from __future__ import annotations

import pytest
from shipped import broken_checks, shipped

from tem_sim.frames import Run

pytestmark = pytest.mark.xdist_group("shipped scenarios")

NO_SWEEP = "pipeline.sweep_after=off", "horizon=200s"


def times_begun(run: Run) -> dict[int, int]:
    """Return how many messages were begun on so many times, by that number."""
    begun = run.messages.groupby("message")["started_s"].count()
    return {int(times): int(count) for times, count in begun.value_counts().items()}


def longest_gap_s(run: Run) -> float:
    """Return the longest time in which no wake-up was handed out, while events were arriving."""
    handed_out = run.messages["delivered_s"]
    return float(handed_out[handed_out < 60.0].diff().max())


def test_celery_workers_exit_and_kills_lose_wakeups_and_no_event_is_lost() -> None:
    run = shipped("broker_as_celery")
    assert (run.events["status"] == "PROCESSED").all()
    fates = run.messages["fate"].value_counts()
    assert fates["lost"] >= 1
    assert fates["open"] >= 6
    # Three seconds down, tasks to end, five until they are started again, one to boot.
    assert longest_gap_s(run) > 6.0


def test_with_an_ideal_broker_they_are_back_as_soon_as_it_is() -> None:
    assert longest_gap_s(shipped("broker_as_celery", "broker.behaves_like=ideal")) < 3.5


def test_what_was_not_on_the_disk_comes_again_or_never() -> None:
    run = shipped("broker_undone")
    repeated = sum(count for times, count in times_begun(run).items() if times > 1)
    forgotten = run.wakeups["sent"].sum() - run.messages["message"].nunique()
    assert repeated > 20
    assert forgotten > 20
    assert (run.attempts["outcome"] == "ok").sum() == len(run.events)
    assert (run.notifications["shown"] == 1).all()


def test_without_the_sweep_events_wait_for_wakeups_that_were_forgotten() -> None:
    assert "liveness" in broken_checks("broker_undone", *NO_SWEEP)


def test_a_countdown_runs_as_often_as_it_is_longer_than_the_timeout() -> None:
    run = shipped("broker_countdown")
    assert times_begun(run) == {4: len(run.events)}
    assert (run.attempts["outcome"] == "ok").sum() == len(run.events)
    assert times_begun(shipped("broker_countdown", "broker.visibility_timeout=1m")) == {1: len(run.events)}


def test_deliveries_repeat_and_events_do_not() -> None:
    run = shipped("broker_repeats")
    assert times_begun(run)[5] > 100
    assert run.faults["landed"].gt(0).all()
    assert run.attempts["outcome"].astype(str).isin(["ok", "error"]).all()
    poison = run.messages.groupby("message")["fate"].apply(lambda fates: (fates == "returned").sum()).max()
    assert poison > 3
    spared = shipped("broker_repeats", "broker.reject_on_worker_lost=false")
    assert (spared.messages["fate"] == "lost").sum() == 1
    assert (spared.messages["fate"] == "returned").sum() == 0
