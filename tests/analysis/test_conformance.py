"""Prediction intervals cover what they say, and live runs are inside, outside, or nobody knows."""

import math

import numpy as np
import pytest

from tem_sim.analysis.backlog import Steps
from tem_sim.analysis.conformance import COMPARED, Course, compared, conformance, counted, course_of, overlay
from tem_sim.analysis.metrics import METRICS
from tem_sim.analysis.prediction import prediction_interval, rank_of
from tem_sim.scenario.models import Scenario
from tem_sim.sim.world import simulate

SMALL = Scenario(name="small", arrivals=[{"kind": "poisson", "rate": 20, "until": 5}], horizon=60)
DRAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(sigma=2, size=n),
    "uniform": lambda rng, n: rng.random(n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
}


# --- the interval


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("n", [10, 39, 50, 100])
def test_one_more_value_is_covered_as_often_as_is_said(name, n):
    rng = np.random.default_rng([n, len(name)])
    trials = 4000
    drawn = DRAWS[name](rng, trials * (n + 1)).reshape(trials, n + 1)
    intervals = [prediction_interval(row[:n]) for row in drawn]
    hits = sum(found.holds(row[n]) for found, row in zip(intervals, drawn, strict=True))
    said = intervals[0].coverage
    assert abs(hits / trials - said) < 4 * math.sqrt(said * (1 - said) / trials)


@pytest.mark.parametrize(
    ("n", "rank", "coverage"), [(10, 1, 9 / 11), (39, 1, 0.95), (50, 1, 49 / 51), (100, 2, 97 / 101)]
)
def test_the_ranks_are_the_narrowest_that_cover_enough(n, rank, coverage):
    assert rank_of(n) == rank
    assert prediction_interval(np.arange(n)).coverage == pytest.approx(coverage)


def test_values_that_repeat_are_covered_at_least_as_often():
    rng = np.random.default_rng(5)
    drawn = rng.poisson(1.0, (4000, 51))
    hits = sum(prediction_interval(row[:50]).holds(row[50]) for row in drawn)
    assert hits / 4000 > 49 / 51


def test_what_is_always_the_same_is_compared_exactly():
    found = prediction_interval([400.0] * 50)
    assert (found.holds(400), found.holds(399), found.holds(400.5)) == (True, False, False)


@pytest.mark.parametrize("values", [[], [1.0], [math.nan, 1.0]])
def test_fewer_than_two_values_predict_nothing(values):
    found = prediction_interval(values)
    assert math.isnan(found.low)
    assert not found.holds(1.0)


# --- the table


def runs_of(values):
    """Return as many runs, each with the same value of every metric."""
    return [dict.fromkeys(COMPARED, float(value)) for value in values]


def test_twelve_metrics_are_compared_that_a_run_has():
    assert len(COMPARED) == 12
    assert set(COMPARED) <= set(METRICS)
    assert list(compared(simulate(SMALL, 1))) == list(COMPARED)


@pytest.mark.parametrize(
    ("live", "verdict", "inside", "off"),
    [
        ([10, 20, 30], "inside", 3, 0),
        ([10, 20, 99], "inside", 2, 0),
        ([60, 20, 99], "outside", 1, 11),
        ([-5, -5, 7], "outside", 1, -5),
        ([0], "inside", 1, 0),
    ],
)
def test_a_metric_is_inside_where_the_live_median_is(live, verdict, inside, off):
    table = conformance(runs_of(range(50)), runs_of(live))
    assert set(table["verdict"]) == {verdict}
    first = table.iloc[0]
    assert (first["inside"], first["runs"], first["off"]) == (inside, len(live), off)
    assert (first["predicted_low"], first["predicted"], first["predicted_high"]) == (0, 24.5, 49)


@pytest.mark.parametrize(
    ("simulated", "live"),
    [
        (range(50), [math.nan, 3.0]),
        ([*range(40), *[math.nan] * 10], [3.0]),
        ([1.0], [1.0]),
        (range(50), []),
    ],
)
def test_what_is_not_known_is_unknown(simulated, live):
    table = conformance(runs_of(simulated), runs_of(live))
    assert counted(table) == {"inside": 0, "outside": 0, "unknown": 12}
    assert table["off"].isna().all()


def test_a_simulated_run_conforms_to_its_own_simulation_and_a_slower_one_does_not():
    """At a level of 95 % one in twenty is outside by chance; of twelve metrics nine are inside."""
    predicted = [compared(simulate(SMALL, seed)) for seed in range(1, 40)]
    same = [compared(simulate(SMALL, seed)) for seed in range(101, 106)]
    slower = SMALL.model_copy(update={"handler": SMALL.handler.model_copy(update={"fail_first": 1})})
    other = [compared(simulate(slower, seed)) for seed in range(101, 106)]
    assert counted(conformance(predicted, same))["outside"] == 0
    assert counted(conformance(predicted, other))["outside"] > 3


# --- over time


def course(seed, attempts_s, end_s=4.0):
    steps = Steps(np.array([0.0, 1.0, 3.0]), np.array([seed, 2 * seed, 0]))
    return Course(seed, {}, np.array(attempts_s), steps, end_s)


def test_the_timelines_have_a_band_and_a_line_per_live_run():
    table = overlay(
        [course(1, [0.2, 0.7]), course(2, [0.2, 3.5]), course(3, [])], [course(7, [2.0, 2.5], end_s=3.0)], 1.0
    )
    attempts, rows = (table[table["what"] == what].set_index("t_s") for what in ("attempts_per_s", "backlog"))
    assert list(table.columns) == ["what", "t_s", "low", "median", "high", "live-7"]
    assert list(attempts.index) == [0, 1, 2, 3]
    assert attempts.loc[0, ["low", "median", "high"]].tolist() == [0, 1, 2]
    assert attempts["live-7"].tolist() == [0, 0, 2, 0]
    assert rows.loc[1, ["low", "median", "high", "live-7"]].tolist() == [2, 4, 6, 14]
    assert rows.loc[3, "live-7"] == 0


def test_a_runs_course_adds_up_to_the_run():
    run = simulate(SMALL, 3)
    found = course_of(run)
    table = overlay([], [found], 0.5)
    assert table.loc[table["what"] == "attempts_per_s", "live-3"].sum() * 0.5 == len(run.attempts)
    assert table.loc[table["what"] == "backlog", "live-3"].iloc[-1] == 0
