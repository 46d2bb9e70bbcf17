"""The numbers of the status table and of the metrics are what the store holds."""

import pytest
from pipeline_ledger import NO_RETRIES, SETTINGS, claim, ended, finish, submit

from tem_sim.live.counts import PHASES, Counts, counts
from tem_sim.pipeline import lifecycle, outbox

NOTHING = dict.fromkeys(PHASES, 0)


def at(store, now):
    with store.begin() as connection:
        return counts(connection, now)


def test_an_empty_store_has_nothing_that_is_due(store):
    assert at(store, 100.0) == Counts(NOTHING, None, 0, 0, 0)


def test_an_event_is_counted_in_each_phase_that_it_goes_through(store):
    submit(store, 1)
    seen = [at(store, 1.0).events]
    (first,) = claim(store)
    seen.append(at(store, 1.0).events)
    finish(store, [ended(first, "boom")])
    seen.append(at(store, 3.0).events)
    lifecycle.requeue_due(store, SETTINGS, now=12.0, actor="beat")
    seen.append(at(store, 12.0).events)
    (second,) = claim(store, now=13.0)
    finish(store, [ended(second)], now=14.0)
    seen.append(at(store, 15.0).events)
    assert seen == [{**NOTHING, phase: 1} for phase in ("QUEUED", "PROCESSING", "FAILED", "RETRY", "PROCESSED")]


def test_what_has_been_due_the_longest_is_queued_or_a_retry_whose_time_has_come(store):
    submit(store, 1, now=0.0)
    (claimed,) = claim(store)
    finish(store, [ended(claimed, "boom")], now=2.0)
    assert at(store, 11.0).oldest_due_age_s is None
    assert at(store, 15.0).oldest_due_age_s == pytest.approx(3.0)
    submit(store, 2, now=13.5)
    assert at(store, 15.0).oldest_due_age_s == pytest.approx(3.0)
    submit(store, 3, now=5.0)
    assert at(store, 15.0).oldest_due_age_s == pytest.approx(10.0)


def test_a_lease_is_expired_when_its_time_is_over_and_no_sooner(store):
    submit(store, 1, 2)
    claim(store, now=1.0)
    over = 1.0 + SETTINGS.lease_s
    assert [at(store, now).leases_expired for now in (over, over + 0.001)] == [0, 2]


def test_notifications_count_until_they_are_published_and_until_their_user_has_them(store):
    submit(store, 1, 2, 3)
    finish(store, [ended(claimed) for claimed in claim(store)])
    outbox.mark_published(store, [1, 2], now=3.0)
    outbox.acknowledge(store, [1], now=4.0)
    found = at(store, 5.0)
    assert (found.unpublished, found.unacknowledged) == (1, 2)


def test_a_dead_letter_is_extinct(store):
    submit(store, 1)
    finish(store, [ended(claimed, "boom") for claimed in claim(store)], settings=NO_RETRIES)
    assert at(store, 5.0) == Counts({**NOTHING, "EXTINCT": 1}, None, 0, 0, 0)
