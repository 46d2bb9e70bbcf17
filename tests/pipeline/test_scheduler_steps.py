"""What the scheduler does on its ticks: requeue what is due, rescue what was left, sweep what nobody looks at."""

from dataclasses import replace

import pytest
from pipeline_ledger import (
    NO_RETRIES,
    SETTINGS,
    assert_balanced,
    attempts,
    causes,
    claim,
    ended,
    finish,
    moves,
    row,
    rows,
    statuses,
    submit,
)

from tem_sim.pipeline import claims, lifecycle
from tem_sim.pipeline.backoff import Backoff, Fixed
from tem_sim.pipeline.ports import ClaimedEvent
from tem_sim.pipeline.tables import attempt


def requeue(store, now, settings=SETTINGS):
    return lifecycle.requeue_due(store, settings, now=now, actor="beat")


def rescue(store, now, settings=SETTINGS):
    return lifecycle.rescue_expired(store, settings, now=now, actor="beat")


def fail_each(store, *failed_at):
    """Fail event n (from 1) at the nth time given; each is due ten seconds later."""
    submit(store, *range(1, len(failed_at) + 1))
    finish(store, [ended(event, "boom", at) for event, at in zip(claim(store, now=0.0), failed_at, strict=True)])


# --- requeue


def test_a_failed_event_is_requeued_when_it_is_due_and_not_a_microsecond_before(store):
    fail_each(store, 2.0)
    assert requeue(store, now=11.999999) == 0
    assert requeue(store, now=12.0) == 1
    now = row(store)
    assert (now["status"], now["queued_at"], now["woken_at"], now["next_retry_at"]) == ("QUEUED", 12.0, 12.0, None)
    assert (now["retry_count"], now["last_error"]) == (1, "boom")
    assert moves(store)[-1] == ("FAILED", "QUEUED", "retry", "beat")


def test_one_tick_requeues_no_more_than_its_limit_the_longest_due_first(store):
    fail_each(store, 5.0, 3.0, 4.0, 2.0)
    two = replace(SETTINGS, requeue_limit=2)
    assert requeue(store, now=100.0, settings=two) == 2
    assert statuses(store) == ["FAILED", "QUEUED", "FAILED", "QUEUED"]
    assert requeue(store, now=100.0, settings=two) == 2


def test_without_a_limit_one_tick_requeues_all_that_is_due(store):
    fail_each(store, 1.0, 2.0, 3.0, 50.0)
    assert requeue(store, now=30.0, settings=replace(SETTINGS, requeue_limit=None)) == 3
    assert statuses(store) == ["QUEUED", "QUEUED", "QUEUED", "FAILED"]


def test_a_second_scheduler_finds_nothing_left_to_requeue(store):
    fail_each(store, 2.0)
    assert (requeue(store, now=12.0), requeue(store, now=12.0)) == (1, 0)
    assert causes(store).count("retry") == 1


# --- rescue


def test_a_lease_is_taken_back_when_it_has_run_out_and_not_before(store):
    submit(store, 1)
    claim(store, now=1.0)
    assert rescue(store, now=60.999999) == (0, 0)
    assert rescue(store, now=61.0) == (1, 0)
    now = row(store)
    assert (now["status"], now["lease_owner"], now["queued_at"], now["woken_at"]) == ("QUEUED", None, 61.0, 61.0)
    assert (now["crash_count"], now["retry_count"], now["attempt_no"]) == (1, 0, 1)
    assert moves(store)[-1] == ("PROCESSING", "QUEUED", "rescue", "beat")


def test_the_lost_attempt_is_on_record_with_its_worker(store):
    submit(store, 1)
    claim(store, worker="ann")
    rescue(store, now=100.0)
    assert attempts(store) == [(1, "ann", "lost")]
    assert rows(store, attempt)[0]["finished_at"] == 100.0


def test_settled_events_of_a_dead_workers_batch_are_left_alone(store):
    submit(store, 1, 2, 3)
    batch = claim(store, now=0.0)
    finish(store, [ended(batch[0]), ended(batch[1], "boom")])
    assert rescue(store, now=60.0) == (1, 0)
    assert statuses(store) == ["PROCESSED", "FAILED", "QUEUED"]
    assert [row["crash_count"] for row in rows(store)] == [0, 0, 1]


def die_with(store, now, *, started=()):
    """Claim all there is, start these suspects, die, and be rescued; return what the rescue did."""
    for event in claim(store, now=now):
        if event.event_id in started:
            claims.mark_started(store, event, now=now + 1)
    return rescue(store, now=now + 60)


def test_an_event_that_spends_its_crash_budget_is_extinct(store):
    submit(store, 1)
    done = [die_with(store, 100.0 * n, started=[1]) for n in range(4)]
    assert done == [(1, 0), (1, 0), (1, 0), (0, 1)]
    now = row(store)
    assert (now["status"], now["crash_count"], now["retry_count"], now["finished_at"]) == ("EXTINCT", 4, 0, 360.0)
    assert causes(store)[-1] == "crashed"
    assert [how for _, _, how in attempts(store)] == ["lost"] * 4
    assert_balanced(store, SETTINGS)


def test_with_the_crash_budget_off_an_event_comes_back_for_ever(store):
    submit(store, 1)
    for_ever = replace(SETTINGS, crash_budget=None)
    for n in range(8):
        claim(store, now=100.0 * n)
        claims.mark_started(store, claim_of(store), now=100.0 * n)
        assert rescue(store, now=100.0 * n + 60, settings=for_ever) == (1, 0)
    assert row(store)["crash_count"] == 8


def claim_of(store):
    """Return a claim good enough to mark event 1 as started."""
    return ClaimedEvent(1, row(store)["attempt_no"], 0, 0, 0, None, 7, "normal", "{}", 0.0)


def test_innocents_in_a_killers_batch_get_one_crash_to_their_name_at_most(store):
    submit(store, 1, 2, 3)
    for n in range(4):
        die_with(store, 100.0 * n, started=[2])
    assert statuses(store) == ["QUEUED", "EXTINCT", "QUEUED"]
    assert [row["crash_count"] for row in rows(store)] == [1, 4, 1]


def test_a_crash_budget_of_none_left_ends_an_event_at_its_first_crash(store):
    submit(store, 1)
    claim(store, now=0.0)
    assert rescue(store, now=60.0, settings=replace(SETTINGS, crash_budget=0)) == (0, 1)


def test_a_start_is_forgotten_with_the_next_claim(store):
    submit(store, 1)
    die_with(store, 0.0)
    (suspect,) = claim(store, now=100.0)
    claims.mark_started(store, suspect, now=101.0)
    assert row(store)["started_at"] == 101.0
    finish(store, [ended(suspect, "boom", at=102.0)], now=102.0)
    requeue(store, now=112.0)
    claim(store, now=113.0)
    assert row(store)["started_at"] is None


def test_a_worker_that_lost_its_lease_can_not_mark_a_start_any_more(store):
    submit(store, 1)
    (zombie,) = claim(store, now=0.0)
    rescue(store, now=60.0)
    before = row(store)
    claims.mark_started(store, zombie, now=61.0)
    assert row(store) == before
    claim(store, worker="bob", now=62.0)
    before = row(store)
    claims.mark_started(store, zombie, now=63.0)
    assert row(store) == before


# --- sweep


def test_a_queued_event_that_nobody_was_woken_for_is_found_once_per_interval(store):
    submit(store, 1, now=0.0)
    found = [lifecycle.sweep_queued(store, now=now, sweep_after_s=60.0) for now in (59.0, 60.0, 61.0, 119.0, 120.0)]
    assert found == [0, 1, 0, 0, 1]


def test_a_sweep_moves_nothing(store):
    submit(store, 1)
    before = row(store)
    lifecycle.sweep_queued(store, now=60.0, sweep_after_s=60.0)
    assert row(store) == before | {"woken_at": 60.0}
    assert causes(store) == ["submit"]


def test_a_sweep_keeps_the_order_of_the_queue(store):
    submit(store, 2, now=0.0)
    submit(store, 1, now=50.0)
    lifecycle.sweep_queued(store, now=60.0, sweep_after_s=60.0)
    assert [event.event_id for event in claim(store, now=61.0)] == [2, 1]


def test_only_queued_events_are_swept(store):
    submit(store, 1, 2, 3, 4)
    batch = claim(store, now=0.0)
    finish(store, [ended(batch[0]), ended(batch[1], "boom")])
    finish(store, [ended(batch[2], "boom")], settings=NO_RETRIES)
    assert lifecycle.sweep_queued(store, now=1000.0, sweep_after_s=1.0) == 0


# --- replay


def test_an_extinct_event_replayed_by_hand_begins_anew(store):
    submit(store, 1)
    finish(store, [ended(claim(store)[0], "boom")], settings=NO_RETRIES)
    assert lifecycle.replay(store, 1, now=50.0, actor="operator")
    now = row(store)
    assert (now["status"], now["retry_count"], now["crash_count"], now["replay_count"]) == ("QUEUED", 0, 0, 1)
    assert (now["finished_at"], now["last_delay_s"], now["queued_at"], now["attempt_no"]) == (None, None, 50.0, 1)
    assert moves(store)[-1] == ("EXTINCT", "QUEUED", "replay", "operator")


def test_a_replayed_event_has_all_its_retries_again(store):
    submit(store, 1)
    for now in (0.0, 100.0, 200.0):
        finish(store, [ended(claim(store, now=now)[0], "boom", at=now)], now=now)
        requeue(store, now=now + 50)
    lifecycle.replay(store, 1, now=300.0, actor="operator")
    finish(store, [ended(claim(store, now=301.0)[0], "boom", at=301.0)], now=301.0)
    assert (row(store)["status"], row(store)["retry_count"]) == ("FAILED", 1)
    assert_balanced(store, SETTINGS)


def test_a_replayed_event_that_killed_its_workers_has_all_its_crashes_again(store):
    submit(store, 1)
    for n in range(4):
        die_with(store, 100.0 * n, started=[1])
    lifecycle.replay(store, 1, now=500.0, actor="operator")
    assert row(store)["crash_count"] == 0
    assert die_with(store, 600.0, started=[1]) == (1, 0)
    assert_balanced(store, SETTINGS)


def test_a_replayed_event_has_all_its_time_again(store):
    hasty = replace(SETTINGS, policy=Backoff(Fixed(10.0), max_retries=None, budget_s=15.0))
    submit(store, 1, now=0.0)
    finish(store, [ended(claim(store, now=6.0)[0], "boom", at=6.0)], now=6.0, settings=hasty)
    assert row(store)["status"] == "EXTINCT"
    lifecycle.replay(store, 1, now=100.0, actor="operator")
    finish(store, [ended(claim(store, now=101.0)[0], "boom", at=101.0)], now=101.0, settings=hasty)
    assert row(store)["status"] == "FAILED"


@pytest.mark.parametrize("outcome", ["queued", "processing", "ok", "error"])
def test_only_extinct_events_can_be_replayed(store, outcome):
    submit(store, 1)
    if outcome != "queued":
        (claimed,) = claim(store)
        if outcome != "processing":
            finish(store, [ended(claimed, "boom" if outcome == "error" else None)])
    before = row(store)
    assert not lifecycle.replay(store, 1, now=50.0, actor="operator")
    assert row(store) == before


def test_an_unknown_event_can_not_be_replayed(store):
    assert not lifecycle.replay(store, 99, now=0.0, actor="operator")
