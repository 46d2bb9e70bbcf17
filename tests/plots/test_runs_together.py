"""Several runs in one picture: a line each, none thinned of what matters."""

import numpy as np
import pytest
from frame_builder import story
from synthetic_storm import storm

from tem_sim.analysis.backlog import backlog
from tem_sim.analysis.storm import retry_peak_per_s
from tem_sim.plots.comparison import MOST_POINTS, backlogs_by_run, latencies_by_run, retries_by_run

ALL = [retries_by_run, backlogs_by_run, latencies_by_run]


@pytest.fixture(scope="module")
def runs():
    return {"A: short": storm(events=300, outage_s=20.0), "B: long": storm(events=3000)}


def line(ax, number):
    return ax.get_lines()[number].get_data()


@pytest.mark.parametrize("plot", ALL)
def test_each_run_has_a_line_that_is_told_apart_without_colour(plot, runs, ax):
    assert plot(runs, ax) is ax
    entries = ax.get_legend_handles_labels()
    assert entries[1] == list(runs)
    assert len({handle.get_linestyle() for handle in entries[0]}) == 2
    assert ax.get_xlabel().endswith("(s)")


@pytest.mark.parametrize("plot", ALL)
def test_runs_in_which_nothing_happened_can_be_drawn(plot, ax):
    plot({"A": story().run(), "B": story().run()}, ax)
    ax.figure.draw_without_rendering()
    assert ax.get_title(loc="left")
    assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()


def test_the_highest_second_is_in_the_picture_whatever_is_left_out(runs, ax):
    retries_by_run(runs, ax)
    drawn = [patch.get_data().values.max() for patch in ax.patches]
    assert drawn == [retry_peak_per_s(run) for run in runs.values()]


def test_a_long_run_is_drawn_in_no_more_steps_than_a_screen_shows(ax):
    told = story()
    track = told.event(1).claim(1.0).error(2.0, 10.0)
    track.retry(50_000.5).claim(50_000.6).ok(50_001.0)
    retries_by_run({"A": told.run(end_s=100_000.0)}, ax)
    (drawn,) = ax.patches
    assert len(drawn.get_data().values) <= MOST_POINTS
    assert drawn.get_data().values.max() == 1


def test_the_backlog_begins_and_ends_where_the_run_does(runs, ax):
    backlogs_by_run(runs, ax)
    for number, run in enumerate(runs.values()):
        at_s, rows = line(ax, number)
        assert (at_s[0], at_s[-1]) == (0.0, run.end_s)
        assert rows[-1] == backlog(run).value(run.end_s)


def test_the_tail_counts_events_that_never_got_there_and_shows_the_very_last(ax):
    told = story()
    for number in range(1, 5):
        told.event(number).claim(1.0).ok(1.0 + number)
    told.event(5)
    latencies_by_run({"A": told.run()}, ax)
    x, y = line(ax, 0)
    assert np.allclose(y, [1.0, 0.8, 0.6, 0.4, 0.2, 0.2])
    assert x.max() == 5.0
    assert ax.get_yscale() == "log"
