"""The deadline: an event that is too old is not handed to its handler any more, and ends EXTINCT for that reason."""

from dataclasses import replace

from fake_ports import CountingBroker, SetClock, Work, pipeline
from pipeline_ledger import (
    SETTINGS,
    assert_balanced,
    attempts,
    claim,
    ended,
    finish,
    moves,
    row,
    rows,
    statuses,
    submit,
)

from tem_sim.pipeline import lifecycle, unhandled
from tem_sim.pipeline.tables import attempt
from tem_sim.pipeline.tasks import process_events_batch, retry_failed_events

HASTY = replace(SETTINGS, deadline_s=30.0)


def working(store, at, do=lambda event: None, settings=HASTY):
    return pipeline(store, settings, clock=SetClock(at), handler=Work(do))


def test_an_event_is_handed_over_up_to_its_deadline_and_not_from_it_on(store):
    submit(store, 1, now=0.0)
    submit(store, 2, now=0.000001)
    pipe = working(store, at=30.0)
    assert process_events_batch(pipe, worker="ann") == 2
    assert (pipe.handler.seen, statuses(store)) == ([2], ["EXTINCT", "PROCESSED"])
    assert moves(store)[-1] == ("PROCESSING", "EXTINCT", "expired", "ann")
    assert attempts(store) == [(1, "ann", "expired")]
    assert_balanced(store, HASTY)


def test_what_expired_counts_no_failure_and_says_why_it_ended(store):
    submit(store, 1, now=0.0)
    process_events_batch(working(store, at=31.0), worker="ann")
    now = row(store)
    assert (now["retry_count"], now["crash_count"], now["finished_at"], now["lease_owner"]) == (0, 0, 31.0, None)
    assert now["last_error"] == "its deadline passed before its handler was called"
    assert [(r["started_at"], r["finished_at"]) for r in rows(store, attempt)] == [(None, 31.0)]


def test_an_event_that_grows_too_old_while_it_waits_in_its_batch_is_not_handed_over_either(store):
    submit(store, 1, 2, 3, now=0.0)
    pipe = working(store, at=10.0)

    def takes_a_while(event):
        pipe.clock.t += 12.0

    pipe.handler.do = takes_a_while
    process_events_batch(pipe, worker="ann")
    assert (pipe.handler.seen, statuses(store)) == ([1, 2], ["PROCESSED", "PROCESSED", "EXTINCT"])
    assert_balanced(store, HASTY)


def test_what_was_done_before_is_settled_all_the_same(store):
    submit(store, 2, now=0.0)
    submit(store, 1, now=25.0)
    submit(store, 3, now=25.0)

    def refuse_the_third(event):
        if event.event_id == 3:
            raise ValueError("no")

    process_events_batch(working(store, at=31.0, do=refuse_the_third), worker="ann")
    assert statuses(store) == ["PROCESSED", "EXTINCT", "FAILED"]
    assert_balanced(store, HASTY)


def test_a_retry_that_falls_due_too_late_is_requeued_and_then_expires_with_the_failures_it_had(store):
    submit(store, 1, now=0.0)
    finish(store, [ended(claim(store, now=25.0)[0], "boom", at=25.0)], now=25.0, settings=HASTY)
    pipe = working(store, at=35.0)
    assert retry_failed_events(pipe, actor="beat") == 1
    process_events_batch(pipe, worker="bob")
    assert (pipe.handler.seen, row(store)["status"], row(store)["retry_count"]) == ([], "EXTINCT", 1)
    assert_balanced(store, HASTY)


def test_a_suspect_that_is_too_old_is_not_handed_over_either(store):
    submit(store, 1, now=0.0)
    claim(store, now=0.0)
    lifecycle.rescue_expired(store, replace(HASTY, lease_s=10.0), now=61.0, actor="beat")
    pipe = working(store, at=62.0)
    process_events_batch(pipe, worker="bob")
    assert (pipe.handler.seen, statuses(store)) == ([], ["EXTINCT"])
    assert attempts(store) == [(1, "ann", "lost"), (2, "bob", "expired")]
    assert_balanced(store, HASTY)


def test_a_replayed_event_has_all_its_time_again(store):
    submit(store, 1, now=0.0)
    process_events_batch(working(store, at=40.0), worker="ann")
    lifecycle.replay(store, 1, now=100.0, actor="operator")
    pipe = working(store, at=129.0)
    process_events_batch(pipe, worker="ann")
    assert (pipe.handler.seen, statuses(store)) == ([1], ["PROCESSED"])
    assert_balanced(store, HASTY)


def test_a_worker_that_lost_its_lease_expires_nothing(store):
    submit(store, 1, now=0.0)
    (zombie,) = claim(store, now=0.0)
    lifecycle.rescue_expired(store, HASTY, now=60.0, actor="beat")
    claim(store, worker="bob", now=61.0)
    before = rows(store), attempts(store)
    assert unhandled.expire(store, [zombie], now=62.0, worker="ann") == 0
    assert (rows(store), attempts(store)) == before


def test_without_a_deadline_no_event_is_ever_too_old(store):
    submit(store, 1, now=0.0)
    pipe = pipeline(store, SETTINGS, clock=SetClock(1e9), broker=CountingBroker())
    process_events_batch(pipe, worker="ann")
    assert statuses(store) == ["PROCESSED"]
