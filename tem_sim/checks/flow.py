"""Checks of the whole: users told once, rows that flow, and Little's law between the log and the events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.delivery import deliveries
from tem_sim.analysis.history import Array, event_numbers, history, tries
from tem_sim.analysis.rules import rules
from tem_sim.analysis.stuck import in_flight
from tem_sim.checks.verdict import Verdict, count, no_offence, verdict

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

# Both sides of Little's law are sums of the same microseconds; what is left is the rounding of float sums.
LITTLE_RELATIVE = 1e-6


def notifications(run: Run) -> Verdict:
    """Every PROCESSED event's user is shown exactly one notification, and nobody is told of anything else.

    A notification that still stands in the outbox is owed, not lost: unknown, like every loss in a run that
    was cut short.
    """
    table = deliveries(run, rules(run).settings.outbox)
    if len(strangers := _told_to_strangers(run)):
        detail = f"{count(len(strangers), 'notification')} addressed to another than the event's user"
        return verdict("notifications", "false", detail, strangers)
    if table.empty:
        return verdict("notifications", "true", "no event was PROCESSED, and nobody was told that one was")
    fates = {str(name): int(number) for name, number in table["fate"].value_counts().items()}
    wrong = ["duplicate", "phantom"] if run.status != "complete" else ["duplicate", "phantom", "lost"]
    broken, open_rows = table[table["fate"].isin(wrong)], table[table["fate"].isin(["owed", "lost"])]
    repeats = int((table["received"] - table["shown"]).clip(lower=0).sum())
    told = f"{fates.get('told', 0):,} of {count(len(table), 'notification')} shown once"
    others = "".join(f", {fates[name]:,} {name}" for name in ("owed", "lost", "duplicate", "phantom") if name in fates)
    detail = f"{told}{others}, {count(repeats, 'repeat')} suppressed by clients"
    if len(broken):
        return verdict("notifications", "false", detail, broken)
    if len(open_rows):
        return verdict("notifications", "unknown", detail, open_rows)
    return verdict("notifications", "true", detail)


def _told_to_strangers(run: Run) -> pd.DataFrame:
    """Find the notifications whose user is not the event's."""
    owners = run.events[["event_id", "user_id"]].rename(columns={"user_id": "events_user_id"})
    notes = run.notifications[["event_id", "user_id", "shown"]].merge(owners, on="event_id")
    return notes[notes["user_id"] != notes["events_user_id"]]


def littles_law(run: Run) -> Verdict:
    """L = λ·W: the mean number of events in the system is their rate of arrival times their mean stay.

    L comes from the transition log and the attempts' ends, λ and W from the events; unfinished events count
    up to the run's end on both sides, so the two agree exactly or the frames contradict each other. Events
    that were replayed, and so left and came back, stand aside.
    """
    events = run.events[run.events["replay_count"] == 0]
    if run.end_s <= 0 or events.empty:
        return verdict("littles_law", "unknown", "no time passed or no event stayed")
    numbers = event_numbers(run, events["event_id"].to_numpy())
    logged_s = _stay_by_log_s(run)[numbers]
    stay_s = (events["finished_s"].fillna(run.end_s) - events["submitted_s"]).to_numpy()
    in_system, rate_per_s = np.nansum(logged_s) / run.end_s, len(events) / run.end_s
    # An event that the log does not know has no stay there at all, which is a contradiction, too.
    off_s = np.where(np.isnan(logged_s), np.inf, np.abs(logged_s - stay_s))
    apart = off_s > LITTLE_RELATIVE * np.maximum(np.abs(stay_s), 1.0)
    rows = events[["event_id", "status"]].assign(stay_by_log_s=logged_s, stay_s=stay_s)[apart]
    law = f"L = {in_system:.6g} events in the system, λ·W = {rate_per_s:.6g}/s × {stay_s.mean():.6g} s"
    return no_offence(
        "littles_law", rows, law, f"{count(len(rows), 'event')} stayed longer or shorter by the log; {law}"
    )


def _stay_by_log_s(run: Run) -> Array:
    """Return, by event number, the time from the first transition to the end; NaN for events without a log.

    A finishing transition is dated by its commit, which comes after its batch; the event was done when its
    handler was, which the attempt says. An event whose lease was lost ended by the transition alone: its
    attempt's end may be that of a zombie which came back later.
    """
    past = history(run)
    terminal = past.has("after", "PROCESSED", "EXTINCT") & past.last
    at = tries(run).find(past.event[terminal], past.attempt_no[terminal])
    at = np.where(past.has("cause", "ok", "exhausted")[terminal], at, -1)
    finished_s = np.append(run.attempts["finished_s"].to_numpy(), np.nan)[at]
    end_s = np.full(len(past.ids), run.end_s, dtype=np.float64)
    end_s[past.event[terminal]] = np.where(np.isnan(finished_s), past.at_s[terminal], finished_s)
    begin_s = np.full(len(past.ids), np.nan)
    begin_s[past.event[past.first]] = past.at_s[past.first]
    return np.asarray(end_s - begin_s)


def liveness(run: Run) -> Verdict:
    """No row has waited for longer than lease, sweep and scheduler allow, since the last fault was over.

    Rows that are still in flight within those times could yet get stuck: unknown.
    """
    if run.status != "complete":
        return verdict("liveness", "unknown", f"the run is {run.status}: nothing is owed at its end")
    rows = in_flight(run)
    stuck = rows[rows["stuck"]]
    if len(stuck):
        return verdict("liveness", "false", _stuck_detail(stuck), stuck)
    if len(rows):
        excused = f", {int(rows['excused'].sum()):,} of them held up by faults" if rows["excused"].any() else ""
        detail = f"{count(len(rows), 'event')} still in flight at {run.end_s:g} s, none for too long{excused}"
        return verdict("liveness", "unknown", detail, rows)
    return verdict("liveness", "true", f"all of {count(len(run.events), 'event')} came to an end")


def _stuck_detail(stuck: pd.DataFrame) -> str:
    states = ", ".join(f"{n:,} {state}" for state, n in stuck["status"].astype(str).value_counts().items())
    worst = stuck.iloc[int((stuck["waited_s"] - stuck["allowed_s"]).to_numpy().argmax())]
    return (
        f"{count(len(stuck), 'row')} stuck ({states}), one {worst['status']} for {worst['waited_s']:.6g} s "
        f"where {worst['allowed_s']:g} s are allowed"
    )
