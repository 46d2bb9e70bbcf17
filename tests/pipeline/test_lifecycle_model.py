"""Any order of steps, early, late or twice, by two workers: the store does what a few lines of Python say it should."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pipeline_ledger import Luck, assert_balanced, ended, rows, submission

from tem_sim.pipeline import claims, lifecycle, outbox, unhandled
from tem_sim.pipeline.backoff import Backoff, Fixed
from tem_sim.pipeline.ports import ClaimedEvent
from tem_sim.pipeline.settings import Settings
from tem_sim.pipeline.settle import settle
from tem_sim.pipeline.store import Store, open_store
from tem_sim.pipeline.tables import attempt, event_table, metadata, notification, transition

MAX_RETRIES, DELAY_S, LEASE_S, SWEEP_S, CRASHES, DEADLINE_S = 1, 10.0, 20.0, 30.0, 1, 40.0
SETTINGS = Settings(
    policy=Backoff(Fixed(DELAY_S), max_retries=MAX_RETRIES),
    lease_s=LEASE_S,
    sweep_after_s=SWEEP_S,
    crash_budget=CRASHES,
    deadline_s=DEADLINE_S,
)
WORKERS = ("ann", "bob")


@dataclass
class Expected:
    """What the model thinks of one event."""

    event_id: int
    queued_at: float
    woken_at: float
    life_began_at: float
    status: str = "QUEUED"
    retry_count: int = 0
    crash_count: int = 0
    replay_count: int = 0
    attempt_no: int = 0
    lease_owner: str | None = None
    lease_expires_at: float | None = None
    next_retry_at: float | None = None
    started: bool = False
    history: list[str] = field(default_factory=lambda: ["submit"])
    ends: list[str] = field(default_factory=list)
    published: bool | None = None

    def move(self, status: str, cause: str) -> None:
        self.status = status
        self.history.append(cause)
        self.lease_owner = self.lease_expires_at = self.next_retry_at = None

    def requeue(self, cause: str, now: float) -> None:
        self.move("QUEUED", cause)
        self.queued_at = self.woken_at = now


class Lifecycle(RuleBasedStateMachine):
    """The pipeline's functions beside the model; `now` is everybody's clock."""

    def __init__(self, store: Store, done: Callable[[], None]) -> None:
        super().__init__()
        self.store, self.done = store, done
        self.now = 0.0
        self.events: dict[int, Expected] = {}
        self.held: list[tuple[str, ClaimedEvent]] = []

    def teardown(self) -> None:
        assert_balanced(self.store, SETTINGS)
        self.done()

    def those(self, status: str, *order: str) -> list[Expected]:
        found = [event for event in self.events.values() if event.status == status]
        return sorted(found, key=lambda event: [getattr(event, name) for name in (*order, "event_id")])

    @initialize(count=st.integers(3, 6))
    def begin(self, count: int) -> None:
        self.submit(count)

    @rule(count=st.integers(1, 3))
    def submit(self, count: int) -> None:
        numbers = range(len(self.events) + 1, len(self.events) + 1 + count)
        answers = lifecycle.submit(self.store, [submission(n) for n in numbers], now=self.now, actor="api")
        assert all(answer.created for answer in answers)
        self.events |= {n: Expected(n, self.now, self.now, self.now) for n in numbers}

    @precondition(lambda self: self.events)
    @rule(data=st.data(), news=st.booleans())
    def submit_again(self, data: st.DataObject, news: bool) -> None:
        known = data.draw(st.sampled_from(sorted(self.events)))
        batch = [submission(known)] + ([submission(len(self.events) + 1)] if news else [])
        answers = lifecycle.submit(self.store, batch, now=self.now, actor="api")
        assert [(a.event_id, a.created, a.same) for a in answers[:1]] == [(known, False, True)]
        if news:
            self.events[len(self.events) + 1] = Expected(len(self.events) + 1, self.now, self.now, self.now)

    @rule(seconds=st.sampled_from([1.0, 9.0, 10.0, 20.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(worker=st.sampled_from(WORKERS), size=st.integers(1, 4))
    def claim(self, worker: str, size: int) -> None:
        batch = claims.claim(self.store, replace(SETTINGS, batch_size=size), now=self.now, worker=worker)
        expected = self.those("QUEUED", "queued_at")[:size]
        for event in expected:
            event.move("PROCESSING", "claim")
            event.attempt_no += 1
            event.lease_owner, event.lease_expires_at, event.started = worker, self.now + LEASE_S, False
        assert [(e.event_id, e.attempt_no, e.retry_count, e.crash_count) for e in batch] == [
            (e.event_id, e.attempt_no, e.retry_count, e.crash_count) for e in expected
        ]
        self.held += [(worker, event) for event in batch]

    def owns(self, worker: str, claimed: ClaimedEvent) -> bool:
        event = self.events[claimed.event_id]
        now = (event.status, event.attempt_no, event.lease_owner)
        return now == ("PROCESSING", claimed.attempt_no, worker)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def mark_started(self, data: st.DataObject) -> None:
        worker, claimed = data.draw(st.sampled_from(self.held))
        claims.mark_started(self.store, claimed, now=self.now)
        if self.owns(worker, claimed):
            self.events[claimed.event_id].started = True

    @precondition(lambda self: self.held)
    @rule(data=st.data(), failing=st.sets(st.integers(1, 12)))
    def settle(self, data: st.DataObject, failing: set[int]) -> None:
        worker = data.draw(st.sampled_from(sorted({worker for worker, _ in self.held})))
        his = [claimed for owner, claimed in self.held if owner == worker]
        batch = data.draw(st.lists(st.sampled_from(his), unique=True, min_size=1))
        # Two claims of one event by one worker are two tasks, and settle apart.
        batch = list({claimed.event_id: claimed for claimed in batch}.values())
        outcomes = [ended(c, "boom" if c.event_id in failing else None, self.now) for c in batch]
        settled = settle(self.store, SETTINGS, Luck(), outcomes, now=self.now, worker=worker)
        owned = [self.owns(worker, claimed) for claimed in batch]
        assert settled.superseded == owned.count(False)
        for claimed, still in zip(batch, owned, strict=True):
            self.held.remove((worker, claimed))
            self.ended(self.events[claimed.event_id], claimed.event_id in failing, still)

    def ended(self, event: Expected, failed: bool, still_owned: bool) -> None:
        if not still_owned:
            event.ends.append("superseded")
        elif not failed:
            event.ends.append("ok")
            event.move("PROCESSED", "ok")
            event.published = False
        else:
            event.ends.append("error")
            event.retry_count += 1
            spent = event.retry_count > MAX_RETRIES
            event.move(*(("EXTINCT", "exhausted") if spent else ("FAILED", "error")))
            event.next_retry_at = None if spent else self.now + DELAY_S

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        worker, claimed = data.draw(st.sampled_from(self.held))
        event = self.events[claimed.event_id]
        if self.now - event.life_began_at < DEADLINE_S:
            return
        done = unhandled.expire(self.store, [claimed], now=self.now, worker=worker)
        assert done == self.owns(worker, claimed)
        self.held.remove((worker, claimed))
        if done:
            event.ends.append("expired")
            event.move("EXTINCT", "expired")

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        worker, claimed = data.draw(st.sampled_from(self.held))
        done = unhandled.release(self.store, [claimed], now=self.now, worker=worker)
        assert done == self.owns(worker, claimed)
        self.held.remove((worker, claimed))
        if done:
            self.events[claimed.event_id].ends.append("released")
            self.events[claimed.event_id].requeue("release", self.now)

    @rule(limit=st.one_of(st.none(), st.integers(1, 3)))
    def requeue(self, limit: int | None) -> None:
        done = lifecycle.requeue_due(self.store, replace(SETTINGS, requeue_limit=limit), now=self.now, actor="beat")
        due = [event for event in self.those("FAILED", "next_retry_at") if event.next_retry_at <= self.now][:limit]
        for event in due:
            event.requeue("retry", self.now)
        assert done == len(due)

    @rule()
    def rescue(self) -> None:
        done = lifecycle.rescue_expired(self.store, SETTINGS, now=self.now, actor="beat")
        expired = [event for event in self.those("PROCESSING") if event.lease_expires_at <= self.now]
        for event in expired:
            event.ends.append("lost")
            event.crash_count += event.crash_count == 0 or event.started
            if event.crash_count > CRASHES:
                event.move("EXTINCT", "crashed")
            else:
                event.requeue("rescue", self.now)
        extinct = sum(event.status == "EXTINCT" for event in expired)
        assert done == (len(expired) - extinct, extinct)

    @rule()
    def sweep(self) -> None:
        found = lifecycle.sweep_queued(self.store, now=self.now, sweep_after_s=SWEEP_S)
        old = [event for event in self.those("QUEUED") if event.woken_at <= self.now - SWEEP_S]
        for event in old:
            event.woken_at = self.now
        assert found == len(old)

    @rule(limit=st.integers(1, 3), heard=st.booleans())
    def relay(self, limit: int, heard: bool) -> None:
        told = [note.event_id for note in outbox.unpublished(self.store, limit)]
        owed = [event for event in self.events.values() if event.published is False]
        assert len(told) == min(limit, len(owed))
        if heard:
            outbox.mark_published(self.store, told, now=self.now)
            for event_id in told:
                self.events[event_id].published = True

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        extinct = [event.event_id for event in self.those("EXTINCT")]
        event = self.events[data.draw(st.sampled_from(extinct or sorted(self.events)))]
        done = lifecycle.replay(self.store, event.event_id, now=self.now, actor="operator")
        assert done == (event.status == "EXTINCT")
        if done:
            event.retry_count = event.crash_count = 0
            event.replay_count += 1
            event.life_began_at = self.now
            event.requeue("replay", self.now)

    @invariant()
    def no_event_is_lost_and_none_appears(self) -> None:
        with self.store.begin() as connection:
            accepted = [row.id for row in connection.execute(event_table.select())]
        assert sorted(accepted) == [row["event_id"] for row in rows(self.store)] == sorted(self.events)

    @invariant()
    def every_row_is_as_the_model_has_it(self) -> None:
        columns = [
            name for name in vars(Expected(0, 0, 0, 0)) if name not in ("started", "history", "ends", "published")
        ]
        for row in rows(self.store):
            event = self.events[row["event_id"]]
            assert {name: row[name] for name in columns} == {name: getattr(event, name) for name in columns}

    @invariant()
    def the_logs_and_the_outbox_are_as_the_model_has_them(self) -> None:
        published = {row["event_id"]: row["published_at"] is not None for row in rows(self.store, notification)}
        moved, ended = defaultdict(list), defaultdict(list)
        for row in rows(self.store, transition):
            moved[row["event_id"]].append(row["cause"])
        for row in rows(self.store, attempt):
            ended[row["event_id"]].append(row["outcome"])
        for event_id, event in self.events.items():
            assert (moved[event_id], ended[event_id]) == (event.history, event.ends)
            assert published.get(event_id) == event.published


def test_any_order_of_steps_leaves_what_the_model_says():
    def machine() -> Lifecycle:
        store = open_store()
        return Lifecycle(store, store.close)

    bounds = hypothesis.settings(max_examples=40, stateful_step_count=40)
    run_state_machine_as_test(machine, settings=bounds)


@pytest.mark.server
def test_any_order_of_steps_leaves_what_the_model_says_on_postgresql_too(postgresql_url):
    store = open_store(postgresql_url)

    def empty() -> None:
        with store.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())

    bounds = hypothesis.settings(max_examples=8, stateful_step_count=25)
    run_state_machine_as_test(lambda: Lifecycle(store, empty), settings=bounds)
    store.close()
