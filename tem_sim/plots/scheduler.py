"""The pictures of the scheduler: rows per tick against its limit, and how late retries were requeued and picked up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tem_sim.analysis import duty
from tem_sim.analysis.latency import percentile
from tem_sim.analysis.rules import rules
from tem_sim.plots.style import BLUE, VERMILION, axes_for, finish, note, shade_faults

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from tem_sim.frames import Run

# A limit higher than this many times the fullest tick would squeeze the ticks flat; the legend names it instead.
HEADROOM = 2.0
# More lines or dots than this make a vector file slow to open: they become a picture inside it.
CROWD = 2000


def scheduler_duty(run: Run, ax: Axes | None = None) -> Axes:
    """Draw the rows that each tick of the scheduler requeued; those that met their limit in another colour."""
    ax = axes_for(ax)
    ticks = duty.retry_ticks(run)
    if len(ticks):
        for full, colour, label in ((False, BLUE, "tick"), (True, VERMILION, "tick that met its limit")):
            these = ticks[ticks["full"] == full]
            if len(these):
                text = f"{label}: {len(these):,}\n{these['rows'].mean():,.3g} rows on average"
                crowded = len(these) > CROWD
                ax.vlines(these["t_s"], 0, these["rows"], color=colour, label=text, zorder=2, rasterized=crowded)
        _draw_limit(ax, rules(run).settings.requeue_limit, int(ticks["rows"].max()))
    else:
        note(ax, "no retry was requeued")
        ax.set_ylim(0.0, 1.0)
    shade_faults(ax, run)
    return finish(ax, run, "rows requeued per tick of the scheduler", "rows")


def _draw_limit(ax: Axes, limit: int | None, most: int) -> None:
    if limit is None:
        return
    line: dict[str, Any] = {"color": "#000000", "linestyle": "--", "linewidth": 1.2}
    if limit <= HEADROOM * most:
        ax.axhline(limit, label=f"requeue_limit {limit:,}", zorder=3, **line)
    else:
        ax.plot([], [], label=f"requeue_limit {limit:,},\nabove the plot", **line)


def scheduler_lag(run: Run, ax: Axes | None = None) -> Axes:
    """Draw for each retry how long it had been due when the scheduler requeued it, and when a worker picked it up."""
    ax = axes_for(ax)
    late = duty.lags(run)
    if len(late):
        # The larger ones show behind the others where the two are the same.
        _dots(ax, late, "pick_up_lag_s", VERMILION, "picked up by a worker", 2.5)
        _dots(ax, late, "requeue_lag_s", BLUE, "requeued by the scheduler", 1.5)
        period_s = run.scenario.beat.retry_every_s
        ax.axhline(period_s, color="#000000", linestyle="--", linewidth=1.2, label=f"scheduler's period {period_s:g} s")
    else:
        note(ax, "no retry was requeued")
        ax.set_ylim(0.0, 1.0)
    shade_faults(ax, run)
    return finish(ax, run, "how late each retry was", "time since it was due (s)")


def _dots(ax: Axes, late: pd.DataFrame, column: str, colour: str, label: str, size: float) -> None:
    known = late[late[column].notna()]
    p95 = percentile(known[column].to_numpy(), 95)
    text = label if math.isnan(p95) else f"{label}\np95 {p95:.3g} s"
    crowded = len(known) > CROWD
    size = size if crowded else 3 * size
    ax.plot(known["due_s"], known[column], ".", color=colour, markersize=size, rasterized=crowded, zorder=2)
    ax.plot([], [], ".", color=colour, markersize=8, label=text)
