"""What was predicted is a band, what happened are lines, and nothing is drawn that is not there."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from tem_sim.analysis.backlog import Steps
from tem_sim.analysis.conformance import Course, overlay
from tem_sim.plots.conformance import TITLES, conformance_timelines, timeline_overlaid


def course(seed, end_s=6.0):
    steps = Steps(np.array([0.0, 1.0, 4.0]), np.array([seed, 2 * seed, 0]))
    return Course(seed, {}, np.linspace(0.5, 4.0, 5 * seed), steps, end_s)


SIMULATED = [course(seed) for seed in range(1, 8)]


def labels(ax):
    return [label for label in ax.get_legend_handles_labels()[1] if not label.startswith("_")]


@pytest.mark.parametrize("what", TITLES)
def test_a_band_and_its_median_lie_under_a_line_per_live_run(what, ax):
    table = overlay(SIMULATED, [course(91), course(92)], 1.0)
    assert timeline_overlaid(table, what, ax) is ax
    assert labels(ax) == ["simulated, 95 %", "simulated, median", "live, seed 91", "live, seed 92"]
    drawn = ax.get_lines()[1].get_ydata()
    np.testing.assert_array_equal(drawn, table.loc[table["what"] == what, "live-91"])
    (band,) = ax.collections
    assert band.get_datalim(ax.transData).y1 == table.loc[table["what"] == what, "high"].max()


def test_many_live_runs_have_one_entry_in_the_legend(ax):
    timeline_overlaid(overlay(SIMULATED, [course(seed) for seed in range(91, 96)], 1.0), "backlog", ax)
    assert labels(ax) == ["simulated, 95 %", "simulated, median", "live, 5 runs"]
    assert len(ax.get_lines()) == 6


@pytest.mark.parametrize(("simulated", "live"), [(SIMULATED, []), ([], [course(91)])])
def test_one_kind_of_run_alone_is_drawn(simulated, live):
    figure = conformance_timelines(overlay(simulated, live, 1.0), Figure(), "small, 7 seeds")
    upper, lower = figure.axes
    figure.draw_without_rendering()
    assert len(labels(upper)) == (2 if simulated else 1)
    assert (upper.get_title(loc="left").splitlines()[-1], lower.get_legend()) == ("small, 7 seeds", None)
    assert upper.get_xlim() == lower.get_xlim() == (0.0, 6.0)
