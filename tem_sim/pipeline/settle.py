"""Finishing attempts: what becomes of each event, and the guard that keeps a late worker off another's row.

A batch of outcomes settles in one transaction. When any of its rows turns out not to be the worker's any more, the
whole of it is rolled back and each outcome settles alone, so that one superseded or refused event touches no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, insert, literal_column, select, update
from sqlalchemy.exc import IntegrityError

from tem_sim.pipeline.conflicts import rerun_on_conflict
from tem_sim.pipeline.ports import Chance, ClaimedEvent, Notification
from tem_sim.pipeline.rows import CHANGE, moved, status_is
from tem_sim.pipeline.settings import Settings, WriteGuard
from tem_sim.pipeline.states import Cause, State
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tables import attempt, notification, processing_state

_row = processing_state.c


class Outcome(NamedTuple):
    """How one attempt ended in its handler: times on the worker's clock, and the error where it failed."""

    claimed: ClaimedEvent
    started_at: float
    finished_at: float
    error: str | None


class Decision(NamedTuple):
    """What a failed attempt leads to: another try at `next_retry_at`, or EXTINCT when that is None."""

    delay_s: float | None
    next_retry_at: float | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What one settling did: notifications owed, and how many outcomes were thrown away as superseded."""

    notifications: list[Notification]
    superseded: int


class _SupersededError(Exception):
    """A finishing write that found its row in other hands: roll back all of it."""


def decide(outcome: Outcome, failures: int, settings: Settings, chance: Chance) -> Decision:
    """Decide what follows the `failures`-th failure of an event: when to retry, or to give up.

    The jitter is drawn from a stream of this event and attempt alone, so one event's luck never moves another's.
    """
    claimed, policy = outcome.claimed, settings.policy
    if policy.max_retries is not None and failures > policy.max_retries:
        return Decision(None, None)
    rng = chance.stream("backoff", claimed.event_id, claimed.attempt_no)
    delay_s = round(policy.delay(failures, rng, claimed.last_delay_s), 6)
    if policy.gives_up(failures, outcome.finished_at - claimed.created_at, delay_s):
        return Decision(None, None)
    return Decision(delay_s, round(outcome.finished_at + delay_s, 6))


# --- the statements


_GUARDS: dict[WriteGuard, tuple[Any, ...]] = {
    WriteGuard.STALE: (),
    WriteGuard.REFRESH: (),
    WriteGuard.ROW_LOCK: (),
    WriteGuard.VERSION: (_row.version == bindparam("seen_version"),),
    WriteGuard.FENCED: (
        status_is(State.PROCESSING),
        _row.attempt_no == bindparam("token"),
        _row.lease_owner == bindparam("actor"),
    ),
}
_NULL: Any = literal_column("NULL")


def _finish(to: State, cause: Cause, values: dict[Any, Any]) -> dict[WriteGuard, Any]:
    """Return the write that ends an attempt in a state, for each guard; what it does not set, it clears.

    NULLs are literals: the driver spends more on binding a None than on a number.
    """
    cleared = (_row.next_retry_at, _row.lease_owner, _row.lease_expires_at, _row.finished_at)
    changes = {
        **dict.fromkeys(cleared, _NULL),
        **moved(cause),
        _row.status: literal_column(f"'{to}'"),
        **values,
    }
    ours = _row.event_id == bindparam("id")
    return {guard: CHANGE.where(ours, *conditions).values(changes) for guard, conditions in _GUARDS.items()}


_FINISH = {
    State.PROCESSED: _finish(
        State.PROCESSED,
        Cause.OK,
        {_row.finished_at: bindparam("finished"), _row.last_error: _NULL, _row.last_delay_s: _NULL},
    ),
    State.FAILED: _finish(
        State.FAILED,
        Cause.ERROR,
        {
            _row.next_retry_at: bindparam("due"),
            _row.retry_count: bindparam("failures"),
            _row.last_error: bindparam("fault"),
            _row.last_delay_s: bindparam("delay_s"),
        },
    ),
    State.EXTINCT: _finish(
        State.EXTINCT,
        Cause.EXHAUSTED,
        {
            _row.finished_at: bindparam("finished"),
            _row.retry_count: bindparam("failures"),
            _row.last_error: bindparam("fault"),
        },
    ),
}
_READ = select(_row.event_id, _row.retry_count).where(_row.event_id.in_(bindparam("ids", expanding=True)))
_LOCK = _READ.order_by(_row.event_id).with_for_update()
_COUNT_FAILURE = (
    update(processing_state)
    .where(_row.event_id == bindparam("id"))
    .values(
        {
            _row.retry_count: _row.retry_count + 1,
            _row.last_error: bindparam("fault"),
            _row.version: _row.version + 1,
        }
    )
)


def _record(how: str, **values: Any) -> Any:
    """Return the row of the attempt log for an outcome."""
    known = ("event_id", "id"), ("attempt_no", "token"), ("worker", "actor")
    times = ("started_at", "started"), ("finished_at", "finished")
    binds: dict[str, Any] = {column: bindparam(name) for column, name in (*known, *times)}
    return insert(attempt).values(**binds, outcome=literal_column(f"'{how}'"), **values)


_RECORD = {
    State.PROCESSED: _record("ok"),
    State.FAILED: _record("error", error=bindparam("fault"), delay_s=bindparam("delay_s")),
    State.EXTINCT: _record("error", error=bindparam("fault")),
}
_RECORD_SUPERSEDED = _record("superseded", error=bindparam("fault"))
_OWE = insert(notification).values(
    event_id=bindparam("event_id"),
    user_id=bindparam("user_id"),
    dedupe_key=bindparam("dedupe_key"),
    created_at=bindparam("created_at"),
)


# --- settling


def settle(
    store: Store, settings: Settings, chance: Chance, outcomes: Sequence[Outcome], *, now: float, worker: str
) -> Settled:
    """Write the ends of these attempts: PROCESSED with its outbox row, FAILED with its next retry, or EXTINCT.

    An outcome whose row is not this worker's any more, by the guard or by the store's own refusal of an illegal edge,
    changes nothing but its attempt, which is recorded as superseded.
    """
    if settings.write_guard in (WriteGuard.STALE, WriteGuard.REFRESH):
        _count_failures(store, outcomes)
    try:
        return Settled(_settle_together(store, settings, chance, outcomes, now, worker), superseded=0)
    except (_SupersededError, IntegrityError):
        return _settle_apart(store, settings, chance, outcomes, now, worker)


@rerun_on_conflict
def _count_failures(store: Store, outcomes: Sequence[Outcome]) -> None:
    """Count failures in a transaction of their own, as the first version did before its finishing write."""
    failed = [{"id": o.claimed.event_id, "fault": o.error} for o in outcomes if o.error is not None]
    if failed:
        failed.sort(key=itemgetter("id"))
        with store.begin() as connection:
            store.execute_many(connection, _COUNT_FAILURE, failed)


def _settle_apart(
    store: Store, settings: Settings, chance: Chance, outcomes: Sequence[Outcome], now: float, worker: str
) -> Settled:
    owed: list[Notification] = []
    superseded = 0
    for outcome in outcomes:
        try:
            owed += _settle_together(store, settings, chance, [outcome], now, worker)
        except (_SupersededError, IntegrityError):
            superseded += 1
            _record_superseded(store, outcome, worker)
    return Settled(owed, superseded)


@rerun_on_conflict
def _record_superseded(store: Store, outcome: Outcome, worker: str) -> None:
    with store.begin() as connection:
        store.execute_many(connection, _RECORD_SUPERSEDED, [_superseded(outcome, worker)])


@rerun_on_conflict
def _settle_together(
    store: Store, settings: Settings, chance: Chance, outcomes: Sequence[Outcome], now: float, worker: str
) -> list[Notification]:
    guard = settings.write_guard
    owed = [_notification(outcome, settings) for outcome in outcomes if outcome.error is None]
    with store.begin() as connection:
        counted = _failures_so_far(connection, guard, outcomes)
        endings: dict[State, list[dict[str, object]]] = {State.PROCESSED: [], State.FAILED: [], State.EXTINCT: []}
        for outcome in outcomes:
            state, values = _ending(outcome, counted, settings, chance)
            values["now"], values["actor"] = now, worker
            endings[state].append(values)
        for state, rows in endings.items():
            if store.execute_many(connection, _FINISH[state][guard], rows) != len(rows):
                raise _SupersededError
            store.execute_many(connection, _RECORD[state], rows)
        if settings.outbox:
            store.execute_many(connection, _OWE, [_owed(note) for note in owed])
    return owed


def _failures_so_far(connection: Connection, guard: WriteGuard, outcomes: Sequence[Outcome]) -> dict[int, int] | None:
    """Return each event's failures if this one failed, as its guard sees them; None: as they were at the claim."""
    if _GUARDS[guard]:
        return None
    ids = [outcome.claimed.event_id for outcome in outcomes]
    read = _retry_counts(connection, _READ, ids) if guard is WriteGuard.REFRESH else {}
    # Without a token two workers may finish the same rows; locked in one order, neither waits for the other for ever.
    locked = _retry_counts(connection, _LOCK, ids)
    if guard is WriteGuard.STALE:
        return None
    if guard is WriteGuard.ROW_LOCK:
        return {event_id: count + 1 for event_id, count in locked.items()}
    # Under `refresh` the failure has been counted already, in the transaction before this one; a replay by hand in
    # between has set the count to 0.
    return {event_id: max(count, 1) for event_id, count in read.items()}


def _retry_counts(connection: Connection, statement: Any, event_ids: Sequence[int]) -> dict[int, int]:
    return {row.event_id: row.retry_count for row in connection.execute(statement, {"ids": event_ids})}


def _ending(
    outcome: Outcome, counted: dict[int, int] | None, settings: Settings, chance: Chance
) -> tuple[State, dict[str, object]]:
    """Return the state in which an attempt ends, and the values that its writes bind."""
    claimed, started_at, finished_at, error = outcome
    values: dict[str, object] = {
        "id": claimed.event_id,
        "token": claimed.attempt_no,
        "seen_version": claimed.version,
        "started": started_at,
        "finished": finished_at,
    }
    if error is None:
        return State.PROCESSED, values
    failures = claimed.retry_count + 1 if counted is None else counted[claimed.event_id]
    delay_s, next_retry_at = decide(outcome, failures, settings, chance)
    values["fault"] = error
    # The historic bug: the object read at the claim is written back whole, and with it the old count.
    values["failures"] = claimed.retry_count if settings.write_guard is WriteGuard.STALE else failures
    if next_retry_at is None:
        return State.EXTINCT, values
    values["delay_s"], values["due"] = delay_s, next_retry_at
    return State.FAILED, values


def _superseded(outcome: Outcome, worker: str) -> dict[str, object]:
    claimed, started_at, finished_at, error = outcome
    return {
        "id": claimed.event_id,
        "token": claimed.attempt_no,
        "actor": worker,
        "started": started_at,
        "finished": finished_at,
        "fault": error,
    }


def _notification(outcome: Outcome, settings: Settings) -> Notification:
    claimed = outcome.claimed
    key = f"event-{claimed.event_id}-processed" if settings.outbox else None
    return Notification(claimed.event_id, claimed.user_id, key, outcome.finished_at)


def _owed(note: Notification) -> dict[str, object]:
    return {
        "event_id": note.event_id,
        "user_id": note.user_id,
        "dedupe_key": note.dedupe_key,
        "created_at": note.created_at,
    }
