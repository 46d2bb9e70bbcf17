"""The pictures of waiting rows: how many in each state, how old the oldest are, how long they stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tem_sim.analysis import backlog, stays
from tem_sim.plots.style import PHASE_COLOURS, VERMILION, axes_for, finish, log_scale, note, plain, shade_faults

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from tem_sim.frames import Run

SAMPLES = 1000
# Times further apart than this factor are drawn on a logarithmic axis.
WIDE = 20.0
MEDIAN: dict[str, Any] = {
    "marker": "|",
    "linestyle": "none",
    "color": "#000000",
    "markersize": 14,
    "markeredgewidth": 2,
}
MEAN: dict[str, Any] = {
    "marker": "D",
    "linestyle": "none",
    "color": "#ffffff",
    "markeredgecolor": "#000000",
    "zorder": 4,
}


def rows_by_state(run: Run, ax: Axes | None = None) -> Axes:
    """Draw how many rows are in each state over time, stacked; RETRY is QUEUED after a failure.

    Sampled at a thousand instants, so a state that rows pass through faster than that may be missing between two.
    """
    ax = axes_for(ax)
    table = backlog.rows_by_state(run, step_s=max(run.end_s, 1e-3) / SAMPLES)
    present = [phase for phase in PHASE_COLOURS if table[phase].any()]
    if present:
        colours = [PHASE_COLOURS[phase] for phase in present]
        heights = table[present].to_numpy().T
        ax.stackplot(
            table.index.to_numpy(), heights, step="post", colors=colours, labels=present, linewidth=0, zorder=2
        )
    else:
        note(ax, "no event was submitted")
        ax.set_ylim(0.0, 1.0)
    shade_faults(ax, run)
    return finish(ax, run, "rows by state", "rows")


def backlog_age(run: Run, ax: Axes | None = None) -> Axes:
    """Draw the age of the oldest row that is not terminal and of the oldest in the queue, before the backlog in grey.

    Ages rise by a second per second until the row moves on. The backlog is there for its shape and has no axis; the
    legend says how high it is at most. Sampled at a thousand instants.
    """
    ax = axes_for(ax)
    table = stays.oldest_rows(run, step_s=max(run.end_s, 1e-3) / SAMPLES)
    if table["backlog"].any():
        ages_s = table[["oldest_s", "oldest_queued_s"]].to_numpy()
        rows = table["backlog"].to_numpy() / table["backlog"].max() * np.nanmax(ages_s)
        label = f"backlog,\nup to {backlog.backlog(run).level.max():,}"
        ax.fill_between(table.index, rows, step="post", color="#d5d9de", linewidth=0, label=label)
        ax.plot(table.index, ages_s[:, 0], color="#000000", linewidth=1.6, label="oldest row,\nsince its submit")
        ax.plot(table.index, ages_s[:, 1], color=VERMILION, linewidth=1.6, label="oldest in the queue,\nsince queued")
    else:
        note(ax, "no row was open at any of the samples" if len(run.events) else "no event was submitted")
    shade_faults(ax, run)
    return finish(ax, run, "age of the oldest row, before the backlog", "age (s)")


def time_in_state(run: Run, ax: Axes | None = None) -> Axes:
    """Draw how long rows stay in each state: median, 95th and 99th percentile, mean, and the share of all row-seconds.

    Over whole stays; those that the run's end cut short are counted beside the name.
    """
    ax = axes_for(ax)
    table = stays.time_in_state(run)
    times_s = table[["mean_s", "p50_s", "p95_s", "p99_s"]].to_numpy()
    if not np.isnan(times_s).all():
        for place, phase in enumerate(table.index):
            _draw_stay(ax, place, PHASE_COLOURS[str(phase)], table.loc[phase])
        _explain(ax)
        if np.nanmin(times_s) > 0 and np.nanmax(times_s) > WIDE * np.nanmin(times_s):
            log_scale(ax, "x")
        else:
            ax.set_xlim(left=0.0)
    else:
        note(ax, "no row left any state" if len(run.events) else "no event was submitted")
    ax.set_yticks(range(len(table)), [_name(str(phase), table.loc[phase]) for phase in table.index])
    ax.set_ylim(len(table) - 0.5, -0.5)
    plain(ax, run, "time in each state")
    logarithmic = ", logarithmic" if ax.get_xscale() == "log" else ""
    ax.set(xlabel=f"time per stay (s){logarithmic}", ylabel="state")
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", color="#000000", alpha=0.08, linewidth=0.8)
    return ax


def _draw_stay(ax: Axes, place: int, colour: str, row: pd.Series[Any]) -> None:
    ax.plot([row["p50_s"], row["p95_s"]], [place] * 2, color=colour, linewidth=9, solid_capstyle="butt")
    ax.plot([row["p95_s"], row["p99_s"]], [place] * 2, color=colour, linewidth=3, solid_capstyle="butt")
    ax.plot(row["p50_s"], place, **MEDIAN)
    ax.plot(row["mean_s"], place, **MEAN)


def _explain(ax: Axes) -> None:
    """Put the strokes into the legend, in grey, since each state has its own colour."""
    ax.plot([], [], color="#999999", linewidth=9, label="median to p95")
    ax.plot([], [], color="#999999", linewidth=3, label="p95 to p99")
    ax.plot([], [], **MEDIAN, label="median")
    ax.plot([], [], **MEAN, label="mean")


def _name(phase: str, row: pd.Series[Any]) -> str:
    cut = f", {row['censored']:,.0f} cut" if row["censored"] else ""
    share = f"\n{row['share']:.1%} of the time" if row["total_s"] else ""
    return f"{phase}\n{row['n']:,.0f} stay{'' if row['n'] == 1 else 's'}{cut}{share}"
