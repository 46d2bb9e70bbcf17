"""What jitter does to rows that fail together: when their retries come, how they pile up, and what a tick undoes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tem_sim.analysis.cohort import delays_of, retries_of
from tem_sim.analysis.delay_law import delay_law
from tem_sim.analysis.jitter import CONFIGURED, JitterStudy
from tem_sim.analysis.jitter_rows import width_words
from tem_sim.plots.style import ATTEMPT_COLOURS, MAX_STEPS, axes_for, bare, log_scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tem_sim.analysis.result import Result
    from tem_sim.pipeline.backoff import Policy

# After Okabe and Ito, each with a marker and a dash of its own, so that lines are told apart without colour too.
COLOURS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7", "#7f7f7f")
MARKERS = "osD^vPX*"
DASHES = ("-", "--", "-.", ":")
PANEL_INCHES = (3.1, 2.1)
COLUMNS = 3
# The panels end where so many of the retries of the slowest policy have started.
SHOWN = 0.95


def jitter_panels(study: JitterStudy, figure: Figure | None = None, means: str = CONFIGURED) -> list[Axes]:
    """Draw the retries started per bin, a panel per policy, all over the same axes; counts are logarithmic.

    `means`: "as configured", or "matched" for the same mean delay everywhere. Later retries are darker.
    """
    bins = study.bins[study.bins["means"] == means]
    names = list(dict.fromkeys(bins["policy"]))
    rows = math.ceil(len(names) / COLUMNS)
    if figure is None:
        import matplotlib.pyplot as plt

        size = (PANEL_INCHES[0] * min(COLUMNS, len(names)) + 0.5, PANEL_INCHES[1] * rows + 0.9)
        figure = plt.figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, min(COLUMNS, len(names)), sharex=True, sharey=True, squeeze=False).ravel().tolist()
    for ax, name in zip(panels, names, strict=False):
        _panel(ax, bins[bins["policy"] == name], study.width_s)
        ax.set_title(name, loc="left", fontsize="medium")
    for ax in panels[len(names) :]:
        ax.remove()
    for ax in panels[max(0, len(names) - COLUMNS) : len(names)]:
        # A panel with none below it is the last of its column.
        ax.tick_params(labelbottom=True)
    _finish_panels(figure, panels[: len(names)], study, bins, means)
    return panels[: len(names)]


def _panel(ax: Axes, bins: pd.DataFrame, width_s: float) -> None:
    for retry, held in bins.groupby("retry"):
        edges_s, counts = _gapless(held["t_s"].to_numpy(), held["starts"].to_numpy(), width_s)
        colour = _retry_colour(int(str(retry)))
        ax.stairs(counts, edges_s, fill=True, color=colour, alpha=0.55, linewidth=0, baseline=0.5)
        ax.stairs(counts, edges_s, color=colour, linewidth=1.0, baseline=0.5, label=f"retry {retry}")


def _gapless(
    t_s: np.ndarray[Any, Any], counts: np.ndarray[Any, Any], width_s: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return edges and heights with the empty bins between two full ones, at most as many as a screen can show."""
    places = np.rint((t_s - t_s[0]) / width_s).astype(np.int64)
    merge = max(1, math.ceil((int(places[-1]) + 1) / MAX_STEPS))
    heights = np.zeros(int(places[-1]) // merge + 1, dtype=np.int64)
    np.maximum.at(heights, places // merge, counts)
    return t_s[0] + np.arange(len(heights) + 1) * width_s * merge, heights


def _finish_panels(figure: Figure, panels: list[Axes], study: JitterStudy, bins: pd.DataFrame, means: str) -> None:
    for ax in panels:
        bare(ax, "y")
    log_scale(panels[0], "y")
    panels[0].set_ylim(0.8, 1.6 * float(bins["starts"].max()))
    panels[0].set_xlim(0.0, max(_shown_s(held) for _, held in bins.groupby("policy")) + study.width_s)
    panels[0].xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    figure.supxlabel("time since all rows failed (s)", fontsize="medium")
    figure.supylabel(f"retries started per {width_words(study.width_s)}, logarithmic", fontsize="medium")
    figure.suptitle(f"{study.n:,} rows that fail together, delays {means}", x=0.01, ha="left", fontsize="medium")
    most = max(panels, key=lambda ax: len(ax.get_legend_handles_labels()[1]))
    handles, labels = most.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize="small")


def _shown_s(held: pd.DataFrame) -> float:
    """Return the time by which nearly all retries of a policy have started."""
    ordered = held.sort_values("t_s")
    upto = ordered["starts"].cumsum().to_numpy()
    return float(ordered["t_s"].to_numpy()[np.searchsorted(upto, SHOWN * upto[-1])])


def _retry_colour(retry: int) -> str:
    return ATTEMPT_COLOURS[min(retry, len(ATTEMPT_COLOURS) - 1)]


def delay_ecdf(
    policy: Policy, ax: Axes | None = None, retries: int | None = None, n: int = 1_000, seed: int = 1
) -> Axes:
    """Draw the share of n delays up to a length, retry by retry, and as a dashed line what the policy promises."""
    ax = axes_for(ax)
    for retry, delays_s in enumerate(delays_of(policy, n, retries_of(policy, retries), seed), 1):
        ordered, low_s, high_s = np.sort(delays_s), *policy.support(retry)
        colour = _retry_colour(retry)
        ax.step(
            np.concatenate([[low_s], ordered, [high_s]]),
            np.concatenate([[0.0], np.arange(1, n + 1) / n, [1.0]]),
            where="post",
            color=colour,
            linewidth=2.6,
            label=f"retry {retry}",
        )
        law = delay_law(policy, retry)
        if law is not None:
            at_s = np.linspace(low_s, high_s, 600) if high_s > low_s else np.array([low_s, low_s])
            shares = law.at(at_s) if high_s > low_s else np.array([0.0, 1.0])
            ax.plot(at_s, shares, color="black", linewidth=1.0, linestyle="--", zorder=3)
    ax.plot([], [], color="black", linewidth=1.0, linestyle="--", label="theory")
    ax.set_xlabel("delay (s)")
    ax.set_ylabel(f"share of {n:,} delays")
    ax.set_ylim(-0.02, 1.04)
    _finish(ax, f"delays against theory\n{policy.name or policy.formula}")
    return ax


def peak_heat(result: Result, ax: Axes | None = None) -> Axes:
    """Draw a `peak_by_n` as a map: the colour is the share of the rows in the fullest bin, the number their count."""
    from matplotlib.colors import LogNorm

    table = result.table
    names = list(dict.fromkeys(table["policy"]))
    shares = table.pivot(index="policy", columns="n", values="peak_share").loc[names]
    peaks = table.pivot(index="policy", columns="n", values="peak").loc[names]
    if ax is None:
        ax = axes_for(None)
        ax.figure.set_size_inches(2.4 + 1.25 * shares.shape[1], 1.4 + 0.3 * len(names))  # type: ignore[union-attr]
    norm = LogNorm(min(0.01, float(shares.min().min())), max(1.0, float(shares.max().max())))
    image = ax.pcolormesh(shares.to_numpy(), cmap="YlOrRd", norm=norm, edgecolors="white", linewidth=1)
    dark = np.asarray(norm(shares.to_numpy(dtype=float))) > 0.65
    for (row, column), peak in np.ndenumerate(peaks.to_numpy()):
        ax.text(
            column + 0.5,
            row + 0.5,
            f"{peak:,.0f}",
            ha="center",
            va="center",
            size=8,
            color="white" if dark[row, column] else "black",
        )
    ax.set_xticks(np.arange(shares.shape[1]) + 0.5, [f"{n:,}" for n in shares.columns])
    ax.set_yticks(np.arange(len(names)) + 0.5, names)
    ax.invert_yaxis()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("rows that fail together")
    # What is on the axes need not be said again.
    ax.set_title(result.title.partition(",")[0], loc="left", fontsize="medium")
    bar = ax.figure.colorbar(image, ax=ax, format=lambda value, _: f"{value:,.0%}", pad=0.02)
    bar.set_label("share of the rows, logarithmic", fontsize="small")
    return ax


def tick_bursts(result: Result, ax: Axes | None = None, retry: int = 1) -> Axes:
    """Draw a `tick_study`: the share of the rows that the fullest tick releases, against the scheduler's period.

    Marks with intervals are drawn, lines are expected on paper. A hollow mark is a jitter narrower than the tick.
    """
    ax = axes_for(ax)
    table = result.table[result.table["retry"] == retry]
    for number, (name, rows) in enumerate(table.groupby("policy", sort=False)):
        n = rows["burst"].to_numpy() / rows["burst_share"].to_numpy()
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        dash = DASHES[number % len(DASHES)]
        ax.plot(rows["period_s"], rows["expected_burst"] / n, dash, color=colour, linewidth=1.2)
        spans = np.nan_to_num(np.stack([rows["burst"] - rows["burst_low"], rows["burst_high"] - rows["burst"]])) / n
        ax.errorbar(rows["period_s"], rows["burst_share"], yerr=spans, fmt="none", ecolor=colour, alpha=0.5)
        erased = rows["erased"].to_numpy(dtype=bool)
        style: dict[str, Any] = {"color": colour, "markersize": 6, "zorder": 3}
        ax.plot(rows["period_s"][~erased], rows["burst_share"][~erased], marker, **style)
        ax.plot(rows["period_s"][erased], rows["burst_share"][erased], marker, markerfacecolor="white", **style)
        ax.plot([], [], marker + dash, color=colour, label=f"{name}, J {rows['width_s'].iloc[0]:.3g} s")
    ax.plot([], [], "o", color="black", markerfacecolor="white", linestyle="none", label="hollow: J < T, jitter erased")
    log_scale(ax, "x")
    log_scale(ax, "y")
    ax.set_xlabel("the scheduler's period T (s), logarithmic")
    ax.set_ylabel(f"share released by the fullest tick, retry {retry}, logarithmic")
    _finish(ax, result.title[0].lower() + result.title[1:])
    return ax


def _finish(ax: Axes, title: str) -> None:
    ax.set_title(title, loc="left", fontsize="medium")
    bare(ax)
    beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    ax.legend(frameon=False, fontsize="small", **beside)
