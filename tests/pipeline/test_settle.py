"""Settling: how an attempt's end is written, and what a failure leads to."""

from dataclasses import replace

import pytest
from pipeline_ledger import (
    NO_RETRIES,
    SETTINGS,
    Luck,
    assert_balanced,
    attempts,
    causes,
    claim,
    ended,
    finish,
    moves,
    owed,
    row,
    rows,
    statuses,
    submit,
)

from tem_sim.pipeline import lifecycle
from tem_sim.pipeline.backoff import Backoff, Decorrelated, Exponential, Fixed
from tem_sim.pipeline.ports import Notification
from tem_sim.pipeline.tables import attempt


def fail_until_extinct(store, settings, step_s=1000.0):
    """Fail event 1 whenever it can be claimed; return (retry_count, delay booked) after each failure."""
    booked, now = [], 0.0
    while batch := claim(store, now=now, settings=settings):
        finish(store, [ended(batch[0], "boom", at=now)], now=now, settings=settings)
        after = row(store)
        booked.append((after["retry_count"], after["next_retry_at"] and after["next_retry_at"] - now))
        now += step_s
        lifecycle.requeue_due(store, settings, now=now, actor="beat")
    return booked


def test_an_event_handled_well_is_processed_and_its_user_is_owed_a_notification(store):
    submit(store, 1)
    settled = finish(store, [ended(claim(store)[0], at=2.5)], now=3.0)
    assert (settled.notifications, settled.superseded) == ([Notification(1, 7, "event-1-processed", 2.5)], 0)
    now = row(store)
    assert (now["status"], now["finished_at"], now["changed_at"], now["retry_count"]) == ("PROCESSED", 2.5, 3.0, 0)
    assert (now["lease_owner"], now["lease_expires_at"], now["last_error"]) == (None, None, None)
    assert owed(store) == [1]
    assert attempts(store) == [(1, "ann", "ok")]


def test_a_failed_event_waits_for_its_next_retry(store):
    submit(store, 1)
    settled = finish(store, [ended(claim(store)[0], "boom", at=2.5)], now=3.0)
    assert settled.notifications == []
    now = row(store)
    assert (now["status"], now["retry_count"], now["last_error"]) == ("FAILED", 1, "boom")
    assert (now["next_retry_at"], now["last_delay_s"], now["finished_at"]) == (12.5, 10.0, None)
    assert moves(store)[-1] == ("PROCESSING", "FAILED", "error", "ann")
    assert owed(store) == []


def test_the_attempt_log_keeps_times_error_and_delay(store):
    submit(store, 1)
    outcome = ended(claim(store)[0], "boom", at=2.5)._replace(started_at=2.25)
    finish(store, [outcome])
    (logged,) = rows(store, attempt)
    assert {name: logged[name] for name in ("started_at", "finished_at", "outcome", "error", "delay_s")} == {
        "started_at": 2.25,
        "finished_at": 2.5,
        "outcome": "error",
        "error": "boom",
        "delay_s": 10.0,
    }


def test_failures_beyond_the_maximum_make_the_event_extinct(store):
    submit(store, 1)
    assert fail_until_extinct(store, SETTINGS) == [(1, 10.0), (2, 10.0), (3, None)]
    assert (row(store)["status"], causes(store)[-1]) == ("EXTINCT", "exhausted")
    assert [how for _, _, how in attempts(store)] == ["error"] * 3
    assert_balanced(store, SETTINGS)


def test_without_retries_the_first_failure_is_the_end(store):
    submit(store, 1)
    assert fail_until_extinct(store, NO_RETRIES) == [(1, None)]


def test_the_budget_of_total_time_ends_an_event_before_its_retries_are_spent(store):
    settings = replace(SETTINGS, policy=Backoff(Fixed(10.0), max_retries=None, budget_s=45.0))
    submit(store, 1)
    # Failures at 0, 20 and 40 s: the retry after the last would come at 50 s.
    assert fail_until_extinct(store, settings, step_s=20.0) == [(1, 10.0), (2, 10.0), (3, None)]
    assert row(store)["status"] == "EXTINCT"


def test_delays_grow_by_the_policy(store):
    settings = replace(SETTINGS, policy=Backoff(Exponential(10.0), max_retries=3))
    submit(store, 1)
    assert [delay for _, delay in fail_until_extinct(store, settings)] == [10.0, 20.0, 40.0, None]


def test_a_delay_that_grows_from_the_one_before_is_given_the_events_own(store):
    policy = Backoff(Exponential(1.0), Decorrelated(), cap_s=1e6, max_retries=3)
    settings = replace(SETTINGS, policy=policy)
    submit(store, 1)
    booked = [delay for _, delay in fail_until_extinct(store, settings)]
    expected, previous = [], None
    for retry in (1, 2, 3):
        previous = round(policy.delay(retry, Luck().stream(), previous), 6)
        expected.append(previous)
    assert booked == pytest.approx([*expected, None])


def test_a_crash_on_the_way_costs_no_retry(store):
    submit(store, 1)
    claim(store, now=0.0)
    lifecycle.rescue_expired(store, SETTINGS, now=60.0, actor="beat")
    finish(store, [ended(claim(store, now=61.0)[0], "boom")], now=62.0)
    assert (row(store)["retry_count"], row(store)["crash_count"]) == (1, 1)
    assert_balanced(store, SETTINGS)


def test_one_batch_may_end_in_three_ways(store):
    submit(store, 1, 2, 3, 4)
    settings = replace(SETTINGS, policy=Backoff(Fixed(10.0), max_retries=1))
    finish(store, [ended(claim(store)[0], "boom")], settings=settings)
    # Events 2 to 4 were claimed with event 1, and come back with their lease.
    lifecycle.rescue_expired(store, settings, now=61.0, actor="beat")
    lifecycle.requeue_due(store, settings, now=61.0, actor="beat")
    batch = {event.event_id: event for event in claim(store, now=62.0)}
    outcomes = [ended(batch[1], "boom"), ended(batch[2]), ended(batch[3], "bang"), ended(batch[4])]
    settled = finish(store, outcomes, now=63.0, settings=settings)
    assert statuses(store) == ["EXTINCT", "PROCESSED", "FAILED", "PROCESSED"]
    assert [note.event_id for note in settled.notifications] == owed(store) == [2, 4]


def test_with_the_outbox_off_notifications_are_handed_back_and_nothing_is_kept(store):
    direct = replace(SETTINGS, outbox=False)
    submit(store, 1)
    settled = finish(store, [ended(claim(store)[0])], settings=direct)
    assert settled.notifications == [Notification(1, 7, None, 2.0)]
    assert owed(store) == []


def test_settling_nothing_is_no_error(store):
    assert finish(store, []).notifications == []


def test_times_in_the_store_are_exact_to_the_microsecond(store):
    submit(store, 1, now=1_700_000_000.123457)
    (event,) = claim(store, now=1_700_000_000.2)
    finish(store, [ended(event, "boom", at=1_700_000_001.000001)], now=1_700_000_001.000002)
    now = row(store)
    assert event.created_at == now["queued_at"] == 1_700_000_000.123457
    assert (now["next_retry_at"], now["changed_at"]) == (1_700_000_011.000001, 1_700_000_001.000002)
