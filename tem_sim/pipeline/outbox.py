"""The outbox: a notification is owed from the transaction that made its event PROCESSED, until its user has it.

Publishing happens between two transactions, never inside one. A crash in between publishes again, under the same
`dedupe_key`, by which the user's client shows it once.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, bindparam, func, select, update

from tem_sim.pipeline.conflicts import rerun_on_conflict
from tem_sim.pipeline.ports import Notification
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tables import notification

_note = notification.c
_COLUMNS = _note.event_id, _note.user_id, _note.dedupe_key, _note.created_at
_UNPUBLISHED: Select[Any] = (
    select(*_COLUMNS)
    .where(_note.published_at.is_(None))
    .order_by(_note.created_at, _note.event_id)
    .limit(bindparam("limit"))
)
_UNACKED: Select[Any] = (
    select(*_COLUMNS)
    .where(
        _note.acked_at.is_(None),
        _note.user_id.in_(bindparam("users", expanding=True)),
    )
    .order_by(_note.user_id, _note.event_id)
)
_numbered = (
    select(*_COLUMNS, func.row_number().over(partition_by=_note.user_id, order_by=_note.event_id).label("number"))
    .where(_note.acked_at.is_(None), _note.user_id.in_(bindparam("users", expanding=True)))
    .subquery()
)
_FIRST_UNACKED: Select[Any] = (
    select(*(_numbered.c[column.name] for column in _COLUMNS))
    .where(_numbered.c.number <= bindparam("per_user"))
    .order_by(_numbered.c.user_id, _numbered.c.event_id)
)
_STILL_UNACKED: Select[Any] = select(_note.event_id).where(
    _note.acked_at.is_(None), _note.event_id.in_(bindparam("ids", expanding=True))
)
_PUBLISHED = (
    update(notification)
    .where(_note.event_id == bindparam("id"), _note.published_at.is_(None))
    .values(published_at=bindparam("now"))
)
_ACKED = (
    update(notification)
    .where(_note.event_id == bindparam("id"), _note.acked_at.is_(None))
    .values(acked_at=bindparam("now"))
)


@rerun_on_conflict
def unpublished(store: Store, limit: int) -> list[Notification]:
    """Return the oldest notifications that no subscriber has been given yet."""
    with store.begin() as connection:
        return [Notification(*row) for row in connection.execute(_UNPUBLISHED, {"limit": limit})]


def mark_published(store: Store, event_ids: Sequence[int], *, now: float) -> None:
    """Record that these notifications reached a subscriber."""
    _mark(store, _PUBLISHED, event_ids, now)


@rerun_on_conflict
def unacknowledged(store: Store, users: Sequence[int]) -> list[Notification]:
    """Return what these users have not acknowledged: a gateway sends it again when they connect.

    Published or not: a relay publishes before it commits that it did, and a user who connects in between has missed it.
    Where the relay comes after all, the client knows the key and shows it once.
    """
    if not users:
        return []
    with store.begin() as connection:
        return [Notification(*row) for row in connection.execute(_UNACKED, {"users": list(users)})]


@rerun_on_conflict
def first_unacknowledged(store: Store, users: Sequence[int], per_user: int) -> list[Notification]:
    """Return of each of these users what `unacknowledged` does, but no more than so many, the lowest ids first."""
    if not users:
        return []
    with store.begin() as connection:
        found = connection.execute(_FIRST_UNACKED, {"users": list(users), "per_user": per_user})
        return [Notification(*row) for row in found]


@rerun_on_conflict
def still_unacknowledged(store: Store, event_ids: Sequence[int]) -> set[int]:
    """Return which of these notifications their users have not acknowledged."""
    if not event_ids:
        return set()
    with store.begin() as connection:
        return set(connection.execute(_STILL_UNACKED, {"ids": list(event_ids)}).scalars())


def acknowledge(store: Store, event_ids: Sequence[int], *, now: float) -> None:
    """Record that the user's client has these notifications."""
    _mark(store, _ACKED, event_ids, now)


@rerun_on_conflict
def _mark(store: Store, statement: Any, event_ids: Sequence[int], now: float) -> None:
    if event_ids:
        with store.begin() as connection:
            store.execute_many(connection, statement, [{"id": i, "now": now} for i in event_ids])
