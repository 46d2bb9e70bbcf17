"""Metastability in pictures: the map of P(collapse), its cuts by load, and a run's path through the phase plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tem_sim.plots.style import axes_for, bare

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

MAP_INCHES = (9.0, 5.6)
PHASE_INCHES = (8.0, 5.6)
# From light to dark, so that the map reads in grey as well.
COLOURS = "YlOrRd"
DARK_FROM = 0.6
# Okabe and Ito; the control first.
PATHS = ("#7f7f7f", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
ARROWS = 6


def collapse_map(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw P(collapse) over outage length × load, Wilson's interval in each cell, and where the mean field tips.

    The table is a `Metastability`'s. The cells are as wide as each other whatever the values, and the curve is drawn
    between their middles accordingly.
    """
    ax = _made(MAP_INCHES) if ax is None else ax
    loads, outages_s = (np.sort(table[name].unique()) for name in ("load", "outage_s"))
    grid = table.set_index(["load", "outage_s"])
    shares = grid["p_collapse"].unstack().to_numpy(dtype=float)
    image = ax.imshow(shares, origin="lower", aspect="auto", cmap=COLOURS, vmin=0.0, vmax=1.0)
    for row, load in enumerate(loads):
        for column, outage_s in enumerate(outages_s):
            _write_cell(ax, column, row, grid.loc[(load, outage_s)])
    _draw_tipping(ax, table, loads, outages_s)
    _draw_hidden(ax, table["hidden_load"].iloc[0], loads)
    if table["control_collapsed"].any():
        ax.plot([], [], " ", label="* without seeds that collapsed with no outage")
    rates = table.groupby("load")["rate_per_s"].first()
    ax.set_xticks(range(len(outages_s)), [f"{value:g}" for value in outages_s])
    ax.set_yticks(range(len(loads)), [f"{load:g}\n({rates[load]:,.3g}/s)" for load in loads])
    ax.set_xlabel("length of the outage (s)")
    ax.set_ylabel("load: new events over capacity")
    title = "share of runs that stay down after the outage"
    ax.set_title(f"{title}\nruns collapsed / judged, 95 % interval", loc="left", fontsize="medium")
    ax.set_xlim(-0.5, len(outages_s) - 0.5)
    ax.set_ylim(-0.5, len(loads) - 0.5)
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, -0.15), borderaxespad=0.0, frameon=False, fontsize="small")
    ax.spines[:].set_visible(False)
    ax.figure.colorbar(image, ax=ax, label="P(collapse)", pad=0.02, fraction=0.05)
    return ax


def _write_cell(ax: Axes, column: int, row: int, cell: pd.Series[Any]) -> None:
    from matplotlib.patheffects import withStroke

    ink, halo = ("white", "#4d0010") if cell["p_collapse"] > DARK_FROM else ("black", "white")
    count = f"{cell['collapsed']:g}/{cell['n']:g}{'*' if cell['control_collapsed'] else ''}"
    bounds = f"{cell['p_low']:.2f}–{cell['p_high']:.2f}" if cell["n"] else "no run fit"
    for text, up, size in ((count, 0.13, 11.0), (bounds, -0.22, 7.5)):
        written = ax.text(column, row + up, text, ha="center", va="center", color=ink, size=size, zorder=5)
        # Where the curve runs through a cell its numbers stay readable.
        written.set_path_effects([withStroke(linewidth=1.8, foreground=halo)])


def _draw_tipping(ax: Axes, table: pd.DataFrame, loads: NDArray[Any], outages_s: NDArray[Any]) -> None:
    """Draw the mean field's edge; left of it even the shortest outage, right of it none would do."""
    from matplotlib.patheffects import withStroke

    tips_s = table.groupby("load")["tipping_outage_s"].first().loc[loads].to_numpy(dtype=float)
    places = _places(tips_s, outages_s)
    shown = np.isfinite(places)
    if shown.any():
        style: dict[str, Any] = {"color": "#0072b2", "linewidth": 2.2, "markersize": 5}
        (line,) = ax.plot(places[shown], np.flatnonzero(shown), "o-", label="tipping point of the mean field", **style)
        line.set_path_effects([withStroke(linewidth=4.5, foreground="white")])


def _draw_hidden(ax: Axes, hidden_load: float, loads: NDArray[Any]) -> None:
    """Draw the load below which no collapse can sustain itself, or say that it is off the map."""
    label = f"hidden capacity, load {hidden_load:.2g}"
    if loads[0] <= hidden_load <= loads[-1]:
        ax.axhline(np.interp(hidden_load, loads, np.arange(len(loads))), color="black", linestyle="--", label=label)
    else:
        ax.plot([], [], " ", label=f"{label}: {'below' if hidden_load < loads[0] else 'above'} the map")


def _places(tips_s: NDArray[Any], outages_s: NDArray[Any]) -> NDArray[Any]:
    """Return where lengths lie between the middles of the cells; at most half a cell outside them, else NaN."""
    indices = np.arange(len(outages_s), dtype=float)
    places = np.interp(tips_s, outages_s, indices, left=-0.5, right=np.nan)
    return np.asarray(np.where(tips_s == outages_s[-1], indices[-1], places))


def collapse_by_load(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw P(collapse) against load, a line per outage length, each point with Wilson's interval."""
    ax = axes_for(ax)
    from matplotlib import colormaps

    lengths = np.sort(table["outage_s"].unique())
    shades = colormaps["viridis_r"](np.linspace(0.15, 1.0, len(lengths)))
    step = np.diff(np.sort(table["load"].unique())).min(initial=0.1)
    for number, (length_s, shade) in enumerate(zip(lengths, shades, strict=True)):
        rows = table[table["outage_s"] == length_s].sort_values("load")
        # Side by side, so that the intervals can be told apart.
        at = rows["load"] + step * 0.5 * ((number + 0.5) / len(lengths) - 0.5)
        reach = np.abs(rows[["p_low", "p_high"]].to_numpy().T - rows["p_collapse"].to_numpy())
        ax.errorbar(
            at,
            rows["p_collapse"],
            yerr=reach,
            fmt="o-",
            color=shade,
            markersize=4,
            linewidth=1.4,
            elinewidth=0.9,
            label=f"{length_s:g} s",
        )
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlabel("load: new events over capacity")
    ax.set_ylabel("P(collapse)")
    _plain(ax, "share of runs that stay down after an outage, 95 % intervals")
    ax.legend(
        title="outage", loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False, fontsize="small"
    )
    return ax


def phase_portrait(paths: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Draw runs as paths through the plane of backlog against retries in flight, as `phase_paths` returns them.

    A ring is where a path begins, a square where it ends, arrows point on. A run that recovers comes back to where it
    began; one that collapses ends in another place and stays there.
    """
    ax = _made(PHASE_INCHES) if ax is None else ax
    for number, (label, path) in enumerate(paths.items()):
        _draw_path(ax, path, PATHS[number % len(PATHS)], label)
    ax.set_xlabel("backlog: rows not yet ended")
    ax.set_ylabel("retries in flight: rows QUEUED or PROCESSING again")
    ax.set_xlim(left=0.0)
    ax.set_ylim(bottom=0.0)
    _plain(ax, "phase portrait, means over 2 s: ring begins, square ends, dotted in the outage")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False, fontsize="small")
    return ax


def _draw_path(ax: Axes, path: pd.DataFrame, colour: str, label: str) -> None:
    x, y = path["backlog"].to_numpy(dtype=float), path["retries_in_flight"].to_numpy(dtype=float)
    away = path["in_outage"].to_numpy(dtype=bool)
    # A piece of the path belongs to the outage when it ends in it.
    for hidden, dash, name in ((~away, ":", "_in outage"), (away, "-", label)):
        shown = ~hidden | np.append(~hidden[1:], False)
        ax.plot(np.where(shown, x, np.nan), np.where(shown, y, np.nan), dash, color=colour, linewidth=1.4, label=name)
    # Paths begin in the corner, where half a mark would be cut off.
    marks: dict[str, Any] = {"markersize": 8, "zorder": 4, "clip_on": False, "markeredgecolor": colour}
    ax.plot(x[-1:], y[-1:], "s", color=colour, **marks)
    ax.plot(x[:1], y[:1], "o", markerfacecolor="white", **marks)
    for at in _arrow_places(x, y):
        ax.annotate(
            "", (x[at + 1], y[at + 1]), (x[at], y[at]), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.2}
        )


def _arrow_places(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """Return steps to put an arrow on: those that end equal parts of the way, as far as they are long enough to see."""
    lengths = np.hypot(np.diff(x), np.diff(y))
    if not lengths.any():
        return np.zeros(0, dtype=int)
    way = np.cumsum(lengths)
    steps = np.unique(np.searchsorted(way, way[-1] * (np.arange(ARROWS) + 0.5) / ARROWS))
    return np.asarray(steps[lengths[steps] > np.median(lengths[lengths > 0])])


def _made(inches: tuple[float, float]) -> Axes:
    ax = axes_for(None)
    ax.figure.set_size_inches(inches)  # type: ignore[union-attr]
    return ax


def _plain(ax: Axes, title: str) -> None:
    ax.set_title(title, loc="left", fontsize="medium")
    bare(ax)
