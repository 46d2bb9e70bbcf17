"""Thresholds as text: what may be written, what is made of it, and what is said of the rest, in its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenario_text import MINIMAL, problems_of, with_section

from tem_sim.analysis.metrics import METRICS
from tem_sim.analysis.observations import OBSERVATIONS
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.thresholds import COMPARE, KINDS, Threshold, Thresholds, in_seconds


@st.composite
def thresholds(draw: st.DrawFn) -> Threshold:
    metric = draw(st.sampled_from(sorted(KINDS)))
    aggregate = draw(st.sampled_from(KINDS[metric].aggregates))
    percent = draw(st.floats(0, 100, exclude_min=True, exclude_max=True)) if aggregate == "p" else None
    bound = draw(st.floats(allow_nan=False, allow_infinity=False))
    return Threshold(metric, aggregate, draw(st.sampled_from(list(COMPARE))), bound, percent)


@given(thresholds())
def test_a_threshold_written_and_read_again_is_the_same(threshold: Threshold) -> None:
    assert Threshold.parse(threshold.metric, str(threshold)) == threshold


@given(thresholds(), st.lists(st.sampled_from(["", " ", "  "]), min_size=4, max_size=4))
def test_blanks_around_the_parts_mean_nothing(threshold: Threshold, blanks: list[str]) -> None:
    bound = str(threshold).partition(threshold.asked + threshold.comparison)[2]
    parts = (threshold.asked, threshold.comparison, bound, "")
    assert Threshold.parse(threshold.metric, "".join(map(str.__add__, blanks, parts))) == threshold


@given(thresholds(), st.floats())
def test_a_value_keeps_to_just_one_of_a_comparison_and_its_opposite(threshold: Threshold, value: float) -> None:
    opposite = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}[threshold.comparison]
    other = Threshold.parse(threshold.metric, str(threshold).replace(threshold.comparison, opposite, 1))
    assert threshold.holds(value) + other.holds(value) == (value == value)


def test_what_a_run_can_be_held_to_is_all_that_is_measured_of_it() -> None:
    """A metric or distribution that is added needs its line in `Thresholds`."""
    assert set(KINDS) == set(METRICS) | set(OBSERVATIONS)
    assert {name for name in METRICS if in_seconds(name)} == {n for n, metric in METRICS.items() if metric.unit == "s"}


@pytest.mark.parametrize(
    ("text", "bound"),
    [("max<90s", 90), ("max<1m30s", 90), ("max<250ms", 0.25), ("max<90", 90), ("max<.5", 0.5), ("max<1e3", 1000)],
)
def test_a_bound_on_a_time_may_be_a_duration(text: str, bound: float) -> None:
    assert Threshold.parse("drain_s", text).bound == bound


def test_one_expression_need_not_be_a_list_and_the_long_form_says_whether_it_is_strict() -> None:
    section = """
thresholds:
  amplification: max < 3
  drain_s: [p(95)<90s, {threshold: max<2m, strict: false}]
"""
    assert with_section(section).thresholds.listed() == (
        Threshold("amplification", "max", "<", 3),
        Threshold("drain_s", "p", "<", 90, 95),
        Threshold("drain_s", "max", "<", 120, strict=False),
    )


def test_a_section_that_is_not_strict_makes_none_strict_but_those_that_say_so() -> None:
    section = "thresholds: {strict: false, events: count>0, retries: {threshold: count>0, strict: true}}\n"
    found = with_section(section).thresholds.listed()
    assert [(threshold.metric, threshold.strict) for threshold in found] == [("events", False), ("retries", True)]


def test_thresholds_are_saved_as_they_are_understood_and_load_again() -> None:
    scenario = with_section("thresholds: {drain_s: [p(95.0) <= 1m30s]}\n")
    assert scenario.resolved()["thresholds"] == {"strict": True, "drain_s": [{"threshold": "p(95)<=90"}]}
    assert Scenario.model_validate(scenario.resolved()) == scenario


def test_thresholds_can_be_given_in_python() -> None:
    assert Thresholds(amplification=["max<3"]).listed() == (Threshold("amplification", "max", "<", 3),)


def test_a_scenario_without_thresholds_holds_a_run_to_nothing() -> None:
    assert with_section("").thresholds.listed() == ()


@pytest.mark.parametrize(
    ("section", "place", "path", "rule", "hint"),
    [
        ("{amplificaton: max<3}", "3:14", "amplificaton", "unknown key", "did you mean amplification?"),
        ("{amplification: [max<3, mean<3]}", "3:37", "amplification[1]", "begin with value, rate, avg", "avg?"),
        ("{drain_s: p95<3}", "3:23", "drain_s", "begin with", "did you mean p(95)?"),
        ("{drain_s: p(x)<3}", "3:23", "drain_s", "the N of p(N) must be between 0 and 100", ""),
        ("{drain_s: p(100)<3}", "3:23", "drain_s", "min and max for the ends", ""),
        ("{drain_s: max=<3}", "3:23", "drain_s", "must compare with < <= > >= == !=", "did you mean <=?"),
        ("{drain_s: max=3}", "3:23", "drain_s", "must compare with", "did you mean ==?"),
        ("{drain_s: max<3x}", "3:23", "drain_s", "the bound must be a duration", ""),
        ("{drain_s: max<}", "3:23", "drain_s", "the bound must be a duration", ""),
        ("{events: max<3s}", "3:22", "events", "the bound must be a finite number", ""),
        ("{wasted_worker_s: rate<3s}", "3:31", "wasted_worker_s", "the bound must be a finite number", ""),
        ("{drain_s: max<1e999}", "3:23", "drain_s", "the bound must be", ""),
        ("{drain_s: max<20000w}", "3:23", "drain_s", "the bound must be", ""),
        ("{drain_s: max}", "3:23", "drain_s", "an aggregate, a comparison and a bound", ""),
        ("{drain_s: 3}", "3:23", "drain_s", "must be a threshold", ""),
        ("{drain_s: []}", "3:23", "drain_s", "at least one", ""),
        ("{drain_s: count<3}", "3:23", "drain_s", "drain_s is a number and has no count", ""),
        ("{latency_s: value<3}", "3:25", "latency_s", "latency_s is a distribution and has no value", ""),
        ("{extinct_rate: count<3}", "3:28", "extinct_rate", "extinct_rate is a quotient and has no count", ""),
        ("{strict: no}", "3:22", "strict", "true or false", ""),
        ("{drain_s: {threshold: max<3, stric: no}}", "3:42", "drain_s.stric", "unknown key", "did you mean strict?"),
        ("{drain_s: {threshold: max3, strict: false}}", "3:35", "drain_s.threshold", "an aggregate", ""),
        ("[max<3]", "3:13", "", "mapping", ""),
    ],
)
def test_what_is_no_threshold_is_told_in_its_place(section: str, place: str, path: str, rule: str, hint: str) -> None:
    (problem,) = problems_of(f"{MINIMAL}thresholds: {section}\n")
    assert str(problem.spot) == f"small.yaml:{place}"
    assert problem.path == f"thresholds.{path}".removesuffix(".")
    assert rule in problem.message
    assert hint in problem.hint


def test_every_mistake_is_told_and_one_from_the_command_line_names_its_option() -> None:
    told = problems_of(f"{MINIMAL}thresholds: {{events: [max<, min<]}}\n", "thresholds.retries=max", "seed=x")
    assert [(problem.path, str(problem.spot)) for problem in told] == [
        ("thresholds.events[0]", "small.yaml:3:23"),
        ("thresholds.events[1]", "small.yaml:3:29"),
        ("seed", "--set seed=x"),
        ("thresholds.retries", "--set thresholds.retries=max"),
    ]


def test_a_threshold_set_from_the_command_line_may_hold_an_equals_sign() -> None:
    from tem_sim.scenario.loader import loads

    found = loads(MINIMAL, ["thresholds.lost_events=count==0"]).thresholds.listed()
    assert found == (Threshold("lost_events", "count", "==", 0),)
