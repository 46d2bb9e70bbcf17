"""Load shedding: a refusal is an answer, and touches nothing that was taken in before."""

import math
from dataclasses import replace

import pytest
from fake_ports import Work, pipeline
from pipeline_ledger import SETTINGS, assert_balanced, claim, ended, finish, rows, statuses, submission, submit

from tem_sim.pipeline import lifecycle
from tem_sim.pipeline.shedding import Overloaded, Shedding
from tem_sim.pipeline.tables import event_table
from tem_sim.pipeline.tasks import process_events_batch, submit_events

TWO = replace(SETTINGS, shedding=Shedding(above=2, retry_after_s=7.0))


def send(pipe, *numbers):
    return [answer.created for answer in submit_events(pipe, [submission(n) for n in numbers], actor="api")]


def test_submissions_are_refused_while_more_events_wait_than_the_bound(store):
    pipe = pipeline(store, TWO)
    assert send(pipe, 1, 2) == [True, True]
    assert send(pipe, 3) == [True]
    with pytest.raises(Overloaded, match="try again after 7 s") as refusal:
        send(pipe, 4)
    assert refusal.value.retry_after_s == 7.0
    assert (statuses(store), pipe.broker.sent) == (["QUEUED"] * 3, [1, 1])


def test_a_request_is_taken_in_whole_or_not_at_all(store):
    pipe = pipeline(store, TWO)
    assert send(pipe, *range(1, 11)) == [True] * 10
    with pytest.raises(Overloaded):
        send(pipe, 11, 12)
    with store.begin() as connection:
        assert len(connection.execute(event_table.select()).all()) == 10


def test_events_that_are_handled_or_wait_for_a_retry_count_as_well(store):
    submit(store, 1, 2, 3)
    batch = claim(store)
    assert lifecycle.open_events(store, 3) == 3
    finish(store, [ended(batch[0], "boom")])
    assert statuses(store) == ["FAILED", "PROCESSING", "PROCESSING"]
    assert lifecycle.open_events(store, 3) == 3
    finish(store, [ended(batch[1])])
    assert lifecycle.open_events(store, 3) == 2


def test_what_has_ended_makes_room_again(store):
    pipe = pipeline(store, TWO, handler=Work())
    send(pipe, 1, 2, 3)
    process_events_batch(pipe, worker="ann")
    assert send(pipe, 4) == [True]
    assert_balanced(store, TWO)


def test_the_count_stops_at_what_is_asked_for_in_each_state(store):
    submit(store, *range(1, 31))
    claim(store, settings=replace(SETTINGS, batch_size=10))
    assert lifecycle.open_events(store, 5) == 10
    assert lifecycle.open_events(store, 100) == 30


def test_a_repeat_of_what_was_taken_in_may_be_refused_and_loses_nothing(store):
    pipe = pipeline(store, TWO)
    send(pipe, 1, 2, 3)
    before = rows(store)
    with pytest.raises(Overloaded):
        send(pipe, 1)
    assert rows(store) == before


@pytest.mark.parametrize(
    "values", [{"above": -1}, {"above": 1.5}, {"retry_after_s": -1.0}, {"retry_after_s": math.nan}]
)
def test_bounds_that_make_no_sense_are_refused(values):
    with pytest.raises(ValueError, match=rf"shedding\.{next(iter(values))}: "):
        Shedding(**values)
