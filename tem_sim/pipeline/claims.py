"""Claiming events: under a lease, with a token that grows each time, and kept as long as its worker is at it."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Select, Text, bindparam, cast, func, literal_column, select, type_coerce, update

from tem_sim.pipeline import shared_state
from tem_sim.pipeline.conflicts import rerun_on_conflict
from tem_sim.pipeline.ports import ClaimedEvent
from tem_sim.pipeline.rows import CHANGE, moved, status_is, update_picked
from tem_sim.pipeline.settings import ClaimOrder, Settings
from tem_sim.pipeline.states import Cause, State
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tables import event_table, processing_state

# A lease that never runs out, for pipelines whose lease is switched off: the year 9999. Not its end, which is in the
# year 10 000 east of Greenwich, and there PostgreSQL's clients can't follow.
NEVER_S = 253_370_764_800.0

_row = processing_state.c

# --- in which order

_RETRIED = _row.retry_count > literal_column("0")
_ORDERS: dict[ClaimOrder, tuple[Any, ...]] = {
    ClaimOrder.OLDEST_FIRST: (_row.queued_at, _row.event_id),
    ClaimOrder.NEW_FIRST: (_RETRIED, _row.queued_at, _row.event_id),
    ClaimOrder.NEWEST_FIRST: (_row.queued_at.desc(), _row.event_id.desc()),
}
# Not among the tables' own indexes: every change of a row would pay for it, and the other orders have no use for it.
NEW_FIRST_INDEX_NAME = "processing_state_new_first"
_NEW_FIRST_INDEX = (
    f"CREATE INDEX IF NOT EXISTS {NEW_FIRST_INDEX_NAME} ON processing_state "
    f"((retry_count > 0), queued_at, event_id) WHERE status = '{State.QUEUED}'"
)


def prepare(store: Store, settings: Settings) -> None:
    """Create the index that the order of claiming needs, once before the first claim.

    Without it `new_first` works, and costs more with every retry that is waiting.
    """
    if settings.claim_order is ClaimOrder.NEW_FIRST:
        store.create_index(_NEW_FIRST_INDEX)


def _in_order(rows: Iterable[tuple[Any, ...]], order: ClaimOrder) -> list[tuple[Any, ...]]:
    """Sort claimed rows, which begin with `queued_at`, event id, attempt and retry count, as they were picked."""
    if order is ClaimOrder.NEW_FIRST:
        return sorted(rows, key=lambda row: (row[3] > 0, row))
    return sorted(rows, reverse=order is ClaimOrder.NEWEST_FIRST)


# --- claim

_AS_CLAIMED: dict[Any, Any] = {
    _row.status: literal_column(f"'{State.PROCESSING}'"),
    _row.attempt_no: _row.attempt_no + literal_column("1"),
    _row.lease_owner: bindparam("actor"),
    _row.lease_expires_at: bindparam("lease_expires_at"),
    _row.started_at: None,
    **moved(Cause.CLAIM),
}
_CLAIMED = (
    _row.queued_at,
    _row.event_id,
    _row.attempt_no,
    _row.retry_count,
    _row.crash_count,
    _row.version,
    _row.last_delay_s,
    _row.life_began_at,
)


def _claim_in(order: tuple[Any, ...]) -> dict[str, Any]:
    pick = select(_row.event_id).where(status_is(State.QUEUED)).order_by(*order).limit(bindparam("limit"))
    change = update_picked(pick, _AS_CLAIMED)
    return {dialect: statement.returning(*_CLAIMED) for dialect, statement in change.items()}


_CLAIM = {order: _claim_in(columns) for order, columns in _ORDERS.items()}


def _select_events(payload: Any) -> Select[Any]:
    """Select what a handler needs to know, with the payload as text: most handlers never look at it."""
    columns = event_table.c.id, event_table.c.user_id, event_table.c.kind, payload
    return select(*columns).where(event_table.c.id.in_(bindparam("ids", expanding=True)))


_EVENTS = {
    "sqlite": _select_events(type_coerce(event_table.c.payload, Text)),
    "postgresql": _select_events(cast(event_table.c.payload, Text)),
}


@rerun_on_conflict
def claim(store: Store, settings: Settings, *, now: float, worker: str) -> list[ClaimedEvent]:
    """Claim up to a batch of QUEUED events, by default the longest waiting first, under a lease.

    Each claim raises the row's `attempt_no`: the token that its worker must show to finish it. Nothing is claimed while
    as many other workers hold events as the concurrency limit allows, or the circuit is open.
    """
    expires_at = NEVER_S if settings.lease_s is None else round(now + settings.lease_s, 6)
    values: dict[str, Any] = {"now": now, "actor": worker, "lease_expires_at": expires_at}
    with store.begin() as connection:
        values["limit"], is_probe = _allowed(store, connection, settings, now, worker)
        if not values["limit"]:
            return []
        # UPDATE … RETURNING gives its rows in no order; they are handled as they were picked. Tuples compare faster.
        claimed = connection.execute(_CLAIM[settings.claim_order][store.dialect], values)
        rows = _in_order(map(tuple, claimed), settings.claim_order)
        if not rows:
            return []
        found = connection.execute(_EVENTS[store.dialect], {"ids": [row[1] for row in rows]})
        about = {row[0]: row[1:] for row in map(tuple, found)}
        if is_probe:
            shared_state.probe(connection, now)
        if settings.retry_budget is not None:
            # An event whose worker died has been tried before, though it has not failed.
            shared_state.pay_in(connection, settings.retry_budget, sum(not (row[3] or row[4]) for row in rows))
    # An event that was replayed counts as created then: there its budget of total time begins anew.
    return [ClaimedEvent._make((*row[1:-1], *about[row[1]], row[-1])) for row in rows]


def _allowed(store: Store, connection: Connection, settings: Settings, now: float, worker: str) -> tuple[int, bool]:
    """Return how many events may be claimed, and whether that is a probe of an open circuit."""
    limit = settings.concurrency_limit
    if limit is not None and not _has_place(store, connection, limit, now, worker):
        return 0, False
    probes = None if settings.breaker is None else shared_state.admit(store, connection, settings.breaker, now)
    if probes is None:
        return settings.batch_size, False
    return min(settings.batch_size, probes), True


_HOLDERS = select(func.count(_row.lease_owner.distinct())).where(
    status_is(State.PROCESSING), _row.lease_expires_at > bindparam("now"), _row.lease_owner != bindparam("actor")
)
# Any number that nothing else in the database locks.
_PLACES_LOCK = 7_364_922


def _has_place(store: Store, connection: Connection, limit: int, now: float, worker: str) -> bool:
    """Return whether fewer than `limit` other workers hold events, so that this one may.

    A worker handles its batch one by one: as many as hold events, so many calls of the handler there are at most. A
    lease that has run out holds no place; else a dead worker and a dead scheduler together would stop the rest.
    """
    if store.dialect == "postgresql":
        # Two that count at the same time would both find the last place free. SQLite has one writer at a time anyway.
        # The lock is the database's, and a database may hold the tables of several pipelines.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_PLACES_LOCK}, hashtext(current_schema()))")
    holders: int = connection.execute(_HOLDERS, {"now": now, "actor": worker}).scalar_one()
    return holders < limit


_MARK_STARTED = (
    update(processing_state)
    .where(_row.event_id == bindparam("id"), status_is(State.PROCESSING), _row.attempt_no == bindparam("token"))
    .values(started_at=bindparam("now"))
)


@rerun_on_conflict
def mark_started(store: Store, claimed: ClaimedEvent, *, now: float) -> bool:
    """Record that an event under suspicion goes to its handler now; return False if it is not this claim's any more.

    When a worker dies, every event of its batch gets one crash to its name, since nobody knows which one did it. From
    then on only the event that was really in its handler is blamed; this is how the rescue knows.
    """
    with store.begin() as connection:
        values = {"id": claimed.event_id, "token": claimed.attempt_no, "now": now}
        return connection.execute(_MARK_STARTED, values).rowcount == 1


_RENEW = (
    CHANGE.where(
        _row.event_id.in_(bindparam("ids", expanding=True)),
        status_is(State.PROCESSING),
        _row.lease_owner == bindparam("worker"),
    )
    .values(lease_expires_at=bindparam("lease_expires_at"))
    .returning(_row.event_id, _row.attempt_no)
)


@rerun_on_conflict
def renew(
    store: Store, settings: Settings, events: Sequence[ClaimedEvent], *, now: float, worker: str
) -> list[ClaimedEvent]:
    """Extend the lease of claimed events that are not settled yet; return those that this worker still holds.

    What is missing from the answer was rescued meanwhile and belongs to another, or will: to go on with it would only
    repeat its side effects.
    """
    if settings.lease_s is None or not events:
        return list(events)
    until = round(now + settings.lease_s, 6)
    values = {"ids": [event.event_id for event in events], "worker": worker, "lease_expires_at": until}
    with store.begin() as connection:
        held = set(map(tuple, connection.execute(_RENEW, values)))
    return [event for event in events if (event.event_id, event.attempt_no) in held]
