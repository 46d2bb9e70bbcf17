"""From a tree to a scenario, or to every mistake in it: pydantic's errors put back where they were written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from tem_sim.scenario import rules
from tem_sim.scenario.arrivals import Arrival
from tem_sim.scenario.base import Broken
from tem_sim.scenario.errors import Problem, ScenarioError, Spot, did_you_mean
from tem_sim.scenario.faults.kinds import Fault
from tem_sim.scenario.models import Events, Scenario, Workers
from tem_sim.scenario.quantities import Duration, PositiveDuration
from tem_sim.scenario.store import Store
from tem_sim.scenario.tree import Items, Leaf, Step, Table, Tree, plain, written
from tem_sim.scenario.vocabulary import known_keys, known_kinds

T = TypeVar("T")

_QUOTED = re.compile(r"'([^']*)'")


class _Where(NamedTuple):
    """What an error's location means in the tree: a path as written, and the places of the key and the value."""

    path: str
    key: Spot | None
    tree: Tree
    found: bool


def checked(tree: Table, folder: Path, problems: list[Problem]) -> Scenario:
    """Return the scenario that the tree describes; ScenarioError with all problems, those given included.

    `folder` is where the files that the scenario names are looked for.
    """
    data = plain(tree)
    assert isinstance(data, dict)
    try:
        scenario = _validated(data, folder)
    except ValidationError as error:
        known = {problem.path for problem in problems}
        broken = _rules_of_parts(data, folder)
        found = [_problem(tree, details) for details in error.errors(include_url=False)]
        paths = {problem.path for problem in found}
        found += [problem for rule in broken if (problem := _rule_problem(tree, rule)).path not in paths]
        problems = [*problems, *_distinct(problem for problem in found if not _told(problem.path, known))]
        raise ScenarioError(_in_order(problems)) from None
    if problems:
        raise ScenarioError(_in_order(problems))
    return scenario


def _validated(data: dict[str, JsonValue], folder: Path) -> Scenario:
    # A file has one spelling for each key, the short one; the attribute names are Python's.
    return Scenario.model_validate(data, by_alias=True, by_name=False, context={"folder": folder})


def _told(path: str, known: set[str]) -> bool:
    """Whether something is said already about this value or what holds it."""
    return any(path == other or path.startswith((f"{other}.", f"{other}[")) for other in known if other)


def _distinct(problems: Iterable[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))


def _in_order(problems: list[Problem]) -> list[Problem]:
    """Sort by place, file by file in the order in which they first appear, and what was set from outside last."""
    files = list(dict.fromkeys(problem.file for problem in problems))
    return sorted(problems, key=lambda p: (p.line is None, files.index(p.file), p.line or 0, p.col or 0))


# --- rules across sections, when some sections are wrong


def _rules_of_parts(data: dict[str, JsonValue], folder: Path) -> list[Broken]:
    handler = data.get("handler")
    special = handler.get("kinds") if isinstance(handler, dict) else None
    workers = _part(TypeAdapter(Workers), data.get("workers", {}), folder)
    events = _part(TypeAdapter(Events), data.get("events", {}), folder)
    store = _part(TypeAdapter(Store), data.get("store", {}), folder)
    arrivals = data.get("arrivals")
    parts = rules.Parts(
        horizon_s=_part(TypeAdapter(PositiveDuration), data.get("horizon", 600), folder),
        heal_at_s=_part(TypeAdapter(PositiveDuration), data.get("heal_at"), folder),
        workers=workers.count if workers else None,
        events_limit=events.limit if events else None,
        kinds=tuple(events.kinds) if events else None,
        special_kinds=tuple(special) if isinstance(special, dict) else (),
        store=store,
        arrivals=_sound(TypeAdapter(Arrival), arrivals if isinstance(arrivals, list) else [arrivals], folder),
        faults=_sound(TypeAdapter(Fault), data.get("faults"), folder),
        starts_s=_starts_s(data.get("faults"), folder),
    )
    return rules.broken(parts)


def _part(adapter: TypeAdapter[T], data: JsonValue, folder: Path) -> T | None:
    try:
        return adapter.validate_python(data, by_alias=True, by_name=False, context={"folder": folder})
    except ValidationError:
        return None


def _sound(adapter: TypeAdapter[T], items: JsonValue, folder: Path) -> tuple[tuple[int, T], ...]:
    """Return the items of a list that are in order, with their indices."""
    found = [_part(adapter, item, folder) for item in items] if isinstance(items, list) else []
    return tuple((index, item) for index, item in enumerate(found) if item is not None)


def _starts_s(faults: JsonValue, folder: Path) -> tuple[tuple[int, str, float], ...]:
    """Return when each fault begins that says so in order, whatever else is wrong with it."""
    found = []
    for index, fault in enumerate(faults if isinstance(faults, list) else []):
        if isinstance(fault, dict):
            # Only a fault with a rate has a window to begin.
            key = "from" if "rate" in fault and "at" not in fault else "at"
            found.append((index, key, _part(TypeAdapter(Duration), fault.get(key), folder)))
    return tuple((index, key, start_s) for index, key, start_s in found if start_s is not None)


# --- one error


def _problem(tree: Table, error: ErrorDetails) -> Problem:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "rule":
        broken = Broken(error["loc"], error["msg"], error["input"], context["hint"], context["place"])
        return _rule_problem(tree, broken)
    where = _locate(tree, error["loc"])
    if kind == "extra_forbidden":
        keys = known_keys(error["loc"])
        hint = did_you_mean(error["loc"][-1], keys) or f"known here are {', '.join(keys)}"
        return Problem(where.key or where.tree.spot, where.path, "unknown key", hint=hint)
    if kind == "missing":
        if isinstance(where.tree, Leaf):
            # A name stands for a mapping here, and the mapping has a key that the name cannot give.
            key, name = error["loc"][-1], where.tree.text
            return _about_value(
                where._replace(path=f"{where.path}.{key}"), f"is required; write {{kind: {name}, {key}: ...}}"
            )
        return Problem(where.tree.spot, where.path, "is required")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _wrong_kind(tree, error)
    if kind in ("literal_error", "enum"):
        known = _QUOTED.findall(str(context["expected"]))
        message = f"must be one of {', '.join(known)}"
        return _about_value(where, message, did_you_mean(error["input"], known))
    return _about_value(where, _MESSAGES.get(kind, error["msg"]))


_MESSAGES = {
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of keys to values",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "string_type": "must be text; put quotes around it",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_too_short": "must not be empty",
}


def _wrong_kind(tree: Table, error: ErrorDetails) -> Problem:
    """Report a union whose selecting key is missing or names nothing; the tag of a backoff is its growth."""
    loc, context = error["loc"], error.get("ctx", {})
    known = [tag.removeprefix("backoff:") for tag in _QUOTED.findall(str(context.get("expected_tags", "")))]
    given = str(context.get("tag", "")).removeprefix("backoff:")
    key = _selector(error)
    holder = _locate(tree, loc)
    if isinstance(holder.tree, (Leaf, Items)) and error["type"] == "union_tag_not_found":
        return _about_value(holder, f"must be a mapping with a {key}")
    if error["type"] == "union_tag_not_found":
        return Problem(holder.tree.spot, f"{holder.path}.{key}", f"is required; one of {', '.join(known_kinds(loc))}")
    where = _locate(tree, (*loc, key)) if isinstance(holder.tree, Table) else holder
    known = [name for name in known if name not in ("preset", "import")]
    return _about_value(
        where, f"must be one of {', '.join(known)}", did_you_mean(given, known) or _ELSEWHERE.get(key, "")
    )


def _selector(error: ErrorDetails) -> str:
    """Return the key by which a union tells its members apart."""
    context = error.get("ctx", {})
    if str(context.get("tag", "")).startswith("backoff:"):
        return "growth"
    named = _QUOTED.findall(str(context.get("discriminator", "")))
    return named[0] if named else "kind"


# Where to find what is not among the members of a union.
_ELSEWHERE = {"strategy": "a run follows one schedule; `tem-sim races` searches them exhaustively"}


def _rule_problem(tree: Table, broken: Broken) -> Problem:
    where = _locate(tree, broken.loc)
    if broken.place is not None:
        file, line, col, source = broken.place
        value = str(broken.value) if broken.value is not None else None
        return Problem(Spot(file, line, col, len(value or "x"), source), where.path, broken.message, value, broken.hint)
    if broken.value is None and not isinstance(where.tree, Leaf):
        return Problem(where.tree.spot, where.path, broken.message, hint=broken.hint)
    return _about_value(where, broken.message, broken.hint)


def _about_value(where: _Where, message: str, hint: str = "") -> Problem:
    return Problem(where.tree.spot, where.path, message, _shown(where.tree) if where.found else None, hint)


def _shown(tree: Tree) -> str | None:
    """Show a value as it was written; of a larger one only what it is."""
    if isinstance(tree, Leaf):
        return tree.text or "''"
    if isinstance(tree, Items):
        return f"a list of {len(tree.items)}"
    return "a mapping"


def _locate(tree: Tree, loc: tuple[Step, ...]) -> _Where:
    """Follow an error's location into the tree, past union tags and what shorthands were spelled out to."""
    key: Spot | None = None
    path: list[Step] = []
    tagged = False
    for step in loc:
        if not tagged and _is_tag(tree, step):
            tagged = True
        elif isinstance(tree, Table) and isinstance(step, str):
            path.append(step)
            if step not in tree.entries:
                return _Where(written(tuple(path)), key, tree, found=False)
            key, tree = tree.entries[step]
            tagged = False
        elif isinstance(tree, Items) and isinstance(step, int) and step < len(tree.items):
            path.append(step)
            key, tree, tagged = None, tree.items[step], False
        elif isinstance(tree, Leaf):
            break
    return _Where(written(tuple(path)), key, tree, found=True)


def _is_tag(tree: Tree, step: Step) -> bool:
    """Whether a step of a location is the name of a union's member rather than a key."""
    if not isinstance(step, str):
        return False
    if step.startswith("backoff:"):
        return True
    entries = [tree.entries.get(key) for key in ("kind", "strategy")] if isinstance(tree, Table) else []
    return any(entry is not None and isinstance(entry.tree, Leaf) and entry.tree.value == step for entry in entries)
