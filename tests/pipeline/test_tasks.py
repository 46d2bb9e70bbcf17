"""The tasks over fake ports: what they promise broker, handler and user, and what survives the loss of each."""

from dataclasses import replace

import pytest
from fake_ports import Channel, CountingBroker, DiesAt, Killed, Work, pipeline
from pipeline_ledger import (
    SETTINGS,
    assert_balanced,
    attempts,
    claim,
    ended,
    finish,
    moves,
    owed,
    row,
    rows,
    statuses,
    submission,
    submit,
)
from sqlalchemy import text

from tem_sim.pipeline import lifecycle
from tem_sim.pipeline.settings import Isolation
from tem_sim.pipeline.tasks import (
    MAX_ERROR_LENGTH,
    process_events_batch,
    relay_notifications,
    replay_event,
    rescue_lost_events,
    retry_failed_events,
    submit_events,
)


def submit_through(pipe, count):
    return submit_events(pipe, [submission(number) for number in range(1, count + 1)], actor="api")


def refuse(*numbers, error=ValueError):
    """Return what makes a handler refuse these events."""

    def do(event):
        if event.event_id in numbers:
            raise error(f"no {event.event_id}")

    return do


# --- wake-ups


@pytest.mark.parametrize(("events", "wakeups"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_as_many_wake_ups_are_sent_as_batches_are_waiting(store, events, wakeups):
    pipe = pipeline(store, replace(SETTINGS, batch_size=4))
    submit_through(pipe, events)
    assert pipe.broker.sent == [wakeups]


def test_no_wake_up_is_sent_for_what_was_known_already(store):
    pipe = pipeline(store, replace(SETTINGS, batch_size=1))
    submit_through(pipe, 2)
    submit_through(pipe, 2)
    submit_through(pipe, 3)
    assert pipe.broker.sent == [2, 1]


def test_ticks_that_find_nothing_wake_nobody(store):
    pipe = pipeline(store)
    ticks = [
        retry_failed_events(pipe, actor="beat"),
        rescue_lost_events(pipe, actor="beat"),
        process_events_batch(pipe, worker="ann"),
    ]
    assert (ticks, pipe.broker.sent) == ([0, 0, 0], [])


def test_a_replay_wakes_a_worker_and_one_that_is_refused_wakes_nobody(store):
    pipe = pipeline(store, replace(SETTINGS, policy=replace(SETTINGS.policy, max_retries=0)), handler=Work(refuse(1)))
    submit_through(pipe, 1)
    assert not replay_event(pipe, 1, actor="operator")
    process_events_batch(pipe, worker="ann")
    assert statuses(store) == ["EXTINCT"]
    assert replay_event(pipe, 1, actor="operator")
    assert (statuses(store), pipe.broker.sent) == (["QUEUED"], [1, 1])


def test_what_a_wake_up_announces_is_committed_before_it_is_sent(shared_store):
    seen = []

    def look():
        # Another connection sees what is committed, and nothing else.
        with shared_store.engine.connect() as other:
            seen.append(other.execute(text("SELECT count(*) FROM processing_state WHERE status = 'QUEUED'")).scalar())

    pipe = pipeline(shared_store, broker=CountingBroker(look=look), handler=Work(refuse(1)))
    submit_through(pipe, 2)
    process_events_batch(pipe, worker="ann")
    pipe.clock.t = 10.0
    retry_failed_events(pipe, actor="beat")
    claim(shared_store, now=10.0)
    pipe.clock.t = 70.0
    rescue_lost_events(pipe, actor="beat")
    pipe.clock.t = 130.0
    rescue_lost_events(pipe, actor="beat")
    assert seen == [2, 1, 1, 1]


def test_a_broker_that_is_away_loses_nothing_since_the_sweep_asks_the_store(store):
    pipe = pipeline(store, broker=CountingBroker(down=True))
    assert [answer.created for answer in submit_through(pipe, 3)] == [True] * 3
    pipe.broker.down = False
    pipe.clock.t = 60.0
    assert rescue_lost_events(pipe, actor="beat") == 3
    assert pipe.broker.sent == [1]


def test_a_death_between_commit_and_wake_up_loses_nothing_either(store):
    dying = pipeline(store, failpoints=DiesAt("after_commit_before_wake", 1))
    with pytest.raises(Killed):
        submit_through(dying, 3)
    pipe = pipeline(store)
    pipe.clock.t = 60.0
    assert rescue_lost_events(pipe, actor="beat") == 3


def test_rescued_and_swept_events_share_their_wake_ups(store):
    pipe = pipeline(store, replace(SETTINGS, batch_size=2))
    submit(store, 1, 2, 3)
    claim(store, now=0.0, settings=pipe.settings)
    pipe.clock.t = 60.0
    assert rescue_lost_events(pipe, actor="beat") == 3
    assert pipe.broker.sent == [2]


def test_with_rescue_and_sweep_off_the_tick_leaves_everything_where_it_is(store):
    pipe = pipeline(store, replace(SETTINGS, lease_s=None, sweep_after_s=None))
    submit(store, 1, 2)
    claim(store, now=0.0, settings=replace(pipe.settings, batch_size=1))
    pipe.clock.t = 1e6
    assert rescue_lost_events(pipe, actor="beat") == 0
    assert statuses(store) == ["PROCESSING", "QUEUED"]


# --- one event's failure


def test_one_events_failure_touches_no_other(store):
    pipe = pipeline(store, handler=Work(refuse(2)))
    submit(store, 1, 2, 3)
    assert process_events_batch(pipe, worker="ann") == 3
    assert statuses(store) == ["PROCESSED", "FAILED", "PROCESSED"]
    assert row(store, 2)["last_error"] == "ValueError: no 2"


def test_with_batch_isolation_one_failure_fails_all_of_its_batch_however_it_is_settled(store):
    together = replace(SETTINGS, isolation=Isolation.BATCH, settle_every=1)
    submit(store, 1, 2, 3)
    process_events_batch(pipeline(store, together, handler=Work(refuse(2))), worker="ann")
    assert statuses(store) == ["FAILED"] * 3
    assert {row["last_error"] for row in rows(store)} == {"ValueError: no 2"}


def test_with_batch_isolation_a_batch_without_a_failure_is_processed(store):
    submit(store, 1, 2, 3)
    process_events_batch(pipeline(store, replace(SETTINGS, isolation=Isolation.BATCH)), worker="ann")
    assert statuses(store) == ["PROCESSED"] * 3


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("failure", "kept"),
    [
        (ValueError("a\0b"), "ValueError: a\N{REPLACEMENT CHARACTER}b"),
        (ValueError("a\udc80b"), "ValueError: a?b"),
        (Mute(), "Mute: (its message cannot be read)"),
        (ValueError("x" * 10_000), ("ValueError: " + "x" * 10_000)[:MAX_ERROR_LENGTH]),
        (ValueError(), "ValueError: "),
    ],
    ids=["nul", "surrogate", "mute", "long", "empty"],
)
def test_an_error_whose_text_no_store_would_take_still_fails_its_own_event_only(store, failure, kept):
    def do(event):
        if event.event_id == 2:
            raise failure

    submit(store, 1, 2, 3)
    process_events_batch(pipeline(store, handler=Work(do)), worker="ann")
    assert statuses(store) == ["PROCESSED", "FAILED", "PROCESSED"]
    assert row(store, 2)["last_error"] == kept


# --- settling on the way


def test_outcomes_are_settled_in_portions(store):
    settled_before = []

    def do(event):
        settled_before.append(statuses(store).count("PROCESSED"))

    submit(store, *range(1, 6))
    pipe = pipeline(store, replace(SETTINGS, settle_every=2), handler=Work(do))
    process_events_batch(pipe, worker="ann")
    assert settled_before == [0, 0, 2, 2, 4]


def test_suspects_are_handled_last_and_settled_alone(store):
    submit(store, 1, 2, 3, 4)
    batch = {event.event_id: event for event in claim(store, now=0.0)}
    finish(store, [ended(batch[n], "boom") for n in (3, 4)])
    lifecycle.rescue_expired(store, SETTINGS, now=60.0, actor="beat")
    lifecycle.requeue_due(store, SETTINGS, now=60.0, actor="beat")
    seen = []

    def do(event):
        started = row(store, event.event_id)["started_at"]
        seen.append((event.event_id, started, statuses(store).count("PROCESSED")))

    pipe = pipeline(store, handler=Work(do))
    pipe.clock.t = 61.0
    process_events_batch(pipe, worker="bob")
    assert seen == [(3, None, 0), (4, None, 0), (1, 61.0, 2), (2, 61.0, 3)]


def kill_on(*numbers):
    return refuse(*numbers, error=Killed)


def test_an_event_that_kills_its_workers_ends_extinct_and_the_others_processed(store):
    submit(store, *range(1, 6))
    pipe = pipeline(store, handler=Work(kill_on(3)))
    for life in range(8):
        try:
            process_events_batch(pipe, worker=f"ann-{life}")
        except Killed:
            pipe.clock.t += 60
        rescue_lost_events(pipe, actor="beat")
    assert statuses(store) == ["PROCESSED", "PROCESSED", "EXTINCT", "PROCESSED", "PROCESSED"]
    assert [row["crash_count"] for row in rows(store)] == [1, 1, 4, 1, 1]
    assert_balanced(store, pipe.settings)


def test_two_killers_in_one_batch_are_both_found_and_cost_the_innocent_no_more(store):
    submit(store, *range(1, 6))
    pipe = pipeline(store, handler=Work(kill_on(2, 4)))
    for life in range(12):
        try:
            process_events_batch(pipe, worker=f"ann-{life}")
        except Killed:
            pipe.clock.t += 60
        rescue_lost_events(pipe, actor="beat")
    assert statuses(store) == ["PROCESSED", "EXTINCT", "PROCESSED", "EXTINCT", "PROCESSED"]
    assert [row["crash_count"] for row in rows(store)] == [1, 4, 1, 4, 1]


# --- telling the user


def test_with_the_outbox_off_the_worker_publishes_at_once_and_nobody_remembers(store):
    pipe = pipeline(store, replace(SETTINGS, outbox=False), handler=Work(refuse(2)))
    submit(store, 1, 2, 3)
    process_events_batch(pipe, worker="ann")
    assert [(note.event_id, note.dedupe_key) for note in pipe.publisher.said] == [(1, None), (3, None)]
    assert (owed(store), relay_notifications(pipe)) == ([], 0)


def test_with_the_outbox_off_a_lost_publish_is_lost_for_good_but_the_batch_goes_on(store):
    settings = replace(SETTINGS, outbox=False, settle_every=1)
    pipe = pipeline(store, settings, publisher=Channel(down=True))
    submit(store, 1, 2)
    assert process_events_batch(pipe, worker="ann") == 2
    assert (statuses(store), pipe.publisher.said) == (["PROCESSED"] * 2, [])


def test_with_the_outbox_on_the_worker_publishes_nothing_itself(store):
    pipe = pipeline(store)
    submit(store, 1)
    process_events_batch(pipe, worker="ann")
    assert (pipe.publisher.said, owed(store)) == ([], [1])


def test_a_relay_publishes_no_more_than_its_limit(store):
    pipe = pipeline(store, replace(SETTINGS, relay_limit=2))
    submit(store, 1, 2, 3)
    process_events_batch(pipe, worker="ann")
    assert [relay_notifications(pipe) for _ in range(3)] == [2, 1, 0]


# --- the whole way


def test_a_failed_event_goes_through_the_scheduler_back_to_a_worker_and_ends_processed(store):
    failed = []

    def do(event):
        if not failed:
            failed.append(event.event_id)
            raise ValueError("once")

    pipe = pipeline(store, handler=Work(do))
    submit_through(pipe, 1)
    process_events_batch(pipe, worker="ann")
    pipe.clock.t = 10.0
    assert retry_failed_events(pipe, actor="beat") == 1
    process_events_batch(pipe, worker="bob")
    assert [(move.after, move.actor) for move in moves(store)] == [
        ("QUEUED", "api"),
        ("PROCESSING", "ann"),
        ("FAILED", "ann"),
        ("QUEUED", "beat"),
        ("PROCESSING", "bob"),
        ("PROCESSED", "bob"),
    ]
    assert attempts(store) == [(1, "ann", "error"), (2, "bob", "ok")]
    assert pipe.broker.sent == [1, 1]
