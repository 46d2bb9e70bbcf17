"""Pictures of studies show what their tables say: no name over another, no cell without its interval."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from tem_sim.analysis.statistics import wilson
from tem_sim.plots.bakeoff import pareto
from tem_sim.plots.labels import label_points
from tem_sim.plots.metastability import collapse_by_load, collapse_map, phase_portrait


@pytest.fixture
def ax():
    return Figure(figsize=(9, 6), layout="constrained").add_subplot()


def texts(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# --- names beside points


def boxes(ax, made):
    """Return the room that the names take, without the lines that lead to them."""
    ax.figure.draw_without_rendering()
    return [Text.get_window_extent(text) for text in made]


def test_no_name_covers_another_however_close_the_points(ax):
    rng = np.random.default_rng(2)
    points = [tuple(point) for point in rng.normal(0.5, 0.08, (30, 2))]
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.plot(*zip(*points, strict=True), "o")
    made = label_points(ax, points, [f"policy number {n}" for n in range(30)], [{"size": 7}] * 30, [45.0] * 30)
    assert len(made) == 30
    found = boxes(ax, made)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(found, 2))
    inside = ax.get_window_extent()
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 for box in found)


def test_a_name_without_a_free_place_is_left_out_rather_than_laid_over_another():
    ax = Figure(figsize=(3, 2)).add_subplot()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    made = label_points(ax, [(0.5, 0.5)] * 30, ["a policy's name"] * 30, [{"size": 9}] * 30, [0.0] * 30)
    assert 0 < len(made) < 30
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes(ax, made), 2))


# --- the bake-off


def policies():
    rows = []
    places = {"quick": (80, 20, 0.0), "middle": (40, 30, 0.0), "twin": (40, 30, 0.0), "worse": (60, 35, 0.0)}
    places |= {"lossy": (20, 5, 0.3), "hopeless": (10, 2, 0.9), "never": (10, np.nan, 1.0)}
    for name, (peak, added_s, lost) in places.items():
        spans = {
            f"{what}_{end}": mean * by
            for what, mean in (("peak_per_s", peak), ("added_latency_s", added_s))
            for end, by in (("low", 0.9), ("high", 1.1))
        }
        front = name in ("quick", "middle", "twin")
        rows.append(
            {"policy": name, "peak_per_s": peak, "added_latency_s": added_s, "extinct_share": lost}
            | {"unfinished_share": 0.0, "in_race": lost == 0, "on_front": front, **spans}
        )
    return pd.DataFrame(rows)


def test_every_policy_that_has_a_place_is_named_once_and_those_that_share_one_together(ax):
    pareto(policies(), ax)
    assert sorted(texts(ax)) == ["hopeless", "lossy", "middle = twin", "quick", "worse"]


def test_what_a_policy_loses_is_told_by_shape_and_colour(ax):
    pareto(policies(), ax)
    assert labels(ax) == ["at most 1 % (4)", "up to 50 % (1)", "more than half (1)", "front of the means"]


def test_the_front_is_drawn_along_the_best_of_the_race(ax):
    pareto(policies(), ax)
    front = next(line for line in ax.get_lines() if line.get_label() == "front of the means")
    assert list(zip(*front.get_data(), strict=True)) == [(40.0, 30.0), (80.0, 20.0)]


def test_names_on_the_front_are_bold(ax):
    pareto(policies(), ax)
    assert {text.get_text(): text.get_weight() for text in ax.texts if text.get_text()} == {
        "quick": "bold",
        "middle = twin": "bold",
        "worse": "normal",
        "lossy": "normal",
        "hopeless": "normal",
    }


# --- metastability


def cells(counts=((0, 1, 5), (2, 8, 10)), tips_s=(np.inf, 3.0)):
    rows = []
    for load, row, tip_s in zip((0.5, 0.7), counts, tips_s, strict=True):
        for outage_s, count in zip((1.0, 4.0, 16.0), row, strict=True):
            share, low, high, n = wilson(count, 10)
            spans = {"p_collapse": share, "p_low": low, "p_high": high, "n": n, "collapsed": count}
            rows.append(
                {"load": load, "rate_per_s": 20 * load, "outage_s": outage_s, **spans}
                | {"control_collapsed": 0, "tipping_outage_s": tip_s, "hidden_load": 0.2}
            )
    return pd.DataFrame(rows)


def test_each_cell_of_the_map_shows_its_count_and_its_interval(ax):
    collapse_map(cells(), ax)
    shown = texts(ax)
    assert len(shown) == 12
    assert {"0/10", "1/10", "5/10", "2/10", "8/10", "10/10"} <= set(shown)
    assert "0.49–0.94" in shown
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0.5\n(10/s)", "0.7\n(14/s)"]


def test_a_cell_that_nothing_can_be_said_of_is_told(ax):
    table = cells()
    table.loc[0, ["n", "collapsed", "control_collapsed"]] = (0, 0, 10)
    table.loc[0, ["p_collapse", "p_low", "p_high"]] = np.nan
    collapse_map(table, ax)
    assert "0/0*" in texts(ax)
    assert "no run fit" in texts(ax)
    assert "* without seeds that collapsed with no outage" in labels(ax)


def test_the_tipping_curve_lies_between_the_cells_that_it_parts(ax):
    collapse_map(cells(tips_s=(8.0, 2.0)), ax)
    (curve,) = (line for line in ax.get_lines() if "tipping" in str(line.get_label()))
    # 8 s is a third of the way from 4 to 16 s, 2 s a third from 1 to 4.
    assert curve.get_xdata() == pytest.approx([1 + 1 / 3, 1 / 3])
    assert curve.get_ydata().tolist() == [0, 1]


def test_loads_that_never_tip_have_no_place_on_the_curve(ax):
    collapse_map(cells(tips_s=(np.inf, 2.0)), ax)
    (curve,) = (line for line in ax.get_lines() if "tipping" in str(line.get_label()))
    assert curve.get_ydata().tolist() == [1]


@pytest.mark.parametrize(("hidden_load", "height", "words"), [(0.6, 0.5, ""), (0.2, None, ": below the map")])
def test_the_hidden_capacity_is_drawn_where_the_map_has_its_load_and_told_where_not(ax, hidden_load, height, words):
    collapse_map(cells().assign(hidden_load=hidden_load), ax)
    assert f"hidden capacity, load {hidden_load:g}{words}" in labels(ax)
    dashed = [line.get_ydata()[0] for line in ax.get_lines() if line.get_linestyle() == "--"]
    assert dashed == ([] if height is None else [pytest.approx(height)])


def test_cuts_by_load_have_a_line_per_outage(ax):
    collapse_by_load(cells(), ax)
    assert labels(ax) == ["1 s", "4 s", "16 s"]


def test_a_phase_portrait_marks_where_each_path_begins_and_ends(ax):
    path = pd.DataFrame({"backlog": [1.0, 5.0, 20.0, 40.0], "retries_in_flight": [0.0, 1.0, 9.0, 8.0]})
    phase_portrait(
        {"no outage": path.assign(in_outage=False), "outage of 4 s": path.assign(in_outage=[False, True, True, False])},
        ax,
    )
    assert labels(ax) == ["no outage", "outage of 4 s"]
    ends = [line for line in ax.get_lines() if line.get_marker() == "s"]
    assert [line.get_xydata().tolist() for line in ends] == [[[40.0, 8.0]]] * 2
    dotted = [line for line in ax.get_lines() if line.get_linestyle() == ":"]
    assert np.nanmax(dotted[1].get_xdata()) == 20.0


def test_a_path_that_stands_still_is_drawn_without_arrows(ax):
    still = pd.DataFrame({"backlog": [2.0, 2.0], "retries_in_flight": [0.0, 0.0], "in_outage": [False, False]})
    phase_portrait({"still": still}, ax)
    assert not [text for text in ax.texts if text.arrow_patch is not None]
