"""Finishing attempts: what becomes of each event, and the guard that keeps a late worker off another's row.

A batch of outcomes settles in one transaction. When any of its rows turns out not to be the worker's any more, the
whole of it is rolled back and each outcome settles alone, so that one superseded or refused event touches no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, literal_column, select, update
from sqlalchemy.exc import IntegrityError

from tem_sim.pipeline.lifecycle import moved, status_is
from tem_sim.pipeline.ports import Chance, ClaimedEvent, Notification
from tem_sim.pipeline.settings import Settings, WriteGuard
from tem_sim.pipeline.states import Cause, State
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tables import attempt, notification, processing_state

_row = processing_state.c
# Plain strings: binding an enum's member costs a look-up each time.
_PROCESSED, _FAILED, _EXTINCT = State.PROCESSED.value, State.FAILED.value, State.EXTINCT.value
_OK, _ERROR, _EXHAUSTED = Cause.OK.value, Cause.ERROR.value, Cause.EXHAUSTED.value


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended in its handler: times on the worker's clock, and the error where it failed."""

    claimed: ClaimedEvent
    started_at: float
    finished_at: float
    error: str | None


@dataclass(frozen=True, slots=True)
class Decision:
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


def _finish(*guard: Any) -> Any:
    """Return the finishing write: everything an attempt's end sets, on the rows that the guard lets through."""
    return (
        update(processing_state)
        .where(_row.event_id == bindparam("id"), *guard)
        .values(
            {
                **moved(Cause.OK),
                _row.status: bindparam("to"),
                _row.cause: bindparam("why"),
                _row.retry_count: bindparam("failures"),
                _row.next_retry_at: bindparam("due"),
                _row.finished_at: bindparam("ended"),
                _row.last_error: bindparam("fault"),
                _row.last_delay_s: bindparam("delay_s"),
                _row.lease_owner: literal_column("NULL"),
                _row.lease_expires_at: literal_column("NULL"),
            }
        )
    )


_FINISH = {
    WriteGuard.STALE: _finish(),
    WriteGuard.REFRESH: _finish(),
    WriteGuard.ROW_LOCK: _finish(),
    WriteGuard.VERSION: _finish(_row.version == bindparam("seen_version")),
    WriteGuard.FENCED: _finish(
        status_is(State.PROCESSING),
        _row.attempt_no == bindparam("token"),
        _row.lease_owner == bindparam("actor"),
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
_RECORD_ATTEMPT = insert(attempt).values(
    event_id=bindparam("id"),
    attempt_no=bindparam("token"),
    worker=bindparam("worker"),
    started_at=bindparam("started"),
    finished_at=bindparam("finished"),
    outcome=bindparam("how"),
    error=bindparam("fault"),
    delay_s=bindparam("delay_s"),
)
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


def _count_failures(store: Store, outcomes: Sequence[Outcome]) -> None:
    """Count failures in a transaction of their own, as the first version did before its finishing write."""
    failed = [{"id": o.claimed.event_id, "fault": o.error} for o in outcomes if o.error is not None]
    if failed:
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
            with store.begin() as connection:
                record = _record(outcome, "superseded", None, worker)
                store.execute_many(connection, _RECORD_ATTEMPT, [record])
    return Settled(owed, superseded)


def _settle_together(
    store: Store, settings: Settings, chance: Chance, outcomes: Sequence[Outcome], now: float, worker: str
) -> list[Notification]:
    owed = [_notification(outcome, settings) for outcome in outcomes if outcome.error is None]
    with store.begin() as connection:
        counted = _failures_so_far(connection, settings.write_guard, outcomes)
        finishing, records = [], []
        for outcome in outcomes:
            finish = _finishing(outcome, counted, settings, chance)
            finish["now"], finish["actor"] = now, worker
            finishing.append(finish)
            how = "ok" if outcome.error is None else "error"
            records.append(_record(outcome, how, finish["delay_s"], worker))
        if store.execute_many(connection, _FINISH[settings.write_guard], finishing) != len(finishing):
            raise _SupersededError
        store.execute_many(connection, _RECORD_ATTEMPT, records)
        if settings.outbox:
            store.execute_many(connection, _OWE, [_owed(note) for note in owed])
    return owed


def _failures_so_far(connection: Connection, guard: WriteGuard, outcomes: Sequence[Outcome]) -> dict[int, int] | None:
    """Return each event's failures, this one included, as its guard sees them; None: as they were at the claim."""
    if guard not in (WriteGuard.REFRESH, WriteGuard.ROW_LOCK):
        return None
    ids = [outcome.claimed.event_id for outcome in outcomes]
    statement = _LOCK if guard is WriteGuard.ROW_LOCK else _READ
    read = {row.event_id: row.retry_count for row in connection.execute(statement, {"ids": ids})}
    # Under `refresh` the failure has been counted already, in the transaction before this one.
    not_yet = 1 if guard is WriteGuard.ROW_LOCK else 0
    return {o.claimed.event_id: read[o.claimed.event_id] + (not_yet if o.error else 0) for o in outcomes}


def _finishing(
    outcome: Outcome, counted: dict[int, int] | None, settings: Settings, chance: Chance
) -> dict[str, object]:
    """Return the bind values of one finishing write."""
    claimed = outcome.claimed
    seen = claimed.retry_count + (outcome.error is not None)
    failures = seen if counted is None else counted[claimed.event_id]
    values: dict[str, object] = {
        "id": claimed.event_id,
        "token": claimed.attempt_no,
        "seen_version": claimed.version,
        "failures": failures,
        "fault": outcome.error,
        "due": None,
        "delay_s": None,
        "ended": None,
    }
    if outcome.error is None:
        values |= {"to": _PROCESSED, "why": _OK, "ended": outcome.finished_at}
        return values
    decision = decide(outcome, max(failures, 1), settings, chance)
    if settings.write_guard is WriteGuard.STALE:
        # The historic bug: the object read at the claim is written back whole, and with it the old count.
        values["failures"] = claimed.retry_count
    if decision.next_retry_at is None:
        values |= {"to": _EXTINCT, "why": _EXHAUSTED, "ended": outcome.finished_at}
    else:
        values |= {
            "to": _FAILED,
            "why": _ERROR,
            "due": decision.next_retry_at,
            "delay_s": decision.delay_s,
        }
    return values


def _record(outcome: Outcome, how: str, delay_s: object, worker: str) -> dict[str, object]:
    return {
        "id": outcome.claimed.event_id,
        "token": outcome.claimed.attempt_no,
        "worker": worker,
        "started": outcome.started_at,
        "finished": outcome.finished_at,
        "how": how,
        "fault": outcome.error,
        "delay_s": delay_s,
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
