"""Plots of jitter and survival show what the tables say, in axes of one's own or of the caller's."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tem_sim.analysis.jitter import MATCHED, jitter_study
from tem_sim.analysis.jitter_by_n import peak_by_n
from tem_sim.analysis.lineup import jitters
from tem_sim.analysis.survival import outage_survival
from tem_sim.analysis.tick_study import tick_study
from tem_sim.pipeline.presets import PRESETS
from tem_sim.plots.jitter import delay_ecdf, jitter_panels, peak_heat, tick_bursts
from tem_sim.plots.survival import extinct_by_outage, retry_horizons

FULL = jitters()["full"]
SEVERAL = {name: policy for name, policy in jitters(max_retries=3).items() if name in ("none", "equal", "full")}


@pytest.fixture(scope="module")
def study():
    return jitter_study(jitters(max_retries=3), n=400, retries=3, seeds=2)


@pytest.fixture(scope="module")
def survival():
    return outage_survival(SEVERAL, ["20s", "1m", "3m"], n=500)


@pytest.fixture(scope="module")
def ticks():
    return tick_study(SEVERAL, [0.5, 5.0, 20.0], n=500, retries=1, seeds=3)


@pytest.fixture(scope="module")
def drawings(survival, ticks):
    heat = peak_by_n(SEVERAL, ns=(10, 100), seeds=2)
    return {
        "delay_ecdf": lambda ax=None: delay_ecdf(FULL, ax, retries=2),
        "peak_heat": lambda ax=None: peak_heat(heat, ax),
        "tick_bursts": lambda ax=None: tick_bursts(ticks, ax),
        "extinct_by_outage": lambda ax=None: extinct_by_outage(survival, ax),
        "retry_horizons": lambda ax=None: retry_horizons(survival, ax),
    }


NAMES = ("delay_ecdf", "peak_heat", "tick_bursts", "extinct_by_outage", "retry_horizons")


def labels(legend):
    return [text.get_text() for text in legend.get_texts()]


def inside(figure, *boxes):
    for box in boxes:
        assert figure.bbox.x0 - 1 <= box.x0
        assert box.x1 <= figure.bbox.x1 + 1
        assert figure.bbox.y0 - 1 <= box.y0
        assert box.y1 <= figure.bbox.y1 + 1


@pytest.mark.parametrize("name", NAMES)
def test_a_plot_draws_into_the_axes_given_and_returns_them(name, drawings):
    ax = Figure(layout="constrained").add_subplot()
    assert drawings[name](ax) is ax


@pytest.mark.parametrize("name", NAMES)
def test_a_plot_makes_its_own_axes_and_all_its_words_stay_inside_the_figure(name, drawings, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    import matplotlib.pyplot as plt

    ax = drawings[name]()
    assert ax.figure is plt.gcf()
    assert ax.get_xlabel()
    assert ax.get_title(loc="left")
    ax.figure.draw_without_rendering()
    # With its labels, its title and its legend.
    inside(ax.figure, ax.get_tightbbox())
    if legend := ax.get_legend():
        assert legend.get_window_extent().x0 > ax.get_window_extent().x1
    plt.close(ax.figure)


# --- panels


def test_each_policy_has_a_panel_over_the_same_axes(study):
    panels = jitter_panels(study, Figure(figsize=(9.8, 5.1), layout="constrained"))
    assert [ax.get_title(loc="left") for ax in panels] == [
        "none",
        "additive",
        "proportional",
        "equal",
        "full",
        "decorrelated",
    ]
    assert len({(*ax.get_xlim(), *ax.get_ylim()) for ax in panels}) == 1
    assert labels(panels[0].figure.legends[0]) == ["retry 1", "retry 2", "retry 3"]


def test_a_panel_shows_the_bins_of_the_first_seed(study):
    names = study.table["policy"].unique()
    held = study.bins.query("means == 'as configured'").groupby("policy")["starts"].max()
    for name, ax in zip(names, jitter_panels(study, Figure(layout="constrained")), strict=True):
        assert max(stairs.get_data().values.max() for stairs in ax.patches) == held[name]


def test_the_panels_of_matched_means_say_so(study):
    figure = Figure(figsize=(9.8, 5.1), layout="constrained")
    panels = jitter_panels(study, figure, means=MATCHED)
    assert figure.get_suptitle() == "400 rows that fail together, delays matched"
    figure.draw_without_rendering()
    words = (figure._suptitle, figure._supxlabel, figure._supylabel, *figure.legends)
    inside(figure, *(word.get_window_extent() for word in words), *(ax.get_tightbbox() for ax in panels))
    assert len(panels) == 6


def test_panels_that_fill_no_row_keep_their_time_axis_in_each_column(study):
    named = {name: PRESETS[name].policy for name in ("sidekiq", "oban", "rq", "huey")}
    panels = jitter_panels(jitter_study(named, n=50, retries=2, seeds=2), Figure(layout="constrained"))
    panels[0].figure.draw_without_rendering()
    assert [bool(ax.xaxis.get_tick_params()["labelbottom"]) for ax in panels] == [False, True, True, True]


def test_a_panel_of_a_storm_that_takes_years_has_no_more_steps_than_a_screen():
    named = {"procrastinate": PRESETS["procrastinate"].policy}
    panels = jitter_panels(jitter_study(named, n=20, retries=10, seeds=2), Figure(layout="constrained"))
    assert max(len(stairs.get_data().values) for stairs in panels[0].patches) <= 1200


# --- delays, heat, ticks


def test_the_ecdf_stands_beside_its_theory_for_each_retry():
    ax = delay_ecdf(FULL, Figure().add_subplot(), retries=3, n=200)
    assert labels(ax.get_legend()) == ["retry 1", "retry 2", "retry 3", "theory"]
    drawn, theory = ax.lines[0], ax.lines[1]
    at_s = np.linspace(1, 9, 20)
    gap = np.interp(at_s, *theory.get_data()) - np.interp(at_s, *drawn.get_data())
    assert np.abs(gap).max() < 0.12
    assert drawn.get_data()[0].max() <= 10.0


def test_a_delay_without_chance_is_a_step_and_a_policy_without_a_law_has_no_theory():
    ax = delay_ecdf(jitters()["none"], Figure().add_subplot(), retries=1, n=10)
    assert ax.lines[1].get_data()[1].tolist() == [0.0, 1.0]
    grown = delay_ecdf(jitters()["decorrelated"], Figure().add_subplot(), retries=2, n=10)
    assert labels(grown.get_legend()) == ["retry 1", "retry 2", "theory"]


def test_the_map_writes_each_peak_into_its_cell(drawings):
    ax = drawings["peak_heat"](Figure().add_subplot())
    assert [text.get_text() for text in ax.get_yticklabels()] == ["none", "equal", "full"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["10", "100"]
    cells = [text.get_text() for text in ax.texts]
    assert cells[:2] == ["10", "100"]
    assert len(cells) == 6


def test_erased_jitter_has_a_hollow_mark(ticks):
    ax = tick_bursts(ticks, Figure().add_subplot())
    hollow = [line for line in ax.lines if to_hex(line.get_markerfacecolor()) == "#ffffff" and len(line.get_xdata())]
    shown = sorted(at_s for line in hollow for at_s in line.get_xdata())
    assert shown == sorted(ticks.table.loc[ticks.table["erased"], "period_s"])
    assert "full, J 10 s" in labels(ax.get_legend())


# --- survival


def test_lines_are_on_paper_and_marks_are_drawn(survival):
    ax = extinct_by_outage(survival, Figure().add_subplot())
    curve = survival.curves[survival.curves["policy"] == "none"]
    assert ax.lines[0].get_ydata() == pytest.approx(curve["expected_share"].to_numpy())
    marks = [container.lines[0].get_ydata() for container in ax.containers]
    assert np.concatenate(marks).astype(float) == pytest.approx(survival.table["extinct_share"].to_numpy())
    assert labels(ax.get_legend()) == ["none", "equal", "full", "outlived: 0.001"]


def test_logarithmic_shares_show_the_share_that_counts_as_outlived(survival):
    ax = extinct_by_outage(survival, Figure().add_subplot(), log=True)
    assert ax.get_yscale() == "log"
    assert ax.get_ylim()[0] < survival.p_extinct < ax.get_ylim()[1]


def test_a_policy_that_never_gives_up_is_named_with_the_reason_for_its_empty_row():
    ax = retry_horizons(outage_survival(["temporal", "stamina"], ["10s"], n=10), Figure().add_subplot())
    assert [text.get_text() for text in ax.get_yticklabels()] == ["stamina", "temporal"]
    assert [text.get_text() for text in ax.texts] == ["never gives up"]


def test_where_none_gives_up_the_plot_says_so():
    ax = retry_horizons(outage_survival("temporal", ["10s"], n=10), Figure().add_subplot())
    assert [text.get_text() for text in ax.texts] == ["none of the policies both waits and gives up"]
