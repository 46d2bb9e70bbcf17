"""How long rows stay in each state, and how old the oldest of them is.

A stay begins with the transition into a state and ends with the next one. Stays that the run's end cut short are
censored: they count with the time that they had lasted by then, and are never taken for whole ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.backlog import PHASES, TERMINAL, backlog, phases, sample_times_s
from tem_sim.analysis.history import Array, history
from tem_sim.analysis.latency import percentile

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

OPEN_PHASES = tuple(phase for phase in PHASES if phase not in TERMINAL)
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True, eq=False)
class Stays:
    """All stays in states that are not terminal; `phase` indexes `PHASES`, `whole` is False for censored ones."""

    event: Array
    phase: Array
    begin_s: Array
    end_s: Array
    whole: Array

    def lasted_s(self) -> Array:
        """Return how long each stay lasted, a censored one up to the run's end."""
        return np.asarray(self.end_s - self.begin_s)

    def of(self, *names: str) -> Array:
        """Return a mask of the stays in these phases."""
        return np.isin(self.phase, [PHASES.index(name) for name in names])


def stays(run: Run) -> Stays:
    """Return every stay of every event, by event and then in order."""
    past = history(run)
    phase, begin_s = phases(run), past.in_order_s()
    end_s = np.append(begin_s[1:], run.end_s)
    # A skewed clock may date a row's last step after the run's end.
    end_s[past.last] = np.maximum(run.end_s, begin_s[past.last])
    kept = phase < len(OPEN_PHASES)
    return Stays(past.event[kept], phase[kept], begin_s[kept], end_s[kept], ~past.last[kept])


def time_in_state(run: Run) -> pd.DataFrame:
    """Return how long rows stay in each state: index `phase` (`OPEN_PHASES`; RETRY is QUEUED after a failure).

    Columns: `n` (whole stays), `mean_s`, `p50_s`, `p95_s`, `p99_s` over those, NaN where there are too few;
    `censored` (stays that the run's end cut short), `total_s` (row-seconds spent there, the censored ones' included)
    and `share` of all row-seconds, NaN where there are none. Where `censored` is not small beside `n` the mean and the
    percentiles are too low: long stays are the likelier to be cut.
    """
    import pandas as pd

    all_stays = stays(run)
    rows = [_dwell(all_stays, phase) for phase in OPEN_PHASES]
    table = pd.DataFrame(rows, index=pd.Index(OPEN_PHASES, name="phase"))
    total_s = float(table["total_s"].sum())
    return table.assign(share=table["total_s"] / total_s if total_s > 0 else np.nan)


def _dwell(all_stays: Stays, phase: str) -> dict[str, float]:
    here = all_stays.of(phase)
    lasted_s, whole = all_stays.lasted_s()[here], all_stays.whole[here]
    done_s = lasted_s[whole]
    return {
        "n": len(done_s),
        "mean_s": float(done_s.mean()) if len(done_s) else np.nan,
        **{f"p{percent}_s": percentile(done_s, percent) for percent in PERCENTILES},
        "censored": int((~whole).sum()),
        "total_s": float(lasted_s.sum()),
    }


def oldest_rows(run: Run, step_s: float = 1.0) -> pd.DataFrame:
    """Return the backlog and its oldest rows at 0, step_s … and the run's end: index `t_s`.

    Columns: `backlog` (rows not terminal), `oldest_s` (the time since its submit, or its replay, of the one that has
    been open for longest), `queued` (rows QUEUED, RETRY included) and `oldest_queued_s` (the time that the one which
    waits for longest has waited for a worker). An age is exact at its instant, and NaN where there is no such row. What
    the largest age was at any instant, says `longest_stay_s`.
    """
    import pandas as pd

    grid = sample_times_s(run.end_s, step_s)
    lives, waits = _lives(stays(run)), _queued(stays(run))
    levels = backlog(run)
    at = np.searchsorted(levels.at_s, grid, side="right") - 1
    open_rows = np.where(at >= 0, np.append(levels.level, 0)[at], 0)
    columns = {
        "backlog": open_rows.astype(np.int64),
        "oldest_s": _oldest_s(*lives, grid),
        "queued": _how_many(*waits, grid),
        "oldest_queued_s": _oldest_s(*waits, grid),
    }
    return pd.DataFrame(columns, index=pd.Index(grid, name="t_s"))


def longest_stay_s(run: Run, *names: str) -> float:
    """Return the longest stay in these phases, a censored one up to the run's end; NaN without any.

    It is the largest age that the oldest row there ever reached: just before that row left, none was older.
    """
    all_stays = stays(run)
    lasted_s = all_stays.lasted_s()[all_stays.of(*names)]
    return float(lasted_s.max()) if len(lasted_s) else np.nan


def _lives(all_stays: Stays) -> tuple[Array, Array]:
    """Return the beginnings and ends of the times in which an event was open; a replay begins another."""
    begin_s, end_s, whole = all_stays.begin_s, all_stays.end_s, all_stays.whole
    breaks = (all_stays.event[1:] != all_stays.event[:-1]) | (begin_s[1:] != end_s[:-1])
    any_there = [True] * min(len(begin_s), 1)
    first, last = np.append(any_there, breaks).astype(bool), np.append(breaks, any_there).astype(bool)
    return begin_s[first], np.where(whole, end_s, np.inf)[last]


def _queued(all_stays: Stays) -> tuple[Array, Array]:
    waiting = all_stays.of("QUEUED", "RETRY")
    return all_stays.begin_s[waiting], np.where(all_stays.whole, all_stays.end_s, np.inf)[waiting]


def _places(begin_s: Array, end_s: Array, grid: Array) -> tuple[Array, Array, Array]:
    """Return the spans in the order of their beginnings, each with the part [low, high) of the grid that it covers."""
    order = np.argsort(begin_s, kind="stable")
    begin_s = begin_s[order]
    return begin_s, np.searchsorted(grid, begin_s, side="left"), np.searchsorted(grid, end_s[order], side="left")


def _oldest_s(begin_s: Array, end_s: Array, grid: Array) -> Array:
    """Return the age of the oldest span at each point of the grid; NaN where there is none."""
    begin_s, low, high = _places(begin_s, end_s, grid)
    # What an older span covers, is its own: so a span adds what lies behind the furthest end of all before it.
    low = np.maximum(low, np.append(0, np.maximum.accumulate(high)[:-1])) if len(high) else low
    length = np.maximum(high - low, 0)
    oldest = np.full(len(grid), np.nan)
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    oldest[np.repeat(low, length) + within] = np.repeat(begin_s, length)
    return np.asarray(grid - oldest)


def _how_many(begin_s: Array, end_s: Array, grid: Array) -> Array:
    _, low, high = _places(begin_s, end_s, grid)
    change = np.bincount(low, minlength=len(grid) + 1) - np.bincount(high, minlength=len(grid) + 1)
    return np.asarray(np.cumsum(change)[: len(grid)])
