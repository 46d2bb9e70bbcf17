"""The lifecycle as a team would write it first: mapped classes, one session, one row, one commit per attempt.

The tables, triggers and CHECKs are the pipeline's own, in memory. No time is simulated: the clock is a number that the
loop moves on, so that only the lifecycle's own cost is measured, which is to the naive version's advantage. So is the
single commit: a version that commits PROCESSING before it calls the handler, as it must to be seen by others and
rescued, is measured beside it (`two_commits`).
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.orm import Session, registry

from benchmarks.measure import Measurement, peak_mb, timed
from benchmarks.storm import storm
from tem_sim.pipeline import tables
from tem_sim.pipeline.store import open_store

LEASE_S = 60.0
# As in scenarios/retry_storm.yaml.
BASE_S, CAP_S, MAX_RETRIES = 2.0, 60.0, 12
WORKER = "worker-1/0"

_mapped = registry(metadata=tables.metadata)


@_mapped.mapped
class Event:
    """An event."""

    __table__ = tables.event_table


@_mapped.mapped
class ProcessingState:
    """Where an event stands."""

    __table__ = tables.processing_state


@_mapped.mapped
class Attempt:
    """One attempt's end."""

    __table__ = tables.attempt


@_mapped.mapped
class Notification:
    """What a user is owed."""

    __table__ = tables.notification


class DownstreamError(Exception):
    """The downstream refused the call."""


@dataclass(slots=True)
class Worker:
    """One worker, its clock, and what is due when."""

    engine: Engine
    luck: random.Random
    outage_until_s: float
    two_commits: bool
    now: float = 0.0
    attempts: int = 0

    def submit(self, event_id: int) -> None:
        """Take one event in."""
        with Session(self.engine) as session:
            key, pad = f"event-{event_id}", {"pad": "x" * 100}
            event = Event(id=event_id, idempotency_key=key, user_id=1, kind="normal", payload=pad, created_at=self.now)
            session.add(event)
            session.flush()
            session.add(self._new_state(event_id))
            session.commit()

    def _new_state(self, event_id: int) -> ProcessingState:
        state = ProcessingState(event_id=event_id, status="QUEUED", queued_at=self.now, woken_at=self.now)
        state.life_began_at = self.now
        state.changed_at, state.changed_by, state.cause = self.now, "api", "submit"
        return state

    def process(self, event_id: int) -> float | None:
        """Make one attempt; return when the event is to be retried, or None when it is over."""
        self.attempts += 1
        with Session(self.engine) as session:
            state = session.get_one(ProcessingState, event_id)
            self._claim(state)
            session.flush()
            if self.two_commits:
                session.commit()
                session.refresh(state)
            event = session.get_one(Event, event_id)
            started_at = self.now
            try:
                self._call(event)
            except DownstreamError as failure:
                self._fail(session, state, started_at, str(failure))
            else:
                self._succeed(session, state, event, started_at)
            due = state.next_retry_at
            session.commit()
        return due

    def _claim(self, state: ProcessingState) -> None:
        state.attempt_no += 1
        state.lease_owner, state.lease_expires_at = WORKER, self.now + LEASE_S
        self._move(state, "PROCESSING", "claim")

    def _call(self, event: Event) -> None:
        self.now += 0.0005
        if self.now < self.outage_until_s:
            raise DownstreamError(f"downstream refuses connections for {event.kind} events")

    def _fail(self, session: Session, state: ProcessingState, started_at: float, error: str) -> None:
        state.retry_count += 1
        state.last_error = error
        delay_s = None
        if state.retry_count > MAX_RETRIES:
            state.finished_at = self.now
            self._move(state, "EXTINCT", "exhausted")
        else:
            delay_s = self.luck.uniform(0, min(CAP_S, BASE_S * 2 ** (state.retry_count - 1)))
            state.last_delay_s, state.next_retry_at = delay_s, self.now + delay_s
            self._move(state, "FAILED", "error")
        session.add(self._ended(state, started_at, "error", error, delay_s))

    def _succeed(self, session: Session, state: ProcessingState, event: Event, started_at: float) -> None:
        state.finished_at = self.now
        self._move(state, "PROCESSED", "ok")
        session.add(self._ended(state, started_at, "ok", None, None))
        key = f"event-{event.id}-processed"
        owed = Notification(event_id=event.id, user_id=event.user_id, dedupe_key=key, created_at=self.now)
        session.add(owed)

    def _ended(
        self, state: ProcessingState, started_at: float, outcome: str, error: str | None, delay_s: float | None
    ) -> Attempt:
        ended = Attempt(event_id=state.event_id, attempt_no=state.attempt_no, worker=WORKER, outcome=outcome)
        ended.started_at, ended.finished_at, ended.error, ended.delay_s = started_at, self.now, error, delay_s
        return ended

    def requeue(self, event_id: int) -> None:
        """Put one due event back in the queue."""
        with Session(self.engine) as session:
            state = session.get_one(ProcessingState, event_id)
            state.next_retry_at, state.queued_at, state.woken_at = None, self.now, self.now
            self._move(state, "QUEUED", "retry")
            session.commit()

    def _move(self, state: ProcessingState, to: str, cause: str) -> None:
        state.status, state.cause, state.changed_at, state.changed_by = to, cause, self.now, WORKER
        state.version += 1
        if to != "PROCESSING":
            state.lease_owner, state.lease_expires_at = None, None


def _run(worker: Worker, events: int) -> None:
    """Submit events and work until every one of them is over."""
    for event_id in range(1, events + 1):
        worker.submit(event_id)
    queue, waiting = deque(range(1, events + 1)), list[tuple[float, int]]()
    while queue or waiting:
        if not queue:
            worker.now = max(worker.now, waiting[0][0])
        while waiting and waiting[0][0] <= worker.now:
            event_id = heapq.heappop(waiting)[1]
            worker.requeue(event_id)
            queue.append(event_id)
        event_id = queue.popleft()
        due = worker.process(event_id)
        if due is not None:
            heapq.heappush(waiting, (due, event_id))


def measure(events: int, two_commits: bool = False) -> Measurement:
    """Run the naive lifecycle over that many events."""
    _mapped.configure()
    outage_until_s = max(fault.at_s + (fault.for_s or 0.0) for fault in storm().faults)
    with timed() as watch:
        store = open_store()
        worker = Worker(store.engine, random.Random(1), outage_until_s, two_commits)
        _run(worker, events)
    store.close()
    name = "orm, two commits" if two_commits else "orm"
    facts = {"events": float(events), "amplification": worker.attempts / events}
    return Measurement(name, worker.attempts, watch.cpu_s, watch.wall_s, peak_mb(), facts)
