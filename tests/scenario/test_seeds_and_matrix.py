"""What a sweep is of: `seeds`, `matrix`, `--set` with several values; and what is said of the rest, in its place."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenario_text import MINIMAL, problems_of, with_section

from tem_sim.analysis.metrics import METRICS
from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.loader import loads, loads_plan, plan_of
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.plan import Plan, values_in
from tem_sim.scenario.seeds import UNTIL_PATTERN, Until, first_seeds, seeds_text

POLICY = """\
vars: {first: 1s}
pipeline: {backoff: {growth: exponential, base: "${first}", max_retries: 3}}
"""
MATRIX = """\
matrix:
  pipeline.backoff.jitter: [none, full]
  vars.first: [1s, 2s]
"""


def plan(text: str = MATRIX, *settings: str) -> Plan:
    return loads_plan(MINIMAL + POLICY + text, settings, file="small.yaml")


def cells(text: str = MATRIX, *settings: str) -> list[dict[str, str]]:
    return [cell.labels for cell in plan(text, *settings).cells]


def complaints(text: str, *settings: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        plan(text, *settings)
    return [problem.headline for problem in caught.value.problems]


# --- seeds


@pytest.mark.parametrize(
    ("written", "seeds", "told"),
    [
        ("20", tuple(range(1, 21)), "20 seeds"),
        ("1", (1,), "1 seed"),
        ("[7, 3]", (7, 3), "2 seeds"),
        ("{min: 4, until: ci(drain_s) < 5%}", (1, 2, 3, 4), "4 to 200 seeds"),
    ],
)
def test_seeds_are_a_number_a_list_or_as_many_as_it_takes(written: str, seeds: tuple[int, ...], told: str) -> None:
    scenario = with_section(f"seeds: {written}\n")
    assert scenario.seeds is not None
    assert (first_seeds(scenario.seeds), seeds_text(scenario.seeds)) == (seeds, told)
    assert Scenario.model_validate(scenario.resolved()) == scenario


def test_a_sweep_of_a_scenario_that_says_nothing_has_ten_seeds() -> None:
    assert plan("").seeds == 10


@given(st.sampled_from(sorted(METRICS)), st.floats(0.001, 100))
def test_a_goal_written_and_read_again_is_the_same(metric: str, percent: float) -> None:
    goal = Until.parse(f"ci({metric}) < {percent:.6f}%")
    assert Until.parse(str(goal)).metric == metric
    assert Until.parse(str(goal)).share == pytest.approx(goal.share, rel=1e-5)
    assert re.fullmatch(UNTIL_PATTERN, f"ci({metric}) < {percent:.6f}%")


@pytest.mark.parametrize(
    ("seeds", "line"),
    [
        ("0", "small.yaml:3:8: seeds: must be a whole number from 1 to 100000"),
        ("many", "small.yaml:3:8: seeds: must be a number of seeds, a list of them, or min, max and until"),
        ("[]", "small.yaml:3:8: seeds: must have at least one item"),
        ("[1, 2, 1]", "small.yaml:3:15: seeds[2]: is given twice"),
        ("[1, -2]", "small.yaml:3:12: seeds[1]: must be a whole number >= 0"),
        ("{min: 5}", "small.yaml:3:8: seeds.until: is required"),
        ("{min: 1, until: ci(drain_s) < 5%}", "small.yaml:3:14: seeds.min: must be a whole number from 2"),
        ("{max: 5, until: ci(drain_s) < 5%}", "small.yaml:3:14: seeds.max: must be at least min, which is 10 (got 5)"),
        ("{until: ci(drian_s) < 5%}", "small.yaml:3:16: seeds.until: must be about a metric"),
        ("{until: ci(latency_s) < 5%}", "small.yaml:3:16: seeds.until: must be about a metric"),
        ("{until: drain_s < 5%}", "small.yaml:3:16: seeds.until: must be ci(METRIC) < N%"),
        ("{until: ci(drain_s) < 5}", "small.yaml:3:16: seeds.until: must be ci(METRIC) < N%"),
        ("{until: ci(drain_s) > 5%}", "small.yaml:3:16: seeds.until: must be ci(METRIC) < N%"),
        ("{until: ci(drain_s) < 0%}", "small.yaml:3:16: seeds.until: the N of N% must be above 0"),
        ("{untl: ci(drain_s) < 5%}", "small.yaml:3:9: seeds.untl: unknown key"),
    ],
)
def test_seeds_that_make_no_sense_are_told_in_their_place(seeds: str, line: str) -> None:
    headlines = [problem.headline for problem in problems_of(f"{MINIMAL}seeds: {seeds}\n")]
    assert any(headline.startswith(line) for headline in headlines), headlines


def test_a_wrong_metric_is_asked_about_and_a_distribution_is_explained() -> None:
    hints = [problems_of(f"{MINIMAL}seeds: {{until: ci({name}) < 5%}}\n")[0].hint for name in ("drian_s", "latency_s")]
    assert hints == ["did you mean drain_s?", "latency_s is a distribution: many values per run, and no mean of runs"]


# --- the matrix


def test_cells_are_all_combinations_the_first_path_slowest() -> None:
    assert cells() == [
        {"pipeline.backoff.jitter": jitter, "vars.first": first}
        for jitter in ("none", "full")
        for first in ("1s", "2s")
    ]


def test_a_cell_is_a_scenario_as_if_the_file_had_said_so() -> None:
    made = plan().cells[3].scenario
    said = MINIMAL + POLICY.replace("1s", "2s").replace("max_retries", "jitter: full, max_retries")
    assert made == loads(said)


def test_exclude_drops_what_has_all_its_values_and_include_adds_keys_or_cells_as_github_does() -> None:
    text = """\
matrix:
  pipeline.backoff.jitter: [none, full]
  vars.first: [1s, 2s]
  exclude: [{pipeline.backoff.jitter: none, vars.first: 2s}]
  include:
    - {pipeline.backoff.jitter: full, workers.count: 7}
    - {workers.concurrency: 3}
    - {workers.count: 9, vars.first: 2s}
    - {pipeline.backoff.jitter: equal}
"""
    short = {"pipeline.backoff.jitter": "j", "vars.first": "f", "workers.count": "n", "workers.concurrency": "c"}
    assert [{short[path]: value for path, value in cell.items()} for cell in cells(text)] == [
        {"j": "none", "f": "1s", "c": "3"},
        {"j": "full", "f": "1s", "n": "7", "c": "3"},
        # What an earlier item added, a later one may change; what the lists say, none.
        {"j": "full", "f": "2s", "n": "9", "c": "3"},
        {"j": "equal"},
    ]


def test_the_scenario_itself_is_what_a_run_runs_and_it_says_that_there_is_more() -> None:
    scenario = loads(MINIMAL + POLICY + MATRIX + "seeds: 3\n")
    assert scenario.policy().support(1) == (1.0, 1.0)
    assert scenario.warnings()[0] == (
        "The file has a matrix and 3 seeds for `tem-sim sweep`; this is one run, of the scenario as it stands."
    )
    assert not [warning for cell in plan().cells for warning in cell.scenario.warnings() if "sweep" in warning]


def test_a_scenario_in_python_has_the_cells_that_its_file_has() -> None:
    text = MINIMAL + POLICY + MATRIX.replace("vars.first", "workers.count").replace("[1s, 2s]", "[1, 2]")
    assert [cell.scenario for cell in plan_of(loads(text)).cells] == [cell.scenario for cell in loads_plan(text).cells]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("[1s, 2s]", "[1s, -2s]", "small.yaml:4:49: pipeline.backoff.base: must be > 0"),
        ("[none, full]", "[none, ful]", "small.yaml:6:35: pipeline.backoff.jitter: must be one of none, full"),
        ("[1s, 2s]", "[1s, 2s, 1s]", "small.yaml:7:24: matrix.vars.first[2]: is given twice (got 1s)"),
        ("[1s, 2s]", "1s", "small.yaml:7:15: matrix.vars.first: must be a list of values"),
        ("[1s, 2s]", "[]", "small.yaml:7:15: matrix.vars.first: must have at least one item"),
        ("vars.first", "seed", "small.yaml:7:9: matrix.seed: seed is not varied by a matrix"),
        ("vars.first", "faults[0].for", "small.yaml:7:3: faults[0]: faults is no list"),
        ("vars.first", "pipeline.bakoff", "small.yaml:7:3: pipeline.bakoff: unknown key"),
        (
            "vars.first",
            "pipeline.backoff",
            "small.yaml:7:21: matrix.pipeline.backoff: sets what pipeline.backoff.jitter",
        ),
        (
            "[1s, 2s]",
            "[1s, 2s]\n  exclude: [{vars.first: 9s}]",
            "small.yaml:8:26: matrix.exclude[0].vars.first: must be one",
        ),
        (
            "[1s, 2s]",
            "[1s, 2s]\n  exclude: [{vars.frist: 1s}]",
            "small.yaml:8:26: matrix.exclude[0].vars.frist: must be a path",
        ),
        (
            "[1s, 2s]",
            "[1s, 2s]\n  exclude: [{vars.first: 1s}, {vars.first: 2s}]",
            "small.yaml:8:3: matrix.exclude: leaves no",
        ),
        (
            "[1s, 2s]",
            "[1s, 2s]\n  include: [{workers.count: x}]",
            "small.yaml:8:29: workers.count: must be a whole number",
        ),
        ("[1s, 2s]", "[1s, 2s]\n  include: {workers.count: 1}", "small.yaml:8:12: matrix.include: must be a list"),
    ],
)
def test_a_matrix_that_makes_no_sense_is_told_in_its_place(old: str, new: str, line: str) -> None:
    headlines = complaints(MATRIX.replace(old, new))
    assert any(headline.startswith(line) for headline in headlines), headlines


def test_what_does_not_fit_in_many_cells_is_told_once_with_one_of_them() -> None:
    with pytest.raises(ScenarioError) as caught:
        plan(MATRIX.replace("[1s, 2s]", "[1s, -2s]"))
    assert [problem.hint for problem in caught.value.problems] == [
        "(in the cell pipeline.backoff.jitter: none, vars.first: -2s)"
    ]


def test_too_many_cells_are_refused_before_one_is_made() -> None:
    values = ", ".join(map(str, range(1, 101)))
    text = f"matrix: {{workers.count: [{values}], users.count: [{values}], workers.prefetch: [1, 2]}}\n"
    assert complaints(text)[0].startswith("small.yaml:5:9: matrix: must have at most 10000 cells, got 20000")


# --- settings


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1s,2s", ["1s", "2s"]),
        ("1s", ["1s"]),
        ("{a: 1, b: 2},{a: 3}", ["{a: 1, b: 2}", "{a: 3}"]),
        ("[1, 2], [3]", ["[1, 2]", " [3]"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ('{a: "}"},b', ['{a: "}"}', "b"]),
        ("it's,fine", ["it's", "fine"]),
        ("1s,", ["1s", ""]),
    ],
)
def test_commas_part_values_but_not_within_them(text: str, values: list[str]) -> None:
    assert values_in(text) == values


def test_several_values_are_an_axis_and_the_end_of_a_path_is_enough() -> None:
    found = cells("", "backoff.base=1s,2s,5s")
    assert found == [{"pipeline.backoff.base": value} for value in ("1s", "2s", "5s")]


def test_a_setting_replaces_the_axis_that_it_names() -> None:
    assert cells(MATRIX, "pipeline.backoff.jitter=equal", "vars.first=3s,4s") == [
        {"pipeline.backoff.jitter": "equal", "vars.first": value} for value in ("3s", "4s")
    ]


def test_a_setting_for_all_cells_is_on_top_of_what_the_matrix_sets() -> None:
    text = "vars: {}\nmatrix:\n  pipeline.backoff: [{preset: sidekiq}, {preset: aws-full}]\n"
    made = loads_plan(MINIMAL + text, ["pipeline.backoff.max_retries=2"])
    assert [cell.scenario.policy().max_retries for cell in made.cells] == [2, 2]


@pytest.mark.parametrize(
    ("setting", "rest"),
    [
        (
            "pipeline.backoff={preset: sidekiq}",
            "pipeline.backoff: sets what the matrix varies, pipeline.backoff.jitter",
        ),
        ("workers.count=1,x", "workers.count: must be a whole number"),
        ("workers.count=1,,2", "workers.count: is empty"),
        ("latency=1s,2s", "latency: unknown key"),
        ("seeds=0", "seeds: must be a whole number"),
    ],
)
def test_a_setting_that_does_not_fit_is_told_as_it_was_given(setting: str, rest: str) -> None:
    headlines = complaints(MATRIX, setting)
    assert any(line.startswith(f"--set {setting}: {rest}") for line in headlines), headlines
