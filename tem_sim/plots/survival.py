"""Which outages a policy outlives: EXTINCT against their length, and how far each policy's retries reach."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.survival import Survival
from tem_sim.plots.jitter import COLOURS, DASHES, MARKERS
from tem_sim.plots.style import axes_for, bare, log_scale, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TICKS = {
    **{f"{ms:g} ms": ms / 1e3 for ms in (1, 10, 100)},
    **{f"{s} s": float(s) for s in (1, 10)},
    **{f"{minutes} min": minutes * 60.0 for minutes in (1, 10)},
    **{f"{hours} h": hours * 3600.0 for hours in (1, 8)},
    **{f"{days} d": days * 86_400.0 for days in (2, 14, 100, 1000)},
}
MOST_TICKS = 9


def extinct_by_outage(result: Survival, ax: Axes | None = None, *, log: bool = False) -> Axes:
    """Draw the share of the events caught that end EXTINCT against the outage's length, a line per policy.

    Lines are on paper, marks are drawn with their Wilson intervals. The grey line is the share that counts as outlived;
    `log` makes the shares logarithmic, to see it.
    """
    ax = axes_for(ax)
    for number, (name, rows) in enumerate(result.table.groupby("policy", sort=False)):
        colour, marker, dash = (kind[number % len(kind)] for kind in (COLOURS, MARKERS, DASHES))
        curve = result.curves[result.curves["policy"] == name]
        ax.plot(curve["outage_s"], curve["expected_share"], dash, color=colour, linewidth=1.3)
        spans = np.stack(
            [rows["extinct_share"] - rows["extinct_share_low"], rows["extinct_share_high"] - rows["extinct_share"]]
        )
        ax.errorbar(
            rows["outage_s"], rows["extinct_share"], yerr=np.clip(spans, 0, 1), fmt=marker, color=colour, markersize=5
        )
        ax.plot([], [], marker + dash, color=colour, label=str(name))
    ax.axhline(result.p_extinct, color="#888888", linewidth=1, zorder=1, label=f"outlived: {result.p_extinct:.3g}")
    log_scale(ax, "x")
    if log:
        log_scale(ax, "y")
    ax.set_ylim(result.p_extinct / 20 if log else -0.02, 1.4 if log else 1.02)
    ax.set_xlabel("length of the outage (s), logarithmic")
    ax.set_ylabel("EXTINCT, share of the events caught" + (", logarithmic" if log else ""))
    _finish(ax, "EXTINCT in an outage, by its length\nlines: on paper; marks: drawn, with 95 % intervals")
    return ax


def retry_horizons(result: Survival, ax: Axes | None = None) -> Axes:
    """Draw how far each policy's retries reach, least to largest with the mean, and the longest outage it outlives."""
    table = result.horizons.iloc[::-1].reset_index(drop=True)
    finite = table[np.isfinite(table["max_s"])]
    if ax is None:
        ax = axes_for(None)
        ax.figure.set_size_inches(9.0, 1.5 + 0.3 * len(table))  # type: ignore[union-attr]
    if not (finite["max_s"] > 0).any():
        note(ax, "none of the policies both waits and gives up")
        return ax
    least_s = _axis_low_s(finite[["min_s", "mean_s", "max_s", "survives_s"]].to_numpy(dtype=float))
    ax.hlines(
        finite.index, finite["min_s"].clip(lower=least_s), finite["max_s"], color="#9fb4c7", linewidth=6, zorder=1
    )
    ax.plot(finite["mean_s"], finite.index, "|", color="black", markersize=9, label="mean")
    outlived = finite[finite["survives_s"] > least_s]
    label = f"longest outage outlived\n(at most {result.p_extinct:.3g} EXTINCT)"
    ax.plot(outlived["survives_s"], outlived.index, "D", color="#d55e00", markersize=6, label=label, zorder=3)
    ax.plot([], [], color="#9fb4c7", linewidth=6, label="wait until the last retry,\nleast to largest")
    for row in table.index[~np.isfinite(table["max_s"])]:
        ax.text(0.01, row, "never gives up", transform=ax.get_yaxis_transform(), va="center", size=8, color="#666666")
    _time_axis(ax, least_s, float(finite[["max_s", "survives_s"]].max().max()))
    ax.set_ylim(-0.7, len(table) - 0.3)
    ax.set_yticks(table.index, table["policy"])
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("time since the first failure, logarithmic; what is less stands at the edge")
    _finish(ax, "how far the retries reach")
    return ax


def _time_axis(ax: Axes, low_s: float, high_s: float) -> None:
    """Make the time axis logarithmic, with ticks in the units that people use."""
    ax.set_xscale("log")
    ax.set_xlim(low_s, 2 * high_s)
    shown = {text: time_s for text, time_s in TICKS.items() if low_s <= time_s <= 2 * high_s}
    while len(shown) > MOST_TICKS:
        shown = dict(list(shown.items())[::2])
    ax.set_xticks(list(shown.values()), list(shown))
    ax.minorticks_off()


def _axis_low_s(values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
    """Return where a logarithmic axis begins: a decade below the least number that is worth a mark."""
    positive = values[(values > 0) & np.isfinite(values)]
    return float(10.0 ** math.floor(math.log10(max(positive.min(), positive.max() * 1e-8))))


def _finish(ax: Axes, title: str) -> None:
    ax.set_title(title, loc="left", fontsize="medium")
    bare(ax)
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
