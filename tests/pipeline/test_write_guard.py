"""The guard on the finishing write: what each one stops, and what really happens under those that don't.

Ann is the worker whose lease ran out while she was paused; Bob has claimed the event since.
"""

from dataclasses import replace

import pytest
from pipeline_ledger import (
    SETTINGS,
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
from sqlalchemy import update

from tem_sim.pipeline import lifecycle
from tem_sim.pipeline.settings import WriteGuard
from tem_sim.pipeline.tables import processing_state

GUARDED = [WriteGuard.VERSION, WriteGuard.FENCED]
UNGUARDED = [guard for guard in WriteGuard if guard not in GUARDED]
SOUND = [guard for guard in WriteGuard if guard is not WriteGuard.STALE]


def under(guard, **changes):
    return replace(SETTINGS, write_guard=guard, **changes)


def of_each(guards):
    return pytest.mark.parametrize("guard", guards, ids=lambda guard: guard.value)


def counts_of_failures(store, settings, rounds=6):
    """Fail event 1 as often as it can be claimed; return (status, retry_count) after each failure."""
    submit(store, 1)
    seen, now = [], 0.0
    for _ in range(rounds):
        for event in claim(store, now=now):
            finish(store, [ended(event, "boom", at=now)], now=now, settings=settings)
            seen.append((row(store)["status"], row(store)["retry_count"]))
        now += 100.0
        lifecycle.requeue_due(store, settings, now=now, actor="beat")
    return seen


@of_each(SOUND)
def test_the_count_of_failures_grows_until_the_event_is_extinct(store, guard):
    assert counts_of_failures(store, under(guard)) == [("FAILED", 1), ("FAILED", 2), ("EXTINCT", 3)]
    assert_balanced(store, under(guard))


def test_under_stale_the_count_never_grows_and_the_event_is_never_given_up(store):
    assert counts_of_failures(store, under(WriteGuard.STALE)) == [("FAILED", 0)] * 6
    assert len(attempts(store)) == 6


def ann_pauses_and_bob_takes_over(store):
    submit(store, 1)
    (anns,) = claim(store, "ann", now=0.0)
    lifecycle.rescue_expired(store, SETTINGS, now=60.0, actor="beat")
    (bobs,) = claim(store, "bob", now=61.0)
    return anns, bobs


@of_each(GUARDED)
@pytest.mark.parametrize("error", [None, "boom"], ids=["ok", "error"])
def test_a_guarded_zombie_changes_nothing_but_its_own_record(store, guard, error):
    anns, bobs = ann_pauses_and_bob_takes_over(store)
    before, log = row(store), moves(store)
    settled = finish(store, [ended(anns, error, at=62.0)], "ann", now=62.0, settings=under(guard))
    assert (settled.superseded, settled.notifications) == (1, [])
    assert (row(store), moves(store), owed(store)) == (before, log, [])
    assert attempts(store) == [(1, "ann", "lost"), (1, "ann", "superseded")]
    assert finish(store, [ended(bobs, at=63.0)], "bob", now=63.0, settings=under(guard)).superseded == 0
    assert_balanced(store, under(guard))


@of_each(GUARDED)
def test_a_guarded_zombie_is_refused_also_while_its_event_waits_to_be_claimed_again(store, guard):
    submit(store, 1)
    (anns,) = claim(store, now=0.0)
    lifecycle.rescue_expired(store, SETTINGS, now=60.0, actor="beat")
    assert finish(store, [ended(anns, at=61.0)], now=61.0, settings=under(guard)).superseded == 1
    assert statuses(store) == ["QUEUED"]


def test_a_token_is_good_for_its_own_worker_only(store):
    submit(store, 1)
    (anns,) = claim(store, "ann")
    assert finish(store, [ended(anns)], "bob").superseded == 1
    assert statuses(store) == ["PROCESSING"]


@of_each(GUARDED)
def test_a_claim_that_was_lost_is_refused_also_where_the_same_worker_has_claimed_the_event_again(store, guard):
    submit(store, 1)
    (old,) = claim(store, "ann", now=0.0)
    lifecycle.rescue_expired(store, SETTINGS, now=60.0, actor="beat")
    claim(store, "ann", now=61.0)
    assert finish(store, [ended(old, at=62.0)], "ann", now=62.0, settings=under(guard)).superseded == 1
    assert statuses(store) == ["PROCESSING"]


@of_each(UNGUARDED)
def test_an_unguarded_zombies_failure_takes_the_row_from_the_worker_that_owns_it(store, guard):
    anns, bobs = ann_pauses_and_bob_takes_over(store)
    settled = finish(store, [ended(anns, "boom", at=62.0)], "ann", now=62.0, settings=under(guard))
    assert settled.superseded == 0
    # Bob still works on it: the row says FAILED, its lease is gone, and the log says that Ann did it.
    assert (row(store)["status"], row(store)["lease_owner"]) == ("FAILED", None)
    assert moves(store)[-1] == ("PROCESSING", "FAILED", "error", "ann")
    # And Bob's success, when it comes, is refused by the store as FAILED → PROCESSED: his work is thrown away.
    assert finish(store, [ended(bobs, at=63.0)], "bob", now=63.0, settings=under(guard)).superseded == 1
    assert (statuses(store), owed(store)) == (["FAILED"], [])


@of_each(UNGUARDED)
def test_an_unguarded_zombies_success_finishes_the_row_under_the_worker_that_owns_it(store, guard):
    anns, bobs = ann_pauses_and_bob_takes_over(store)
    assert finish(store, [ended(anns, at=62.0)], "ann", now=62.0, settings=under(guard)).superseded == 0
    assert (statuses(store), moves(store)[-1].actor) == (["PROCESSED"], "ann")
    # Only the outbox's key keeps the user from being owed two notifications.
    assert finish(store, [ended(bobs, at=63.0)], "bob", now=63.0, settings=under(guard)).superseded == 1
    assert owed(store) == [1]


@of_each(UNGUARDED)
def test_unguarded_and_without_the_outbox_the_user_is_told_twice(store, guard):
    settings = under(guard, outbox=False)
    anns, bobs = ann_pauses_and_bob_takes_over(store)
    told = finish(store, [ended(anns, at=62.0)], "ann", now=62.0, settings=settings).notifications
    told += finish(store, [ended(bobs, at=63.0)], "bob", now=63.0, settings=settings).notifications
    assert [note.event_id for note in told] == [1, 1]
    # PROCESSED over PROCESSED is no edge, so the log does not even show it.
    assert causes(store).count("ok") == 1


@of_each([WriteGuard.STALE, WriteGuard.REFRESH])
def test_the_historic_guards_count_a_zombies_failure_on_a_row_that_is_finished(store, guard):
    anns, bobs = ann_pauses_and_bob_takes_over(store)
    finish(store, [ended(bobs, at=62.0)], "bob", now=62.0, settings=under(guard))
    assert finish(store, [ended(anns, "boom", at=63.0)], "ann", now=63.0, settings=under(guard)).superseded == 1
    now = row(store)
    assert (now["status"], now["retry_count"], now["last_error"]) == ("PROCESSED", 1, "boom")


def test_under_a_row_lock_a_zombies_refused_failure_is_not_counted(store):
    anns, bobs = ann_pauses_and_bob_takes_over(store)
    settings = under(WriteGuard.ROW_LOCK)
    finish(store, [ended(bobs, at=62.0)], "bob", now=62.0, settings=settings)
    assert finish(store, [ended(anns, "boom", at=63.0)], "ann", now=63.0, settings=settings).superseded == 1
    assert (row(store)["retry_count"], row(store)["last_error"]) == (0, None)


def put_back(store, event_id):
    """Move a PROCESSING event back to QUEUED by hand, along the legal edge."""
    values = {"status": "QUEUED", "lease_owner": None, "lease_expires_at": None, "cause": "rescue"}
    changed = update(processing_state).where(processing_state.c.event_id == event_id)
    with store.begin() as connection:
        connection.execute(changed.values(version=processing_state.c.version + 1, **values))


@of_each(WriteGuard)
@pytest.mark.parametrize("error", [None, "boom"], ids=["ok", "error"])
def test_one_superseded_event_of_a_batch_touches_no_other(store, guard, error):
    submit(store, 1, 2, 3, 4)
    first, second, third, fourth = claim(store)
    put_back(store, 2)
    # Under the unguarded ones it is the store that refuses: QUEUED → PROCESSED and QUEUED → FAILED are no edges.
    outcomes = [ended(first), ended(second, error), ended(third, "bang"), ended(fourth)]
    settled = finish(store, outcomes, settings=under(guard))
    assert statuses(store) == ["PROCESSED", "QUEUED", "FAILED", "PROCESSED"]
    assert (settled.superseded, [note.event_id for note in settled.notifications]) == (1, [1, 4])
    assert owed(store) == [1, 4]
    assert [attempts(store, n) for n in (1, 2, 3, 4)] == [
        [(1, "ann", "ok")],
        [(1, "ann", "superseded")],
        [(1, "ann", "error")],
        [(1, "ann", "ok")],
    ]
    # Each failure is counted once, although the batch was tried twice.
    assert rows(store)[2]["retry_count"] == (0 if guard is WriteGuard.STALE else 1)


@of_each(WriteGuard)
def test_a_batch_that_is_lost_as_a_whole_changes_nothing(store, guard):
    submit(store, *range(1, 6))
    batch = claim(store, now=0.0)
    lifecycle.rescue_expired(store, SETTINGS, now=60.0, actor="beat")
    settled = finish(store, [ended(event) for event in batch], now=61.0, settings=under(guard))
    assert (settled.superseded, statuses(store), owed(store)) == (5, ["QUEUED"] * 5, [])
