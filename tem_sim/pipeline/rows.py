"""How rows of `processing_state` are picked and changed, for all who do: always with who, when and why."""

from typing import Any

from sqlalchemy import Select, bindparam, literal_column, update

from tem_sim.pipeline.states import Cause, State
from tem_sim.pipeline.tables import processing_state

_row = processing_state.c


def status_is(state: State) -> Any:
    """Compare the status with a literal, not a bind: the planner must see that the partial index applies."""
    return _row.status == literal_column(f"'{state}'")


# Changes rows on the busy paths. Where a trigger may refuse a row, SQLite keeps a journal per statement, to undo the
# half that was done; OR FAIL spares it, and whoever meets the refusal rolls the whole transaction back anyway.
CHANGE = update(processing_state).prefix_with("OR FAIL", dialect="sqlite")


def moved(cause: Cause) -> dict[Any, Any]:
    """Return the columns that every change of a row sets: its version, and who moved it, when and why."""
    return {
        _row.version: _row.version + literal_column("1"),
        _row.changed_at: bindparam("now"),
        _row.changed_by: bindparam("actor"),
        _row.cause: literal_column(f"'{cause}'"),
    }


def update_picked(pick: Select[tuple[int]], values: dict[Any, Any]) -> dict[str, Any]:
    """Return, per dialect, one UPDATE of the rows that `pick` selects.

    PostgreSQL: a MATERIALIZED CTE with SKIP LOCKED, then UPDATE … FROM; under `WHERE id IN (SELECT … LIMIT … FOR UPDATE
    SKIP LOCKED)` one plan was seen to run the subquery again per row and update far more than the limit.
    """
    picked = pick.with_for_update(skip_locked=True, of=processing_state).cte("picked")
    locked = picked.prefix_with("MATERIALIZED", dialect="postgresql")
    change = CHANGE.values(values)
    return {
        "postgresql": change.where(_row.event_id == locked.c.event_id),
        "sqlite": change.where(_row.event_id.in_(pick)),
    }


# What a row has in the queue, wherever it comes from.
REQUEUED: dict[Any, Any] = {
    _row.status: literal_column(f"'{State.QUEUED}'"),
    _row.next_retry_at: None,
    _row.lease_owner: None,
    _row.lease_expires_at: None,
    _row.queued_at: bindparam("now"),
    _row.woken_at: bindparam("now"),
}
