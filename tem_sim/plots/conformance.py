"""Simulated and live over time, on top of each other: a band for what was predicted, a line per live run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tem_sim.plots.comparison import DASHES
from tem_sim.plots.style import BLUE, VERMILION, axes_for, bare, note

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "attempts_per_s": ("attempts started per second", "attempts/s"),
    "backlog": ("backlog: rows not yet ended", "rows"),
}
BAND = 0.22
# More lines than this are a bundle: each fainter, so that where most of them run is darkest.
CLEAR_LINES = 3


def conformance_timelines(table: pd.DataFrame, figure: Figure, name: str = "") -> Figure:
    """Draw attempts per second above the backlog, over the same time; `table` is `analysis.conformance.overlay`'s."""
    upper, lower = figure.subplots(2, 1, sharex=True)
    timeline_overlaid(table, "attempts_per_s", upper, name)
    timeline_overlaid(table, "backlog", lower)
    upper.set_xlabel("")
    if lower.get_legend() is not None:
        # Both have the same entries.
        lower.get_legend().remove()
    return figure


def timeline_overlaid(table: pd.DataFrame, what: str, ax: Axes | None = None, name: str = "") -> Axes:
    """Draw "attempts_per_s" or "backlog": simulated runs as a band with their median, live ones as lines."""
    ax = axes_for(ax)
    rows = table[table["what"] == what]
    live = [str(column) for column in rows.columns if str(column).startswith("live-")]
    if rows.empty:
        note(ax, "no run")
    else:
        _draw_band(ax, rows)
        _draw_lines(ax, rows, live)
    title, unit = TITLES[what]
    ax.set_title(f"{title}\n{name}" if name else title, loc="left", fontsize="medium")
    ax.set_xlabel("time since the run's start (s)")
    ax.set_ylabel(unit)
    ax.set_xlim(0.0, float(rows["t_s"].max()) if len(rows) > 1 else 1.0)
    ax.set_ylim(bottom=0.0)
    bare(ax, "y")
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False, fontsize="small")
    return ax


def _draw_band(ax: Axes, rows: pd.DataFrame) -> None:
    if rows["median"].isna().all():
        return
    ax.fill_between(
        rows["t_s"],
        rows["low"],
        rows["high"],
        step="post",
        color=BLUE,
        alpha=BAND,
        linewidth=0,
        label="simulated, 95 %",
    )
    ax.step(rows["t_s"], rows["median"], where="post", color=BLUE, linewidth=1.8, label="simulated, median")


def _draw_lines(ax: Axes, rows: pd.DataFrame, live: list[str]) -> None:
    many = len(live) > CLEAR_LINES
    for number, column in enumerate(live):
        label = f"live, {len(live)} runs" if many and not number else column.replace("-", ", seed ")
        ax.step(
            rows["t_s"],
            rows[column],
            where="post",
            color=VERMILION,
            linewidth=1.0 if many else 1.4,
            alpha=0.75,
            linestyle="-" if many else DASHES[number % len(DASHES)],
            label="_again" if many and number else label,
            zorder=3,
        )
