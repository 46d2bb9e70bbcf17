"""A matrix of settings, as GitHub's workflows have it: lists of values by path, what to leave out and what to add."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated

from pydantic import BeforeValidator, JsonValue

from tem_sim.scenario.base import Broken, broken_rules
from tem_sim.scenario.errors import did_you_mean
from tem_sim.scenario.quantities import Some, refused
from tem_sim.scenario.tree import Entry, Items, Step, Table, plain, steps_of, written

MAX_CELLS = 10_000
INCLUDE, EXCLUDE = "include", "exclude"
# What each run has of its own, and what the file is made of.
NOT_VARIED = {
    "seed": "seeds has a list of them",
    "seeds": "it holds for all cells",
    "matrix": "a matrix has no other in it",
    "extends": "write one file for each base",
}

# What a cell of the matrix sets: by path, the place of the key and the value.
Combination = dict[str, Entry]


# --- the section of a scenario


def _in_shape(value: object) -> object:
    """Refuse what is no matrix, whatever its values mean: those are tried out when the cells are made."""
    if not isinstance(value, dict):
        return value
    if not value:
        raise refused("must have at least one path", "write for example pipeline.backoff.base: [1s, 2s]")
    broken = [*_bad_axes(value), *_bad_rules(value)]
    if broken:
        raise broken_rules("matrix", broken)
    cells = math.prod(len(values) for values in axes_of(value).values())
    if cells > MAX_CELLS:
        raise refused(f"must have at most {MAX_CELLS} cells, got {cells}", "list fewer values")
    return value


Matrix = Annotated[dict[str, Some[JsonValue]], BeforeValidator(_in_shape)]


def axes_of(matrix: Mapping[str, object]) -> dict[str, list[object]]:
    """Return the lists of values by path, without the rules."""
    return {
        path: list(values)
        for path, values in matrix.items()
        if path not in (INCLUDE, EXCLUDE) and isinstance(values, (list, tuple))
    }


def _bad_axes(matrix: Mapping[str, object]) -> Iterator[Broken]:
    seen: dict[tuple[Step, ...], str] = {}
    for path, values in matrix.items():
        if path in (INCLUDE, EXCLUDE):
            continue
        yield from _bad_path((path,), path)
        if not isinstance(values, (list, tuple)):
            yield Broken((path,), "must be a list of values; write for example [1s, 2s]", values)
        else:
            twice = [index for index, value in enumerate(values) if value in values[:index]]
            yield from (Broken((path, index), "is given twice", values[index]) for index in twice)
        steps = steps_of(path) or ()
        for other, name in seen.items():
            if steps[: len(other)] == other or other[: len(steps)] == steps:
                yield Broken((path,), f"sets what {name} sets; each cell must set it once", None)
        seen[steps or (path,)] = path


def _bad_path(loc: tuple[str | int, ...], path: str) -> Iterator[Broken]:
    steps = steps_of(path)
    if steps is None:
        yield Broken(loc, "must be the path of a setting, such as pipeline.backoff.base or faults[0].for", None)
    elif steps[0] in NOT_VARIED:
        yield Broken(loc, f"{steps[0]} is not varied by a matrix: {NOT_VARIED[str(steps[0])]}", None)


def _bad_rules(matrix: Mapping[str, object]) -> Iterator[Broken]:
    # A list that is none is told as that.
    axes = {path: None for path in matrix if path not in (INCLUDE, EXCLUDE)} | axes_of(matrix)
    for name in (INCLUDE, EXCLUDE):
        rules = matrix.get(name, ())
        if not isinstance(rules, (list, tuple)):
            yield Broken((name,), "must be a list of mappings from paths to values", rules)
            continue
        for index, rule in enumerate(rules):
            if not isinstance(rule, dict) or not rule:
                yield Broken((name, index), "must be a mapping from paths to values", rule)
            elif name == INCLUDE:
                yield from (broken for path in rule for broken in _bad_path((name, index, path), path))
            else:
                yield from _bad_exclude(index, rule, axes)


def _bad_exclude(index: int, rule: Mapping[str, object], axes: Mapping[str, list[object] | None]) -> Iterator[Broken]:
    """Refuse rules that can leave nothing out: each is a slip."""
    for path, value in rule.items():
        loc = (EXCLUDE, index, path)
        if path not in axes:
            yield Broken(loc, f"must be a path of the matrix: {', '.join(axes)}", None, did_you_mean(path, axes))
        elif (values := axes[path]) is not None and value not in values:
            known = ", ".join(str(one) for one in values)
            yield Broken(loc, f"must be one of the values above: {known}", value)


# --- from a matrix to its cells


def combinations(matrix: Table) -> list[Combination]:
    """Return what each cell sets, the first path varying slowest; the rules are applied as GitHub applies them.

    An `exclude` drops every combination that has all its values. Then each `include` is added to all combinations
    whose listed values it leaves as they are, or becomes a cell of its own when there is none.
    """
    axes = {
        path: [Entry(entry.key, item) for item in entry.tree.items]
        for path, entry in matrix.entries.items()
        if path not in (INCLUDE, EXCLUDE) and isinstance(entry.tree, Items)
    }
    found = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())] if axes else []
    for rule in _rules(matrix, EXCLUDE):
        found = [cell for cell in found if not _agrees(rule, cell, rule)]
    added: list[Combination] = []
    for rule in _rules(matrix, INCLUDE):
        listed = [path for path in rule if path in axes]
        hit = [cell for cell in found if _agrees(rule, cell, listed)]
        for cell in hit:
            cell.update({path: entry for path, entry in rule.items() if path not in axes})
        if not hit:
            added.append(dict(rule))
    return [*found, *added]


def _rules(matrix: Table, name: str) -> Iterator[Combination]:
    entry = matrix.entries.get(name)
    for rule in entry.tree.items if entry is not None and isinstance(entry.tree, Items) else ():
        if isinstance(rule, Table):
            yield dict(rule.entries)


def _agrees(rule: Combination, cell: Combination, paths: list[str] | Combination) -> bool:
    return all(path in cell and plain(rule[path].tree) == plain(cell[path].tree) for path in paths)


def whole_path(path: str) -> str:
    """Return a path as it is always written: `faults[0].for` for `faults.0.for`."""
    return written(steps_of(path) or (path,))
