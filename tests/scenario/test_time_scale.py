"""A scenario in another unit of time is the same scenario: everything that takes time is scaled, and nothing else."""

import math
import typing
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from scenario_text import with_section

from tem_sim.scenario import quantities
from tem_sim.scenario.base import Model
from tem_sim.scenario.distributions import Distribution
from tem_sim.scenario.faults.kinds import KINDS
from tem_sim.scenario.faults.wakeups import WakeupsDuplicated
from tem_sim.scenario.models import Pipeline, Scenario
from tem_sim.scenario.policy import PresetBackoff
from tem_sim.scenario.store import Pool
from tem_sim.scenario.time_scale import KEPT, TimeScaleError, how, scaled
from tem_sim.sim.world import simulate
from tem_sim.strategies import scenarios

# Nothing of the infrastructure takes time, and neither a client nor a relay waits on its own.
AT_ONCE = {
    "api": {"latency": 0, "retries": 0},
    "store": {"latency": 0},
    "broker": {"latency": 0},
    "users": {"latency": 0, "pubsub_latency": 0},
    "workers": {"count": 2, "startup": 0},
}
STORM = {
    "scenario": "small storm",
    **AT_ONCE,
    "arrivals": [{"kind": "constant", "rate": 8, "until": "10s"}, {"kind": "burst", "events": 20, "at": "3s"}],
    "handler": {"service_time": "64ms", "fail_time": "32ms", "kinds": {"slow": {"service_time": "160ms"}}},
    "events": {"kinds": {"normal": 3, "slow": 1}},
    "faults": [
        {"kind": "outage", "at": "2s", "for": "6s"},
        {"kind": "worker_death", "target": "worker-1", "at": "4s", "restart_after": "2s"},
    ],
    "pipeline": {"lease": "12s", "sweep_after": "9s", "backoff": {"base": "1s", "jitter": "full"}},
}
FACTORS = st.sampled_from([0.03, 0.1, 0.25, 0.5, 2.0, 3.0, 10.0])


def close(a: object, b: object) -> bool:
    """Whether two resolved scenarios are the same up to the rounding of floats."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return a == b


@given(scenarios())
def test_scaling_by_one_is_the_identity(scenario: Scenario) -> None:
    assert scaled(scenario, 1) == scenario


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(scenarios(), FACTORS, FACTORS)
def test_scaling_twice_is_scaling_by_the_product(scenario: Scenario, a: float, b: float) -> None:
    assert close(scaled(scaled(scenario, a), b).resolved(), scaled(scenario, a * b).resolved())


# Powers of two: what happens at the same instant still does, whatever floats round.
@pytest.mark.parametrize("k", [0.25, 0.5, 4.0])
@pytest.mark.parametrize("preset", ["", "grpc", "aws-decorrelated", "tem_sim.pipeline.backoff:Backoff"])
def test_a_scaled_run_is_the_same_run_in_another_time(k: float, preset: str) -> None:
    storm = Scenario.model_validate(STORM)
    if preset:
        backoff = {"import": preset} if ":" in preset else {"preset": preset}
        storm = Scenario.model_validate({**STORM, "pipeline": {"backoff": backoff}})
    before, after = simulate(storm, 1).transitions, simulate(scaled(storm, k), 1).transitions

    told = ["event_id", "before", "after", "cause", "actor", "attempt_no", "retry_count"]
    assert after[told].astype(str).equals(before[told].astype(str))
    assert (after["at_s"] - k * before["at_s"]).abs().max() < 1e-4


def test_what_is_not_scaled_is_the_infrastructure() -> None:
    storm = Scenario.model_validate({**STORM, "api": {"latency": "5ms"}, "workers": {"startup": "2s"}})
    half = scaled(storm, 0.5)
    assert (half.api, half.workers.startup_s, half.store, half.users.latency_s) == (
        storm.api,
        2.0,
        storm.store.model_copy(update={"pool": storm.store.pool.model_copy(update={"timeout_s": 15.0})}),
        storm.users.latency_s,
    )


def test_a_preset_keeps_its_quirks_and_its_limits_are_scaled() -> None:
    limited = with_section("pipeline: {backoff: {preset: stamina, budget: 20s}}\n")
    backoff = scaled(limited, 0.1).pipeline.backoff
    assert isinstance(backoff, PresetBackoff)
    assert (backoff.budget_s, backoff.scale, backoff.policy().budget_s) == (2.0, 0.1, pytest.approx(2.0))
    assert scaled(with_section("pipeline: {backoff: {preset: stamina}}\n"), 0.1).policy().budget_s == pytest.approx(4.5)


def test_thresholds_go_by_the_unit_of_their_metric() -> None:
    listed = (
        "{latency_p95_s: max<30s, retry_peak_per_s: max<100, amplification: max<3, attempts: [rate<20, count<500],"
        " wasted_worker_s: [count<40s, rate<2], extinct_rate: rate<0.1}"
    )
    kept = scaled(with_section(f"thresholds: {listed}\n"), 0.1).thresholds.listed()
    assert {(one.metric, str(one)) for one in kept} == {
        ("latency_p95_s", "max<3"),
        ("retry_peak_per_s", "max<1000"),
        ("amplification", "max<3"),
        ("attempts", "rate<200"),
        ("attempts", "count<500"),
        ("wasted_worker_s", "count<4"),
        ("wasted_worker_s", "rate<2"),
        ("extinct_rate", "rate<0.1"),
    }


def test_code_of_ones_own_that_takes_time_is_refused() -> None:
    scenario = Scenario.model_validate({**STORM, "handler": {"call": "time:sleep"}})
    with pytest.raises(TimeScaleError, match=r"handler\.call: time:sleep takes its time in code of its own"):
        scaled(scenario, 0.5)
    assert scaled(scenario, 1) == scenario


@pytest.mark.parametrize("k", [0, -1, math.inf, math.nan])
def test_a_factor_that_scales_nothing_is_refused(k: float) -> None:
    with pytest.raises(TimeScaleError, match="must be a finite number > 0"):
        scaled(Scenario.model_validate(STORM), k)


def test_a_factor_that_takes_a_scenario_out_of_bounds_is_refused() -> None:
    with pytest.raises(TimeScaleError, match=r"time scale: 1e\+300 is too much .*: \S+ must be at most ten years$"):
        scaled(Scenario.model_validate(STORM), 1e300)


# --- no field is forgotten


def models(model: type[Model], seen: set[type[Model]]) -> Iterator[type[Model]]:
    """Yield every model that a scenario may have in it."""
    if model in seen:
        return
    seen.add(model)
    yield model
    for field in model.model_fields.values():
        for inner in parts(field.annotation):
            if isinstance(inner, type) and issubclass(inner, Model):
                yield from models(inner, seen)


def parts(annotation: object) -> Iterator[object]:
    yield annotation
    for part in typing.get_args(annotation):
        yield from parts(part)


ALL = sorted(models(Scenario, set()), key=lambda model: model.__name__)
TIMES = {quantities.duration_s, quantities.positive_duration_s, quantities.signed_duration_s}
RATES = {quantities.rate_per_s, quantities.positive_rate_per_s}


def parsers(model: type[Model], name: str) -> set[object]:
    """Return the functions that read a field, wherever in its annotation they stand."""
    field = model.model_fields[name]
    metadata = [
        *field.metadata,
        *(one for part in parts(field.annotation) for one in getattr(part, "__metadata__", ())),
    ]
    return {getattr(one, "func", getattr(one, "parse", None)) for one in metadata}


def test_every_kind_of_fault_is_among_them() -> None:
    assert set(KINDS.values()) <= set(ALL)


@pytest.mark.parametrize("model", ALL, ids=lambda model: model.__name__)
def test_no_field_that_takes_time_is_forgotten(model: type[Model]) -> None:
    kept = KEPT.get(model, ())
    assert {name for name in model.model_fields if parsers(model, name) & TIMES and how(model, name) != "times"} <= set(
        kept
    )
    assert {name for name in model.model_fields if parsers(model, name) & RATES and how(model, name) != "over"} == set()


@pytest.mark.parametrize("model", KEPT, ids=lambda model: model.__name__)
def test_what_is_kept_is_there(model: type[BaseModel]) -> None:
    assert set(KEPT[model]) <= set(model.model_fields)


@pytest.mark.parametrize(
    ("model", "name"),
    [(Pipeline, "lease_s"), (WakeupsDuplicated, "gaps_s"), (PresetBackoff, "cap_s"), (Pool, "timeout_s")],
)
def test_a_duration_is_seen_wherever_it_stands(model: type[Model], name: str) -> None:
    assert parsers(model, name) & TIMES


def test_a_planted_duration_is_seen() -> None:
    class Planted(Model):
        pause: quantities.Duration = 1.0
        by: Distribution

    assert parsers(Planted, "pause") & TIMES
    assert how(Planted, "pause") == "kept"
