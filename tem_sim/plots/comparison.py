"""Several runs in one picture: retries per second, backlog and latency tail, a line per run.

Each takes the runs by label. A label's place decides its colour, so that a run looks the same in all three.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tem_sim.analysis import backlog, latency, storm
from tem_sim.plots.style import axes_for, bare, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tem_sim.frames import Run

# After Okabe and Ito, dark ones first; the dashes tell lines apart where there is no colour.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9", "#7f7f7f")
DASHES = ("-", "--", "-.", ":")
# More points than this are narrower than a pixel.
MOST_POINTS = 1200


def retries_by_run(runs: Mapping[str, Run], ax: Axes | None = None, bin_s: float = 1.0) -> Axes:
    """Draw the retries (attempt 2 and later) started per second; of a long run each step shows the fullest bin."""
    ax = axes_for(ax)
    for number, (label, run) in enumerate(runs.items()):
        rates = storm.retries_per_bin(run, bin_s) / bin_s
        width = -(-len(rates) // MOST_POINTS)
        fullest = np.maximum.reduceat(rates, np.arange(0, len(rates), width)) if len(rates) else rates
        edges_s = np.arange(len(fullest) + 1) * width * bin_s
        ax.stairs(fullest, edges_s, label=label, baseline=None, **_line(number))
    return _finish(ax, runs, "retries started per second", "retries/s")


def backlogs_by_run(runs: Mapping[str, Run], ax: Axes | None = None) -> Axes:
    """Draw the rows that are not terminal over time, sampled at some hundred instants."""
    ax = axes_for(ax)
    for number, (label, run) in enumerate(runs.items()):
        steps = backlog.backlog(run)
        at_s = np.linspace(0.0, max(run.end_s, 1e-3), MOST_POINTS // 2)
        place = np.searchsorted(steps.at_s, at_s, side="right")
        ax.step(at_s, np.append(0, steps.level)[place], where="post", label=label, **_line(number))
    return _finish(ax, runs, "backlog: rows not yet ended", "rows")


def latencies_by_run(runs: Mapping[str, Run], ax: Axes | None = None) -> Axes:
    """Draw the part of the events that took longer than a time to become PROCESSED, on a logarithmic axis.

    A line that does not come down leaves out no one: events that never became PROCESSED took longer than any time.
    """
    ax = axes_for(ax)
    drawn = [_tail(ax, run, label, _line(number)) for number, (label, run) in enumerate(runs.items())]
    if any(drawn):
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        note(ax, "no event was PROCESSED")
    _plain(ax, "latency tail: events not PROCESSED within a time")
    ax.set_xlabel("time since submit (s)")
    ax.set_ylabel("part of all events, logarithmic" if any(drawn) else "part of all events")
    ax.set_xlim(left=0.0)
    return ax


def _tail(ax: Axes, run: Run, label: str, line: dict[str, Any]) -> bool:
    seconds = latency.latencies(run)["processed_s"].to_numpy()
    done = np.sort(seconds[~np.isnan(seconds)])
    if not len(done):
        return False
    # Thinned, but for the end: there each event is a step that can be seen.
    last = np.arange(max(len(done) - MOST_POINTS // 4, 0), len(done))
    keep = np.union1d(np.linspace(0, len(done) - 1, min(len(done), MOST_POINTS)).round().astype(int), last)
    left = 1.0 - (keep + 1) / len(seconds)
    # The last event of a run in which all came through leaves nobody, which a logarithm cannot show.
    shown = left > 0
    x, y = np.append(0.0, done[keep][shown]), np.append(1.0, left[shown])
    ax.step(np.append(x, done[-1]), np.append(y, y[-1]), where="post", label=label, **line)
    return True


def _line(number: int) -> dict[str, Any]:
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number % len(DASHES)],
        "linewidth": 1.7,
    }


def _finish(ax: Axes, runs: Mapping[str, Run], title: str, unit: str) -> Axes:
    _plain(ax, title)
    ax.set_xlabel("time since the run's start (s)")
    ax.set_ylabel(unit)
    ax.set_xlim(0.0, max((run.end_s for run in runs.values()), default=1.0))
    ax.set_ylim(bottom=0.0)
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    return ax


def _plain(ax: Axes, title: str) -> None:
    ax.set_title(title, loc="left", fontsize="medium")
    bare(ax, "y")
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False, fontsize="small")
