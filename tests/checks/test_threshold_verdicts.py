"""Runs held to thresholds, against numbers worked out by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
from frame_builder import story
from hypothesis import given
from hypothesis import strategies as st

from tem_sim.analysis.observations import OBSERVATIONS, Observed
from tem_sim.checks.thresholds import Measured, hold, measured, over_seeds, run_thresholds
from tem_sim.scenario.thresholds import Threshold


def seeds(metric: str, *values: float, span_s: float = 100.0, **more: tuple[float, ...]) -> list[Measured]:
    """Runs of seeds 1, 2, … in which a metric, and others, had these values."""
    columns = {metric: values, **more}
    return [
        Measured(seed=n + 1, span_s=span_s, numbers={name: of[n] for name, of in columns.items()}, observed={})
        for n in range(len(values))
    ]


def observed(metric: str, *runs: list[float]) -> list[Measured]:
    return [
        Measured(seed=n, span_s=1.0, numbers={}, observed={metric: Observed.exactly(np.array(values, dtype=float))})
        for n, values in enumerate(runs)
    ]


def answer(metric: str, text: str, runs: list[Measured]) -> tuple[str, float]:
    found = hold(Threshold.parse(metric, text), runs)
    return found.verdict, found.value


@pytest.mark.parametrize(
    ("text", "verdict", "value"),
    [
        ("avg<=4", "true", 4.0),
        ("avg<4", "false", 4.0),
        ("min>1", "false", 1.0),
        ("max<9.5", "true", 9.0),
        ("med==3", "true", 3.0),
        ("med!=3", "false", 3.0),
        ("p(20)<=1", "true", 1.0),
        ("p(20.1)>=2", "true", 2.0),
        ("p(80)<6", "true", 5.0),
        ("p(95)<9", "false", 9.0),
        ("count==20", "true", 20.0),
        ("rate<0.04", "false", 0.04),
        ("value<10", "true", 5.0),
        ("value<9", "false", 9.0),
    ],
)
def test_a_total_over_five_seeds(text: str, verdict: str, value: float) -> None:
    assert answer("lost_events", text, seeds("lost_events", 2, 9, 1, 3, 5)) == (verdict, value)


@pytest.mark.parametrize("aggregate", ["avg", "min", "max", "med", "p(95)", "p(1)", "value", "count"])
def test_of_a_single_run_every_aggregate_is_its_number(aggregate: str) -> None:
    assert answer("retries", f"{aggregate}==7", seeds("retries", 7)) == ("true", 7.0)


def test_the_rate_of_a_quotient_weighs_each_run_by_what_it_divides_by() -> None:
    runs = seeds("extinct_rate", 0.5, 0.0, extinct=(1, 0), events=(2, 98))
    assert answer("extinct_rate", "rate<=0.01", runs) == ("true", 0.01)
    assert answer("extinct_rate", "avg<=0.01", runs) == ("false", 0.25)


def test_a_rate_of_nothing_is_not_known() -> None:
    assert answer("extinct_rate", "rate<1", seeds("extinct_rate", math.nan, extinct=(0,), events=(0,)))[0] == "unknown"
    assert answer("retries", "rate<1", seeds("retries", 0, span_s=0.0))[0] == "unknown"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("max<10", "unknown"),
        ("max<5", "false"),
        ("max>4", "true"),
        ("min>0", "unknown"),
        ("min<2", "true"),
        ("avg<100", "unknown"),
        ("med<4", "true"),
        ("med<3", "unknown"),
        ("p(75)<=5", "true"),
        ("p(76)<=5", "unknown"),
        ("value<10", "unknown"),
        ("value<5", "false"),
        ("max==10", "unknown"),
        ("max!=3", "true"),
        ("max==3", "false"),
    ],
)
def test_a_seed_without_a_value_decides_nothing_that_it_could_change(text: str, verdict: str) -> None:
    """Here 1, 3 and 5 s, and one run whose backlog never drained."""
    assert answer("drain_s", text, seeds("drain_s", 1, 3, math.nan, 5))[0] == verdict


@given(
    st.lists(st.integers(0, 6) | st.just(math.nan), min_size=1, max_size=6),
    st.lists(st.integers(0, 9), min_size=6, max_size=6),
    st.sampled_from(["avg", "min", "max", "med", "p(30)", "p(95)", "value"]),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.integers(0, 6),
)
def test_a_verdict_stands_whatever_the_missing_values_turn_out_to_be(
    values: list[float], later: list[int], aggregate: str, comparison: str, bound: int
) -> None:
    threshold = f"{aggregate}{comparison}{bound}"
    before, _ = answer("drain_s", threshold, seeds("drain_s", *values))
    found = [late if math.isnan(value) else value for value, late in zip(values, later, strict=False)]
    after, _ = answer("drain_s", threshold, seeds("drain_s", *found))
    assert after != "unknown"
    assert before in (after, "unknown")


def test_a_run_without_the_number_is_neither_kept_nor_broken() -> None:
    found = hold(Threshold.parse("drain_s", "max<90"), seeds("drain_s", math.nan))
    assert (found.verdict, found.n, found.missing, found.detail) == ("unknown", 0, 1, "has no value here")
    assert math.isnan(found.value)


def test_a_distribution_pools_the_values_of_all_seeds() -> None:
    runs = observed("latency_s", list(range(1, 20)), [100.0])
    assert answer("latency_s", "p(95)<20", runs) == ("true", 19.0)
    assert answer("latency_s", "max<20", runs) == ("false", 100.0)
    assert answer("latency_s", "avg==14.5", runs) == ("true", 14.5)


def test_each_seed_is_judged_alone_as_well() -> None:
    threshold = Threshold.parse("amplification", "avg<2")
    (found,) = over_seeds([threshold], seeds("amplification", 1.0, 2.5, 1.0))
    assert found.pooled.verdict == "true"
    assert {seed: held.verdict for seed, held in found.by_seed.items()} == {1: "true", 2: "false", 3: "true"}


def test_a_percentile_of_too_few_events_is_not_known_and_says_how_many_it_takes() -> None:
    found = hold(Threshold.parse("latency_s", "p(95)<30"), observed("latency_s", [1.0] * 19))
    assert (found.verdict, found.detail) == ("unknown", "p(95) takes 20 values and there are 19")
    assert answer("latency_s", "p(95)<30", observed("latency_s", [1.0] * 20)) == ("true", 1.0)
    assert answer("latency_s", "max<30", observed("latency_s", []))[0] == "unknown"


@pytest.mark.parametrize(
    ("metric", "text", "value", "detail"),
    [
        ("amplification", "max<3", 3.4, "max 3.4 >= 3"),
        ("amplification", "max<3", 2.1234567, "max 2.123 < 3"),
        ("amplification", "max<3", 3.00001, "max 3.00001 >= 3"),
        ("drain_s", "p(95)<90", 75.25, "p(95) 75.25 s < 90 s"),
        ("lost_events", "count==0", 1200, "count 1,200 != 0"),
        ("wasted_worker_s", "rate<0.5", 10, "rate 0.1 < 0.5"),
    ],
)
def test_the_finding_is_said_in_one_line(metric: str, text: str, value: float, detail: str) -> None:
    assert hold(Threshold.parse(metric, text), seeds(metric, value)).detail == detail


def told() -> dict[str, Observed]:
    """Two events done after 3 and 13 s, one given up, and one waiting since second 5 when the run ends at 30."""
    tale = story()
    tale.event(1).claim(1.0).ok(3.0)
    tale.event(2).claim(1.0).error(2.0, 10.0).retry(12.0).claim(12.5).ok(13.0)
    tale.event(3).claim(1.0).exhausted(2.0)
    tale.event(4, at_s=5.0)
    return {name: observe(tale.run(end_s=30.0)) for name, observe in OBSERVATIONS.items()}


def test_an_event_in_flight_has_taken_as_long_as_it_has_and_nobody_knows_how_much_longer() -> None:
    assert sorted(told()["latency_s"].least) == [3.0, 13.0, 25.0]
    assert sorted(told()["latency_s"].most) == [3.0, 13.0, math.inf]


@pytest.mark.parametrize(("text", "verdict"), [("max<20", "false"), ("max<40", "unknown"), ("min<4", "true")])
def test_what_is_in_flight_breaks_a_bound_that_it_has_passed_and_keeps_none(text: str, verdict: str) -> None:
    run = Measured(seed=1, span_s=30.0, numbers={}, observed=told())
    assert answer("latency_s", text, [run])[0] == verdict


def test_the_distributions_of_a_small_story() -> None:
    found = {name: sorted(values.known.tolist()) for name, values in told().items()}
    assert found["delivery_s"] == [3.0, 13.0]
    assert found["attempts_per_event"] == [0, 1, 1, 2]
    assert found["retry_delay_s"] == [10.0]
    assert (sum(found["retries_per_s"]), len(found["retries_per_s"])) == (1, 31)


def test_a_run_is_held_to_the_thresholds_of_its_own_scenario() -> None:
    tale = story(thresholds={"processed": ["count==1", {"threshold": "count>1", "strict": False}]})
    tale.event(1).claim(1.0).ok(3.0)
    found = run_thresholds(tale.run())
    assert [(held.verdict, held.threshold.strict) for held in found] == [("true", True), ("false", False)]
    assert run_thresholds(story().run()) == []


def test_only_the_distributions_that_are_asked_for_are_measured() -> None:
    tale = story()
    tale.event(1).claim(1.0).ok(3.0)
    asked = [Threshold.parse("latency_s", "max<3"), Threshold.parse("events", "count>0")]
    assert list(measured(tale.run(), asked).observed) == ["latency_s"]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.lists(st.floats(0.1, 99.9), min_size=2, max_size=5))
def test_percentiles_grow_with_their_percent_and_stay_among_the_values(
    values: list[float], percents: list[float]
) -> None:
    runs = seeds("drain_s", *values)
    found = [answer("drain_s", f"p({percent!r})<0", runs)[1] for percent in sorted(percents)]
    assert all(a <= b for a, b in pairwise(found))
    assert set(found) <= set(values)
