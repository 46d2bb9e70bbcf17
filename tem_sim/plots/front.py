"""Two measures of which less is better: the front of what nobody beats in both, and crosses of uncertainty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

FRONT = "#009e73"


def crosses(ax: Axes, rows: pd.DataFrame, x: str, y: str, colour: str) -> None:
    """Draw the intervals (columns `…_low` and `…_high`) of each row in both measures."""
    reach = [_reach(rows, name) for name in (x, y)]
    ax.errorbar(rows[x], rows[y], xerr=reach[0], yerr=reach[1], fmt="none", ecolor=colour, alpha=0.35, linewidth=1)


def _reach(rows: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Return how far the interval reaches below and above each mean; below, no further than a logarithm can."""
    mean, low, high = (rows[column].to_numpy(dtype=float) for column in (name, f"{name}_low", f"{name}_high"))
    return np.asarray(np.nan_to_num(np.stack([mean - np.maximum(low, mean / 10), high - mean])))


def on_front(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points no other is below and to the left of."""
    order = np.lexsort((points[:, 1], points[:, 0]))
    least = np.minimum.accumulate(points[order, 1]) if len(points) else np.zeros(0)
    found = np.zeros(len(points), dtype=bool)
    found[order] = np.append(True, np.diff(least) < 0)[: len(points)]
    return found


def draw_front(ax: Axes, points: NDArray[np.float64]) -> None:
    """Draw the stairs along the points of the front."""
    front = points[on_front(points)]
    if len(front) > 1:
        front = front[np.argsort(front[:, 0])]
        ax.step(*front.T, where="post", color=FRONT, linewidth=1.4, zorder=2, label="front of the means")
