"""The circuit breaker: when it opens and closes, what stands still meanwhile, and who wakes it all again."""

import math
from dataclasses import replace

import pytest
from fake_ports import CountingBroker, DiesAt, Killed, Work, pipeline
from pipeline_ledger import SETTINGS, assert_balanced, attempts, causes, claim, moves, row, statuses, submit
from test_real_threads import at_once

from tem_sim.pipeline import lifecycle, shared_state, unhandled
from tem_sim.pipeline.backoff import Backoff, Fixed
from tem_sim.pipeline.breaker import Circuit, CircuitBreaker, CircuitState
from tem_sim.pipeline.tasks import process_events_batch, rescue_lost_events, retry_failed_events, submit_events

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
BREAKER = CircuitBreaker(failure_rate=0.5, minimum_calls=4, window_s=10.0, cool_down_s=5.0, probes=2)
FOUR = replace(SETTINGS, breaker=BREAKER, policy=Backoff(Fixed(1.0), max_retries=9))


# --- as a value


NEW = Circuit(CLOSED, 0.0)


def after(*reports, circuit=NEW):
    """Return the circuit after reports of (time, calls, failures)."""
    for now, calls, failures in reports:
        circuit = BREAKER.after(circuit, calls, failures, now)
    return circuit


def test_it_opens_when_enough_calls_have_failed_in_one_window():
    assert after((1.0, 3, 3)) == (CLOSED, 0.0, 3, 3)
    assert after((1.0, 3, 3), (2.0, 1, 0)) == (OPEN, 2.0, 0, 0)
    assert after((1.0, 3, 1), (2.0, 2, 1)) == (CLOSED, 0.0, 5, 2)


def test_a_window_that_is_over_counts_no_more():
    assert after((1.0, 3, 3), (10.0, 3, 3)) == (CLOSED, 10.0, 3, 3)
    assert after((1.0, 3, 3), (9.999, 3, 3)) == (OPEN, 9.999, 0, 0)


def test_calls_that_end_after_it_has_opened_change_nothing():
    opened = Circuit(OPEN, 7.0)
    assert after((8.0, 50, 0), (9.0, 50, 50), circuit=opened) == opened


def test_the_first_report_of_a_probe_closes_it_or_opens_it_again():
    assert after((20.0, 2, 0), circuit=Circuit(HALF_OPEN, 19.0)) == (CLOSED, 20.0, 0, 0)
    assert after((20.0, 2, 1), circuit=Circuit(HALF_OPEN, 19.0)) == (OPEN, 20.0, 0, 0)


@pytest.mark.parametrize("state", [OPEN, HALF_OPEN])
def test_it_lets_a_few_through_after_its_cool_down_and_again_when_no_word_of_them_comes(state):
    since_seven = Circuit(state, 7.0)
    assert [BREAKER.allowed(since_seven, now) for now in (7.0, 11.999, 12.0, 100.0)] == [0, 0, 2, 2]
    assert BREAKER.allowed(Circuit(CLOSED, 7.0), 100.0) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("failure_rate", 0.0), ("failure_rate", 1.1), ("minimum_calls", 0), ("probes", 0), ("window_s", 0.0)),
        *(("cool_down_s", -1.0), ("cool_down_s", math.nan)),
    ],
)
def test_a_breaker_that_makes_no_sense_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"breaker\.{name}: "):
        CircuitBreaker(**{name: value})


# --- in the pipeline


class Downstream:
    """A handler's downstream that is away or not."""

    def __init__(self):
        self.away = True
        self.calls = 0

    def __call__(self, event):
        self.calls += 1
        if self.away:
            raise ConnectionError("refused")


def world(store, settings=FOUR, **ports):
    """Return a pipeline whose downstream is away, and that downstream."""
    downstream = Downstream()
    return pipeline(store, settings, handler=Work(downstream), **ports), downstream


def state_of(store, now=0.0):
    return shared_state.read_circuit(store, now).state


def open_it(store, events=10):
    pipe, downstream = world(store)
    submit(store, *range(1, events + 1))
    process_events_batch(pipe, worker="ann")
    assert state_of(store) is OPEN
    return pipe, downstream


def test_a_batch_stops_calling_when_its_own_failures_have_opened_the_circuit(store):
    _, downstream = open_it(store)
    assert downstream.calls == 4
    assert statuses(store) == ["FAILED"] * 4 + ["QUEUED"] * 6
    assert moves(store, 5)[-1] == ("PROCESSING", "QUEUED", "release", "ann")
    assert (attempts(store, 5), row(store, 5)["retry_count"]) == ([(1, "ann", "released")], 0)
    assert_balanced(store, FOUR)


def test_while_it_is_open_nothing_is_claimed_and_nothing_requeued(store):
    pipe, downstream = open_it(store)
    pipe.clock.t = 4.999
    assert (process_events_batch(pipe, worker="bob"), retry_failed_events(pipe, actor="beat")) == (0, 0)
    assert (downstream.calls, pipe.broker.sent) == (4, [])
    assert statuses(store) == ["FAILED"] * 4 + ["QUEUED"] * 6


def test_after_the_cool_down_the_scheduler_wakes_a_worker_for_a_probe_of_so_many(store):
    pipe, downstream = open_it(store)
    pipe.clock.t = 5.0
    assert retry_failed_events(pipe, actor="beat") == 2
    assert pipe.broker.sent == [1]
    assert process_events_batch(pipe, worker="bob") == 2
    assert (downstream.calls, state_of(store)) == (6, OPEN)
    assert process_events_batch(pipe, worker="cem") == 0


def test_the_scheduler_wakes_a_worker_also_where_nothing_is_due(store):
    pipe, _ = world(store, replace(FOUR, policy=Backoff(Fixed(1000.0), max_retries=9)))
    submit(store, *range(1, 11))
    process_events_batch(pipe, worker="ann")
    pipe.clock.t = 5.0
    assert (retry_failed_events(pipe, actor="beat"), pipe.broker.sent) == (0, [1])


def test_a_probe_that_succeeds_closes_it_and_announces_all_that_waits(store):
    pipe, downstream = open_it(store)
    downstream.away = False
    pipe.clock.t = 6.0
    retry_failed_events(pipe, actor="beat")
    pipe.broker.sent.clear()
    assert process_events_batch(pipe, worker="bob") == 2
    assert (state_of(store), statuses(store).count("QUEUED")) == (CLOSED, 6)
    assert pipe.broker.sent == [1]
    process_events_batch(pipe, worker="bob")
    retry_failed_events(pipe, actor="beat")
    process_events_batch(pipe, worker="bob")
    assert set(statuses(store)) == {"PROCESSED"}
    assert_balanced(store, FOUR)


def test_two_workers_do_not_both_probe(store):
    pipe, _ = open_it(store)
    pipe.clock.t = 6.0
    assert [len(claim(store, worker, now=6.0, settings=FOUR)) for worker in ("bob", "cem")] == [2, 0]
    assert state_of(store) is HALF_OPEN


def test_workers_that_come_for_the_probe_at_once_do_not_both_get_it(shared_store):
    open_it(shared_store, events=40)
    for n in range(1, 7):
        now = 100.0 * n
        got = at_once(
            *[lambda w=w, now=now: claim(shared_store, w, now=now, settings=FOUR) for w in ("bob", "cem", "dora")]
        )
        assert sorted(map(len, got)) == [0, 0, 2]


def test_a_probe_that_finds_nothing_is_none(store):
    pipe, _ = world(store)
    submit(store, 1, 2, 3, 4)
    process_events_batch(pipe, worker="ann")
    assert claim(store, now=6.0, settings=FOUR) == []
    assert state_of(store) is OPEN


def test_a_probe_whose_worker_dies_is_followed_by_another_and_nothing_is_lost(store):
    pipe, downstream = open_it(store)
    pipe.clock.t = 6.0
    dying, _ = world(store, clock=pipe.clock, failpoints=DiesAt("after_claim", 1))
    with pytest.raises(Killed):
        process_events_batch(dying, worker="bob")
    downstream.away = False
    pipe.clock.t = 10.999
    assert process_events_batch(pipe, worker="cem") == 0
    pipe.clock.t = 11.0
    assert process_events_batch(pipe, worker="cem") == 2
    pipe.clock.t = 70.0
    for _ in range(3):
        rescue_lost_events(pipe, actor="beat")
        retry_failed_events(pipe, actor="beat")
        process_events_batch(pipe, worker="cem")
    assert set(statuses(store)) == {"PROCESSED"}
    assert_balanced(store, FOUR)


@pytest.mark.parametrize("edge", ["after_settle", "after_commit_before_wake"])
def test_a_worker_that_dies_around_the_closing_leaves_it_to_the_sweep_or_the_next_probe(store, edge):
    pipe, _ = open_it(store)
    pipe.clock.t = 6.0
    dying = pipeline(store, FOUR, clock=pipe.clock, failpoints=DiesAt(edge, 1))
    with pytest.raises(Killed):
        process_events_batch(dying, worker="bob")
    healthy = pipeline(store, FOUR, clock=pipe.clock, broker=CountingBroker())
    for _ in range(20):
        pipe.clock.t += 7.0
        retry_failed_events(healthy, actor="beat")
        rescue_lost_events(healthy, actor="beat")
        if healthy.broker.sent:
            healthy.broker.sent.clear()
            process_events_batch(healthy, worker="cem")
    assert set(statuses(store)) == {"PROCESSED"}
    assert_balanced(store, FOUR)


def test_new_events_are_taken_in_while_it_is_open_and_probe_it_themselves_when_it_has_cooled_down(store):
    pipe, downstream = open_it(store)
    downstream.away = False
    submit_events(pipe, [], actor="api")
    pipe.clock.t = 6.0
    assert process_events_batch(pipe, worker="bob") == 2
    assert state_of(store) is CLOSED


def test_one_fleet_opens_one_circuit_and_one_worker_learns_from_another(store):
    pipe, downstream = world(store, replace(FOUR, batch_size=2))
    submit(store, *range(1, 11))
    for worker in ("ann", "bob", "cem", "dora"):
        process_events_batch(pipe, worker=worker)
    assert (downstream.calls, state_of(store)) == (4, OPEN)


def test_a_poison_event_among_good_ones_opens_nothing(store):
    def refuse_the_third(event):
        if event.event_id == 3:
            raise ValueError("no")

    submit(store, *range(1, 41))
    process_events_batch(pipeline(store, FOUR, handler=Work(refuse_the_third)), worker="ann")
    assert state_of(store) is CLOSED
    assert causes(store, 3)[-1] == "error"


def test_a_released_event_goes_on_where_it_was_with_its_failures_and_its_delay(store):
    submit(store, 1)
    pipe, _ = world(store, SETTINGS)
    process_events_batch(pipe, worker="ann")
    lifecycle.requeue_due(store, SETTINGS, now=20.0, actor="beat")
    (event,) = claim(store, now=21.0)
    assert unhandled.release(store, [event], now=22.0, worker="ann") == 1
    (again,) = claim(store, "bob", now=23.0)
    assert (again.attempt_no, again.retry_count, again.crash_count, again.last_delay_s) == (3, 1, 0, 10.0)
    assert unhandled.release(store, [event], now=24.0, worker="ann") == 0
    assert row(store)["lease_owner"] == "bob"
    assert_balanced(store, SETTINGS)


def test_without_a_breaker_no_circuit_is_kept(store):
    pipe, _ = world(store, SETTINGS)
    submit(store, *range(1, 31))
    process_events_batch(pipe, worker="ann")
    with store.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM circuit").scalar() == 0
