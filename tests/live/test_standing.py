"""The numbers of the status table and of the metrics are what the store holds."""

import pytest
from pipeline_ledger import NO_RETRIES, SETTINGS, claim, ended, finish, submit

from tem_sim.live.api.standing import Standings
from tem_sim.pipeline import lifecycle, outbox
from tem_sim.pipeline.states import Cause

PHASES = ("QUEUED", "RETRY", "PROCESSING", "FAILED", "PROCESSED", "EXTINCT")
NOTHING = dict.fromkeys(PHASES, 0)


class Asked:
    """Asks the same object each time, as a long-running process does, at times that the test says."""

    def __init__(self, store):
        self.now = 0.0
        self.standings = Standings(store, lambda: self.now)

    def at(self, now):
        self.now = now
        return self.standings()


@pytest.fixture
def asked(store):
    return Asked(store)


def test_an_empty_store_has_nothing_that_is_due(asked):
    found = asked.at(100.0)
    assert found.phases() == NOTHING
    assert (found.due_age_s, found.queued_age_s, found.overdue_leases, found.unpublished) == (0.0, 0.0, 0, 0)


def test_an_event_is_counted_in_each_phase_that_it_goes_through(store, asked):
    submit(store, 1)
    seen = [asked.at(1.0).phases()]
    (first,) = claim(store)
    seen.append(asked.at(1.0).phases())
    finish(store, [ended(first, "boom")])
    seen.append(asked.at(3.0).phases())
    lifecycle.requeue_due(store, SETTINGS, now=12.0, actor="beat")
    seen.append(asked.at(12.0).phases())
    (second,) = claim(store, now=13.0)
    finish(store, [ended(second)], now=14.0)
    seen.append(asked.at(15.0).phases())
    assert seen == [{**NOTHING, phase: 1} for phase in ("QUEUED", "PROCESSING", "FAILED", "RETRY", "PROCESSED")]


def test_what_has_waited_the_longest_is_told_for_the_queue_and_for_retries_that_are_due(store, asked):
    submit(store, 1, now=0.0)
    (claimed,) = claim(store)
    finish(store, [ended(claimed, "boom")], now=2.0)
    assert asked.at(11.0).due_age_s == 0.0
    submit(store, 2, now=13.5)
    submit(store, 3, now=5.0)
    found = asked.at(15.0)
    assert (found.due_age_s, found.queued_age_s) == (pytest.approx(3.0), pytest.approx(10.0))


def test_leases_are_overdue_until_they_are_rescued_and_then_they_have_expired(store, asked):
    submit(store, 1, 2)
    claim(store, now=1.0)
    over = 1.0 + SETTINGS.lease_s
    assert [asked.at(now).overdue_leases for now in (over - 0.001, over)] == [0, 2]
    lifecycle.rescue_expired(store, SETTINGS, now=over + 1.0, actor="beat")
    found = asked.at(over + 1.0)
    assert (found.overdue_leases, found.causes[Cause.RESCUE]) == (0, 2)


def test_notifications_count_until_they_are_published_and_until_their_user_has_them(store, asked):
    submit(store, 1, 2, 3)
    finish(store, [ended(claimed) for claimed in claim(store)])
    outbox.mark_published(store, [1, 2], now=3.0)
    outbox.acknowledge(store, [1], now=4.0)
    found = asked.at(5.0)
    assert (found.unpublished, found.unacknowledged) == (1, 2)


def test_a_dead_letter_is_extinct(store, asked):
    submit(store, 1)
    finish(store, [ended(claimed, "boom") for claimed in claim(store)], settings=NO_RETRIES)
    assert asked.at(5.0).phases() == {**NOTHING, "EXTINCT": 1}


def test_what_was_counted_long_ago_is_not_forgotten(store, asked):
    for number in range(1, 6):
        submit(store, number, now=number * 100.0)
        assert asked.at(number * 100.0 + 1.0).phases() == {**NOTHING, "QUEUED": number}
    assert asked.at(2000.0).phases() == {**NOTHING, "QUEUED": 5}
