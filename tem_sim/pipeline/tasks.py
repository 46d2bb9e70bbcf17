"""The tasks that workers and the scheduler run, over the ports; under Celery and under simulated time the same.

Each task is a chain of short transactions with the waiting in between. A wake-up is always sent after the commit of
what it announces, and losing one loses nothing: the database is the truth, the sweep finds what nobody was woken for.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tem_sim.pipeline import claims, lifecycle, outbox, shared_state, unhandled
from tem_sim.pipeline.breaker import CircuitBreaker, CircuitState
from tem_sim.pipeline.lifecycle import Submission, Submitted
from tem_sim.pipeline.ports import (
    Broker,
    Chance,
    ClaimedEvent,
    Clock,
    Failpoints,
    Handler,
    NoFailpoints,
    Notification,
    Publisher,
    Unavailable,
)
from tem_sim.pipeline.settings import Isolation, Settings
from tem_sim.pipeline.settle import Outcome, settle
from tem_sim.pipeline.shedding import Overloaded
from tem_sim.pipeline.store import Store

MAX_ERROR_LENGTH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """One process's view of the pipeline: the store and settings, and its own ports."""

    store: Store
    settings: Settings
    clock: Clock
    chance: Chance
    broker: Broker
    publisher: Publisher
    handler: Handler
    failpoints: Failpoints = NoFailpoints()  # noqa: RUF009  It has no state.


def submit_events(
    pipe: Pipeline, submissions: Sequence[Submission], *, actor: str, another_id: Callable[[], int] | None = None
) -> list[Submitted]:
    """Accept events and wake workers for those that are new; raise `Overloaded` while too many wait already.

    `another_id` gives an id to an event whose own turns out to be taken (see `lifecycle.submit`).
    """
    shedding = pipe.settings.shedding
    if shedding is not None and lifecycle.open_events(pipe.store, shedding.above + 1) > shedding.above:
        raise Overloaded(shedding.retry_after_s)
    answers = lifecycle.submit(pipe.store, submissions, now=pipe.clock.now(), actor=actor, another_id=another_id)
    _wake(pipe, sum(answer.created for answer in answers))
    return answers


def process_events_batch(pipe: Pipeline, *, worker: str) -> int:
    """Claim a batch, hand each event to the handler, settle the outcomes; return how many events were claimed."""
    pipe.failpoints.reach("before_claim")
    batch = claims.claim(pipe.store, pipe.settings, now=pipe.clock.now(), worker=worker)
    if not batch:
        return 0
    pipe.failpoints.reach("after_claim")
    # Events whose worker died before go last, each settled apart: what they may kill must not take others with it.
    batch.sort(key=lambda event: event.crash_count > 0)
    _work_off(pipe, batch, worker)
    if pipe.settings.concurrency_limit is not None:
        # Others were refused meanwhile, and their wake-ups are spent: who leaves a place calls the next to it.
        _wake(pipe, 1)
    return len(batch)


class _Hold:
    """A worker's hold on its batch: the lease is renewed when half of it is over, between two events."""

    def __init__(self, pipe: Pipeline, worker: str) -> None:
        self._pipe = pipe
        self._worker = worker
        self._half_s = math.inf if pipe.settings.lease_s is None else pipe.settings.lease_s / 2
        self._renew_at = pipe.clock.now() + self._half_s

    @property
    def is_due(self) -> bool:
        """Whether half of the lease is over."""
        return self._pipe.clock.now() >= self._renew_at

    def keep(self, events: Sequence[ClaimedEvent]) -> Sequence[ClaimedEvent]:
        """Renew the lease of these events; return those that are still the worker's."""
        now = self._pipe.clock.now()
        self._renew_at = now + self._half_s
        return claims.renew(self._pipe.store, self._pipe.settings, events, now=now, worker=self._worker)


class _CircuitOpenError(Exception):
    """What was settled last has shown that calls only fail at present: leave the rest of the batch alone."""


def _work_off(pipe: Pipeline, batch: Sequence[ClaimedEvent], worker: str) -> None:
    """Hand events to the handler one by one, and settle the outcomes as often as the settings say.

    What is done is also settled before the lease is renewed, so that only what is still to do needs one. When the
    circuit turns out open by then, what is still to do is given back.
    """
    hold = _Hold(pipe, worker)
    together = pipe.settings.isolation is Isolation.BATCH
    every = len(batch) if together else _settles_every(pipe.settings)
    to_do, done = deque(batch), list[Outcome]()
    try:
        while to_do:
            if hold.is_due:
                if not together:
                    _settle(pipe, done, worker)
                    done = []
                to_do = deque(hold.keep(to_do))
                if not to_do:
                    break
            if to_do[0].crash_count or len(done) >= every:
                _settle(pipe, done, worker)
                done = []
            if _is_overdue(pipe, to_do[0]):
                to_do = _expire_overdue(pipe, to_do, worker)
                continue
            event = to_do.popleft()
            if event.crash_count:
                _work_off_suspect(pipe, event, worker)
            else:
                done.append(_handle(pipe, event))
        _settle(pipe, done, worker)
    except _CircuitOpenError:
        unhandled.release(pipe.store, to_do, now=pipe.clock.now(), worker=worker)


def _settles_every(settings: Settings) -> int:
    """Return after how many outcomes to settle: with a breaker, soon enough for it to hear of failures."""
    breaker = settings.breaker
    return settings.settle_every if breaker is None else min(settings.settle_every, breaker.minimum_calls)


def _work_off_suspect(pipe: Pipeline, event: ClaimedEvent, worker: str) -> None:
    if not claims.mark_started(pipe.store, event, now=pipe.clock.now()):
        return
    if _is_overdue(pipe, event):
        _expire_overdue(pipe, [event], worker)
    else:
        _settle(pipe, [_handle(pipe, event)], worker)


def _is_overdue(pipe: Pipeline, event: ClaimedEvent) -> bool:
    deadline_s = pipe.settings.deadline_s
    return deadline_s is not None and pipe.clock.now() - event.created_at >= deadline_s


def _expire_overdue(pipe: Pipeline, events: Sequence[ClaimedEvent], worker: str) -> deque[ClaimedEvent]:
    """End all of these events whose deadline has passed, in one transaction; return the others."""
    overdue = [event for event in events if _is_overdue(pipe, event)]
    unhandled.expire(pipe.store, overdue, now=pipe.clock.now(), worker=worker)
    return deque(event for event in events if event not in overdue)


def _handle(pipe: Pipeline, event: ClaimedEvent) -> Outcome:
    pipe.failpoints.reach("before_handle")
    started_at = pipe.clock.now()
    error = None
    try:
        pipe.handler.handle(event)
    except Exception as failure:
        error = _describe(failure)
    finished_at = pipe.clock.now()
    pipe.failpoints.reach("after_handle")
    return Outcome(event, started_at, finished_at, error)


def _describe(failure: Exception) -> str:
    """Return the failure as text that any store can hold: else one event's odd message would fail its whole batch."""
    try:
        text = f"{type(failure).__name__}: {failure}"
    except Exception:
        text = f"{type(failure).__name__}: (its message cannot be read)"
    return text[:MAX_ERROR_LENGTH].replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _fail_together(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Fail the whole batch for its first failure, as a task that lets the exception escape does."""
    first = next((outcome.error for outcome in outcomes if outcome.error is not None), None)
    if first is None:
        return list(outcomes)
    return [Outcome(o.claimed, o.started_at, o.finished_at, first) for o in outcomes]


def _settle(pipe: Pipeline, outcomes: Sequence[Outcome], worker: str) -> None:
    if not outcomes:
        return
    if pipe.settings.isolation is Isolation.BATCH:
        outcomes = _fail_together(outcomes)
    pipe.failpoints.reach("before_settle")
    settled = settle(pipe.store, pipe.settings, pipe.chance, outcomes, now=pipe.clock.now(), worker=worker)
    pipe.failpoints.reach("after_settle")
    if settled.notifications and not pipe.settings.outbox:
        _publish_directly(pipe, settled.notifications)
    if pipe.settings.breaker is not None:
        _report(pipe, pipe.settings.breaker, outcomes)


def _report(pipe: Pipeline, breaker: CircuitBreaker, outcomes: Sequence[Outcome]) -> None:
    """Tell the circuit how the calls went; whoever closes it announces all that was left alone meanwhile."""
    failures = sum(outcome.error is not None for outcome in outcomes)
    before, after = shared_state.report(pipe.store, breaker, len(outcomes), failures, pipe.clock.now())
    if after.state is CircuitState.OPEN:
        raise _CircuitOpenError
    if before.state is CircuitState.HALF_OPEN:
        _wake(pipe, lifecycle.queued_events(pipe.store))


def _publish_directly(pipe: Pipeline, notifications: Sequence[Notification]) -> None:
    """Publish as the first version did: after the commit, once, with nobody to notice when it fails."""
    pipe.failpoints.reach("before_publish")
    try:
        pipe.publisher.publish(notifications)
    except Unavailable:
        return
    pipe.failpoints.reach("after_publish")


def retry_failed_events(pipe: Pipeline, *, actor: str) -> int:
    """Requeue FAILED events that are due and wake workers for them; return how many.

    While the circuit is open none is, and after its cool-down no more than a probe needs. That wakes a worker whether
    anything was due or not: nobody else would, since the wake-ups of those that are QUEUED are spent.
    """
    breaker, probes = pipe.settings.breaker, None
    if breaker is not None:
        now = pipe.clock.now()
        probes = breaker.allowed(shared_state.read_circuit(pipe.store, now), now)
    due = 0
    if probes != 0:
        due = lifecycle.requeue_due(pipe.store, pipe.settings, now=pipe.clock.now(), actor=actor, at_most=probes)
    _wake(pipe, max(due, 1) if probes else due)
    return due


def rescue_lost_events(pipe: Pipeline, *, actor: str) -> int:
    """Take back expired leases, find QUEUED events nobody was woken for, and wake workers; return how many."""
    settings = pipe.settings
    found = 0
    if settings.lease_s is not None:
        rescued = lifecycle.rescue_expired(pipe.store, settings, now=pipe.clock.now(), actor=actor)
        found += rescued.requeued
    if settings.sweep_after_s is not None:
        found += lifecycle.sweep_queued(pipe.store, now=pipe.clock.now(), sweep_after_s=settings.sweep_after_s)
    _wake(pipe, found)
    return found


def replay_event(pipe: Pipeline, event_id: int, *, actor: str) -> bool:
    """Give an EXTINCT event a new life and wake a worker for it; return False when it is not EXTINCT."""
    replayed = lifecycle.replay(pipe.store, event_id, now=pipe.clock.now(), actor=actor)
    _wake(pipe, int(replayed))
    return replayed


def relay_notifications(pipe: Pipeline) -> int:
    """Publish what the outbox owes; return how many notifications reached a subscriber.

    One that reached nobody stays owed and is published again at the next tick.
    """
    owed = outbox.unpublished(pipe.store, pipe.settings.relay_limit)
    if not owed:
        return 0
    pipe.failpoints.reach("before_publish")
    try:
        receivers = pipe.publisher.publish(owed)
    except Unavailable:
        return 0
    pipe.failpoints.reach("after_publish")
    reached = [note.event_id for note, count in zip(owed, receivers, strict=True) if count]
    outbox.mark_published(pipe.store, reached, now=pipe.clock.now())
    return len(reached)


def _wake(pipe: Pipeline, events: int) -> None:
    """Send as many wake-ups as batches are waiting, after the commit that queued them."""
    if not events:
        return
    pipe.failpoints.reach("after_commit_before_wake")
    try:
        pipe.broker.wake(-(-events // pipe.settings.batch_size))
    except Unavailable:
        # The rows are durable and QUEUED; the sweep wakes a worker for them.
        return
