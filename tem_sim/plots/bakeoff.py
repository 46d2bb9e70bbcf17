"""The bake-off as a picture: how long a policy makes events wait against how hard it hits the dependency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tem_sim.plots.front import crosses, draw_front
from tem_sim.plots.labels import label_points
from tem_sim.plots.style import axes_for, bare, log_scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# By how much of the hit events is lost: up to, colour, marker, words. Told apart by shape as well as by colour.
LOSSES = (
    (0.01, "#0072b2", "o", "at most 1 %"),
    (0.10, "#e69f00", "s", "up to 10 %"),
    (0.50, "#d55e00", "^", "up to 50 %"),
    (1.00, "#2b2b2b", "X", "more than half"),
)


NAMES = {"added_latency_s": "added latency of the events hit (s)", "drain_s": "time to drain after the outage (s)"}
SIZE_INCHES = (9.5, 6.8)


def pareto(table: pd.DataFrame, ax: Axes | None = None, y: str = "added_latency_s") -> Axes:
    """Draw the peak of calls per second after the outage against the added latency, or `y="drain_s"`.

    The table is a `Bakeoff`'s. Both axes are logarithmic and less is better. Colour and shape say how much of the
    events that the outage hit is lost; policies that lose many look quicker than they are. Crosses are the intervals.
    The line is the front of the means: nobody in the race lies below and to the left of it. Names in bold are on the
    front or as good as on it: nobody surely beats them.
    """
    ax = _made() if ax is None else ax
    shown = table[(table["peak_per_s"] > 0) & (table[y] > 0)]
    lost = (shown["extinct_share"] + shown["unfinished_share"]).to_numpy()
    kinds = np.searchsorted([most for most, *_ in LOSSES], lost.clip(max=1.0))
    for number, kind in enumerate(LOSSES):
        if (kinds == number).any():
            _draw(ax, shown[kinds == number], y, kind)
    draw_front(ax, shown.loc[shown["in_race"], ["peak_per_s", y]].to_numpy(dtype=float))
    _finish(ax, y)
    _limit(ax, shown, y)
    _name(ax, shown, y)
    return ax


def _made() -> Axes:
    ax = axes_for(None)
    ax.figure.set_size_inches(SIZE_INCHES)  # type: ignore[union-attr]
    return ax


def _draw(ax: Axes, rows: pd.DataFrame, y: str, kind: tuple[float, str, str, str]) -> None:
    _, colour, marker, words = kind
    crosses(ax, rows, "peak_per_s", y, colour)
    ax.plot(rows["peak_per_s"], rows[y], marker, color=colour, markersize=6, label=f"{words} ({len(rows)})", zorder=3)


def _finish(ax: Axes, y: str) -> None:
    from matplotlib.ticker import LogLocator

    log_scale(ax, "x")
    log_scale(ax, "y")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.set_xlabel("peak on the dependency after the outage (calls/s), logarithmic")
    ax.set_ylabel(f"{NAMES[y]}, logarithmic")
    title = "retry policies over one outage: less is better on both axes"
    ax.set_title(f"{title}\nbold: surely beaten by nobody; crosses: 95 % intervals", loc="left", fontsize="medium")
    bare(ax)
    legend = ax.legend(
        title="events lost, and policies",
        fontsize="small",
        title_fontsize="small",
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
        frameon=False,
    )
    legend.set_alignment("left")


def _limit(ax: Axes, rows: pd.DataFrame, y: str) -> None:
    """Show all means and some space for names; whiskers may go on beyond."""
    for name, limit in (("peak_per_s", ax.set_xlim), (y, ax.set_ylim)):
        if len(rows):
            limit(rows[name].min() / 1.3, rows[name].max() * 1.5)


def _name(ax: Axes, rows: pd.DataFrame, y: str) -> None:
    """Name the policies, those that matter most first; such as fall on the same point share one name."""
    ordered = rows.sort_values(["on_front", "in_race"], ascending=False, kind="stable")
    together = ordered.groupby(["peak_per_s", y], sort=False)
    names = together["policy"].agg(" = ".join)
    styles = [
        {"size": 7.5, "weight": "bold" if front else "normal", "color": "black" if race else "#777777"}
        for front, race in zip(together["on_front"].first(), together["in_race"].first(), strict=True)
    ]
    # Away from the front, along which the points are densest.
    towards = [45.0 if race else -45.0 for race in together["in_race"].first()]
    label_points(ax, names.index.to_list(), names.to_list(), styles, towards)
