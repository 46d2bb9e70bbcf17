"""A sweep in pictures: a metric along one path or over two, and two metrics against each other.

The tables are a `Sweep`'s: a row per cell and measure, the cell's values in a column per path. Values stand in the
order in which they were given, as wide apart as each other: they need not be numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.plots.front import crosses, draw_front, on_front
from tem_sim.plots.intervals import intervals
from tem_sim.plots.labels import label_points
from tem_sim.plots.style import axes_for, bare

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

# After Okabe and Ito; the markers tell lines apart without colour.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#2b2b2b", "#7f7f7f")
MARKERS = "os^DvPX*"
# From light to dark, so that the map reads in grey as well.
COLOURS = "YlOrRd"
DARK_FROM = 0.6
CELL_INCHES = (1.25, 0.75)
FRAME_INCHES = (3.2, 1.7)
PARETO_INCHES = (9.0, 6.0)
# The axis begins at 0 unless all that is to be seen lies in its upper part.
NEAR_ZERO = 0.5
# What a cell has where it sets nothing.
AS_IT_IS = "as in the file"
# More letters than this, and the ticks are slanted.
LONG_TICKS = 70


def sweep_plot(table: pd.DataFrame, paths: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draw one measure in the way that suits what varies: lines for one path, a map for two, a list for more."""
    paths = varied(table, paths)
    if len(paths) == 1:
        return lines(table, paths[0], ax)
    if len(paths) == 2 and not table.duplicated(list(paths)).any():
        return heat_map(table, paths[1], paths[0], ax)
    ax = intervals(table, ax, by="name", unit=_named(table))
    ax.set_title(f"{_measure(table)} by cell, 95 % intervals", loc="left", fontsize="medium")
    return ax


def varied(table: pd.DataFrame, paths: Sequence[str]) -> list[str]:
    """Return the paths of which the cells have several values."""
    return [path for path in paths if len(_values(table, path)) > 1]


def lines(table: pd.DataFrame, path: str, ax: Axes | None = None, *, by: str | None = None) -> Axes:
    """Draw a measure's mean and interval along the values of one path, a line per value of another one (`by`)."""
    ax = axes_for(ax)
    values = _values(table, path)
    names = [""] if by is None else _values(table, by)
    for number, name in enumerate(names):
        rows = table if by is None else table[np.array(_labels(table, by)) == name]
        # Side by side, so that the intervals can be told apart.
        aside = 0.3 * ((number + 0.5) / len(names) - 0.5)
        _draw_line(ax, rows, [values.index(value) + aside for value in _labels(rows, path)], number, name)
    _finish_lines(ax, table, path, values)
    if by is not None:
        beside = (1.01, 1.0)
        ax.legend(
            loc="upper left", bbox_to_anchor=beside, title=by, title_fontsize="small", fontsize="small", frameon=False
        )
    return ax


def _draw_line(ax: Axes, rows: pd.DataFrame, places: list[float], number: int, name: str) -> None:
    order = np.argsort(places)
    at, mean, low, high = (
        np.asarray(values, dtype=np.float64)[order] for values in (places, rows["mean"], rows["low"], rows["high"])
    )
    ax.errorbar(
        at,
        mean,
        yerr=np.nan_to_num(np.stack([mean - low, high - mean])),
        fmt=f"{MARKERS[number % len(MARKERS)]}-",
        color=LINES[number % len(LINES)],
        markersize=5,
        linewidth=1.4,
        elinewidth=1.2,
        capsize=3,
        label=name,
    )


def _finish_lines(ax: Axes, table: pd.DataFrame, path: str, values: list[str]) -> None:
    _ticks(ax, values)
    ax.set_xlim(-0.5, len(values) - 0.5)
    if 0 <= np.nanmin(table[["mean", "low"]].to_numpy(dtype=float)) < NEAR_ZERO * ax.get_ylim()[1]:
        ax.set_ylim(bottom=0.0)
    ax.set_xlabel(path)
    ax.set_ylabel(_named(table))
    ax.yaxis.set_major_formatter(lambda tick, _: f"{tick:,.10g}")
    ax.set_title(f"{_measure(table)} by {path}, 95 % intervals", loc="left", fontsize="medium")
    bare(ax, "y")


def heat_map(table: pd.DataFrame, x: str, y: str, ax: Axes | None = None) -> Axes:
    """Draw a measure's mean over two paths, with its interval in each cell; what was left out is blank."""
    columns, rows = _values(table, x), _values(table, y)
    ax = _made(len(columns), len(rows)) if ax is None else ax
    grid = np.full((len(rows), len(columns), 3), math.nan)
    for place_x, place_y, *numbers in zip(
        _labels(table, x), _labels(table, y), table["mean"], table["low"], table["high"], strict=True
    ):
        grid[rows.index(place_y), columns.index(place_x)] = numbers
    image = ax.imshow(grid[..., 0], aspect="auto", cmap=COLOURS)
    shades = np.ma.filled(image.norm(grid[..., 0]), math.nan)
    for row in range(len(rows)):
        for column in range(len(columns)):
            _write_cell(ax, column, row, grid[row, column], float(shades[row, column]))
    _ticks(ax, columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.set_title(f"{_measure(table)}: mean and 95 % interval", loc="left", fontsize="medium")
    ax.spines[:].set_visible(False)
    ax.figure.colorbar(image, ax=ax, label=_named(table), pad=0.02, fraction=0.05)
    return ax


def _write_cell(ax: Axes, column: int, row: int, numbers: NDArray[np.float64], shade: float) -> None:
    mean, low, high = numbers
    if math.isnan(mean):
        return
    colour = "white" if shade > DARK_FROM else "black"
    lift = 0.0 if math.isnan(low) else 0.12
    ax.text(column, row - lift, _short(mean), ha="center", va="center", color=colour, size=10)
    if not math.isnan(low):
        bounds = f"{_short(low)} – {_short(high)}"
        ax.text(column, row + 0.22, bounds, ha="center", va="center", color=colour, size=7.5)


def pareto(table: pd.DataFrame, x: str, y: str, ax: Axes | None = None) -> Axes:
    """Draw two measures of each cell against each other; less is better in both, and the line is the front.

    Nobody lies below and to the left of the cells on the front, whose names are bold; by their means, so that a cell
    whose cross reaches over the line may be as good.
    """
    ax = _pareto_axes() if ax is None else ax
    wide = _wide(table, (x, y))
    points = wide[[x, y]].to_numpy(dtype=float)
    best = on_front(points)
    crosses(ax, wide, x, y, LINES[0])
    ax.plot(*points.T, "o", color=LINES[0], markersize=6, zorder=3)
    draw_front(ax, points)
    ax.set(xlabel=_named(table[table["measure"] == x]), ylabel=_named(table[table["measure"] == y]))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda tick, _: f"{tick:,.10g}")
    ax.margins(0.12)
    title = f"{x} against {y}: less is better in both"
    ax.set_title(f"{title}\nbold: on the front of the means; crosses: 95 % intervals", loc="left", fontsize="medium")
    bare(ax)
    styles = [{"size": 8, "weight": "bold" if one else "normal"} for one in best]
    order = np.argsort(~best, kind="stable")
    label_points(
        ax,
        [(float(points[at, 0]), float(points[at, 1])) for at in order],
        [str(wide["name"].iloc[at]) for at in order],
        [styles[at] for at in order],
        # Away from where the others are.
        [-135.0 if best[at] else 45.0 for at in order],
    )
    return ax


def _wide(table: pd.DataFrame, measures: tuple[str, str]) -> pd.DataFrame:
    """Return a row per cell that has both measures, with the bounds as `…_low` and `…_high`."""
    wide = table[["cell", "name"]].drop_duplicates("cell").set_index("cell")
    for measure in measures:
        rows = table[table["measure"] == measure].set_index("cell")
        wide = wide.join(
            rows[["mean", "low", "high"]].rename(
                columns={"mean": measure, "low": f"{measure}_low", "high": f"{measure}_high"}
            )
        )
    return wide.dropna(subset=list(measures))


# --- what they share


def _labels(table: pd.DataFrame, path: str) -> list[str]:
    return [str(value) or AS_IT_IS for value in table[path]]


def _values(table: pd.DataFrame, path: str) -> list[str]:
    """Return the values of a path in the order in which they were given."""
    return list(dict.fromkeys(_labels(table, path)))


def _measure(table: pd.DataFrame) -> str:
    return str(table["measure"].iloc[0])


def _named(table: pd.DataFrame) -> str:
    unit = str(table["unit"].iloc[0])
    return _measure(table) if unit in ("", "1") else f"{_measure(table)} ({unit})"


def _ticks(ax: Axes, values: list[str]) -> None:
    slanted = sum(map(len, values)) > LONG_TICKS
    ax.set_xticks(range(len(values)), values)
    if slanted:
        ax.tick_params(axis="x", rotation=25)
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")


def _short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 99.95 or number == 0 else f"{number:.3g}"


def _made(columns: int, rows: int) -> Axes:
    ax = axes_for(None)
    size = (FRAME_INCHES[0] + CELL_INCHES[0] * columns, FRAME_INCHES[1] + CELL_INCHES[1] * rows)
    ax.figure.set_size_inches(size)  # type: ignore[union-attr]
    return ax


def _pareto_axes() -> Axes:
    ax = axes_for(None)
    ax.figure.set_size_inches(PARETO_INCHES)  # type: ignore[union-attr]
    return ax
