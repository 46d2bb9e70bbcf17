"""The pictures of the load: how many times over the downstream gets it, what comes of it, attempts per event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis import rates, storm
from tem_sim.plots.style import (
    BLUE,
    PHASE_COLOURS,
    VERMILION,
    axes_for,
    bins_for,
    finish,
    log_scale,
    note,
    plain,
    shade_faults,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tem_sim.frames import Run

# A window that holds one first try and a wave of retries would squeeze all others flat.
WIDE = 30.0
GREY = "#b8bec6"


def amplification(run: Run, ax: Axes | None = None, bin_s: float | None = None) -> Axes:
    """Draw the attempts started per first try: in each window, and from the run's start up to then.

    Windows without a first try have no mark: of them there is no ratio. The axis is logarithmic where the ratios span
    more than a factor of 30.
    """
    ax = axes_for(ax)
    bin_s = bins_for(run, 120) if bin_s is None else bin_s
    table = rates.amplification_over_time(run, bin_s)
    middles_s, known = table.index.to_numpy() + bin_s / 2, table.notna()
    if known["cumulative"].any():
        ax.axhline(1.0, color="#000000", alpha=0.4, linewidth=0.9, zorder=1)
        window = table["window"][known["window"]]
        label = f"in {bin_s:g} s windows\nthat have first tries"
        ax.plot(middles_s[known["window"]], window, "o", color=VERMILION, markersize=4, label=label)
        ax.plot(middles_s, table["cumulative"], color=BLUE, linewidth=1.8, label="since the run's start")
    else:
        note(ax, "no attempt was started")
    shade_faults(ax, run)
    finish(ax, run, "amplification: attempts started per first try", "attempts / first tries")
    highest = float(np.nanmax(table.to_numpy(), initial=1.0))
    if highest > WIDE:
        log_scale(ax, "y")
        ax.set_ylim(bottom=0.8)
    else:
        ax.set_ylim(top=1.1 * highest)
    return ax


def goodput(run: Run, ax: Axes | None = None, bin_s: float | None = None) -> Axes:
    """Draw the attempts that ended per second, and the part of them that made an event PROCESSED.

    What lies between the two is work that failed or came too late. An attempt ends with its call and an event with its
    batch's commit, so just after a wave goodput can be the higher of the two.
    """
    ax = axes_for(ax)
    bin_s = bins_for(run) if bin_s is None else bin_s
    table = storm.throughput(run, bin_s)
    if table.to_numpy().any():
        edges_s = np.append(table.index.to_numpy(), table.index[-1] + bin_s)
        for column, colour, label in (
            ("throughput_per_s", GREY, "throughput:\nattempts ended"),
            ("goodput_per_s", BLUE, "goodput:\nevents PROCESSED"),
        ):
            ax.stairs(table[column], edges_s, fill=True, color=colour, label=label, zorder=2)
    else:
        note(ax, "no attempt ended")
        ax.set_ylim(0.0, 1.0)
    shade_faults(ax, run)
    return finish(ax, run, f"goodput and throughput, {bin_s:g} s bins", "per second")


def attempts_histogram(run: Run, ax: Axes | None = None) -> Axes:
    """Draw how many events used how many attempts, stacked by what became of them."""
    from matplotlib.ticker import MaxNLocator

    ax = axes_for(ax)
    table = storm.attempts_per_event(run)
    below = np.zeros(len(table))
    kinds = {"processed": ("PROCESSED", BLUE), "extinct": ("EXTINCT", PHASE_COLOURS["EXTINCT"]), "open": ("open", GREY)}
    for column, (label, colour) in kinds.items():
        if table[column].any():
            ax.bar(table.index, table[column], bottom=below, width=0.8, color=colour, label=label, zorder=2)
            below += table[column].to_numpy()
    if not below.any():
        note(ax, "no event was submitted")
    mean = f", {storm.amplification(run):.3g} on average" if len(run.events) else ""
    plain(ax, run, f"attempts used per event{mean}")
    ax.set(xlabel="attempts", ylabel="events", xlim=(0.5 if not below[0] else -0.5, max(len(table), 4) - 0.5))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    return ax
