"""Code that is broken on purpose, as first versions are: what searches the schedules must find it."""

from __future__ import annotations

from sqlalchemy import select, update

from tem_sim.pipeline.conflicts import rerun_on_conflict
from tem_sim.pipeline.settings import Settings
from tem_sim.pipeline.states import Cause, State
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tables import processing_state

_row = processing_state.c


@rerun_on_conflict
def stale_claim(store: Store, settings: Settings, *, now: float, worker: str) -> list[tuple[int, int]]:
    """Read which events are QUEUED, then write each by its id; return their ids and tokens.

    Between the two another may claim them, and this one takes no notice.
    """
    claimed = []
    with store.begin() as connection:
        read = select(_row.event_id, _row.attempt_no, _row.version).where(_row.status == str(State.QUEUED))
        for event_id, attempt_no, version in connection.execute(read.order_by(_row.event_id)).all():
            values = {
                "status": str(State.PROCESSING),
                "attempt_no": attempt_no + 1,
                "version": version + 1,
                "lease_owner": worker,
                "lease_expires_at": now + (settings.lease_s or 0.0),
                "changed_at": now,
                "changed_by": worker,
                "cause": str(Cause.CLAIM),
            }
            connection.execute(update(processing_state).where(_row.event_id == event_id).values(values))
            claimed.append((event_id, attempt_no + 1))
    return claimed
