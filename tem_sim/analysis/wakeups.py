"""Which wake-ups announced a row: the one after its commit, and those of the sweep while nobody came.

A wake-up names no row, and any worker that is awake claims what has waited longest; so a row may be claimed although
its own wake-up was lost. The frame says who sent how many; which row they were for follows from who queued it and when.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tem_sim.analysis.rules import rules

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

# What the sender was about when it queued a row for this cause.
TASKS = {"submit": "request", "retry": "retry", "rescue": "rescue"}


class Wake(NamedTuple):
    """Wake-ups sent at one instant; `swept`: for rows that had been waiting since long, this one among them."""

    t_s: float
    actor: str
    sent: int
    lost: int
    swept: bool


def wakes(run: Run, event_id: int, cause: str, actor: str, queued_s: float, left_s: float) -> list[Wake]:
    """Return the wake-ups for a row that an actor queued at one time and that left the queue at another, in order.

    The first may come when the row has left already: a worker that another one woke was quicker. There is none where
    nothing was sent, as when its sender died between commit and wake-up, or where the run did not note it.
    """
    log = run.wakeups[run.wakeups["t_s"] >= queued_s]
    own = _own(run, log, event_id, cause, actor, queued_s)
    return [*_made(own, swept=False), *_made(_swept(run, log[log["t_s"] <= left_s], queued_s), swept=True)]


def _made(rows: pd.DataFrame, swept: bool) -> list[Wake]:
    columns = (rows[name].tolist() for name in ("t_s", "actor", "sent", "lost"))
    return [Wake(t_s, str(actor), sent, lost, swept) for t_s, actor, sent, lost in zip(*columns, strict=True)]


def _own(run: Run, log: pd.DataFrame, event_id: int, cause: str, actor: str, queued_s: float) -> pd.DataFrame:
    """Find the wake-up that the actor sent after its commit: a request's by its number, a task's by its place."""
    mine = log[(log["actor"] == actor) & (log["task"] == TASKS.get(cause, ""))]
    if cause == "submit":
        first_ids = mine.loc[mine["first_id"] <= event_id, "first_id"]
        request: pd.DataFrame = mine[mine["first_id"] == first_ids.max()]
        return request.head(1)
    sent: pd.DataFrame = mine[mine["t_s"] < _next_tick_s(run, cause, actor, queued_s)]
    return sent.head(1)


def _next_tick_s(run: Run, cause: str, actor: str, tick_s: float) -> float:
    """Return when the actor next moved rows for this cause: one thread does it, so it had sent all that was due."""
    log = run.transitions
    later = log.loc[(log["cause"] == cause) & (log["actor"] == actor) & (log["at_s"] > tick_s), "at_s"]
    return float(later.min()) if len(later) else math.inf


def _swept(run: Run, log: pd.DataFrame, queued_s: float) -> pd.DataFrame:
    """Find the rescue's wake-ups that the row had been waiting for long enough to be part of."""
    sweep_after_s = rules(run).settings.sweep_after_s
    rescues = log[log["task"] == "rescue"]
    times_s, taken = rescues["t_s"].to_numpy(), []
    woken_s = math.inf if sweep_after_s is None else queued_s
    while (at := int(np.searchsorted(times_s, woken_s + (sweep_after_s or 0.0)))) < len(times_s):
        taken.append(at)
        woken_s = times_s[at]
    return rescues.iloc[taken]
