"""What the store holds at a moment, in a few numbers: for the table of `live up` and for the API's metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, case, func, literal_column, select

from tem_sim.pipeline.states import State
from tem_sim.pipeline.tables import notification, processing_state

if TYPE_CHECKING:
    from sqlalchemy import Connection

# In the order in which an event goes through them. RETRY is the phase of a QUEUED event that has failed before.
PHASES = ("QUEUED", "RETRY", "PROCESSING", "FAILED", "PROCESSED", "EXTINCT")

_row = processing_state.c


def _is(state: State) -> Any:
    # As a literal, since an index with a condition is of no use to a parameter.
    return _row.status == literal_column(f"'{state}'")


_PHASE = case((and_(_is(State.QUEUED), _row.retry_count > 0), "RETRY"), else_=_row.status).label("phase")
_PHASES: Select[Any] = select(_PHASE, func.count()).group_by(_PHASE)
_OLDEST_QUEUED: Select[Any] = select(func.min(_row.queued_at)).where(_is(State.QUEUED))
_OLDEST_FAILED: Select[Any] = select(func.min(_row.next_retry_at)).where(_is(State.FAILED))


def _expired(now: float) -> Select[Any]:
    return select(func.count()).where(_is(State.PROCESSING), _row.lease_expires_at < now)


_UNPUBLISHED: Select[Any] = select(func.count()).where(notification.c.published_at.is_(None))
_UNACKED: Select[Any] = select(func.count()).where(notification.c.acked_at.is_(None))


@dataclass(frozen=True, slots=True)
class Counts:
    """How many events are in each phase, and what waits.

    `oldest_due_age_s`: since when the event that has been due the longest waits, for a worker from when it was queued,
    for its retry from when that was due; None where none does. `leases_expired`: events whose worker let its lease run
    out, and that nobody has rescued yet.
    """

    events: dict[str, int]
    oldest_due_age_s: float | None
    leases_expired: int
    unpublished: int
    unacknowledged: int


def counts(connection: Connection, now: float) -> Counts:
    """Read the numbers; `now` is in epoch seconds."""
    found = {row[0]: row[1] for row in connection.execute(_PHASES)}
    due = [connection.execute(oldest).scalar_one() for oldest in (_OLDEST_QUEUED, _OLDEST_FAILED)]
    ages_s = [now - at for at in due if at is not None and at <= now]
    return Counts(
        events={phase: found.get(phase, 0) for phase in PHASES},
        oldest_due_age_s=round(max(ages_s), 6) if ages_s else None,
        leases_expired=connection.execute(_expired(now)).scalar_one(),
        unpublished=connection.execute(_UNPUBLISHED).scalar_one(),
        unacknowledged=connection.execute(_UNACKED).scalar_one(),
    )
