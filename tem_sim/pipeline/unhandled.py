"""Claims that end without a call of the handler, each for a reason of its own in both logs.

An event that is not called counts no failure: its `retry_count` and its next delay stay as they are.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, bindparam, insert, literal_column

from tem_sim.pipeline.conflicts import rerun_on_conflict
from tem_sim.pipeline.ports import ClaimedEvent
from tem_sim.pipeline.rows import CHANGE, REQUEUED, moved, status_is
from tem_sim.pipeline.states import Cause, State
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tables import attempt, processing_state

_row = processing_state.c
_STILL_HELD = and_(
    _row.event_id == bindparam("id"),
    status_is(State.PROCESSING),
    _row.attempt_no == bindparam("token"),
    _row.lease_owner == bindparam("actor"),
)
_EXPIRE = CHANGE.where(_STILL_HELD).values(
    {
        _row.status: literal_column(f"'{State.EXTINCT}'"),
        _row.lease_owner: None,
        _row.lease_expires_at: None,
        _row.finished_at: bindparam("now"),
        _row.last_error: literal_column("'its deadline passed before its handler was called'"),
        **moved(Cause.EXPIRED),
    }
)

_RELEASE = CHANGE.where(_STILL_HELD).values({**REQUEUED, **moved(Cause.RELEASE)})


def _record(how: str) -> Any:
    return insert(attempt).values(
        event_id=bindparam("id"),
        attempt_no=bindparam("token"),
        worker=bindparam("actor"),
        finished_at=bindparam("now"),
        outcome=literal_column(f"'{how}'"),
    )


_RECORD_EXPIRED = _record("expired")
_RECORD_RELEASED = _record("released")


def expire(store: Store, events: Sequence[ClaimedEvent], *, now: float, worker: str) -> int:
    """End claimed events as EXTINCT, since their deadline has passed; return how many were still this worker's."""
    return _end(store, _EXPIRE, _RECORD_EXPIRED, events, now, worker)


def release(store: Store, events: Sequence[ClaimedEvent], *, now: float, worker: str) -> int:
    """Put claimed events back to QUEUED, since a call would only fail; return how many were still this worker's."""
    return _end(store, _RELEASE, _RECORD_RELEASED, events, now, worker)


@rerun_on_conflict
def _end(store: Store, change: Any, record: Any, events: Sequence[ClaimedEvent], now: float, worker: str) -> int:
    """Change and record each event that this claim still holds; what has another holder by now is left alone."""
    if not events:
        return 0
    values = [{"id": event.event_id, "token": event.attempt_no, "now": now, "actor": worker} for event in events]
    with store.begin() as connection:
        ours = [row for row in values if connection.execute(change, row).rowcount == 1]
        store.execute_many(connection, record, ours)
    return len(ours)
