"""The parts of the pages that are read off the code: the keys of a scenario, and the scenarios that are shipped."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from doc_pages import ROOT
from pydantic.fields import FieldInfo

from tem_sim.foreign.imports import IMPORT_PATTERN
from tem_sim.live.faults.registry import LIVE, Inflicted
from tem_sim.races.judge import INVARIANTS
from tem_sim.races.pairs import RACES
from tem_sim.scenario import arrivals, distributions, handler, mitigations, models, policy, schedules, seeds, store
from tem_sim.scenario.base import SELECTORS, Model
from tem_sim.scenario.faults.kinds import KINDS as FAULTS
from tem_sim.scenario.loader import load
from tem_sim.scenario.quantities import (
    DURATION_PATTERN,
    POSITIVE_DURATION_PATTERN,
    POSITIVE_RATE_PATTERN,
    PPM_PATTERN,
    RATE_PATTERN,
    SIGNED_PATTERN,
)
from tem_sim.scenario.replay import Replay
from tem_sim.scenario.schema import json_schema
from tem_sim.scenario.thresholds import KINDS

Schema = dict[str, Any]

_SCHEMA: Schema = json_schema()
_DEFS: Schema = _SCHEMA["$defs"]
_PATTERNS = {
    DURATION_PATTERN: "duration",
    POSITIVE_DURATION_PATTERN: "duration > 0",
    SIGNED_PATTERN: "signed duration",
    RATE_PATTERN: "rate",
    POSITIVE_RATE_PATTERN: "rate > 0",
    PPM_PATTERN: "drift",
    IMPORT_PATTERN: "module:name",
}
_PLAIN = {"boolean": "`true` or `false`", "string": "text", "integer": "whole number", "number": "number"}
_UNIONS = {
    "Burst": "[arrivals](#arrivals)",
    "Outage": "[faults](faults.md)",
    "FixedBackoff": "[backoff](#pipelinebackoff)",
    "NoJitter": "[jitter](#jitter)",
    "Constant": "[distribution](#distributions)",
    "RandomSchedule": "[schedule](#storeschedule)",
}
_SAID_SHORT = ("NoJitter", "Constant")
_LINKS = {
    "HandlerModel": "[handler](#handler)",
    "KindModel": "[how that kind differs](#handlerkinds)",
    "Capacity": "[capacity](#handlercapacity)",
    "Phase": "[phases](#phases)",
    "JsonValue": "any value",
    "RetryBudget": "[retry budget](#pipelineretry_budget)",
    "Shedding": "[shedding](#pipelineshedding)",
    "Breaker": "[breaker](#pipelinebreaker)",
    "Pool": "[connections](#storepool)",
    "NodeLatencies": "[latencies](#storenodes)",
    "SeedsUntil": "[as many as it takes](#seeds)",
}
# On which page the faults of a family's file are told of.
FAULT_PAGES = {
    "broker": "faults_broker.md",
    "wakeups": "faults_broker.md",
    "consumers": "faults_broker.md",
    "process": "faults_nodes.md",
    "code": "faults_nodes.md",
    "scheduler": "faults_nodes.md",
    "clock": "faults_nodes.md",
    "database": "faults_database.md",
    "gateway": "faults_delivery.md",
    "delivery": "faults_delivery.md",
    "downstream": "faults_workload.md",
    "workload": "faults_workload.md",
    "composite": "faults_workload.md",
}
# A longer list of names is not spelt out in a cell.
MOST_NAMES = 8

_JITTERS = (
    policy.NoJitter,
    policy.FullJitter,
    policy.EqualJitter,
    policy.AdditiveJitter,
    policy.ProportionalJitter,
    policy.DecorrelatedJitter,
)
_OWN_LIMITS = (policy.PresetBackoff, policy.ImportedBackoff)
_GROWTHS = (
    policy.FixedBackoff,
    policy.LinearBackoff,
    policy.ExponentialBackoff,
    policy.PolynomialBackoff,
    policy.FibonacciBackoff,
    policy.ExplicitBackoff,
)
_ARRIVALS = (
    arrivals.Burst,
    arrivals.ConstantRate,
    arrivals.Poisson,
    arrivals.Ramp,
    arrivals.Phases,
    Replay,
)
_DISTRIBUTIONS = (
    distributions.Constant,
    distributions.Uniform,
    distributions.Exponential,
    distributions.Lognormal,
    distributions.Pareto,
    distributions.Empirical,
)
_SCHEDULES = (
    schedules.RandomSchedule,
    schedules.WalkSchedule,
    schedules.PctSchedule,
    schedules.BoundedSchedule,
    schedules.ReplaySchedule,
)
_SECTIONS: dict[str, type[Model]] = {
    "scenario": models.Scenario,
    "phase": arrivals.Phase,
    "events": models.Events,
    "api": models.Api,
    "pipeline": models.Pipeline,
    "preset": policy.PresetBackoff,
    "import": policy.ImportedBackoff,
    "retry budget": mitigations.RetryBudget,
    "shedding": mitigations.Shedding,
    "breaker": mitigations.Breaker,
    "workers": models.Workers,
    "beat": models.Beat,
    "broker": models.Broker,
    "store": store.Store,
    "pool": store.Pool,
    "store nodes": store.NodeLatencies,
    "handler": handler.HandlerModel,
    "handler kinds": handler.KindModel,
    "capacity": handler.Capacity,
    "users": models.Users,
    "expect": models.Expect,
    "seeds until": seeds.SeedsUntil,
}


@cache
def parts() -> dict[str, str]:
    """Return every generated part by name, as Markdown."""
    found = {name: table(rows(model)) for name, model in _SECTIONS.items()}
    found["arrivals"] = table(union_rows(_ARRIVALS))
    found["growths"] = table(union_rows(_GROWTHS, shared=policy.Growing))
    found["limits"] = table(rows(policy.FixedBackoff, only=policy.Growing))
    found["schedules"] = table(union_rows(_SCHEDULES))
    found["jitters"] = table(union_rows(_JITTERS))
    found["distributions"] = table(union_rows(_DISTRIBUTIONS))
    found["thresholds"] = threshold_kinds()
    found["shipped"] = shipped_scenarios()
    found["faults"] = fault_index()
    found["live faults"] = live_faults()
    found["races"] = two_columns("race", "what happens at once", {name: race.about for name, race in RACES.items()})
    found["invariants of races"] = two_columns("invariant", "broken when", INVARIANTS)
    for fault in fault_models():
        found[f"fault {kind_of(fault)}"] = table(rows(fault)).replace("](#", "](scenarios.md#")
    return found


def two_columns(first: str, second: str, cells: Mapping[str, str]) -> str:
    """Return a table of names and what is to be said of each."""
    lines = [f"| `{name}` | {about} |" for name, about in cells.items()]
    return "\n".join(["", f"| {first} | {second} |", "|---|---|", *lines, "", ""])


def threshold_kinds() -> str:
    """Return a table of what may be asked of which metric."""
    lines = ["", "| metrics | of the kind | aggregates |", "|---|---|---|"]
    for kind in dict.fromkeys(kind.name for kind in KINDS.values()):
        alike = {name: found for name, found in KINDS.items() if found.name == kind}
        aggregates = next(iter(alike.values())).aggregates
        asked = ", ".join("`p(N)`" if aggregate == "p" else f"`{aggregate}`" for aggregate in aggregates)
        lines.append(f"| {', '.join(f'`{name}`' for name in alike)} | {kind} | {asked} |")
    return "\n".join([*lines, "", ""])


def fault_index() -> str:
    """Return a table of all kinds of fault, page by page, each with what it is and a link to where it is told of."""
    models_ = sorted(fault_models(), key=fault_page)
    rows_ = (f"| [{kind_of(model)}]({fault_page(model)}#{kind_of(model)}) | {_about(model)} |" for model in models_)
    return "\n".join(["", "| kind | what it is |", "|---|---|", *rows_, "", ""])


def live_faults() -> str:
    """Return a table of all kinds of fault: how each is inflicted for real, or why it cannot be."""
    lines = ["", "| kind | live | how, or why not |", "|---|---|---|"]
    for model in sorted(fault_models(), key=fault_page):
        kind = kind_of(model)
        how, link = LIVE[kind], f"[{kind}]({fault_page(model)}#{kind})"
        if isinstance(how, Inflicted):
            lines.append(f"| {link} | yes | {how.how} |")
        else:
            near = f" What comes near: {how.instead}." if how.instead else ""
            lines.append(f"| {link} | no | {how.why}{near} |")
    return "\n".join([*lines, "", ""])


def fault_page(model: type[Model]) -> str:
    """Return the page on which a fault is told of."""
    return FAULT_PAGES[model.__module__.rpartition(".")[2]]


def _about(model: type[Model]) -> str:
    """Return what a model's docstring says, in one line."""
    return " ".join((model.__doc__ or "").split())


def fault_models() -> tuple[type[Model], ...]:
    """Return the models of all faults."""
    return tuple(FAULTS.values())


def kind_of(model: type[Model]) -> str:
    """Return the value of the key that selects this model among its like."""
    fields = model.model_fields
    return str(next(fields[name].default for name in SELECTORS if name in fields))


def table(lines: Iterable[str]) -> str:
    """Return a table of keys."""
    return "\n".join(["", "| key | type | default | meaning |", "|---|---|---|---|", *lines, "", ""])


def rows(model: type[Model], *, only: type[Model] | None = None, leave_out: type[Model] | None = None) -> Iterator[str]:
    """Yield a row per key of a model, but for the one that selects it."""
    schema = _SCHEMA if model is models.Scenario else _DEFS[model.__name__]
    for name, field in model.model_fields.items():
        selects = name in ("kind", "growth", "strategy")
        if selects or (only and name not in only.model_fields) or (leave_out and name in leave_out.model_fields):
            continue
        key = field.alias or name
        type_ = type_text(schema["properties"][key])
        yield f"| `{key}` | {type_} | {default_text(model, field, type_)} | {field.description} |"


def union_rows(members: Iterable[type[Model]], shared: type[Model] | None = None) -> Iterator[str]:
    """Yield for each member of a union a row that names it, and its keys; less those that all of them share."""
    for member in members:
        selector = next(name for name in SELECTORS if name in member.model_fields)
        yield f"| **`{selector}: {kind_of(member)}`** | | | {_about(member)} |"
        yield from rows(member, leave_out=shared)


def type_text(schema: Schema) -> str:
    """Return a property's type in words."""
    return " or ".join(dict.fromkeys(word for word in _words(schema) if word))


def _words(schema: Schema) -> Iterator[str]:
    if "$ref" in schema:
        yield _referred(schema["$ref"].rpartition("/")[2])
    elif "anyOf" in schema:
        yield from _choices(schema["anyOf"])
    elif "oneOf" in schema:
        yield _UNIONS[_first(schema)]
    elif "enum" in schema:
        yield "a name" if len(schema["enum"]) > MOST_NAMES else " \\| ".join(f"`{value}`" for value in schema["enum"])
    elif "const" in schema:
        yield f"`{schema['const']}`"
    elif schema["type"] == "array":
        yield f"list of {type_text(schema['items'])}"
    elif schema["type"] == "object":
        yield f"names to {type_text(schema['additionalProperties'])}"
    else:
        yield _plain(schema)


def _choices(choices: list[Schema]) -> Iterator[str]:
    """Yield the words of each choice; a quantity with a unit may also be a bare number, which goes without saying."""
    for choice in choices:
        if choice.get("pattern") in _PATTERNS:
            yield _PATTERNS[choice["pattern"]]
        elif choice.get("type") == "number" and any("pattern" in other for other in choices):
            continue
        elif "oneOf" in choice and _first(choice) in _SAID_SHORT:
            # The names or the duration that stand for one of these are told of where it is.
            yield _UNIONS[_first(choice)]
            yield from (f"`{other['const']}`" for other in choices if "const" in other)
            return
        else:
            yield from _words(choice)


def _first(schema: Schema) -> str:
    return str(schema["oneOf"][0]["$ref"].rpartition("/")[2])


def _referred(name: str) -> str:
    if name == "Variable":
        return ""
    if "enum" in _DEFS[name]:
        return type_text({"enum": _DEFS[name]["enum"]})
    return _LINKS.get(name, f"[{name.lower()}](#{name.lower()})")


def _plain(schema: Schema) -> str:
    if (schema["type"], schema.get("minimum"), schema.get("maximum")) == ("number", 0, 1):
        return "fraction"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
    said = [f"{sign} {schema[key]:,}" for key, sign in bounds.items() if key in schema]
    return f"{_PLAIN[schema['type']]} {', '.join(said)}".strip()


def default_text(model: type[Model], field: FieldInfo, type_: str) -> str:
    """Return a default as a scenario would write it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        # Of a preset's limits None is not `off`: it leaves them to the preset, or to the user's own policy.
        return "`off`" if "`off`" in type_ and model not in _OWN_LIMITS else "–"
    if isinstance(value, Model):
        if isinstance(value, _JITTERS):
            return f"`{value.kind}`"
        return f"`{flow(value.resolved())}`" if isinstance(value, _DISTRIBUTIONS) else "as below"
    if isinstance(value, float) and "duration" in type_:
        return f"`{duration_text(value)}`"
    if isinstance(value, (tuple, dict)):
        return f"`{flow(value)}`" if value else "none"
    return f"`{flow(value)}`" if value != "" else "none"


def flow(value: object) -> str:
    """Return a plain value in YAML's flow style; the numbers of a distribution are durations."""
    if isinstance(value, dict):
        if value.get("kind") == "constant":
            return duration_text(value["value"])
        return "{" + ", ".join(f"{key}: {flow_of(key, item)}" for key, item in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def flow_of(key: str, value: object) -> str:
    """Return an entry's value; a mean is a duration."""
    return duration_text(value) if key == "mean" and isinstance(value, float) else flow(value)


def duration_text(seconds: float) -> str:
    """Return a duration as people write it: `1h`, `100s`, `200ms`."""
    if seconds >= 3600 and seconds % 3600 == 0:
        return f"{seconds / 3600:g}h"
    if seconds >= 120 and seconds % 60 == 0:
        return f"{seconds / 60:g}m"
    return f"{seconds:g}s" if seconds >= 1 or not seconds else f"{seconds * 1e3:g}ms"


def shipped_scenarios() -> str:
    """Return a table of the files in scenarios/: what each shows, and the switch that its comment suggests."""
    lines = ["", "| scenario | what it shows | try |", "|---|---|---|"]
    for file in sorted((ROOT / "scenarios").glob("*.yaml")):
        about = load(file).about
        lines.append(f"| [{file.stem}](../scenarios/{file.name}) | {about} | {_suggestion(file.read_text())} |")
    return "\n".join([*lines, "", ""])


def _suggestion(text: str) -> str:
    """Return what the head of a scenario file says after `Try:`, its options as code."""
    head = " ".join(line[1:].strip() for line in text.splitlines() if line.startswith("#"))
    _, found, rest = head.partition("Try:")
    return re.sub(r"(--set \S+(?: --set \S+)*)\s*", r"`\1` ", rest.strip()) if found else ""
