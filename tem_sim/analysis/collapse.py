"""Whether a system is down for good: goodput against that of a run without the trigger, long after the trigger ended.

A backlog that takes its time is no collapse: while it drains, the system does more useful work than without it, not
less. A collapse is work without use that keeps itself going, so it shows in goodput alone, and in its persistence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from tem_sim.analysis.backlog import sample_times_s
from tem_sim.analysis.history import Array, history

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

Fate = Literal["up", "collapsed", "unfit"]
# Goodput below this part of what it should be is a collapse; as in `mean_field`.
SHARE = 0.5


class Window(NamedTuple):
    """The time in which a run is judged, [from_s, before_s), in two halves."""

    from_s: float
    before_s: float

    @property
    def middle_s(self) -> float:
        """Where the second half begins."""
        return (self.from_s + self.before_s) / 2


class Output(NamedTuple):
    """What a run did in each half of a window: useful completions per second, and events offered per second."""

    early_goodput_per_s: float
    late_goodput_per_s: float
    early_offered_per_s: float
    late_offered_per_s: float

    @property
    def goodput_per_s(self) -> float:
        """Useful completions per second over the whole window."""
        return (self.early_goodput_per_s + self.late_goodput_per_s) / 2


def output(run: Run, window: Window) -> Output:
    """Return what a run did in a window; goodput is events that became PROCESSED."""
    done_s = run.events.loc[run.events["status"] == "PROCESSED", "finished_s"].to_numpy()
    offered_s = run.events["submitted_s"].to_numpy()
    halves = ((window.from_s, window.middle_s), (window.middle_s, window.before_s))
    return Output(*(_rate_per_s(times_s, *half) for times_s in (done_s, offered_s) for half in halves))


def _rate_per_s(times_s: Array, from_s: float, before_s: float) -> float:
    return int(((times_s >= from_s) & (times_s < before_s)).sum()) / (before_s - from_s)


def fate(triggered: Output, control: Output, share: float = SHARE) -> Fate:
    """Judge a run with a trigger by the run of the same seed without it.

    `collapsed`: in each half of the window, goodput is below `share` of the control's. `unfit`: the control itself is
    below `share` of what was offered to it in either half, so that nothing can be put down to the trigger.
    """
    for good, offered in (control[0::2], control[1::2]):
        if good < share * offered:
            return "unfit"
    pairs = zip(triggered[:2], control[:2], strict=True)
    return "collapsed" if all(good < share * usual for good, usual in pairs) else "up"


def phase_plane(run: Run, step_s: float = 2.0) -> pd.DataFrame:
    """Return where a run is in the plane of backlog against retries in flight: index `t_s`, columns of these two.

    `backlog`: rows that are not terminal. `retries_in_flight`: those of them that are being tried again, QUEUED or
    PROCESSING after a failure; rows in backoff are not. Each is the mean over [t_s, t_s + step_s): the ticks of the
    scheduler would beat with samples of an instant.
    """
    import pandas as pd

    past = history(run)
    at_s = past.in_order_s()
    grid = sample_times_s(run.end_s, step_s)
    flags = {
        "backlog": ~past.has("after", "PROCESSED", "EXTINCT"),
        "retries_in_flight": past.has("after", "QUEUED", "PROCESSING") & (past.retry_count > 0),
    }
    # Before an event's first transition there was no row.
    changes = {name: now.astype(np.int64) - np.where(past.first, 0, past.previous(now)) for name, now in flags.items()}
    means = {name: _means(at_s, change, grid) for name, change in changes.items()}
    return pd.DataFrame(means, index=pd.Index(grid[:-1], name="t_s"))


def _means(at_s: Array, change: Array, grid: Array) -> Array:
    """Return the mean between the grid's times of a level that starts at 0 and changes at these times."""
    order = np.argsort(at_s, kind="stable")
    at_s, change = at_s[order], change[order]
    levels = np.append(0, np.cumsum(change))
    moments = np.append(0.0, np.cumsum(change * at_s))
    place = np.searchsorted(at_s, grid, side="right")
    # The area under the level up to t is the sum of change·(t − at) over the changes up to t.
    return np.asarray(np.diff(levels[place] * grid - moments[place]) / np.diff(grid))
