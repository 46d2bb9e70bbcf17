"""Whatever is done to a scenario file, the answer is a scenario or a list of mistakes with their places."""

import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.loader import loads, loads_plan
from tem_sim.scenario.models import Scenario
from tem_sim.testing.scenarios import scenario_sections, text_of

TEXT = (Path(__file__).parent / "valid.yaml").read_text()
TOKENS = re.findall(r"\s+|[\w./$-]+|.", TEXT)
STRANGE = [
    *("", "null", "~", "true", "off", "-1", "0", "1e999", ".nan", ".inf", "''", "[]", "{}", "[{}]", "-5s", "10s", "x"),
    *("&a", "*a", "<<", "!!set", "|", ">", "?", "- ", ": ", "\t", "\n", "{", "}", "[", "]", '"', "'", "#", "%", "@"),
    *("\x00", "\u2028", "é", "${base}", "${nope}", "extends", "vars", "kind", "9" * 5000, "---", "2024-01-01", "0x1F"),
]
VALUES = [
    *(None, True, 0, -1, 1, 1.5, 1e300, -0.0, 10**400, "", "x", "off", "10s", "-5s", "5/s", "50ppm", "a b", "a:b"),
    *("os:getcwd", "tem_sim:load", "../..", "\x00", "\u2028", "worker-1", "*", "max<3", "p(95)<9s", "${x}"),
    *(
        [],
        {},
        [[]],
        [{}],
        [None],
        {"": 1},
        {"kind": "outage"},
        {"kind": []},
        {"import": "json:dumps"},
        {"a": {"b": {}}},
    ),
]


def check(error: ScenarioError) -> None:
    """Every problem has a place in the file and can be shown."""
    assert error.problems
    for problem in error.problems:
        assert re.match(r"mutant\.yaml:[1-9]\d*:[1-9]\d*: ", problem.headline), problem.headline
        assert str(problem).encode()


def outcome(text: str) -> object:
    """Load a text; check that what comes out is one of the two things that may, and return it."""
    try:
        scenario = loads(text, file="mutant.yaml")
    except ScenarioError as error:
        check(error)
        return error
    assert isinstance(scenario, Scenario)
    scenario.settings()
    assert loads_again(scenario) == scenario
    try:
        loads_plan(text, file="mutant.yaml")
    except ScenarioError as error:
        check(error)
    return scenario


def loads_again(scenario: Scenario) -> Scenario:
    return Scenario.model_validate(scenario.resolved())


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """The valid file with a few of its tokens dropped, doubled, swapped or replaced."""
    tokens = list(TOKENS)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(tokens) - 1))
        action = draw(st.sampled_from(["drop", "double", "replace", "swap", "move"]))
        if action == "drop":
            tokens[place] = ""
        elif action == "double":
            tokens.insert(place, tokens[place])
        elif action == "replace":
            tokens[place] = draw(st.sampled_from(STRANGE))
        elif action == "swap":
            other = draw(st.integers(0, len(tokens) - 1))
            tokens[place], tokens[other] = tokens[other], tokens[place]
        else:
            tokens.insert(draw(st.integers(0, len(tokens) - 1)), tokens.pop(place))
    return "".join(tokens)


@st.composite
def mutated_sections(draw: st.DrawFn) -> str:
    """A generated scenario in which some values are replaced, and some keys dropped or renamed, wherever they stand."""
    data = draw(scenario_sections())
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(list(_places(data)) or [(data, "scenario")]))
        action = draw(st.sampled_from(["replace", "replace", "drop", "rename"]))
        if action == "replace":
            holder[key] = draw(st.sampled_from(VALUES))
        elif action == "drop" or not isinstance(key, str):
            del holder[key]
        else:
            holder[key + "s"] = holder.pop(key)
    return text_of(data)


def _places(value: object) -> Iterator[tuple[Any, Any]]:
    """Yield each mapping or list with each of its keys or indices."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


@settings(max_examples=150, deadline=None)
@given(mutants())
def test_a_mutated_file_is_a_scenario_or_an_error_with_places(text: str) -> None:
    outcome(text)


@settings(max_examples=60, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(mutated_sections())
def test_a_generated_scenario_with_any_value_in_any_place_is_a_scenario_or_an_error_with_places(text: str) -> None:
    outcome(text)


@pytest.mark.slow
def test_ten_thousand_mutants_are_scenarios_or_errors_with_places() -> None:
    """Half of them of the file that has something of everything, half of generated ones."""
    told: Counter[str] = Counter()
    many = settings(
        max_examples=5000,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    for texts in (mutants(), mutated_sections()):
        many(given(texts)(lambda text: told.update([type(outcome(text)).__name__])))()
    assert sum(told.values()) >= 10_000
    assert set(told) == {"Scenario", "ScenarioError"}
    assert min(told.values()) > 500


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_scenario_or_an_error_with_places(text: str) -> None:
    outcome(text)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@#?, \n\t${}", max_size=40))
def test_any_heap_of_yaml_punctuation_is_an_error_with_places(text: str) -> None:
    outcome(text)


def test_every_value_replaced_by_every_kind_of_thing_is_a_scenario_or_an_error() -> None:
    rng = random.Random(1)
    values = [match.span() for match in re.finditer(r"(?<=: )[^\s{}\[\],]+", TEXT)]
    for start, end in values:
        for strange in rng.sample(
            ["[]", "{}", "-1", "text", "true", "''", "1.5", ".nan", "[{a: 1}]", "null", "off"], 3
        ):
            outcome(TEXT[:start] + strange + TEXT[end:])


def test_every_key_renamed_is_an_unknown_key_or_a_missing_one() -> None:
    for match in re.finditer(r"(\w+):(?= )", TEXT[TEXT.index("arrivals") :]):
        start = match.start() + TEXT.index("arrivals")
        text = TEXT[:start] + "zz" + TEXT[start:]
        if "kinds:" in TEXT[start - 12 : start]:
            continue
        assert isinstance(outcome(text), ScenarioError), match.group(0)
