"""What each write guard lets happen to rows that several workers hold: shares of seeds with intervals, and the cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tem_sim.plots.style import bare

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Measure, words, and whether it is a share of the seeds; in the order of the rows of panels.
PANELS = (
    ("lost_increments", "an increment\nis lost", True),
    ("wrong_extinct", "an event is\ngiven up wrongly", True),
    ("foreign_ends", "a row is ended by\nanother's worker", True),
    ("superseded", "an attempt is\nsuperseded", True),
    ("settle_ms", "time to settle\n(ms)", False),
)
# Told apart by shape as well as by colour; after Okabe and Ito.
GUARDS = {
    "stale": ("#d55e00", "X"),
    "refresh": ("#e69f00", "D"),
    "row_lock": ("#56b4e9", "s"),
    "version": ("#009e73", "^"),
    "fenced": ("#0072b2", "o"),
}
LEVELS = {"read_committed": "read committed", "snapshot": "snapshot", "serializable": "serializable"}
PANEL_INCHES = (3.4, 1.7)
FRAME_INCHES = (1.6, 1.5)
# The part of the distance between two lengths of calls over which the guards stand side by side.
SPREAD = 0.6


def guards_compared(table: pd.DataFrame, figure: Figure | None = None) -> Figure:
    """Draw the table of `stale_reads`: a column of panels per isolation level, a row per measure, a mark per guard.

    Shares have Wilson's 95 % interval over the seeds, the time to settle Student's. Calls grow longer to the right.
    """
    levels = [level for level in LEVELS if level in set(table["isolation"])]
    guards = [guard for guard in GUARDS if guard in set(table["guard"])]
    figure = _figure() if figure is None else figure
    width, height = PANEL_INCHES
    figure.set_size_inches(FRAME_INCHES[0] + width * len(levels), FRAME_INCHES[1] + height * len(PANELS))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(len(PANELS), len(levels), sharex=True, sharey="row", squeeze=False)
    for across, level in enumerate(levels):
        of = table[table["isolation"] == level]
        for down, (measure, words, share) in enumerate(PANELS):
            ax = panels[down][across]
            _draw(ax, of, measure, guards)
            if share:
                ax.set_ylim(-0.08, 1.08)
                ax.yaxis.set_major_formatter(lambda tick, _: f"{tick:.0%}")
            if not across:
                ax.set_ylabel(words, fontsize="small")
        panels[0][across].set_title(LEVELS[level], fontsize="medium")
        panels[-1][across].set_xlabel("mean call, in leases", fontsize="small")
    for down, (measure, _, share) in enumerate(PANELS):
        if not share:
            # They share their scale: only when all are drawn is it known how far it reaches.
            panels[down][0].set_ylim(0.0, 1.06 * float(np.nanmax(table[[measure, f"{measure}_high"]].to_numpy())))
    figure.suptitle("seeds in which it happens, and what settling takes, with 95 % intervals", fontsize="medium")
    _legend(figure, guards)
    return figure


def _figure() -> Figure:
    import matplotlib.pyplot as plt

    return plt.figure()


def _draw(ax: Axes, rows: pd.DataFrame, measure: str, guards: list[str]) -> None:
    calls = sorted(set(rows["calls"]))
    beside = np.linspace(-SPREAD / 2, SPREAD / 2, len(guards)) if len(guards) > 1 else [0.0]
    for guard, aside in zip(guards, beside, strict=True):
        of = rows[rows["guard"] == guard].sort_values("calls")
        places = np.array([calls.index(one) for one in of["calls"]]) + aside
        middle, low, high = (of[f"{measure}{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high"))
        colour, marker = GUARDS[guard]
        ax.vlines(places, low, high, color=colour, linewidth=1.8, alpha=0.65, zorder=2)
        ax.plot(places, middle, marker, color=colour, markersize=5.5, zorder=3)
    ax.set_xticks(range(len(calls)), [f"{one:g}" for one in calls])
    ax.set_xlim(-0.6, len(calls) - 0.4)
    for border in range(1, len(calls)):
        ax.axvline(border - 0.5, color="#000000", alpha=0.15, linewidth=0.8, zorder=1)
    ax.tick_params(labelsize="small")
    bare(ax, "y")


def _legend(figure: Figure, guards: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=GUARDS[guard][0], marker=GUARDS[guard][1], linewidth=1.8, label=guard) for guard in guards
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(guards), frameon=False, fontsize="small")
