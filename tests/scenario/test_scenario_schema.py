"""The JSON Schema: true to the loader on every valid file, and sharp enough to help in an editor."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML
from scenario_text import MINIMAL

from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.example import EXAMPLE
from tem_sim.scenario.loader import load, loads
from tem_sim.scenario.schema import json_schema

HERE = Path(__file__).parent
KEYWORDS = {
    *("$schema", "$defs", "$ref", "title", "description", "default", "type", "const", "enum", "anyOf", "oneOf"),
    *("properties", "required", "additionalProperties", "items", "minItems", "minLength", "pattern"),
    *("minimum", "maximum", "exclusiveMinimum"),
}
# Keys that are true or false, may be `off`, or have bounds; each within one pair of braces.
TRIED_KEYS = [
    *("pipeline.outbox", "broker.durable", "pipeline.backoff.cap_after_jitter"),
    *("pipeline.lease", "pipeline.sweep_after", "pipeline.requeue_limit", "pipeline.crash_budget"),
    *(
        "pipeline.deadline",
        "pipeline.concurrency_limit",
        "pipeline.breaker",
        "pipeline.retry_budget",
        "beat.retry_floor",
    ),
    *("pipeline.breaker.failure_rate", "pipeline.retry_budget.floor", "pipeline.shedding.retry_after"),
    *("pipeline.backoff.max_retries", "pipeline.backoff.budget", "workers.restart_after", "users.session"),
    *("pipeline.backoff.preset=sidekiq, max_retries", "pipeline.backoff.preset=sidekiq, budget"),
    *("pipeline.backoff.preset=botocore-legacy, cap", "handler.capacity"),
    *("workers.count", "users.count", "seed", "horizon", "broker.loss", "broker.visibility_timeout", "api.retries"),
    *("handler.failure_rate", "pipeline.backoff.factor", "beat.phase", "events.limit"),
    *("arrivals.kind=constant, rate", "arrivals.kind=ramp, to_rate=1, rate"),
]
TRIED_VALUES = [
    *("true", "false", "yes", "no", "on", "off", "Off", '"true"', '"off"', "[]", "x"),
    *("-1", "0", "0.0", "0.5", "1", "1.0", "3", "10000", "10001", "1000000", "1000001", "1e4"),
    *("0s", "0.0s", "-2s", "10s", "0m1s", "1h30m", "0/s", "00.0/m", "20/s", "0.1/s", "0e3/s"),
]
FILES = [*sorted((HERE.parent.parent / "scenarios").glob("*.yaml")), HERE / "valid.yaml"]


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(json_schema())


def complaints(text: str) -> list[str]:
    return [error.message for error in validator().iter_errors(YAML(typ="safe", pure=True).load(text))]


def test_the_schema_is_a_valid_schema_and_plain_json() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert json.loads(json.dumps(json_schema())) == json_schema()


def keywords(schema: object) -> Iterator[str]:
    """Yield every keyword of a schema and of those within it, but not the names that are the user's or the format's."""
    if isinstance(schema, list):
        for part in schema:
            yield from keywords(part)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            yield key
            if key not in ("default", "enum", "const", "required"):
                yield from keywords(list(value.values()) if key in ("properties", "$defs") else value)


def test_it_uses_keywords_of_its_dialect_only() -> None:
    assert set(keywords(json_schema())) <= KEYWORDS


def test_limits_of_a_preset_have_no_default_but_the_presets_own() -> None:
    properties = json_schema()["$defs"]["PresetBackoff"]["properties"]  # type: ignore[index, call-overload]
    assert [key for key, prop in properties.items() if "default" in prop] == []  # type: ignore[union-attr]


def with_value(path: str, value: str) -> str:
    """Return the smallest file in which a key has a value; `a.b=c, d` is d beside b in a."""
    path, *siblings = path.split("=", 1)
    *sections, key = path.split(".")
    inner = f"{key}: {value}"
    if siblings:
        inner = f"{key}: {siblings[0].replace('=', ': ')}: {value}"
    for section in reversed(sections):
        inner = f"{section}: {{{inner}}}"
    return (MINIMAL if sections[:1] != ["arrivals"] else "scenario: small\n") + inner + "\n"


def test_what_is_beside_a_key_and_around_it_is_written_out() -> None:
    assert with_value("arrivals.kind=ramp, to_rate=1, rate", "3").splitlines()[1] == (
        "arrivals: {kind: ramp, to_rate: 1, rate: 3}"
    )


@pytest.mark.parametrize("key", TRIED_KEYS)
def test_switches_nullable_and_bounded_keys_load_just_when_the_schema_allows_them(key: str) -> None:
    differ = {}
    for value in TRIED_VALUES:
        text = with_value(key, value)
        try:
            loads(text)
            loaded = True
        except ScenarioError as error:
            # Rules that tie settings together are not the schema's.
            loaded = any(rule in str(error) for rule in ("first wait", "first delay", "before the horizon", "in all"))
        if loaded == bool(complaints(text)):
            differ[value] = loaded
    assert differ == {}


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
