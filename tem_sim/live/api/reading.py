"""What the API shows of the store: one event with its timeline, pages of events."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, bindparam, select

from tem_sim.live.api.models import Attempt, Event, Notification, Page, Phase, Timeline, Transition
from tem_sim.live.tokens import Holder
from tem_sim.pipeline.rows import status_is
from tem_sim.pipeline.states import State
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tables import attempt, event_table, notification, processing_state, transition

_row, _event = processing_state.c, event_table.c
_STATE = ("retry_count", "crash_count", "replay_count", "attempt_no", "last_error", "next_retry_at", "finished_at")
_SUMMARY = (
    *(_event.id.label("event_id"), _event.user_id, _event.kind, _event.created_at, _row.status),
    *(_row[name] for name in _STATE),
)
_ID: Any = bindparam("id")
_ONE: Select[Any] = select(*_SUMMARY, _event.payload).join_from(event_table, processing_state).where(_event.id == _ID)


def _log(table: Any, model: type[Transition] | type[Attempt]) -> Select[Any]:
    columns = (table.c[name] for name in model.model_fields)
    return select(*columns).where(table.c.event_id == _ID).order_by(table.c.seq)


_TRANSITIONS = _log(transition, Transition)
_ATTEMPTS = _log(attempt, Attempt)
_NOTIFICATION = select(*(notification.c[name] for name in Notification.model_fields)).where(
    notification.c.event_id == _ID
)


def timeline(store: Store, holder: Holder, event_id: int) -> Timeline | None:
    """Return an event with all that happened to it, as of one instant; None when the holder sees no such event."""
    of = {"id": event_id}
    with store.begin() as connection:
        found = connection.execute(_ONE, of).mappings().one_or_none()
        if found is None or not holder.may_see(found["user_id"]):
            return None
        moves = connection.execute(_TRANSITIONS, of).mappings().all()
        attempts = connection.execute(_ATTEMPTS, of).mappings().all()
        note = connection.execute(_NOTIFICATION, of).mappings().one_or_none()
    return Timeline(
        **_shown(found),
        transitions=[Transition(**move) for move in moves],
        attempts=[Attempt(**one) for one in attempts],
        notification=None if note is None else Notification(**note),
    )


def page(store: Store, holder: Holder, phase: Phase | None, *, after: int, limit: int) -> Page:
    """Return the holder's next events after an id, those in one phase alone when one is given."""
    wanted = select(*_SUMMARY).join_from(event_table, processing_state).where(_event.id > after)
    if not holder.operator:
        wanted = wanted.where(_event.user_id == holder.user_id)
    if phase is not None:
        wanted = wanted.where(*_is_in(phase))
    with store.begin() as connection:
        rows = connection.execute(wanted.order_by(_event.id).limit(limit + 1)).mappings().all()
    events = [Event(**_shown(row)) for row in rows[:limit]]
    return Page(events=events, next=events[-1].event_id if len(rows) > limit else None)


def _is_in(phase: Phase) -> tuple[Any, ...]:
    if phase is Phase.RETRY:
        return status_is(State.QUEUED), _row.retry_count > 0
    if phase is Phase.QUEUED:
        return status_is(State.QUEUED), _row.retry_count == 0
    return (status_is(State(phase)),)


def _shown(row: Any) -> dict[str, Any]:
    return {**row, "status": Phase.of(row["status"], row["retry_count"])}
