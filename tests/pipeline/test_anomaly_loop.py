"""Kill whoever passes an edge for the nth time, n = 1, 2, … until a run ends untouched; each time all must end well."""

from collections import Counter
from dataclasses import replace

import pytest
from fake_ports import Channel, CountingBroker, DiesAt, Killed, SetClock, Work, pipeline
from pipeline_ledger import SETTINGS, assert_balanced, moves, rows, statuses, submission

from tem_sim.pipeline.ports import EDGES
from tem_sim.pipeline.store import open_store
from tem_sim.pipeline.tables import notification
from tem_sim.pipeline.tasks import (
    process_events_batch,
    relay_notifications,
    rescue_lost_events,
    retry_failed_events,
    submit_events,
)

EVENTS = range(1, 6)
WITH_OUTBOX = replace(SETTINGS, batch_size=3, settle_every=2)
WITHOUT_OUTBOX = replace(WITH_OUTBOX, outbox=False)


def fail_first(event):
    """Fail events 2 and 4 at their first attempt, however often that is begun."""
    if event.event_id % 2 == 0 and not event.retry_count:
        raise ValueError("first time")


def the_run(pipe):
    """Submit, process, retry, process, tell: the steps of a quiet day, each its own process."""
    yield lambda: submit_events(pipe, [submission(number) for number in EVENTS], actor="api")
    for _ in range(2):
        for _ in range(2):
            yield lambda: process_events_batch(pipe, worker="ann")
        yield lambda: retry_failed_events(pipe, actor="beat")
    for _ in range(2):
        yield lambda: relay_notifications(pipe)


def recover(pipe):
    """Let the scheduler tick and workers work until everything had its time."""
    for _ in range(8):
        pipe.clock.t += 61.0
        retry_failed_events(pipe, actor="beat")
        rescue_lost_events(pipe, actor="beat")
        while process_events_batch(pipe, worker="bob"):
            pass
        relay_notifications(pipe)


def run_with_a_death(edge, nth, settings):
    """Run with one death and the recovery from it; return the store, the channel, and whether the death happened."""
    store = open_store()
    ports = {"clock": SetClock(), "broker": CountingBroker(), "publisher": Channel(), "handler": Work(fail_first)}
    death = DiesAt(edge, nth)
    pipe = pipeline(store, settings, failpoints=death, **ports)
    for step in the_run(pipe):
        pipe.clock.t += 11.0
        try:
            step()
        except Killed:
            continue
    recover(pipeline(store, settings, **ports))
    return store, ports["publisher"], death.struck


def each_death(edge, settings):
    """Yield what each death at an edge led to, up to the first run that passes it too seldom to die."""
    for nth in range(1, 100):
        store, channel, struck = run_with_a_death(edge, nth, settings)
        yield nth, store, channel
        store.close()
        if not struck:
            return
    raise AssertionError(f"{edge}: the run never ended untouched")


@pytest.mark.parametrize("edge", EDGES)
def test_a_death_at_any_edge_loses_nothing_and_doubles_nothing_in_the_store(edge):
    for nth, store, channel in each_death(edge, WITH_OUTBOX):
        where = f"death at passing {nth} of {edge}"
        assert statuses(store) == ["PROCESSED"] * len(EVENTS), where
        assert all([move.cause for move in moves(store, n)].count("ok") == 1 for n in EVENTS), where
        assert all(row["published_at"] is not None for row in rows(store, notification)), where
        assert {note.dedupe_key for note in channel.said} == {f"event-{n}-processed" for n in EVENTS}, where
        assert_balanced(store, WITH_OUTBOX)
    # The loop has teeth only if the edge is on the way of a quiet day.
    assert nth > 1


@pytest.mark.parametrize("edge", ["after_settle", "before_publish"])
def test_without_the_outbox_a_death_between_commit_and_publish_leaves_a_user_untold(edge):
    told = []
    for _, store, channel in each_death(edge, WITHOUT_OUTBOX):
        assert statuses(store) == ["PROCESSED"] * len(EVENTS)
        assert_balanced(store, WITHOUT_OUTBOX)
        told.append(Counter(note.event_id for note in channel.said))
    *struck, untouched = told
    assert all(len(each) < len(EVENTS) for each in struck[:1])
    assert untouched == dict.fromkeys(EVENTS, 1)
