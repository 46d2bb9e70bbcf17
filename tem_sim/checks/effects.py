"""Side effects: each of a call that was made for an attempt, and more than one only where at-least-once allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tem_sim.checks.verdict import Verdict, count, no_offence

if TYPE_CHECKING:
    from tem_sim.frames import Run

_NEVER_CALLED = ("expired", "released")


def effects(run: Run) -> Verdict:
    """A side effect belongs to a called attempt, and no event is brought to success twice.

    An effect that comes again is allowed after an attempt that failed, was lost or came too late: its worker, or the
    store, could not know. Not after one that was recorded as done.
    """
    import pandas as pd

    attempts = run.attempts[run.attempts["effect_s"].notna()]
    outcome = attempts["outcome"].astype(str)
    uncalled = attempts[outcome.isin(_NEVER_CALLED)]
    done = attempts[outcome == "ok"].sort_values(["event_id", "attempt_no"])
    again = done[done.duplicated("event_id")]
    late = attempts.merge(
        done.drop_duplicates("event_id")[["event_id", "attempt_no"]], on="event_id", suffixes=("", "_done")
    )
    late = late[late["attempt_no"] > late["attempt_no_done"]].drop(columns="attempt_no_done")
    columns = ["event_id", "attempt_no", "worker", "outcome", "effect_s"]
    parts = {"never called": uncalled, "recorded as done twice": again, "after it was recorded as done": late}
    broken = pd.concat([rows[columns].assign(problem=what) for what, rows in parts.items()], ignore_index=True)
    events = attempts["event_id"].nunique()
    repeats = len(attempts) - events
    return no_offence(
        "effects",
        broken,
        f"{count(len(attempts), 'side effect')} of {count(events, 'event')}, {repeats:,} again as at-least-once allows",
        f"{count(len(broken), 'side effect')} that cannot be: "
        + ", ".join(f"{n:,} × {what}" for what, n in broken["problem"].value_counts().items()),
    )
