"""Real connections at once: no exception escapes, nothing is taken twice, nothing is lost.

Threads race here on purpose, so each test repeats its race and checks what must hold whoever wins.
"""

import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from fake_ports import Killed, pipeline
from pipeline_ledger import (
    SETTINGS,
    assert_balanced,
    claim,
    ended,
    finish,
    rows,
    statuses,
    submission,
    submit,
)
from sqlalchemy import event, text

from tem_sim.pipeline import claims, lifecycle
from tem_sim.pipeline.backoff import Backoff, Fixed
from tem_sim.pipeline.breaker import CircuitBreaker
from tem_sim.pipeline.retry_budget import RetryBudget
from tem_sim.pipeline.settings import ClaimOrder, WriteGuard
from tem_sim.pipeline.store import open_store
from tem_sim.pipeline.tables import attempt, event_table, notification
from tem_sim.pipeline.tasks import (
    process_events_batch,
    relay_notifications,
    rescue_lost_events,
    retry_failed_events,
)

ROUNDS = 6
# How long threads wait for each other, on a machine that may be busy with others.
PATIENCE_S = 60.0


def at_once(*jobs: Callable[[], object]) -> list[object]:
    """Run the jobs in threads that start together; return their results, or raise what one of them raised."""
    results: list[object] = [None] * len(jobs)
    errors: list[BaseException] = []
    ready = threading.Barrier(len(jobs))

    def run(place: int, job: Callable[[], object]) -> None:
        try:
            ready.wait(PATIENCE_S)
            results[place] = job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(4 * PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if errors:
        raise errors[0]
    return results


def send(store, first_id, keys):
    batch = [submission(first_id + n, idempotency_key=key, payload=key) for n, key in enumerate(keys)]
    return lifecycle.submit(store, batch, now=0.0, actor="api")


def assert_one_event_each(store, one, other):
    """Check the answers to the same keys sent in opposite orders."""
    assert [answer.event_id for answer in one] == [answer.event_id for answer in reversed(other)]
    assert sum(answer.created for answer in [*one, *other]) == len(one) == len(rows(store))
    assert all(answer.same for answer in [*one, *other])


def test_the_same_keys_submitted_at_once_in_opposite_orders_give_one_event_each(shared_store):
    keys = [f"key-{number:02}" for number in range(60)]
    one, other = at_once(lambda: send(shared_store, 1, keys), lambda: send(shared_store, 61, keys[::-1]))
    assert_one_event_each(shared_store, one, other)


@pytest.mark.server
def test_submissions_that_meet_half_way_wait_for_each_other_and_not_in_a_circle(postgresql_url):
    store, keys = open_store(postgresql_url), ["a", "b", "c"]
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = ANY(:pids)")
    pids = []
    event.listen(store.engine, "connect", lambda connection, _: pids.append(connection.info.backend_pid))

    def hold_the_middle():
        # Whoever comes from either end stops here, until both have.
        with store.engine.connect() as holder:
            values = {"id": 99, "idempotency_key": "b", "user_id": 7, "kind": "n", "payload": 0, "created_at": 0.0}
            holder.execute(event_table.insert(), values)
            started.set()
            deadline = time.monotonic() + 10
            while holder.execute(waiting, {"pids": pids}).scalar() < 2 and time.monotonic() < deadline:
                time.sleep(0.01)

    started = threading.Event()
    _, one, other = at_once(
        hold_the_middle,
        lambda: started.wait(PATIENCE_S) and send(store, 1, keys),
        lambda: started.wait(PATIENCE_S) and send(store, 11, keys[::-1]),
    )
    assert_one_event_each(store, one, other)
    store.close()


def test_workers_that_claim_at_once_never_get_the_same_event(shared_store):
    submit(shared_store, *range(1, 201))
    seven = replace(SETTINGS, batch_size=7)

    def take(worker):
        taken = []
        while batch := claim(shared_store, worker, settings=seven):
            assert len(batch) <= 7
            taken += [event.event_id for event in batch]
        return taken

    taken = at_once(*[lambda worker=worker: take(worker) for worker in ("ann", "bob", "cem", "dora")])
    # A worker may find all that is left locked by others and stop early; it must then have been claimed by them.
    assert sorted(itertools.chain(*taken)) == list(range(1, 201))
    assert all(row["attempt_no"] == 1 for row in rows(shared_store))


@pytest.mark.server
def test_a_claim_passes_over_rows_that_another_transaction_holds_and_does_not_wait(postgresql_url):
    store = open_store(postgresql_url)
    submit(store, 1, 2, 3)
    with store.begin() as holder:
        holder.execute(text("SELECT 1 FROM processing_state WHERE event_id = 1 FOR UPDATE"))
        assert [event.event_id for event in claim(store)] == [2, 3]
    assert [event.event_id for event in claim(store)] == [1]
    store.close()


def test_schedulers_that_tick_at_once_requeue_each_event_once(shared_store):
    for n in range(ROUNDS):
        submit(shared_store, *range(30 * n + 1, 30 * n + 31), now=100.0 * n)
        finish(shared_store, [ended(event, "boom", 100.0 * n) for event in claim(shared_store)], now=100.0 * n)

        def tick(now=100.0 * n + 50):
            return lifecycle.requeue_due(shared_store, SETTINGS, now=now, actor="beat")

        assert sum(at_once(tick, tick)) == 30
        finish(shared_store, [ended(event, at=100.0 * n + 60) for event in claim(shared_store)], now=100.0 * n + 60)
    assert_balanced(shared_store, SETTINGS)


@pytest.mark.parametrize("guard", [WriteGuard.FENCED, WriteGuard.VERSION], ids=lambda guard: guard.value)
def test_a_worker_that_settles_while_its_lease_is_taken_back_either_wins_or_is_superseded(shared_store, guard):
    settings = replace(SETTINGS, write_guard=guard, crash_budget=None)
    for n in range(ROUNDS):
        now = 1000.0 * n
        submit(shared_store, *range(30 * n + 1, 30 * n + 31), now=now)
        batch = claim(shared_store, now=now, settings=settings)
        outcomes = [ended(event, "boom" if event.event_id % 3 == 0 else None, now + 1) for event in reversed(batch)]
        at_once(
            lambda outcomes=outcomes, now=now: finish(shared_store, outcomes, now=now + 1, settings=settings),
            lambda now=now: lifecycle.rescue_expired(shared_store, settings, now=now + 60, actor="beat"),
        )
        assert_balanced(shared_store, settings)
    assert "PROCESSING" not in statuses(shared_store)


@pytest.mark.parametrize("guard", WriteGuard, ids=lambda guard: guard.value)
def test_two_workers_that_settle_the_same_events_in_opposite_orders_do_not_block_each_other(shared_store, guard):
    settings = replace(SETTINGS, write_guard=guard)
    for n in range(ROUNDS):
        now = 1000.0 * n
        submit(shared_store, *range(40 * n + 1, 40 * n + 41), now=now)
        anns = claim(shared_store, "ann", now=now)
        lifecycle.rescue_expired(shared_store, settings, now=now + 60, actor="beat")
        bobs = claim(shared_store, "bob", now=now + 61)
        forth = [ended(event, "boom" if event.event_id % 2 else None, now + 62) for event in anns]
        back = [ended(event, None if event.event_id % 2 else "boom", now + 62) for event in reversed(bobs)]
        at_once(
            lambda forth=forth, now=now: finish(shared_store, forth, "ann", now=now + 62, settings=settings),
            lambda back=back, now=now: finish(shared_store, back, "bob", now=now + 62, settings=settings),
        )
        assert not {"PROCESSING", "QUEUED"} & set(statuses(shared_store))


class RealClock:
    """Time that really passes, a thousand times as fast."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def now(self) -> float:
        return round((time.monotonic() - self._start) * 1000, 6)


class Accident:
    """Handles most events well, fails some, and now and then has all leases taken away or kills its worker."""

    def __init__(self, store, settings, seed):
        self.store, self.settings, self.luck = store, settings, random.Random(seed)

    def handle(self, event):
        roll = self.luck.random()
        if roll < 0.01:
            raise Killed
        if roll < 0.03:
            lifecycle.rescue_expired(self.store, self.settings, now=1e9, actor="thief")
        if roll < 0.3:
            raise ValueError("boom")


MITIGATED = {
    "claim_order": ClaimOrder.NEW_FIRST,
    "concurrency_limit": 2,
    "retry_budget": RetryBudget(ratio=0.1, floor_per_s=0.5, burst=10),
    "breaker": CircuitBreaker(failure_rate=0.3, minimum_calls=5, window_s=100.0, cool_down_s=20.0, probes=3),
}


@pytest.mark.parametrize("mitigations", [{}, MITIGATED], ids=["plain", "mitigated"])
def test_everything_ends_when_workers_schedulers_and_accidents_all_run_at_once(shared_store, mitigations):
    policy = Backoff(Fixed(20.0), max_retries=6)
    settings = replace(SETTINGS, policy=policy, batch_size=10, settle_every=4, lease_s=500.0, sweep_after_s=500.0)
    settings = replace(settings, **mitigations)
    claims.prepare(shared_store, settings)
    clock, over = RealClock(), threading.Event()
    ends_at = time.monotonic() + 2 * PATIENCE_S

    def work(worker, seed):
        pipe = pipeline(shared_store, settings, clock=clock, handler=Accident(shared_store, settings, seed))
        life = 0
        while not over.is_set():
            try:
                if not process_events_batch(pipe, worker=f"{worker}-{life}"):
                    over.wait(0.005)
            except Killed:
                life += 1

    def schedule(name):
        pipe = pipeline(shared_store, settings, clock=clock)
        while not over.is_set():
            retry_failed_events(pipe, actor=name)
            rescue_lost_events(pipe, actor=name)
            relay_notifications(pipe)
            if set(statuses(shared_store)) <= {"PROCESSED", "EXTINCT"} or time.monotonic() > ends_at:
                over.set()
            over.wait(0.01)

    submit(shared_store, *range(1, 201))
    at_once(
        *[lambda worker=worker, n=n: work(worker, n) for n, worker in enumerate(("ann", "bob", "cem"))],
        lambda: schedule("beat-1"),
        lambda: schedule("beat-2"),
    )
    assert set(statuses(shared_store)) <= {"PROCESSED", "EXTINCT"}
    assert_balanced(shared_store, settings)
    relay_notifications(pipeline(shared_store, settings, clock=clock))
    assert all(row["published_at"] is not None for row in rows(shared_store, notification))
    # The accidents did happen: some attempts were lost, and some of those came back from the dead.
    outcomes = {row["outcome"] for row in rows(shared_store, attempt)}
    if mitigations:
        assert {"ok", "error", "lost"} <= outcomes
    else:
        assert outcomes == {"ok", "error", "lost", "superseded"}
