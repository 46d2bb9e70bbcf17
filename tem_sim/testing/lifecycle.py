"""Any order of steps, early, late or twice, by two workers: the store must do what the reference says.

Steps are the pipeline's own functions on a real store. After each of them every row, both logs and the outbox are held
against the reference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import Table, select

from tem_sim.pipeline import claims, lifecycle, outbox, unhandled
from tem_sim.pipeline.lifecycle import Submission
from tem_sim.pipeline.ports import ClaimedEvent
from tem_sim.pipeline.settings import Settings
from tem_sim.pipeline.settle import Outcome, settle
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tables import attempt, event_table, notification, processing_state, transition
from tem_sim.testing.reference import COLUMNS, Expected, Luck, Reference

WORKERS = ("ann", "bob")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tested: settings, and where a store comes from and goes to."""

    settings: Settings
    open: Callable[[], Store]
    close: Callable[[Store], None]


def lifecycle_machine(
    store_factory: Callable[[], Store],
    settings: Settings | None = None,
    *,
    done: Callable[[Store], None] = Store.close,
) -> type[LifecycleMachine]:
    """Return the machine of these settings, for `.TestCase` or `run_state_machine_as_test`.

    `store_factory` returns an empty store for each example, such as `open_store`; `done` is what becomes of it at the
    end. Raises ValueError for settings that the reference does not describe: those by which events share a limit.
    """
    tested = Subject(Settings() if settings is None else settings, store_factory, done)
    # Refuses here, and not in the first example, what it knows nothing of.
    Reference(tested.settings)

    class Machine(LifecycleMachine):
        subject = tested

    return Machine


class LifecycleMachine(RuleBasedStateMachine):
    """The pipeline's functions beside the reference; `now` is everybody's clock."""

    subject: ClassVar[Subject]

    def __init__(self) -> None:
        super().__init__()
        self.chosen = self.subject.settings
        self.store = self.subject.open()
        self.now = 0.0
        self.reference = Reference(self.chosen)
        self.held: list[tuple[str, ClaimedEvent]] = []

    def teardown(self) -> None:
        """Let go of the store."""
        self.subject.close(self.store)

    # --- submitting

    @initialize(count=st.integers(3, 6))
    def begin(self, count: int) -> None:
        """Begin with a few events."""
        self.submit(count)

    @rule(count=st.integers(1, 3))
    def submit(self, count: int) -> None:
        """Submit new events."""
        first = len(self.reference.events) + 1
        numbers = range(first, first + count)
        answers = lifecycle.submit(self.store, [_submission(n) for n in numbers], now=self.now, actor="api")
        _agree("created", [answer.created for answer in answers], [True] * count)
        self.reference.submit(numbers, self.now)

    @precondition(lambda self: self.reference.events)
    @rule(data=st.data(), news=st.booleans())
    def submit_again(self, data: st.DataObject, news: bool) -> None:
        """Submit a known event once more, perhaps beside a new one; an API makes an id of its own for each request."""
        known, new = data.draw(st.sampled_from(sorted(self.reference.events))), len(self.reference.events) + 1
        again = replace(_submission(known), event_id=known + data.draw(st.sampled_from([0, 10_000])))
        batch = [again, *([_submission(new)] if news else [])]
        answers = lifecycle.submit(self.store, batch, now=self.now, actor="api")
        _agree("the answer", (answers[0].event_id, answers[0].created, answers[0].same), (known, False, True))
        if news:
            self.reference.submit([new], self.now)

    # --- time

    @rule(data=st.data())
    def wait(self, data: st.DataObject) -> None:
        """Let time pass: a second, or as long as one of the settings says."""
        settings = self.chosen
        known = (1.0, settings.lease_s, settings.sweep_after_s, settings.deadline_s)
        times_s = sorted({time_s for time_s in known if time_s is not None})
        self.now = round(self.now + data.draw(st.sampled_from(times_s)), 6)

    @rule()
    def wait_for_what_is_due(self) -> None:
        """Let time pass until the next retry is due or the next lease is over."""
        due = self.reference.next_due()
        self.now = self.now if due is None else max(self.now, due)

    # --- workers

    @rule(worker=st.sampled_from(WORKERS), size=st.integers(1, 4))
    def claim(self, worker: str, size: int) -> None:
        """Let a worker claim."""
        batch = claims.claim(self.store, replace(self.chosen, batch_size=size), now=self.now, worker=worker)
        expected = self.reference.claim(worker, size, self.now)
        _agree("claimed", [_seen(event) for event in batch], [_seen(event) for event in expected])
        self.held += [(worker, event) for event in batch]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def mark_started(self, data: st.DataObject) -> None:
        """Let a worker say that it is at an event now."""
        worker, claimed = data.draw(st.sampled_from(self.held))
        claims.mark_started(self.store, claimed, now=self.now)
        if self.reference.owns(worker, claimed):
            self.reference.events[claimed.event_id].started = True

    @precondition(lambda self: self.held)
    @rule(data=st.data(), failing=st.sets(st.integers(1, 12)))
    def settle(self, data: st.DataObject, failing: set[int]) -> None:
        """Let a worker end some of its attempts, whether they are still its own or not."""
        self._settle_some(data, self.held, failing)

    @precondition(lambda self: self._outlived())
    @rule(data=st.data(), failing=st.sets(st.integers(1, 12)))
    def settle_late(self, data: st.DataObject, failing: set[int]) -> None:
        """Let a worker end attempts whose rows have been taken from it."""
        self._settle_some(data, self._outlived(), failing)

    def _outlived(self) -> list[tuple[str, ClaimedEvent]]:
        return [(worker, claimed) for worker, claimed in self.held if not self.reference.owns(worker, claimed)]

    def _settle_some(self, data: st.DataObject, held: list[tuple[str, ClaimedEvent]], failing: set[int]) -> None:
        worker = data.draw(st.sampled_from(sorted({worker for worker, _ in held})))
        his = [claimed for owner, claimed in held if owner == worker]
        drawn = data.draw(st.lists(st.sampled_from(his), unique=True, min_size=1))
        # Two claims of one event by one worker are two tasks, and settle apart.
        batch = list({claimed.event_id: claimed for claimed in drawn}.values())
        ends = [Outcome(c, self.now, self.now, "boom" if c.event_id in failing else None) for c in batch]
        settled = settle(self.store, self.chosen, Luck(), ends, now=self.now, worker=worker)
        owned = [self.reference.settle(worker, c, c.event_id in failing, self.now) for c in batch]
        _agree("superseded", settled.superseded, owned.count(False))
        for claimed in batch:
            self.held.remove((worker, claimed))

    @precondition(lambda self: self.held and self.chosen.deadline_s is not None)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        """Let a worker end what has passed its deadline."""
        worker, claimed = data.draw(st.sampled_from(self.held))
        age_s = self.now - self.reference.events[claimed.event_id].life_began_at
        if self.chosen.deadline_s is not None and age_s >= self.chosen.deadline_s:
            done = unhandled.expire(self.store, [claimed], now=self.now, worker=worker)
            _agree("expired", done, self.reference.end_unhandled(worker, claimed, "expired", self.now))
            self.held.remove((worker, claimed))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Let a worker give an event back."""
        worker, claimed = data.draw(st.sampled_from(self.held))
        done = unhandled.release(self.store, [claimed], now=self.now, worker=worker)
        _agree("released", done, self.reference.end_unhandled(worker, claimed, "released", self.now))
        self.held.remove((worker, claimed))

    # --- the scheduler

    @rule(limit=st.one_of(st.none(), st.integers(1, 3)))
    def requeue(self, limit: int | None) -> None:
        """Release what is due."""
        done = lifecycle.requeue_due(self.store, replace(self.chosen, requeue_limit=limit), now=self.now, actor="beat")
        _agree("requeued", done, self.reference.requeue(limit, self.now))

    @precondition(lambda self: self.chosen.lease_s is not None)
    @rule()
    def rescue(self) -> None:
        """Take back what dead workers hold."""
        done = lifecycle.rescue_expired(self.store, self.chosen, now=self.now, actor="beat")
        _agree("rescued", tuple(done), self.reference.rescue(self.now))

    @precondition(lambda self: self.held and self.chosen.lease_s is not None)
    @rule(worker=st.sampled_from(WORKERS))
    def outlive(self, worker: str) -> None:
        """Let all leases run out and a worker claim what is taken back: who held it before does not know."""
        self.now = round(self.now + (self.chosen.lease_s or 0.0), 6)
        self.rescue()
        # All there is: what was queued before would else be claimed in its place.
        self.claim(worker, len(self.reference.events))

    @precondition(lambda self: self.chosen.sweep_after_s is not None)
    @rule()
    def sweep(self) -> None:
        """Announce again what has waited too long."""
        after_s = self.chosen.sweep_after_s or 0.0
        found = lifecycle.sweep_queued(self.store, now=self.now, sweep_after_s=after_s)
        _agree("swept", found, self.reference.sweep(after_s, self.now))

    @rule(limit=st.integers(1, 3), heard=st.booleans())
    def relay(self, limit: int, heard: bool) -> None:
        """Publish what is owed; without a subscriber it stays owed."""
        told = [note.event_id for note in outbox.unpublished(self.store, limit)]
        owed = [event for event in self.reference.events.values() if event.published is False]
        _agree("told", len(told), min(limit, len(owed)))
        if heard:
            outbox.mark_published(self.store, told, now=self.now)
            for event_id in told:
                self.reference.events[event_id].published = True

    @precondition(lambda self: self.reference.events)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Replay a dead event, where there is one; others refuse."""
        extinct = [event.event_id for event in self.reference.those("EXTINCT")]
        event_id = data.draw(st.sampled_from(extinct or sorted(self.reference.events)))
        done = lifecycle.replay(self.store, event_id, now=self.now, actor="operator")
        _agree("replayed", done, self.reference.replay(event_id, self.now))

    # --- what must hold after each step

    @invariant()
    def no_event_is_lost_and_none_appears(self) -> None:
        """Every event that was submitted is there, once."""
        expected = sorted(self.reference.events)
        _agree("events", sorted(row["id"] for row in _rows(self.store, event_table)), expected)
        _agree("rows", sorted(row["event_id"] for row in _rows(self.store, processing_state)), expected)

    @invariant()
    def every_row_is_as_the_reference_has_it(self) -> None:
        """Each column of each row."""
        for row in _rows(self.store, processing_state):
            event = self.reference.events[row["event_id"]]
            expected = {name: getattr(event, name) for name in COLUMNS}
            _agree(f"the row of event {event.event_id}", {name: row[name] for name in COLUMNS}, expected)

    @invariant()
    def the_logs_and_the_outbox_are_as_the_reference_has_them(self) -> None:
        """Which edges were taken, how attempts ended, what was published."""
        published = {row["event_id"]: row["published_at"] is not None for row in _rows(self.store, notification)}
        moved, ended = defaultdict(list), defaultdict(list)
        for row in _rows(self.store, transition):
            moved[row["event_id"]].append(row["cause"])
        for row in _rows(self.store, attempt):
            ended[row["event_id"]].append(row["outcome"])
        for event_id, event in self.reference.events.items():
            found = moved[event_id], ended[event_id], published.get(event_id)
            _agree(f"the story of event {event_id}", found, (event.history, event.ends, event.published))


def _submission(number: int) -> Submission:
    return Submission(number, f"key-{number}", 7, "normal", {"n": number})


def _seen(event: ClaimedEvent | Expected) -> tuple[int, int, int, int]:
    return event.event_id, event.attempt_no, event.retry_count, event.crash_count


def _rows(store: Store, table: Table) -> Iterator[Any]:
    """Return a table's rows, a log's in the order in which they were written."""
    columns = table.c
    key = columns.seq if "seq" in columns else columns.event_id if "event_id" in columns else columns.id
    with store.begin() as connection:
        yield from connection.execute(select(table).order_by(key)).mappings().all()


def _agree(what: str, found: object, expected: object) -> None:
    """Raise AssertionError with both where they differ: pytest explains asserts of test files only."""
    if found != expected:
        raise AssertionError(f"{what}: the store has {found}, the reference {expected}")
