"""Names beside points, none over another: each goes to the nearest free place, with a thin line back if that is far.

Places are found in pixels, so the figure must have its final size; what is drawn later may cover them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

# How far from its point a name may go, in points, and how many directions are tried at each distance.
DISTANCES = (7.0, 12.0, 18.0, 26.0, 36.0, 48.0, 62.0, 78.0, 96.0, 118.0)
DIRECTIONS = 16
# Farther than this a line leads back to the point.
LINE_FROM = 14.0
# Free space that each name keeps around it, and the radius that each point keeps free, in pixels.
MARGIN, POINT = 3.0, 5.0


class Box(NamedTuple):
    """A rectangle in pixels; matplotlib's own is too slow to compare thousands of."""

    x0: float
    y0: float
    x1: float
    y1: float

    def moved(self, x: float, y: float) -> Box:
        """Return it elsewhere, with the margin added."""
        return Box(self.x0 + x - MARGIN, self.y0 + y - MARGIN, self.x1 + x + MARGIN, self.y1 + y + MARGIN)

    def overlaps(self, other: Box) -> bool:
        """Tell whether the two share any place."""
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1

    def within(self, other: Box) -> bool:
        """Tell whether it lies wholly in the other."""
        return self.x0 >= other.x0 and self.x1 <= other.x1 and self.y0 >= other.y0 and self.y1 <= other.y1


def label_points(
    ax: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    styles: Sequence[dict[str, Any]],
    towards: Sequence[float],
) -> list[Annotation]:
    """Write a name beside each point, in this order of preference; a name without a free place is left out.

    `towards`: the direction from each point that is tried first, in degrees, counted from the right upwards.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    pixels = ax.transData.transform(np.array(points, dtype=float).reshape(-1, 2))
    taken = [Box(x - POINT, y - POINT, x + POINT, y + POINT) for x, y in pixels]
    made = []
    for point, name, style, toward in zip(points, names, styles, towards, strict=True):
        offset = _free_place(ax, figure.dpi / 72, point, name, style, toward, taken)
        if offset is not None:
            made.append(_written(ax, point, name, style, *offset))
    return made


def _free_place(
    ax: Axes,
    per_point: float,
    point: tuple[float, float],
    name: str,
    style: dict[str, Any],
    toward: float,
    taken: list[Box],
) -> tuple[float, float, bool] | None:
    """Return the offset of a name's middle and whether it is far; its place is then taken. None where all is full."""
    probe = _written(ax, point, name, style, 0.0, 0.0, far=False)
    size, inside = Box(*probe.get_window_extent().extents), Box(*ax.get_window_extent().extents)
    probe.remove()
    for distance, dx, dy in _offsets((size.x1 - size.x0) / per_point, (size.y1 - size.y0) / per_point, toward):
        box = size.moved(dx * per_point, dy * per_point)
        if box.within(inside) and not any(box.overlaps(other) for other in taken):
            taken.append(box)
            return dx, dy, distance > LINE_FROM
    return None


def _offsets(width: float, height: float, toward: float) -> Iterator[tuple[float, float, float]]:
    """Yield distances and places for a name's middle, in points from its point, the nearest first."""
    for distance in DISTANCES:
        for step in range(DIRECTIONS):
            turn = (step + 1) // 2 * (1 if step % 2 else -1) * 360 / DIRECTIONS
            cos, sin = math.cos(math.radians(toward + turn)), math.sin(math.radians(toward + turn))
            yield distance, cos * (distance + width / 2), sin * (distance + height / 2)


def _written(
    ax: Axes, point: tuple[float, float], name: str, style: dict[str, Any], dx: float, dy: float, far: bool
) -> Annotation:
    from matplotlib.patheffects import withStroke

    line = {"arrowstyle": "-", "color": style.get("color", "black"), "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2}
    text = ax.annotate(
        name,
        point,
        xytext=(dx, dy),
        textcoords="offset points",
        ha="center",
        va="center",
        arrowprops=line if far else None,
        **style,
    )
    # A halo, so that a name can be read across a grid line or a whisker.
    text.set_path_effects([withStroke(linewidth=2.0, foreground="white")])
    text.set_in_layout(False)
    return text
