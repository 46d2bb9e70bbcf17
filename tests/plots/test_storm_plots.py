"""Plots show what the tables say, in axes of one's own or of the caller's."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from frame_builder import story
from matplotlib.figure import Figure
from synthetic_storm import storm

from tem_sim.analysis import storm as numbers
from tem_sim.plots.files import MORE_PLOTS, PLOTS, save_plots
from tem_sim.plots.latency import latency_ecdf
from tem_sim.plots.rows import rows_by_state
from tem_sim.plots.storm import attempts_per_second
from tem_sim.plots.style import MAX_STEPS, PHASE_COLOURS

ALL_PLOTS = PLOTS | MORE_PLOTS


@pytest.fixture(scope="module")
def run():
    return storm(events=500)


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def highest(ax):
    """The top of the uppermost layer of a stack."""
    return max(path.vertices[:, 1].max() for layer in ax.collections for path in layer.get_paths())


@pytest.mark.parametrize("name", ALL_PLOTS)
def test_a_plot_draws_into_the_axes_given_and_returns_them(name, run, ax):
    assert ALL_PLOTS[name](run, ax) is ax


@pytest.mark.parametrize("plot", ALL_PLOTS.values())
def test_a_plot_makes_its_own_axes_when_none_are_given(plot, run, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    import matplotlib.pyplot as plt

    ax = plot(run)
    assert ax.figure is plt.gcf()
    plt.close(ax.figure)


@pytest.mark.parametrize("name", ALL_PLOTS)
def test_a_plot_says_what_it_shows_of_which_run_and_in_which_units(name, run, ax):
    ALL_PLOTS[name](run, ax)
    assert ax.get_title(loc="left").endswith("\nstorm, seed 1")
    assert "(s)" in ax.get_xlabel() or ax.get_xlabel() == "attempts"
    assert ax.get_ylabel()


@pytest.mark.parametrize("name", ALL_PLOTS)
def test_a_run_in_which_nothing_happened_says_so_instead_of_failing(name, ax):
    ALL_PLOTS[name](story().run(), ax)
    assert any(text.get_text().startswith("no ") for text in ax.texts)


def one_event():
    told = story()
    told.event(1, at_s=1.0).claim(1.002).ok(1.03)
    return told.run(end_s=2.0)


def one_open_event():
    return story().event(1, at_s=1.0).story.run(end_s=2.0)


# What other tests have left to the garbage collector says nothing of this one, whenever it is collected.
@pytest.mark.filterwarnings("error", "default::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ALL_PLOTS)
@pytest.mark.parametrize("made", [one_event, one_open_event])
def test_a_run_with_one_event_can_be_drawn(name, made, ax):
    ALL_PLOTS[name](made(), ax)
    ax.figure.draw_without_rendering()
    assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
    assert ax.get_xlim()[0] < ax.get_xlim()[1]


@pytest.mark.parametrize("name", ALL_PLOTS)
def test_titles_and_legend_stay_inside_the_figure_and_off_the_data(name, run):
    long = replace(run, scenario_dict={**run.scenario_dict, "scenario": "a_name_" * 30})
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    ax = ALL_PLOTS[name](long, figure.add_subplot())
    figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    assert legend.x0 > ax.get_window_extent().x1
    for box in (legend, ax.title.get_window_extent(), ax.xaxis.label.get_window_extent()):
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0
        assert box.y1 <= figure.bbox.y1


def test_attempts_are_stacked_up_to_all_attempts_of_the_fullest_second(run, ax):
    attempts_per_second(run, ax)
    assert highest(ax) == numbers.attempts_by_number(run).sum(axis=1).max()


def test_rates_do_not_depend_on_the_width_of_bins(run, ax):
    attempts_per_second(run, ax, bin_s=10.0)
    assert highest(ax) == numbers.attempts_by_number(run, 10.0).sum(axis=1).max() / 10


def test_the_legend_stands_as_the_layers_do_and_then_names_capacity_and_faults(run, ax):
    attempts_per_second(run, ax)
    assert labels(ax) == [
        "attempt 6 and later",
        "attempt 5",
        "attempt 4",
        "attempt 3",
        "attempt 2",
        "first try",
        "capacity 200/s\n(4 calls at once, 20 ms each;\nrefused ones 50 ms)",
        "outage, 0 to 60 s",
    ]


def test_a_capacity_far_above_the_data_is_named_and_not_drawn(run, ax):
    attempts_per_second(run, ax, capacity_per_s=1e6)
    assert "capacity 1e+06/s,\nabove the plot" in labels(ax)
    assert ax.get_ylim()[1] < 1e4


def test_a_capacity_of_zero_draws_no_line(run, ax):
    attempts_per_second(run, ax, capacity_per_s=0)
    assert not any("capacity" in label for label in labels(ax))


def test_a_downstream_with_fewer_servers_than_the_pool_has_calls_sets_the_capacity(ax):
    told = story(handler={"capacity": {"servers": 1, "timeout": 1, "queue": 10}})
    told.event(1).claim(1.0).ok(2.0)
    attempts_per_second(told.run(end_s=10.0), ax)
    assert "capacity 50/s\n(1 calls at once, 20 ms each),\nabove the plot" in labels(ax)


def test_a_run_of_very_many_bins_keeps_its_peak_and_says_what_a_step_is(run, ax):
    long = replace(run, end_s=40.0 * MAX_STEPS)
    attempts_per_second(long, ax)
    assert highest(ax) == numbers.attempts_by_number(run).sum(axis=1).max()
    assert max(len(layer.get_paths()[0].vertices) for layer in ax.collections) < 5 * MAX_STEPS
    assert "fullest 1 s bin of every 41 s" in ax.get_title(loc="left")


def test_faults_that_landed_are_shaded_and_others_are_not(ax):
    told = story().fault(2.0, 4.0).fault(6.0, 8.0, kind="beat_stopped", landed=0).fault(9.0, 9.0, kind="worker_death")
    told.event(1).claim(1.0).ok(2.0)
    rows_by_state(told.run(end_s=10.0), ax)
    assert labels(ax)[-2:] == ["outage, 2 to 4 s", "worker death at 9 s"]


def test_many_faults_of_one_kind_have_one_entry(ax):
    told = story()
    for start_s in range(10):
        told.fault(start_s, start_s + 0.5)
    told.event(1).claim(1.0).ok(2.0)
    attempts_per_second(told.run(end_s=10.0), ax)
    assert labels(ax)[-1] == "outage, 10 times"


def test_a_fault_without_an_end_is_shaded_to_the_runs_end(ax):
    told = story().fault(2.0, float("nan"))
    told.event(1).claim(1.0).ok(2.0)
    attempts_per_second(told.run(end_s=10.0), ax)
    assert labels(ax)[-1] == "outage, 2 to 10 s"


def test_rows_are_stacked_up_to_all_events(run, ax):
    rows_by_state(run, ax)
    assert highest(ax) == len(run.events)
    assert labels(ax)[:-1] == list(reversed(PHASE_COLOURS))


def test_the_latency_curve_ends_at_the_part_of_events_that_got_there(run, ax):
    latency_ecdf(run, ax)
    line = ax.lines[0].get_ydata()
    assert line[0] == 0.0
    assert np.all(np.diff(line) >= 0)
    assert line[-1] == (run.events["status"] == "PROCESSED").mean()


def test_the_legend_states_n_and_only_percentiles_that_exist(ax):
    told = story()
    for number in range(30):
        told.event(number).claim(1.0).ok(2.0)
    latency_ecdf(told.run(), ax)
    assert labels(ax)[0] == "to PROCESSED\nn = 30\np50 2 s\np95 2 s"


def test_latencies_over_many_orders_are_drawn_on_a_logarithmic_axis(ax):
    told = story()
    told.event(1).claim(0.01).ok(0.02)
    told.event(2).claim(0.01).error(0.02, 10.0).retry(11.0).claim(11.0).ok(12.0)
    latency_ecdf(told.run(), ax)
    assert ax.get_xscale() == "log"
    assert "logarithmic" in ax.get_xlabel()


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_run_makes_the_same_files(run, tmp_path, kind):
    one, two = (save_plots(run, tmp_path / name, kind) for name in ("one", "two"))
    assert [path.name for path in one] == [f"{name}.{kind}" for name in PLOTS]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_saving_plots_leaves_pyplot_alone(run, tmp_path):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    save_plots(run, tmp_path)
    assert plt.get_fignums() == before


def test_an_unknown_kind_of_file_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match="kind must be one of png, svg, got 'gif'"):
        save_plots(run, tmp_path, "gif")


def test_importing_the_plots_loads_neither_pyplot_nor_a_backend():
    import subprocess

    code = "import tem_sim.plots.files, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
