"""The concurrency limit: so many workers hold events at the same time, and no more; who is done calls the next."""

from dataclasses import replace

import pytest
from fake_ports import Killed, SetClock, Work, pipeline
from pipeline_ledger import SETTINGS, assert_balanced, claim, ended, finish, rows, statuses, submit
from test_real_threads import at_once

from tem_sim.pipeline import lifecycle
from tem_sim.pipeline.tasks import process_events_batch

TWO = replace(SETTINGS, concurrency_limit=2, batch_size=3)


def take(store, worker, now=1.0, settings=TWO):
    return [event.event_id for event in claim(store, worker, now=now, settings=settings)]


def test_a_worker_that_finds_no_place_claims_nothing_and_the_rows_stay_queued(store):
    submit(store, *range(1, 9))
    taken = [take(store, worker) for worker in ("ann", "bob", "cem")]
    assert taken == [[1, 2, 3], [4, 5, 6], []]
    assert statuses(store) == ["PROCESSING"] * 6 + ["QUEUED"] * 2


def test_a_place_is_free_again_when_its_holder_has_settled_all_of_its_batch(store):
    submit(store, *range(1, 9))
    batch = claim(store, "ann", settings=TWO)
    take(store, "bob")
    finish(store, [ended(event) for event in batch[:2]], "ann")
    assert take(store, "cem") == []
    finish(store, [ended(event, "boom") for event in batch[2:]], "ann")
    assert take(store, "cem") == [7, 8]


def test_a_worker_that_holds_events_already_needs_no_second_place(store):
    """A restarted worker bears its dead predecessor's name, and cannot be calling twice."""
    submit(store, *range(1, 9))
    assert (take(store, "ann"), take(store, "bob"), take(store, "ann")) == ([1, 2, 3], [4, 5, 6], [7, 8])


def test_a_lease_that_has_run_out_holds_no_place(store):
    submit(store, *range(1, 9))
    take(store, "ann", now=1.0)
    take(store, "bob", now=2.0)
    assert take(store, "cem", now=60.999999) == []
    assert take(store, "cem", now=61.0) == [7, 8]


def test_who_is_done_sends_a_wake_up_since_those_of_the_refused_are_spent(store):
    submit(store, *range(1, 9))
    pipe = pipeline(store, TWO)
    assert process_events_batch(pipe, worker="ann") == 3
    assert pipe.broker.sent == [1]


def test_who_is_refused_or_finds_nothing_sends_none(store):
    submit(store, *range(1, 7))
    take(store, "ann")
    take(store, "bob")
    pipe = pipeline(store, TWO)
    assert process_events_batch(pipe, worker="cem") == 0
    assert pipe.broker.sent == []


def test_without_a_limit_no_wake_up_is_sent_on_the_way(store):
    submit(store, 1)
    pipe = pipeline(store, SETTINGS)
    process_events_batch(pipe, worker="ann")
    assert pipe.broker.sent == []


def test_a_chain_of_wake_ups_works_the_queue_off_with_one_place(store):
    submit(store, *range(1, 31))
    pipe = pipeline(store, replace(TWO, concurrency_limit=1))
    pipe.broker.sent.append(1)
    batches = 0
    while pipe.broker.sent:
        pipe.broker.sent.pop()
        batches += process_events_batch(pipe, worker=f"ann-{batches}") > 0
    assert (batches, set(statuses(store))) == (10, {"PROCESSED"})


def test_a_worker_that_dies_with_its_place_takes_nothing_with_it(store):
    def die(event):
        raise Killed

    submit(store, *range(1, 7))
    one = replace(TWO, concurrency_limit=1)
    with pytest.raises(Killed):
        process_events_batch(pipeline(store, one, clock=SetClock(1.0), handler=Work(die)), worker="ann")
    pipe = pipeline(store, one, clock=SetClock(62.0))
    assert lifecycle.rescue_expired(store, one, now=62.0, actor="beat") == (3, 0)
    while process_events_batch(pipe, worker="bob"):
        pass
    assert set(statuses(store)) == {"PROCESSED"}
    assert_balanced(store, one)


def test_workers_that_claim_at_once_do_not_squeeze_past_the_limit(shared_store):
    for n in range(6):
        submit(shared_store, *range(100 * n + 1, 100 * n + 41), now=100.0 * n)
        four = at_once(*[lambda w=w, n=n: take(shared_store, w, now=100.0 * n) for w in ("ann", "bob", "cem", "dora")])
        assert sorted(map(len, four)) == [0, 0, 3, 3]
        holders = {row["lease_owner"] for row in rows(shared_store)} - {None}
        assert len(holders) == 2
        lifecycle.rescue_expired(shared_store, TWO, now=100.0 * n + 61, actor="beat")
        while batch := claim(shared_store, "eve", now=100.0 * n + 62):
            finish(shared_store, [ended(event) for event in batch], "eve", now=100.0 * n + 62)
