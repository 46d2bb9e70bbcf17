"""What all plots share: colours, axes, fault windows, the legend's place.

The colours are told apart by lightness as well as by hue, so they survive colour blindness and a grey printer.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from tem_sim.frames import Run

# First tries are grey, retries a ramp from light to dark: the darker, the later the attempt.
ATTEMPT_COLOURS = ("#b8bec6", "#fdcc8a", "#fc8d59", "#e34a33", "#a50f15", "#4a0009")

# After Okabe and Ito; ended rows are the background of those that still move.
PHASE_COLOURS = {
    "PROCESSING": "#0072b2",
    "QUEUED": "#56b4e9",
    "RETRY": "#e69f00",
    "FAILED": "#d55e00",
    "EXTINCT": "#2b2b2b",
    "PROCESSED": "#dfe6df",
}

# A fault shorter than this part of the time axis is drawn as a line: as a window it would be invisible.
THIN = 0.004
MOST_EDGES = 3
LONG_NAME = 60
SIZE_INCHES = (9.0, 4.2)
# More steps than this are narrower than a pixel.
MAX_STEPS = 1200
# Two things told apart: what is good or first, and what is more or later. After Okabe and Ito.
BLUE, VERMILION = "#0072b2", "#d55e00"


def axes_for(ax: Axes | None) -> Axes:
    """Return the axes given, or those of a new pyplot figure, which a notebook shows by itself."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    _, made = plt.subplots(figsize=SIZE_INCHES, layout="constrained")
    return made


def finish(ax: Axes, run: Run, title: str, unit: str) -> Axes:
    """Put title, units, time axis and legend where every plot has them; the legend stands beside the data."""
    plain(ax, run, title)
    ax.set_xlabel("time since the run's start (s)")
    ax.set_ylabel(unit)
    ax.set_xlim(0.0, max(run.end_s, 1e-3))
    ax.set_ylim(bottom=0.0)
    ax.xaxis.set_major_formatter(_number)
    ax.yaxis.set_major_formatter(_number)
    return ax


def bare(ax: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """Drop the box and draw a faint grid behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color="#000000", alpha=0.08, linewidth=0.8)
    ax.set_axisbelow(True)


def plain(ax: Axes, run: Run, title: str) -> None:
    """Set the titles, drop the box, draw a faint grid behind, and put the legend to the right of the data."""
    name = run.name if len(run.name) <= LONG_NAME else run.name[: LONG_NAME - 1] + "…"
    ax.set_title(f"{title}\n{name}, seed {run.seed}", loc="left", fontsize="medium")
    bare(ax, "y")
    handles, labels = _stack_from_the_top(ax)
    if labels:
        ax.legend(
            handles,
            labels,
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            borderaxespad=0.0,
            frameon=False,
            fontsize="small",
        )


def _stack_from_the_top(ax: Axes) -> tuple[list[Artist], list[str]]:
    """Return the legend's entries with those of a stack reversed, so that they stand as the layers do."""
    from matplotlib.collections import PolyCollection

    entries = list(zip(*ax.get_legend_handles_labels(), strict=True))
    layers = [entry for entry in entries if isinstance(entry[0], PolyCollection)]
    ordered = [*reversed(layers), *(entry for entry in entries if entry not in layers)]
    return [handle for handle, _ in ordered], [label for _, label in ordered]


def _number(value: float, _: float) -> str:
    """Write a tick as 10,000 or 0.25, in full and with separators."""
    return f"{value:,.10g}"


def bins_for(run: Run, most: int = MAX_STEPS) -> float:
    """Return the narrowest of 1, 2, 5, 10, 20 … s of which the run has at most so many."""
    width_s = 1.0
    for step in itertools.cycle((2.0, 2.5, 2.0)):
        if run.end_s / width_s <= most:
            break
        width_s *= step
    return width_s


def log_scale(ax: Axes, axis: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, with its ticks as plain numbers."""
    ax.set(**{f"{axis}scale": "log"})
    chosen = ax.xaxis if axis == "x" else ax.yaxis
    chosen.set_major_formatter(_number)
    chosen.set_minor_formatter("")


def note(ax: Axes, text: str) -> None:
    """Say in the middle of empty axes why they are empty."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="#666666")


def shade_faults(ax: Axes, run: Run) -> None:
    """Shade the time of each fault that landed, in its own colour; one entry in the legend per kind.

    Where there are few, dotted edges show above the data, too, since a full stack hides the shade behind it.
    """
    faults = run.faults[run.faults["landed"] > 0].sort_values("start_s", kind="stable")
    for kind, windows in faults.groupby("kind", observed=True, sort=False):
        label = _fault_label(str(kind), windows["start_s"].tolist(), windows["end_s"].fillna(run.end_s).tolist())
        for start_s, end_s, shade in zip(
            windows["start_s"].fillna(0.0), windows["end_s"].fillna(run.end_s), windows["shade"], strict=True
        ):
            if end_s - start_s < THIN * run.end_s:
                ax.axvline(start_s, color=shade or "grey", alpha=0.6, linewidth=1.2, zorder=0.5, label=label)
            else:
                ax.axvspan(start_s, end_s, color=shade or "grey", alpha=0.14, linewidth=0, zorder=0.5, label=label)
                for edge_s in (start_s, end_s) if len(faults) <= MOST_EDGES else ():
                    ax.axvline(edge_s, color="black", alpha=0.55, linewidth=0.9, linestyle=":", zorder=3)
            # matplotlib leaves labels that begin with an underscore out of the legend.
            label = "_again"


def _fault_label(kind: str, starts_s: list[float], ends_s: list[float]) -> str:
    name = kind.replace("_", " ")
    if len(starts_s) > 1:
        return f"{name}, {len(starts_s)} times"
    if ends_s[0] - starts_s[0] < 1e-3:
        return f"{name} at {starts_s[0]:g} s"
    return f"{name}, {starts_s[0]:g} to {ends_s[0]:g} s"
