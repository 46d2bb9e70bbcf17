"""Estimates with their uncertainty: a dot per row and a line from `low` to `high`, the numbers written beside them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.plots.style import axes_for, bare

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

ROW_INCHES = 0.42
FRAME_INCHES = 1.1
WIDTH_INCHES = 8.0


def intervals(
    table: pd.DataFrame,
    ax: Axes | None = None,
    *,
    by: str = "variant",
    value: str = "mean",
    title: str = "",
    unit: str = "",
    reference: float | None = None,
    log: bool = False,
) -> Axes:
    """Draw the column `value` of each row with its interval (columns `low` and `high`), named by the column `by`.

    Rows stand as in the table, the first on top; one whose value is NaN has a name and no dot, one without bounds a
    dot and no line. `reference` is a dashed line to compare with, such as no difference at all; `log` makes the axis
    logarithmic.
    """
    ax = _made(len(table)) if ax is None else ax
    places = np.arange(len(table))
    numbers = table[[value, "low", "high"]].to_numpy(dtype=float)
    if reference is not None:
        ax.axvline(reference, color="black", linestyle="--", linewidth=1.0, zorder=1)
    for place, (middle, low, high) in zip(places, numbers, strict=True):
        ax.plot([low, high], [place, place], color="#0072b2", linewidth=2.4, solid_capstyle="butt", zorder=2)
        ax.plot(middle, place, "o", color="#0072b2", markersize=6, zorder=3)
        ax.annotate(_written(middle, low, high), (1.01, place), xycoords=("axes fraction", "data"), va="center", size=9)
    ax.set_yticks(places, [str(name) for name in table[by]])
    ax.set_ylim(len(table) - 0.5, -0.5)
    if log:
        ax.set_xscale("log")
    elif reference is None and not (numbers < 0).any():
        # Counts and times are compared with none at all.
        ax.set_xlim(left=-0.03 * float(np.nanmax(numbers, initial=1e-9)))
    ax.set_title(title, loc="left", fontsize="medium")
    ax.set_xlabel(unit)
    ax.xaxis.set_major_formatter(lambda tick, _: f"{tick:,.10g}")
    bare(ax, "x")
    return ax


def _made(rows: int) -> Axes:
    ax = axes_for(None)
    ax.figure.set_size_inches(WIDTH_INCHES, FRAME_INCHES + ROW_INCHES * rows)  # type: ignore[union-attr]
    return ax


def _written(middle: float, low: float, high: float) -> str:
    """Return the estimate and its interval in three digits, or why there is none."""
    if math.isnan(middle):
        return "none"
    bounds = "" if math.isnan(low) else f"  [{_short(low)}, {_short(high)}]"
    return f"{_short(middle)}{bounds}"


def _short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 99.95 or number == 0 else f"{number:.3g}"
