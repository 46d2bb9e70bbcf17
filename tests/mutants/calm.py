"""What holds besides the project's checks: that an outcome is what the handler did, and that a calm world stays calm.

In a world without a fault, with workers that are idle most of the time, nothing is lost, taken over, repeated or late.
There a bug shows that some protection would hide anywhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

# Sending, taking and claiming, and a batch of others before.
SOON_S = 1.2


def outcomes(run: Run) -> str | None:
    """Say where an attempt was recorded as another than the handler left it; None where none was.

    The downstream of a scenario without a capacity applies the side effect of a call if, and only if, it succeeds.
    """
    attempts = run.attempts
    happened, outcome = attempts["effect_s"].notna(), attempts["outcome"].astype(str)
    wrong = attempts[((outcome == "ok") & ~happened) | ((outcome == "error") & happened)]
    return f"{len(wrong)} attempts ended otherwise than their handler" if len(wrong) else None


def published(run: Run) -> str | None:
    """Say which notifications were marked as published by a task that had not published them; None for none."""
    told: dict[str, set[str]] = {}
    steps = run.steps[run.steps["kind"] == "publish"]
    sent = sorted(zip(steps["step"], steps["thread"].astype(str), steps["sql"].astype(str), strict=True))
    changes = run.changes[(run.changes["table"] == "notification") & (run.changes["op"] == "update")]
    wrong = []
    for row in changes.sort_values("step").itertuples():
        while sent and sent[0][0] < row.step:
            _, thread, sql = sent.pop(0)
            told.setdefault(thread, set()).update(sql.replace(",", " ").split())
        before, after = json.loads(row.before), json.loads(row.after)
        is_marked = before["published_at"] is None and after["published_at"] is not None
        if is_marked and str(row.event_id) not in told.get(str(row.thread), ()):
            wrong.append(row.event_id)
    return f"{len(wrong)} notifications were marked as published before they were" if wrong else None


def calm(run: Run) -> str | None:
    """Say what is not as it should be in a world without faults; None where all is."""
    return next(_unrest(run), None)


def _unrest(run: Run) -> Iterator[str]:
    outcome = run.attempts["outcome"].astype(str)
    if len(odd := outcome[~outcome.isin(["ok", "error"])]):
        yield f"{len(odd)} attempts were {', '.join(sorted(set(odd)))} although nothing went wrong"
    rules = run.scenario
    waits = _waits(run)
    if len(late := waits[(waits["after"] == "PROCESSING") & (waits["waited_s"] > SOON_S)]):
        yield f"{len(late)} QUEUED rows waited for up to {late['waited_s'].max():.3g} s with idle workers"
    tick_s = rules.beat.retry_every_s * _ticks(run)
    if len(late := waits[(waits["cause"] == "retry") & (waits["overdue_s"] > tick_s + 0.1)]):
        yield f"{len(late)} retries came up to {late['overdue_s'].max():.3g} s after they were due"
    if len(due := _left_due(run, tick_s)):
        yield f"{len(due)} FAILED rows are due and nobody comes"
    yield from _told(run)


def in_turn(run: Run) -> str | None:
    """Say who was passed over by others that came later, in a world without faults; None for none."""
    return next(_passed_over(_waits(run)), None)


def _passed_over(waits: pd.DataFrame) -> Iterator[str]:
    """Say of retries that were requeued after others which were due later, and of claims before those queued longer."""
    # Since when it is in its state: a row that is due may have been written late, with its batch.
    before_s = waits["at_s"] - waits["waited_s"]
    retries = waits["cause"] == "retry"
    claims = waits["after"] == "PROCESSING"
    for what, rows, since_s in (
        ("retries", retries, np.maximum(waits["due_s"], before_s)),
        ("QUEUED rows", claims, before_s),
    ):
        taken = waits[rows].assign(since_s=since_s[rows]).sort_values("at_s")
        # Up to each instant, the latest that had been taken by then; whoever waits since before that was passed over.
        latest = taken.groupby("at_s")["since_s"].max().cummax().shift()
        ahead_s = taken["at_s"].map(latest)
        if len(over := taken[taken["since_s"] < ahead_s - 1e-6]):
            yield f"{len(over)} {what} were passed over by others that came later"


def _ticks(run: Run) -> int:
    """Return how many ticks it takes to requeue all that can be due at the same time."""
    limit = run.scenario.pipeline.requeue_limit
    return 1 if limit is None else -(-len(run.events) // limit)


def _waits(run: Run) -> pd.DataFrame:
    """Return each transition with the time since the one before, and since its retry was due."""
    log = run.transitions.sort_values(["event_id", "seq"])
    log = log.assign(
        waited_s=log.groupby("event_id")["at_s"].diff(),
        after=log["after"].astype(str),
        cause=log["cause"].astype(str),
    )
    due = run.attempts.assign(due_s=run.attempts["finished_s"] + run.attempts["delay_s"])
    log = log.merge(due[["event_id", "attempt_no", "due_s"]], on=["event_id", "attempt_no"], how="left")
    return log.assign(overdue_s=log["at_s"] - log["due_s"])


def _left_due(run: Run, tick_s: float) -> pd.DataFrame:
    failed = run.events[run.events["status"] == "FAILED"]
    due = run.attempts.assign(due_s=run.attempts["finished_s"] + run.attempts["delay_s"])
    rows = failed.merge(due, on=["event_id", "attempt_no"])
    return rows[rows["due_s"] + tick_s + 0.1 < run.end_s]


def _told(run: Run) -> Iterator[str]:
    notes, beat = run.notifications, run.scenario.beat
    if len(often := notes[notes["received"] > 1]) and run.scenario.users.session_s is None:
        yield f"{len(often)} notifications were sent more than once"
    if run.scenario.users.connected == 1 and run.scenario.users.session_s is None:
        limit = run.scenario.pipeline.relay_limit
        late_s = beat.relay_every_s * -(-len(run.events) // limit) + SOON_S
        waited = np.where(notes["delivered_s"].isna(), run.end_s, notes["delivered_s"]) - notes["created_s"]
        if (waited > late_s).any():
            yield f"{int((waited > late_s).sum())} notifications reached their user late or not at all"
