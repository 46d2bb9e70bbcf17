"""The life of one event in true order, and which event's life is worth reading first.

Built from the frames. What they do not hold is not here: renewals of a lease, a worker's death (only that its lease
ran out), the instant at which a zombie's write was refused, and the wake-up after a replay by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tem_sim.analysis.rules import rules
from tem_sim.analysis.wakeups import wakes

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

# What may happen to an event, with what it says of the moment.
STEPS: dict[str, str] = {
    "submitted": "the event and its row are in the store",
    "woken": "wake-ups are sent for it and the rows beside it",
    "claimed": "a worker's claim is committed",
    "called": "the handler is called",
    "effect": "the downstream applies the side effect",
    "answered": "the handler's call ends",
    "lease end": "the lease runs out, unless it was renewed",
    "failed": "the failure is committed, with the delay until the retry",
    "due": "the retry may be requeued from now on; not told where that was so before the failure's commit",
    "requeued": "a tick of the scheduler puts the row back into the queue",
    "rescued": "the scheduler takes back a lease that ran out",
    "released": "its worker gives it back uncalled, since the circuit is open",
    "processed": "PROCESSED is committed",
    "extinct": "EXTINCT is committed: no further retry",
    "replayed": "an operator brings it back from EXTINCT",
    "outbox": "the notification is owed, in the same transaction",
    "published": "a subscriber has been given the notification",
    "shown": "the user's client shows it",
    "acked": "the outbox row is settled for good",
    "end": "the run ends, and the event has not",
}
COLUMNS = ("t_s", "what", "actor", "attempt_no", "detail")

_BY_CAUSE = {
    "submit": "submitted",
    "claim": "claimed",
    "ok": "processed",
    "error": "failed",
    "exhausted": "extinct",
    "crashed": "extinct",
    "expired": "extinct",
    "release": "released",
    "retry": "requeued",
    "rescue": "rescued",
    "replay": "replayed",
}
_RANK = {what: rank for rank, what in enumerate(STEPS)}


class Fact(NamedTuple):
    """One thing that happened; `order` puts it in its place among the others, whatever the clocks say."""

    order: tuple[float, int, int]
    t_s: float
    what: str
    actor: str
    attempt_no: int
    detail: str


def timeline(run: Run, event_id: int) -> pd.DataFrame:
    """Return the life of one event, a row per thing that happened, in true order.

    Columns: `t_s` (seconds since the run's start, by the clock of who wrote it), `what` (a key of `STEPS`), `actor`
    ("" where nobody acts), `attempt_no` (0 where it is about none), `detail` (in words). Under a skewed clock the order
    is that of the transition log, and `t_s` may go backwards. Raises `KeyError` for an event that the run has not.
    """
    import pandas as pd

    life = _Life.of(run, event_id)
    facts = sorted([*_steps(life), *_calls(life), *_waits(life), *_telling(life), *_rest(life)])
    rows = [(fact.t_s, fact.what, fact.actor, fact.attempt_no, fact.detail) for fact in facts]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"t_s": "float64", "attempt_no": "int64"})


@dataclass(frozen=True, slots=True, eq=False)
class _Life:
    """One event's rows of each frame; `ordered_s` are its transitions' times made to run forward."""

    run: Run
    event: Any
    log: list[Any]
    attempts: list[Any]
    notes: list[Any]
    ordered_s: list[float]

    @staticmethod
    def of(run: Run, event_id: int) -> _Life:
        rows = {name: _rows_of(run, name, event_id) for name in ("events", "transitions", "attempts", "notifications")}
        if not rows["events"] and not rows["transitions"]:
            raise KeyError(f"no event {event_id} in this run")
        log = sorted(rows["transitions"], key=lambda row: row.seq)
        ordered_s = np.maximum.accumulate([row.at_s for row in log]).tolist() if log else []
        event = rows["events"][0] if rows["events"] else None
        return _Life(run, event, log, rows["attempts"], rows["notifications"], ordered_s)

    def fact(self, what: str, t_s: float, after: int, actor: str = "", attempt_no: int = 0, detail: str = "") -> Fact:
        """Place something that is no transition: no earlier than the transition `after`."""
        ordered_s = max(t_s, self.ordered_s[after]) if after < len(self.ordered_s) else t_s
        # The log keeps microseconds, what was seen outside the store does not.
        return Fact((round(ordered_s, 6), after, 1 + _RANK[what]), t_s, what, actor, attempt_no, detail)

    def claim_of(self, attempt_no: int) -> int:
        """Return the place in the log of an attempt's claim."""
        places = (i for i, row in enumerate(self.log) if row.cause == "claim" and row.attempt_no == attempt_no)
        return next(places, 0)

    def until(self, place: int) -> float:
        """Return when the transition after this one was, by the log's order; the run's end for the last."""
        return self.ordered_s[place + 1] if place + 1 < len(self.ordered_s) else self.run.end_s


def _rows_of(run: Run, name: str, event_id: int) -> list[Any]:
    frame = getattr(run, name)
    return list(frame[frame["event_id"] == event_id].itertuples(index=False))


# --- the facts


def _steps(life: _Life) -> Iterator[Fact]:
    """Yield a fact per transition."""
    for place, row in enumerate(life.log):
        detail = _DETAILS[row.cause](life, place) if row.cause in _DETAILS else ""
        order = (life.ordered_s[place], place, 0)
        yield Fact(order, row.at_s, _BY_CAUSE[row.cause], str(row.actor), row.attempt_no, detail)


def _claimed(life: _Life, place: int) -> str:
    lease_s = rules(life.run).settings.lease_s
    waited_s = life.ordered_s[place] - life.ordered_s[place - 1] if place else math.nan
    return f"after {_short(waited_s)} in the queue; " + ("no lease" if lease_s is None else f"lease of {lease_s:g} s")


def _failed(life: _Life, place: int) -> str:
    failures = life.log[place].retry_count
    due_s = _due_s(life, place)
    past = ", which is past already" if due_s < life.log[place].at_s else ""
    retry = "" if math.isnan(due_s) else f"; retry due at {due_s:.6f} s{past}"
    return f"retry_count {failures}{retry}"


def _requeued(life: _Life, place: int) -> str:
    row, log = life.log[place], life.run.transitions
    together = int(((log["at_s"] == row.at_s) & (log["cause"] == "retry") & (log["actor"] == row.actor)).sum())
    late_s = row.at_s - _due_s(life, place - 1)
    late = "" if math.isnan(late_s) else f"{_short(late_s)} after it was due; "
    return f"{late}{_count(together, 'row')} in this tick"


def _processed(life: _Life, place: int) -> str:
    lived_s = life.log[place].at_s - life.log[0].at_s
    return f"{_short(lived_s)} after the submit, with {_count(life.log[place].attempt_no, 'attempt')}"


_DETAILS: dict[str, Callable[[_Life, int], str]] = {
    "claim": _claimed,
    "error": _failed,
    "retry": _requeued,
    "ok": _processed,
    "exhausted": lambda life, place: f"given up after {_count(life.log[place].retry_count, 'failure')}",
    "crashed": lambda life, place: "given up: its lease was lost too often",
    "expired": lambda life, place: "given up: its deadline had passed",
}


def _due_s(life: _Life, place: int) -> float:
    """Return when the retry fell due that was booked by the failure at this place of the log."""
    number = life.log[place].attempt_no
    booked = (row.finished_s + row.delay_s for row in life.attempts if row.attempt_no == number)
    return next(booked, math.nan)


def _calls(life: _Life) -> Iterator[Fact]:
    """Yield what is known of each handler call; a lost one has no end, only the rescue."""
    for row in life.attempts:
        claim, actor = life.claim_of(row.attempt_no), str(row.worker)
        if not math.isnan(row.started_s):
            yield life.fact("called", row.started_s, claim, actor, row.attempt_no)
        if not math.isnan(row.effect_s):
            yield life.fact("effect", row.effect_s, claim, "downstream", row.attempt_no)
        if row.outcome in _ENDS and not math.isnan(row.finished_s):
            took_s = row.finished_s - row.started_s
            detail = f"{row.error if isinstance(row.error, str) else 'ok'}, after {_short(took_s)}{_ENDS[row.outcome]}"
            yield life.fact("answered", row.finished_s, claim, actor, row.attempt_no, detail)


_ENDS = {"ok": "", "error": "", "superseded": "; too late: its write was refused, the row was another's by then"}


def _waits(life: _Life) -> Iterator[Fact]:
    """Yield the ends of waiting: retries due, wake-ups sent, and leases that were still held when they ran out."""
    lease_s = rules(life.run).settings.lease_s
    for place, row in enumerate(life.log):
        if row.cause == "error" and row.at_s <= _due_s(life, place) <= life.run.end_s:
            yield life.fact("due", _due_s(life, place), place, attempt_no=row.attempt_no)
        if row.after == "QUEUED":
            yield from _wakes(life, place)
        if row.cause == "claim" and lease_s is not None and row.at_s + lease_s <= life.until(place):
            yield life.fact("lease end", row.at_s + lease_s, place, str(row.actor), row.attempt_no, "unless renewed")


def _wakes(life: _Life, place: int) -> Iterator[Fact]:
    row = life.log[place]
    for wake in wakes(life.run, row.event_id, row.cause, row.actor, row.at_s, life.until(place)):
        detail = _count(wake.sent, "wake-up") + (f", {wake.lost:,} of them lost" if wake.lost else "")
        detail += "; the sweep of rows that nobody came for" if wake.swept else ""
        yield life.fact("woken", wake.t_s, place, wake.actor, detail=detail)


def _telling(life: _Life) -> Iterator[Fact]:
    """Yield how the user was told. The outbox row is written by the commit, whatever time its column bears."""
    done = next((i for i, row in enumerate(life.log) if row.cause == "ok"), 0)
    for note in life.notes:
        times = {"outbox": max(note.created_s, life.ordered_s[done]) if life.log else note.created_s}
        times |= {"published": note.published_s, "shown": note.delivered_s, "acked": note.acked_s}
        for what, t_s in times.items():
            if not math.isnan(t_s):
                detail = f"shown {note.shown} ×, received {note.received} ×" if what == "shown" else ""
                yield life.fact(what, t_s, done, _TELLERS[what], detail=detail)


_TELLERS = {"outbox": "", "published": "relay", "shown": "user", "acked": "gateway"}


def _rest(life: _Life) -> Iterator[Fact]:
    """Yield the run's end for an event that has not come to its own."""
    if life.event is None:
        yield life.fact("end", life.run.end_s, len(life.log), detail="its row is gone from the store")
    elif life.log and life.log[-1].after not in ("PROCESSED", "EXTINCT"):
        waited_s = life.run.end_s - life.log[-1].at_s
        detail = f"still {life.log[-1].after}, since {_short(waited_s)}"
        yield life.fact("end", life.run.end_s, len(life.log), attempt_no=life.event.attempt_no, detail=detail)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _short(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if abs(seconds) < 1 else f"{seconds:.4g} s"


# --- the worst


def worst_event(run: Run) -> tuple[int, str] | None:
    """Return the event whose life tells most of what went wrong, and why it was chosen; None without events.

    The first of these that the run has: the row stuck for longest; of the EXTINCT the one with most attempts; a
    PROCESSED event whose user was never told; one whose user was told most often; one whose side effect happened most
    often; else the event that took longest to its user's socket, or to PROCESSED where that was never shown; open ones
    count up to the run's end. Of equals the one with the lowest id.
    """
    for find in (_stuck, _extinct, _untold, _told_again, _done_again, _slowest):
        found = find(run)
        if found is not None:
            return found
    return None


def _stuck(run: Run) -> tuple[int, str] | None:
    from tem_sim.analysis.stuck import in_flight

    rows = in_flight(run)
    rows = rows[rows["stuck"]].sort_values(["waited_s", "event_id"], ascending=[False, True], kind="stable")
    if rows.empty:
        return None
    row = rows.iloc[0]
    why = f"stuck in {row['status']} for {_short(row['waited_s'])} where {_short(row['allowed_s'])} are allowed"
    return int(row["event_id"]), f"{why}, the longest of {len(rows):,}"


def _extinct(run: Run) -> tuple[int, str] | None:
    rows = run.events[run.events["status"] == "EXTINCT"]
    if rows.empty:
        return None
    worst = rows.sort_values(["attempt_no", "event_id"], ascending=[False, True], kind="stable").iloc[0]
    why = f"EXTINCT after {_count(int(worst['attempt_no']), 'attempt')}, the most of {len(rows):,} that ended so"
    return int(worst["event_id"]), why


def _untold(run: Run) -> tuple[int, str] | None:
    from tem_sim.analysis.delivery import deliveries

    table = deliveries(run, rules(run).settings.outbox)
    lost = table.loc[table["fate"] == "lost", "event_id"]
    return None if lost.empty else (int(lost.min()), f"PROCESSED, and its user was never told, one of {len(lost):,}")


def _told_again(run: Run) -> tuple[int, str] | None:
    return _most(run.notifications.groupby("event_id")["shown"].sum(), "its user was told")


def _done_again(run: Run) -> tuple[int, str] | None:
    happened = run.attempts.loc[run.attempts["effect_s"].notna(), "event_id"]
    return _most(happened.groupby(happened).size(), "its side effect happened")


def _most(times: pd.Series[int], what: str) -> tuple[int, str] | None:
    """Return the event with the most of what should be there once, None where all are."""
    if not (times > 1).any():
        return None
    event_id = int(times.index.to_numpy()[times.to_numpy().argmax()])
    return event_id, f"{what} {int(times.max())} times, one of {int((times > 1).sum()):,}"


def _slowest(run: Run) -> tuple[int, str] | None:
    from tem_sim.analysis.latency import latencies

    if run.events.empty:
        return None
    table = latencies(run)
    open_s = run.end_s - run.events["submitted_s"]
    lived_s = table[["processed_s", "delivered_s"]].max(axis=1).fillna(open_s).to_numpy()
    worst = table.iloc[int(lived_s.argmax())]
    to = "so far" if math.isnan(worst["processed_s"]) else "from submit to PROCESSED"
    to = to if math.isnan(worst["delivered_s"]) else "from submit to the user's socket"
    tries = _count(int(worst["attempts"]), "attempt")
    return int(worst["event_id"]), f"took longest, {_short(float(lived_s.max()))} {to} with {tries}"
