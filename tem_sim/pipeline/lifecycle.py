"""The life of an event, each step one short transaction: submit, requeue, rescue, sweep, replay.

Claiming is in `claims`, finishing an attempt in `settle`, telling the user in `outbox`. Every function takes the time
as an argument, and what it decides is in the database when it returns.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, func, insert, literal_column, select, update
from sqlalchemy.exc import IntegrityError

from tem_sim.pipeline import shared_state
from tem_sim.pipeline.conflicts import rerun_on_conflict
from tem_sim.pipeline.rows import REQUEUED, moved, status_is, update_picked
from tem_sim.pipeline.settings import Settings
from tem_sim.pipeline.states import Cause, State
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tables import attempt, event_table, processing_state

_row = processing_state.c

# --- submit


@dataclass(frozen=True, slots=True)
class Submission:
    """One event as the API takes it in. The application chooses the id, so that both stores number alike."""

    event_id: int
    idempotency_key: str
    user_id: int
    kind: str
    payload: object


class Submitted(NamedTuple):
    """The answer to one submission: the event that stands, and whether this call created it.

    `same` is False where the key was used before with another user, kind or payload.
    """

    event_id: int
    created: bool
    same: bool


_INSERT_EVENT = insert(event_table)
_INSERT_STATE = insert(processing_state).values(
    event_id=bindparam("id"),
    status=literal_column(f"'{State.QUEUED}'"),
    queued_at=bindparam("created_at"),
    woken_at=bindparam("created_at"),
    life_began_at=bindparam("created_at"),
    changed_at=bindparam("created_at"),
    changed_by=bindparam("actor"),
    cause=literal_column(f"'{Cause.SUBMIT}'"),
)
_FIND_BY_KEY = select(event_table.c.id, event_table.c.user_id, event_table.c.kind, event_table.c.payload).where(
    event_table.c.idempotency_key == bindparam("key")
)


# How many ids an event is given before a store that has them all is taken to be broken.
_IDS_TRIED = 5


def submit(
    store: Store,
    submissions: Sequence[Submission],
    *,
    now: float,
    actor: str,
    another_id: Callable[[], int] | None = None,
) -> list[Submitted]:
    """Accept events: `event` and QUEUED `processing_state` rows, all of them durable when this returns.

    A key that was seen before creates nothing and answers with the event that stands. Submissions in one call share a
    transaction; where a key is known already, each gets its own. An id that another key's event has is an
    IntegrityError, or, where `another_id` gives one, replaced.
    """
    if not submissions:
        return []
    try:
        _insert_all(store, submissions, now, actor)
        return [Submitted(s.event_id, created=True, same=True) for s in submissions]
    except IntegrityError:
        return [_submit_one(store, submission, now, actor, another_id) for submission in submissions]


@rerun_on_conflict
def _insert_all(store: Store, submissions: Sequence[Submission], now: float, actor: str) -> None:
    with store.begin() as connection:
        _insert_events(store, connection, submissions, now, actor)


def _insert_events(
    store: Store, connection: Connection, submissions: Sequence[Submission], now: float, actor: str
) -> None:
    # Two requests with the same keys in different orders would each wait for the other on PostgreSQL.
    in_order = sorted(submissions, key=lambda submission: submission.idempotency_key)
    connection.execute(
        _INSERT_EVENT,
        [
            {
                "id": s.event_id,
                "idempotency_key": s.idempotency_key,
                "user_id": s.user_id,
                "kind": s.kind,
                "payload": s.payload,
                "created_at": now,
            }
            for s in in_order
        ],
    )
    states = [{"id": s.event_id, "created_at": now, "actor": actor} for s in submissions]
    store.execute_many(connection, _INSERT_STATE, states)


def _submit_one(
    store: Store, submission: Submission, now: float, actor: str, another_id: Callable[[], int] | None
) -> Submitted:
    tried = 0
    while True:
        try:
            _insert_all(store, [submission], now, actor)
            return Submitted(submission.event_id, created=True, same=True)
        except IntegrityError:
            found = _find(store, submission.idempotency_key)
            if found is not None:
                return Submitted(found.id, created=False, same=_is_same(found, submission))
            # The key is new, so it is the id that another event has.
            tried += 1
            if another_id is None or tried == _IDS_TRIED:
                raise
        submission = replace(submission, event_id=another_id())


def _is_same(found: Any, submission: Submission) -> bool:
    """Return whether the event that stands says the same, by its JSON: to Python, 1 and true would be."""
    return (found.user_id, found.kind, _canonical(found.payload)) == (
        submission.user_id,
        submission.kind,
        _canonical(json.loads(json.dumps(submission.payload))),
    )


def _canonical(payload: object) -> str:
    return json.dumps(payload, sort_keys=True)


@rerun_on_conflict
def _find(store: Store, key: str) -> Any:
    with store.begin() as connection:
        return connection.execute(_FIND_BY_KEY, {"key": key}).one_or_none()


# --- how many wait

_SOME: Any = bindparam("most")
_WAITING: Any = sum(
    (
        select(func.count())
        .select_from(select(literal_column("1")).where(status_is(state)).limit(_SOME).subquery())
        .scalar_subquery()
        for state in (State.QUEUED, State.PROCESSING, State.FAILED)
    ),
    start=literal_column("0"),
)


@rerun_on_conflict
def open_events(store: Store, most: int) -> int:
    """Count the events that are not terminal, of each state up to `most`, so that a long backlog costs no more."""
    with store.begin() as connection:
        counted: int = connection.execute(select(_WAITING), {"most": most}).scalar_one()
    return counted


_QUEUED = select(func.count()).select_from(processing_state).where(status_is(State.QUEUED))


@rerun_on_conflict
def queued_events(store: Store) -> int:
    """Count the QUEUED events, all of them."""
    with store.begin() as connection:
        counted: int = connection.execute(_QUEUED).scalar_one()
    return counted


# --- requeue what is due

_REQUEUE_DUE = update_picked(
    select(_row.event_id)
    .where(status_is(State.FAILED), _row.next_retry_at <= bindparam("now"))
    .order_by(_row.next_retry_at, _row.event_id)
    .limit(bindparam("limit")),
    {**REQUEUED, **moved(Cause.RETRY)},
)
# Both stores take a limit of this size for none.
_NO_LIMIT = 2**31 - 1


@rerun_on_conflict
def requeue_due(store: Store, settings: Settings, *, now: float, actor: str, at_most: int | None = None) -> int:
    """Move FAILED events whose `next_retry_at` has come to QUEUED, the longest due first; return how many.

    No more than the limit of one tick, nor than `at_most`, nor than the retry budget has tokens. What is left stays
    FAILED and due.
    """
    limit = min(_NO_LIMIT if most is None else most for most in (settings.requeue_limit, at_most))
    with store.begin() as connection:
        if settings.retry_budget is None:
            return _requeue(store, connection, limit, now, actor)
        bucket = shared_state.lock_bucket(store, connection, settings.retry_budget, now)
        moved = _requeue(store, connection, min(limit, bucket.whole), now, actor)
        if moved:
            shared_state.save_bucket(connection, bucket.less(moved))
        return moved


def _requeue(store: Store, connection: Connection, limit: int, now: float, actor: str) -> int:
    return connection.execute(_REQUEUE_DUE[store.dialect], {"limit": limit, "now": now, "actor": actor}).rowcount


# --- rescue what a dead worker left


class Rescued(NamedTuple):
    """What one rescue did: events put back to QUEUED, and events given up as crashing."""

    requeued: int
    extinct: int


class _MovedMeanwhileError(Exception):
    """A row that was read as expired is in other hands when it is written: roll all of it back."""


_EXPIRED = (
    select(
        _row.event_id,
        _row.attempt_no,
        _row.lease_owner,
        _row.started_at,
        _row.crash_count,
    )
    .where(status_is(State.PROCESSING), _row.lease_expires_at <= bindparam("now"))
    .order_by(_row.lease_expires_at, _row.event_id)
    .with_for_update(skip_locked=True)
)
_EXPIRED_ONE = _EXPIRED.where(_row.event_id == bindparam("id"))
# SQLite may have let its worker settle it, or renew the lease, since it was read.
_STILL_THERE = and_(
    _row.event_id == bindparam("id"),
    status_is(State.PROCESSING),
    _row.attempt_no == bindparam("token"),
    _row.lease_expires_at <= bindparam("now"),
)
_PUT_BACK = (
    update(processing_state)
    .where(_STILL_THERE)
    .values({**REQUEUED, _row.crash_count: bindparam("crashes"), **moved(Cause.RESCUE)})
)
_GIVE_UP = (
    update(processing_state)
    .where(_STILL_THERE)
    .values(
        {
            _row.status: literal_column(f"'{State.EXTINCT}'"),
            _row.crash_count: bindparam("crashes"),
            _row.lease_owner: None,
            _row.lease_expires_at: None,
            _row.finished_at: bindparam("now"),
            _row.last_error: literal_column("'crash budget spent: lease lost too often'"),
            **moved(Cause.CRASHED),
        }
    )
)
_RECORD_LOST = insert(attempt).values(
    event_id=bindparam("id"),
    attempt_no=bindparam("token"),
    worker=bindparam("owner"),
    started_at=bindparam("started"),
    finished_at=bindparam("now"),
    outcome=literal_column("'lost'"),
    error=literal_column("'lease expired'"),
)


def rescue_expired(store: Store, settings: Settings, *, now: float, actor: str) -> Rescued:
    """Take back PROCESSING events whose lease has expired; those that crashed their workers too often become EXTINCT.

    Their attempts are recorded as lost. `crash_count` is kept apart from `retry_count`: a worker's death says little
    about the event, and must not eat its retries. One transaction does it for all of them; when a worker settles or
    renews one in the middle of it, each gets its own, and that one is left alone.
    """
    found: list[int] = []
    try:
        return _rescue(store, settings, now, actor, found, _EXPIRED, {"now": now})
    except _MovedMeanwhileError:
        done = [_rescue_one(store, settings, now, actor, event_id) for event_id in found]
        return Rescued(sum(one.requeued for one in done), sum(one.extinct for one in done))


def _rescue_one(store: Store, settings: Settings, now: float, actor: str, event_id: int) -> Rescued:
    try:
        return _rescue(store, settings, now, actor, [], _EXPIRED_ONE, {"now": now, "id": event_id})
    except _MovedMeanwhileError:
        return Rescued(0, 0)


@rerun_on_conflict
def _rescue(
    store: Store,
    settings: Settings,
    now: float,
    actor: str,
    found: list[int],
    expired_rows: Any,
    values: dict[str, Any],
) -> Rescued:
    """Rescue what a query finds, and leave in `found` what that was; raise if a row has moved before it was written."""
    budget = _NO_LIMIT if settings.crash_budget is None else settings.crash_budget
    with store.begin() as connection:
        expired = [_lost(row, now, actor) for row in connection.execute(expired_rows, values)]
        found[:] = [row["id"] for row in expired]
        back = [row for row in expired if row["crashes"] <= budget]
        dead = [row for row in expired if row["crashes"] > budget]
        moved = store.execute_many(connection, _PUT_BACK, back) + store.execute_many(connection, _GIVE_UP, dead)
        if moved != len(expired):
            raise _MovedMeanwhileError
        store.execute_many(connection, _RECORD_LOST, expired)
    return Rescued(requeued=len(back), extinct=len(dead))


def _lost(row: Any, now: float, actor: str) -> dict[str, Any]:
    blamed = row.crash_count == 0 or row.started_at is not None
    return {
        "id": row.event_id,
        "token": row.attempt_no,
        "owner": row.lease_owner,
        "started": row.started_at,
        "crashes": row.crash_count + blamed,
        "now": now,
        "actor": actor,
    }


# --- sweep what nobody was woken for

_SWEEP = update_picked(
    select(_row.event_id).where(status_is(State.QUEUED), _row.woken_at <= bindparam("before")),
    {_row.woken_at: bindparam("now")},
)


@rerun_on_conflict
def sweep_queued(store: Store, *, now: float, sweep_after_s: float) -> int:
    """Count the QUEUED events for which no wake-up was sent in the last `sweep_after_s`, and note that one is sent now.

    The caller sends it. A wake-up is only a hint, so one too many does no harm; `woken_at` keeps a long backlog from
    being woken again on every tick.
    """
    with store.begin() as connection:
        values = {"now": now, "before": round(now - sweep_after_s, 6)}
        return connection.execute(_SWEEP[store.dialect], values).rowcount


# --- replay by hand

_REPLAY = (
    update(processing_state)
    .where(_row.event_id == bindparam("id"), status_is(State.EXTINCT))
    .values(
        {
            **REQUEUED,
            _row.retry_count: 0,
            _row.crash_count: 0,
            _row.replay_count: _row.replay_count + 1,
            _row.last_delay_s: None,
            _row.finished_at: None,
            _row.life_began_at: bindparam("now"),
            **moved(Cause.REPLAY),
        }
    )
)


@rerun_on_conflict
def replay(store: Store, event_id: int, *, now: float, actor: str) -> bool:
    """Give an EXTINCT event a new life with a full retry budget; return False when it is not EXTINCT.

    The only way out of the dead letters, and only by hand. The caller sends the wake-up.
    """
    with store.begin() as connection:
        return connection.execute(_REPLAY, {"id": event_id, "now": now, "actor": actor}).rowcount == 1
