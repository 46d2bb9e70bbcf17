"""What each mitigation changes: a panel per measure, a row per mitigation, dots with intervals around no change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

# Measure, words, and whether more of it is better; in the order of the panels.
PANELS = (
    ("goodput_per_s", "goodput", True),
    ("lost_share", "events lost", False),
    ("peak_per_s", "peak on the\ndownstream", False),
    ("recovery_s", "recovery", False),
    ("latency_mean_s", "mean latency", False),
    ("statements_per_event", "statements\nper event", False),
)
# Told apart by shape as well as by colour.
BETTER, WORSE, UNSURE = ("#009e73", "o"), ("#d55e00", "X"), ("#8a8f98", "|")
BASELINE = "as it is"
ROW_INCHES = 0.34
FRAME_INCHES = 1.75
WIDTH_INCHES = 12.0
# What lies further out is drawn at the edge: one thing that makes all ten times worse must not flatten the rest.
MOST_PERCENT = 150.0
# The rounding of equal floats, not a difference.
NOTHING = 1e-6


def mitigation_effects(table: pd.DataFrame, figure: Figure | None = None) -> Figure:
    """Draw the differences to the baseline in percent of it, with their paired 95 % intervals; the first row on top.

    The table is that of `mitigations`. A measure that is 0 in the baseline is drawn in its own unit. Green dots are
    surely better, red crosses surely worse, grey ticks neither.
    """
    shown = table[table["mitigation"] != BASELINE].reset_index(drop=True)
    base = table[table["mitigation"] == BASELINE].iloc[0]
    figure = _figure() if figure is None else figure
    figure.set_size_inches(WIDTH_INCHES, FRAME_INCHES + ROW_INCHES * len(shown))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, len(PANELS), sharey=True, gridspec_kw={"wspace": 0.08})
    for ax, (measure, words, more_is_better) in zip(panels, PANELS, strict=True):
        _draw(ax, shown, float(base[measure]), measure, more_is_better)
        ax.set_title(f"{words}\n{_level(float(base[measure]), measure)}", fontsize="small")
    panels[0].set_yticks(np.arange(len(shown)), list(shown["mitigation"]))
    panels[0].set_ylim(len(shown) - 0.5, -0.5)
    figure.suptitle(
        "what each mitigation changes against the scenario as it is, with paired 95 % intervals", fontsize="medium"
    )
    _legend(figure)
    return figure


def _figure() -> Figure:
    import matplotlib.pyplot as plt

    return plt.figure()


def _draw(ax: Axes, rows: pd.DataFrame, base: float, measure: str, more_is_better: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    scale, unit = (100 / base, "%") if base else (1.0, "")
    spans = (
        rows[[f"{measure}_{column}" for column in ("difference", "difference_low", "difference_high")]].to_numpy(
            dtype=float
        )
        * scale
    )
    limit = _limit(spans)
    ax.axvline(0.0, color="black", linewidth=0.9, zorder=1)
    for place, (span, sure) in enumerate(zip(spans, rows[f"{measure}_sure"], strict=True)):
        colour, marker = UNSURE if not sure else BETTER if (span[0] > 0) == more_is_better else WORSE
        middle, low, high = np.clip(span, -limit, limit)
        ax.plot([low, high], [place, place], color=colour, linewidth=2.0, solid_capstyle="butt", zorder=2)
        ax.plot(middle, place, marker, color=colour, markersize=7 if marker == "|" else 6, zorder=3)
        if abs(span[0]) > limit:
            ax.annotate(f"{span[0]:+,.0f}", (middle, place), (0, 5), textcoords="offset points", ha="center", size=7)
    ax.set_xlim(-1.15 * limit, 1.15 * limit)
    ax.set_xlabel(f"change ({unit})" if unit else "change", fontsize="small")
    ax.tick_params(labelsize="small")
    ax.xaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    ax.xaxis.set_major_formatter(lambda tick, _: f"{tick:+,.3g}" if tick else "0")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.grid(color="#000000", alpha=0.08, linewidth=0.8)
    ax.set_axisbelow(True)


def _limit(spans: NDArray[np.float64]) -> float:
    """Return how far a panel reaches on either side; 1 where nothing changes."""
    furthest = float(np.nanmax(np.abs(spans), initial=0.0))
    return min(furthest, MOST_PERCENT) if furthest > NOTHING else 1.0


def _level(base: float, measure: str) -> str:
    unit = "/s" if measure.endswith("_per_s") else " s" if measure.endswith("_s") else ""
    return f"(as it is: {base:.1%})" if measure.endswith("_share") else f"(as it is: {base:,.3g}{unit})"


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    words = (("surely better", BETTER), ("surely worse", WORSE), ("not sure", UNSURE))
    handles = [
        Line2D([], [], color=colour, marker=marker, linewidth=2.0, label=said) for said, (colour, marker) in words
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
