"""Estimates are drawn where they are, as uncertain as they are, and written out beside."""

import math

import pandas as pd
import pytest
from matplotlib.axes import Axes

from tem_sim.plots.intervals import intervals

TABLE = pd.DataFrame(
    {
        "variant": ["a", "b", "c", "d"],
        "mean": [4.0, 150.0, 7.0, math.nan],
        "low": [3.5, 120.0, math.nan, math.nan],
        "high": [4.5, 1234.5, math.nan, math.nan],
    }
)


def lines(ax: Axes) -> dict[float, tuple[float, float]]:
    """Return the interval drawn at each place."""
    return {line.get_ydata()[0]: tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2}  # type: ignore[index,arg-type,misc]


def written(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_each_row_is_a_line_from_low_to_high_in_the_tables_order(ax: Axes) -> None:
    assert intervals(TABLE, ax) is ax
    assert lines(ax)[0] == (3.5, 4.5)
    assert lines(ax)[1] == (120.0, 1234.5)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c", "d"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_numbers_stand_beside_and_what_is_not_there_is_said(ax: Axes) -> None:
    intervals(TABLE, ax)
    assert written(ax) == ["4  [3.5, 4.5]", "150  [120, 1,234]", "7", "none"]


def test_what_cannot_be_negative_is_compared_with_nothing_at_all(ax: Axes) -> None:
    intervals(TABLE.head(2), ax)
    assert -100 < ax.get_xlim()[0] < 0


def test_a_reference_is_a_line_and_leaves_the_axis_alone(ax: Axes) -> None:
    away = pd.DataFrame({"name": ["x"], "difference": [-5.0], "low": [-6.0], "high": [-4.0]})
    intervals(away, ax, by="name", value="difference", reference=0.0, title="difference", unit="s")
    assert any(list(line.get_xdata()) == [0.0, 0.0] for line in ax.lines)
    assert (ax.get_title(loc="left"), ax.get_xlabel()) == ("difference", "s")


def test_axes_of_its_own_grow_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    short, long = intervals(TABLE.head(1)), intervals(TABLE)
    assert short.figure.get_figheight() < long.figure.get_figheight()  # type: ignore[union-attr]
    plt.close("all")
