"""A sweep's pictures: what is drawn is what the table says, in the order in which it was given."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tem_sim.plots.front import on_front
from tem_sim.plots.sweep import heat_map, lines, pareto, sweep_plot

A, B = "pipeline.backoff.base", "pipeline.backoff.jitter"


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def table(*cells, measure="attempts"):
    """A row per cell (base, jitter, mean), with an interval of one on each side."""
    return pd.DataFrame(
        [
            {
                "cell": n,
                "name": f"{a}, {b}",
                A: a,
                B: b,
                "measure": measure,
                "mean": m,
                "low": m - 1,
                "high": m + 1,
                "n": 3,
                "unit": "1",
            }
            for n, (a, b, m) in enumerate(cells)
        ]
    )


GRID = table(("1s", "none", 10.0), ("1s", "full", 20.0), ("500ms", "none", 30.0))


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_a_map_has_each_mean_with_its_interval_and_a_blank_where_there_is_no_cell():
    ax = heat_map(GRID, A, B)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1s", "500ms"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["none", "full"]
    shown = ax.images[0].get_array()
    assert shown.filled(math.nan)[0].tolist() == [10.0, 30.0]
    assert shown.filled(math.nan)[1, 0] == 20.0
    assert bool(shown.mask[1, 1])
    assert texts(ax) == ["10", "9 – 11", "30", "29 – 31", "20", "19 – 21"]


def test_lines_stand_at_the_values_in_the_order_given_with_their_intervals():
    ax = lines(GRID, A, by=B)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1s", "500ms"]
    none, full = ax.containers
    assert none.lines[0].get_ydata().tolist() == [10.0, 30.0]
    assert full.lines[0].get_ydata().tolist() == [20.0]
    (segments,) = none.lines[2]
    assert [segment[:, 1].tolist() for segment in segments.get_segments()] == [[9.0, 11.0], [29.0, 31.0]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["none", "full"]


def test_the_axis_begins_at_zero_unless_that_would_press_all_to_its_upper_end():
    near, far = table(("1s", "none", 2.0), ("2s", "none", 9.0)), table(("1s", "none", 90.0), ("2s", "none", 95.0))
    assert lines(near, A).get_ylim()[0] == 0.0
    assert lines(far, A).get_ylim()[0] > 50.0


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([("1s", "none", 1.0), ("2s", "none", 2.0)], "attempts by pipeline.backoff.base, 95 % intervals"),
        ([("1s", "none", 1.0), ("2s", "full", 2.0)], "attempts: mean and 95 % interval"),
        # The same twice, which `include` may come to: a map could show but one of them.
        ([("1s", "none", 1.0), ("2s", "full", 2.0), ("1s", "none", 3.0)], "attempts by cell, 95 % intervals"),
    ],
)
def test_what_varies_decides_how_it_is_drawn(cells, kind):
    assert sweep_plot(table(*cells), [A, B]).get_title(loc="left") == kind


def test_a_cell_that_sets_nothing_is_as_in_the_file():
    ax = lines(table(("1s", "none", 1.0), ("", "none", 2.0)), A)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1s", "as in the file"]


def test_on_the_front_is_what_no_other_is_below_and_to_the_left_of():
    points = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 1.0], [2.0, 2.0], [4.0, 0.5], [1.0, 6.0]])
    beaten = [any((other <= one).all() and (other < one).any() for other in points) for one in points]
    assert on_front(points).tolist() == [not bad for bad in beaten]
    assert on_front(np.zeros((0, 2))).tolist() == []


def test_two_measures_against_each_other_name_the_front_in_bold_and_leave_out_what_is_not_known():
    x = table(("1s", "none", 1.0), ("2s", "none", 2.0), ("3s", "none", 3.0), ("4s", "none", 4.0))
    y = table(
        ("1s", "none", 9.0), ("2s", "none", 3.0), ("3s", "none", 5.0), ("4s", "none", math.nan), measure="drain_s"
    )
    ax = pareto(pd.concat([x, y]), "attempts", "drain_s")
    assert {text.get_text(): text.get_weight() for text in ax.texts} == {
        "1s, none": "bold",
        "2s, none": "bold",
        "3s, none": "normal",
    }
