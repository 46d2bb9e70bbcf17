"""How many rows stood where, and how long it took to get over a fault.

The backlog is the number of rows that are not terminal: QUEUED, PROCESSING or FAILED. It and the rows by
state are step functions, computed exactly from the transition log; only `rows_by_state` samples them, for
plots.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.history import Array, before_a_change, history

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

PHASES = ("QUEUED", "RETRY", "PROCESSING", "FAILED", "PROCESSED", "EXTINCT")
TERMINAL = ("PROCESSED", "EXTINCT")

# The backlog of a healthy system fluctuates; what it reached in this long before a fault is its level before.
LOOK_BACK_S = 10.0
# A backlog counts as recovered up to this many standard deviations of a Poisson count above its level before.
# Without such a band, one lucky burst hours later would be the end of the recovery.
BAND_SIGMAS = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """A step function: `level[i]` holds from `at_s[i]` up to `at_s[i + 1]`; before `at_s[0]` it is 0."""

    at_s: Array
    level: Array

    def value(self, time_s: float) -> int:
        """Return the value at a time, after what happened in that very instant."""
        at = int(np.searchsorted(self.at_s, time_s, side="right")) - 1
        return int(self.level[at]) if at >= 0 else 0

    def highest(self, from_s: float, before_s: float) -> int:
        """Return the largest value held at any time in [from_s, before_s)."""
        inside = (self.at_s > from_s) & (self.at_s < before_s)
        return max(self.value(from_s) if from_s < before_s else 0, int(self.level[inside].max(initial=0)))

    def first_at_most(self, bound: float, from_s: float) -> float:
        """Return the first time from `from_s` on with a value of at most the bound; NaN if there is none."""
        if self.value(from_s) <= bound:
            return from_s
        below = np.flatnonzero((self.at_s > from_s) & (self.level <= bound))
        return float(self.at_s[below[0]]) if len(below) else math.nan

    def last_above(self, bound: float, from_s: float) -> float:
        """Return when the value last came down to the bound, or `from_s` if later; NaN if still above."""
        if not len(self.level) or self.level[-1] <= bound:
            above = np.flatnonzero(self.level > bound)
            return max(from_s, float(self.at_s[above[-1] + 1])) if len(above) else from_s
        return math.nan


def backlog(run: Run) -> Steps:
    """Return the number of rows that are not terminal, as an exact step function of time."""
    past = history(run)
    terminal = past.has("after", *TERMINAL)
    was_open = ~past.first & ~past.previous(terminal)
    change = (~terminal).astype(np.int64) - was_open
    moved = change != 0
    return _steps(past.in_order_s()[moved], change[moved])


def _steps(times_s: Array, change: Array) -> Steps:
    order = np.argsort(times_s, kind="stable")
    times_s, level = times_s[order], np.cumsum(change[order])
    # Of several changes in one instant only the outcome is a level.
    last = before_a_change(times_s)
    return Steps(times_s[last], level[last])


def rows_by_state(run: Run, step_s: float = 1.0) -> pd.DataFrame:
    """Return the rows in each phase at 0, step_s … and the run's end: index `t_s`, columns `PHASES`.

    RETRY is QUEUED with `retry_count` > 0, apart from QUEUED. A sample shows what holds after its instant.
    """
    import pandas as pd

    past = history(run)
    grid = sample_times_s(run.end_s, step_s)
    at = np.minimum(np.searchsorted(grid, past.in_order_s(), side="left"), len(grid) - 1)
    phase = phases(run)
    shape = len(grid), len(PHASES)
    entered = np.bincount(at * len(PHASES) + phase, minlength=shape[0] * shape[1])
    later = ~past.first
    left = np.bincount((at * len(PHASES) + past.previous(phase))[later], minlength=shape[0] * shape[1])
    rows = np.cumsum((entered - left).reshape(shape), axis=0)
    return pd.DataFrame(rows, index=pd.Index(grid, name="t_s"), columns=list(PHASES))


def sample_times_s(end_s: float, step_s: float) -> Array:
    """Return the grid 0, step_s, … up to and including the end."""
    if not step_s > 0:
        raise ValueError(f"step_s must be > 0, got {step_s}")
    grid = np.round(np.arange(math.floor(round(end_s / step_s, 9)) + 1) * step_s, 6)
    return grid if grid[-1] >= end_s else np.append(grid, end_s)


def phases(run: Run) -> Array:
    """Return the phase that each row of `history(run)` enters, as an index into `PHASES`."""
    past = history(run)
    names = [PHASES.index(state) for state in past.words["after"]]
    phase = np.array(names, dtype=np.int8)[past.after]
    phase[(phase == PHASES.index("QUEUED")) & (past.retry_count > 0)] = PHASES.index("RETRY")
    return phase


def recovery(run: Run) -> pd.DataFrame:
    """Return one row per fault that landed: what the backlog did before, during and after it.

    Columns: fault_id, kind, target, start_s, end_s, `level_before` (the highest backlog in the 10 s before
    the start), `peak` (the highest from start to the run's end), `drain_s` and `recovery_s` as in
    `span_recovery`.
    """
    landed = run.faults[run.faults["landed"] > 0].copy()
    steps = backlog(run)
    spans = [_span(start_s, end_s, run) for start_s, end_s in zip(landed["start_s"], landed["end_s"], strict=True)]
    landed["level_before"] = [_level_before(steps, start_s) for start_s, _ in spans]
    landed["peak"] = [steps.highest(start_s, math.inf) for start_s, _ in spans]
    times = [_recovery(steps, start_s, end_s, run.end_s) for start_s, end_s in spans]
    landed["drain_s"] = np.array([drain_s for drain_s, _ in times], dtype=np.float64)
    landed["recovery_s"] = np.array([recovery_s for _, recovery_s in times], dtype=np.float64)
    return landed.drop(columns=["landed", "detail", "shade"]).reset_index(drop=True)


def span_recovery(run: Run) -> tuple[float, float]:
    """Return (drain_s, recovery_s) of the trouble as a whole: first fault's start to last fault's end.

    `drain_s`: from the end until the backlog is first back at its level before, L. `recovery_s`: from the
    end until it leaves the time above the band, L + 3·√(L + 1), for the last time; 0 if it is never above.
    Both are NaN where no fault landed, where the faults last to the run's end, and where the backlog never
    came back.
    """
    landed = run.faults[run.faults["landed"] > 0]
    if landed.empty:
        return math.nan, math.nan
    spans = [_span(start_s, end_s, run) for start_s, end_s in zip(landed["start_s"], landed["end_s"], strict=True)]
    start_s, end_s = min(start for start, _ in spans), max(end for _, end in spans)
    return _recovery(backlog(run), start_s, end_s, run.end_s)


def _span(start_s: float, end_s: float, run: Run) -> tuple[float, float]:
    """A fault without a beginning or an end, as it happened, lasts from the run's start or to its end."""
    return (0.0 if math.isnan(start_s) else start_s), (run.end_s if math.isnan(end_s) else end_s)


def _level_before(steps: Steps, start_s: float) -> int:
    return steps.highest(start_s - LOOK_BACK_S, start_s)


def _recovery(steps: Steps, start_s: float, end_s: float, run_end_s: float) -> tuple[float, float]:
    if end_s >= run_end_s:
        return math.nan, math.nan
    level = _level_before(steps, start_s)
    drained_s = steps.first_at_most(level, end_s)
    recovered_s = steps.last_above(level + BAND_SIGMAS * math.sqrt(level + 1), end_s)
    return drained_s - end_s, recovered_s - end_s
