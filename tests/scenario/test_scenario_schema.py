"""The JSON Schema: true to the loader on every valid file, and sharp enough to help in an editor."""

import json
from functools import cache
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML
from scenario_text import MINIMAL

from tem_sim.scenario.example import EXAMPLE
from tem_sim.scenario.loader import load
from tem_sim.scenario.schema import json_schema

HERE = Path(__file__).parent
FILES = [*sorted((HERE.parent.parent / "scenarios").glob("*.yaml")), HERE / "valid.yaml"]


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(json_schema())


def complaints(text: str) -> list[str]:
    return [error.message for error in validator().iter_errors(YAML(typ="safe", pure=True).load(text))]


def test_the_schema_is_a_valid_schema_and_plain_json() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert json.loads(json.dumps(json_schema())) == json_schema()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_scenario_fulfils_it_as_written_and_as_resolved(path: Path) -> None:
    assert complaints(path.read_text()) == []
    assert complaints(json.dumps(load(path).resolved())) == []


def test_the_example_fulfils_it() -> None:
    assert complaints(EXAMPLE) == []


@pytest.mark.parametrize(
    "section",
    [
        "pipeline: {backoff: {base: 2s}}",
        "pipeline: {backoff: {preset: rq, max_retries: off, budget: 3h}}",
        "pipeline: {lease: ${l}, outbox: ${o}}".replace("${l}", '"${l}"').replace("${o}", '"${o}"'),
        'faults: [{kind: outage, at: "${a}", for: 2}]',
        "handler: {service_time: 20ms}",
    ],
)
def test_shorthands_and_variables_are_allowed(section: str) -> None:
    assert complaints(MINIMAL + section) == []


@pytest.mark.parametrize(
    "section",
    [
        "horizn: 3",
        "horizon: ten",
        "horizon: -3",
        "seed: 1.5",
        "pipeline: {lease: never}",
        "pipeline: {backoff: {preset: sidekik}}",
        "pipeline: {backoff: {growth: fixed, factor: 2}}",
        "faults: [{kind: outage, at: 3}]",
        "faults: [{at: 3, for: 3}]",
        "faults: [{kind: worker_death, target: worker-1, edge: before_lunch}]",
        "events: {kinds: {a: 0}}",
    ],
)
def test_what_the_loader_refuses_by_itself_the_schema_refuses_too(section: str) -> None:
    assert complaints(MINIMAL + section) != []


def test_a_file_with_a_base_may_leave_out_what_the_base_has() -> None:
    assert complaints("extends: base.yaml\nhorizon: 3s\n") == []
    assert complaints("horizon: 3s\n") != []


def test_every_setting_is_described() -> None:
    definitions = {"Scenario": json_schema(), **json_schema()["$defs"]}  # type: ignore[dict-item]
    silent = [
        f"{name}.{key}"
        for name, definition in definitions.items()
        for key, prop in definition.get("properties", {}).items()  # type: ignore[union-attr]
        if "description" not in prop and "const" not in prop
    ]
    assert silent == []
