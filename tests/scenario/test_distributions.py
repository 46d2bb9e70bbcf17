"""Every distribution: one contract over all of them, and the shape of each."""

import math
import pickle
import statistics

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from tem_sim.scenario.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Lognormal,
    Pareto,
    Uniform,
)

ALL = [
    Constant(value_s=0.5),
    Uniform(low_s=1.0, high_s=3.0),
    Exponential(mean_s=2.0),
    Lognormal(mean_s=0.02, cv=0.5),
    Pareto(min_s=0.01, max_s=10.0, alpha=1.5),
    Pareto(min_s=0.01, max_s=10.0, alpha=1.0),
    Empirical(values_s=(3.0, 1.0, 2.0)),
]
ADAPTER: TypeAdapter[Distribution] = TypeAdapter(Distribution)


@pytest.mark.parametrize("distribution", ALL, ids=repr)
def test_quantiles_average_to_the_stated_mean(distribution: Distribution) -> None:
    midpoints = (np.arange(200_000) + 0.5) / 200_000
    average = statistics.fmean(distribution.quantile(u) for u in midpoints.tolist())
    assert average == pytest.approx(distribution.mean_s, rel=0.01)


@pytest.mark.parametrize("distribution", ALL, ids=repr)
def test_quantiles_rise_and_stay_finite_to_the_very_ends(distribution: Distribution) -> None:
    ends = [0.0, 2.0**-53, 0.1, 0.5, 0.9, 1 - 2.0**-53]
    values = [distribution.quantile(u) for u in ends]
    assert values == sorted(values)
    assert all(math.isfinite(value) and value >= 0 for value in values)


@pytest.mark.parametrize("distribution", ALL, ids=repr)
def test_a_distribution_survives_pickling_after_use(distribution: Distribution) -> None:
    distribution.quantile(0.5)
    again = pickle.loads(pickle.dumps(distribution))
    assert again == distribution
    assert again.quantile(0.25) == distribution.quantile(0.25)


def test_a_changed_copy_does_not_remember_the_old_parameters() -> None:
    original = Lognormal(mean_s=1.0, cv=0.5)
    original.quantile(0.5)
    assert original.model_copy(update={"mean_s": 2.0}).quantile(0.5) == pytest.approx(2 * original.quantile(0.5))


def test_a_lognormal_has_the_cv_it_says() -> None:
    midpoints = ((np.arange(200_000) + 0.5) / 200_000).tolist()
    values = [Lognormal(mean_s=1.0, cv=0.5).quantile(u) for u in midpoints]
    assert statistics.pstdev(values) / statistics.fmean(values) == pytest.approx(0.5, rel=0.01)


def test_a_pareto_stays_within_its_bounds_and_has_its_power_law_between() -> None:
    pareto = Pareto(min_s=1.0, max_s=1e6, alpha=2.0)
    assert pareto.quantile(0.0) == 1.0
    assert pareto.quantile(0.75) == pytest.approx(2.0, rel=1e-6)
    assert pareto.quantile(1 - 2.0**-53) <= 1e6


def test_an_empirical_distribution_gives_back_what_was_measured_equally_often() -> None:
    measured = Empirical(values_s=(3.0, 1.0, 2.0))
    drawn = [measured.quantile((n + 0.5) / 300) for n in range(300)]
    assert [drawn.count(value) for value in (1.0, 2.0, 3.0)] == [100, 100, 100]


def test_a_bare_duration_is_a_constant() -> None:
    assert ADAPTER.validate_python("20ms") == Constant(value_s=0.02)


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "uniform", "low": 2, "high": 1},
        {"kind": "pareto", "min": 2, "max": 2},
        {"kind": "lognormal", "mean": 0},
        {"kind": "lognormal", "mean": 1, "cv": 0},
        {"kind": "empirical", "values": []},
        {"kind": "gamma", "mean": 1},
        {"kind": "constant", "value": -1},
        {"mean": 1},
    ],
)
def test_a_distribution_that_makes_no_sense_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(data)
