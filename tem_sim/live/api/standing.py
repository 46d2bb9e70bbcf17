"""How the pipeline stands, in three statements that read indexes only, however many events the store has."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, case, func, select

from tem_sim.pipeline.rows import status_is
from tem_sim.pipeline.states import CAUSES, Cause, State
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tables import Instant, notification, processing_state, transition

_row, _note, _move = processing_state.c, notification.c, transition.c

# What was logged longer ago than this is counted once. A transaction that is open for longer, and logs under a number
# that was given out before, is missed until all is counted again.
SETTLED_AFTER_S = 60.0
ALL_AGAIN_AFTER_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The pipeline at one instant; ages in seconds, 0 where there is nothing. `retrying`: QUEUED after a failure."""

    states: Counter[State]
    retrying: int
    causes: Counter[Cause]
    due_age_s: float
    queued_age_s: float
    overdue_leases: int
    unpublished: int
    unacknowledged: int

    def phases(self) -> dict[str, int]:
        """Return how many events are in each phase, in the order in which they go through them."""
        waiting = self.states[State.QUEUED] - self.retrying
        rest = (State.PROCESSING, State.FAILED, State.PROCESSED, State.EXTINCT)
        return {"QUEUED": waiting, "RETRY": self.retrying, **{state.value: self.states[state] for state in rest}}


def _one(what: Any, *where: Any) -> Any:
    return select(what).where(*where).scalar_subquery()


_NOW: Any = bindparam("now", type_=Instant)
_WAITING = select(
    _one(func.min(_row.next_retry_at), status_is(State.FAILED)).label("due_at"),
    _one(func.min(_row.queued_at), status_is(State.QUEUED)).label("queued_at"),
    _one(func.count(), status_is(State.QUEUED), _row.retry_count > 0).label("retrying"),
    _one(func.count(), status_is(State.PROCESSING), _row.lease_expires_at <= _NOW).label("overdue_leases"),
    _one(func.count(), _note.published_at.is_(None)).label("unpublished"),
    _one(func.count(), _note.acked_at.is_(None)).label("unacknowledged"),
)
_CUT: Any = bindparam("cut")
_NEXT_CUT = select(
    func.coalesce(
        func.min(case((_move.at > bindparam("settled", type_=Instant), _move.seq))) - 1, func.max(_move.seq), _CUT
    )
).where(_move.seq > _CUT)
_COUNTED = (
    select(_move.cause, func.count(), func.sum(case((_move.seq <= bindparam("next_cut"), 1), else_=0)))
    .where(_move.seq > _CUT)
    .group_by(_move.cause)
)


class Standings:
    """Asks how the pipeline stands, and remembers of the transition log what it has counted."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._cut = 0
        self._settled: Counter[Cause] = Counter()
        self._counted_all_at = clock()

    def __call__(self) -> Standing:
        """Return how it stands now; `store` reads from one snapshot."""
        with self._lock:
            now = self._clock()
            if now - self._counted_all_at > ALL_AGAIN_AFTER_S:
                self._cut, self._settled, self._counted_all_at = 0, Counter(), now
            with self._store.begin() as connection:
                waiting = connection.execute(_WAITING, {"now": now}).one()
                values = {"cut": self._cut, "settled": round(now - SETTLED_AFTER_S, 6)}
                next_cut = connection.execute(_NEXT_CUT, values).scalar_one()
                counted = connection.execute(_COUNTED, {**values, "next_cut": next_cut}).all()
            causes = self._settled + Counter({Cause(cause): count for cause, count, _ in counted})
            self._settled = self._settled + Counter({Cause(cause): int(settled) for cause, _, settled in counted})
            self._cut = next_cut
        return Standing(
            states=_states(causes),
            retrying=waiting.retrying,
            causes=causes,
            due_age_s=_age_s(waiting.due_at, now),
            queued_age_s=_age_s(waiting.queued_at, now),
            overdue_leases=waiting.overdue_leases,
            unpublished=waiting.unpublished,
            unacknowledged=waiting.unacknowledged,
        )


def _states(causes: Counter[Cause]) -> Counter[State]:
    """Return how many are in each state: each move takes one out of a state and puts it into another."""
    states: Counter[State] = Counter()
    for (before, after), through in CAUSES.items():
        moved = sum(causes[cause] for cause in through)
        states[after] += moved
        if before is not None:
            states[before] -= moved
    return states


def _age_s(since: float | None, now: float) -> float:
    return 0.0 if since is None else max(0.0, now - since)
