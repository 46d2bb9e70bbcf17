"""`--set path=value`: one value of a scenario replaced from outside, as if the file had said so."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tem_sim.scenario.errors import Problem, ScenarioError, Spot
from tem_sim.scenario.tree import Entry, Items, Leaf, Step, Table, Tree, written
from tem_sim.scenario.yaml_reader import read_tree

_PATH = re.compile(r"[^.\[\]=\s]+(\[[0-9]+\]|\.[^.\[\]=\s]+)*")
_STEP = re.compile(r"[^.\[\]]+")


class _Misfit(Exception):
    """A path that leads nowhere in the file."""

    def __init__(self, path: tuple[Step, ...], message: str) -> None:
        super().__init__(message)
        self.path, self.message = path, message


def overridden_tree(tree: Table, overrides: Sequence[str], problems: list[Problem]) -> Table:
    """Return the tree with each `path=value` applied in turn; add to `problems` those that make no sense.

    `faults[0].for` and `faults.0.for` are the same path. The value is YAML: a scalar or flow style. Keys that no
    setting has are set all the same, and found when the whole is checked.
    """
    for override in overrides:
        spot = Spot(f"--set {override}")
        try:
            path, value = _parsed(override, spot)
            changed = _placed(tree, path, value, spot, ())
            assert isinstance(changed, Table)
            tree = changed
        except _Misfit as misfit:
            problems.append(Problem(spot, written(misfit.path), misfit.message))
    return tree


def _parsed(override: str, spot: Spot) -> tuple[tuple[Step, ...], Tree]:
    text, equals, value = override.partition("=")
    if not equals or not _PATH.fullmatch(text.strip()):
        raise _Misfit((), "must be path=value, such as pipeline.backoff.base=1s or faults[0].for=30s")
    path = tuple(int(step) if step.isdecimal() else step for step in _STEP.findall(text.strip()))
    found: list[Problem] = []
    try:
        tree = read_tree(value, spot.file, found)
    except ScenarioError as error:
        found = list(error.problems)
        tree = None
    if found:
        raise _Misfit(path, f"the value is {found[0].message}")
    if tree is None:
        raise _Misfit(path, "is empty; give it a value")
    return path, _moved(tree, spot)


def _moved(tree: Tree, spot: Spot) -> Tree:
    """Return the value with the option itself as its place: lines and columns inside it mean nothing."""
    if isinstance(tree, Leaf):
        return Leaf(tree.value, tree.text, spot)
    if isinstance(tree, Items):
        return Items(tuple(_moved(item, spot) for item in tree.items), spot)
    return Table({key: Entry(spot, _moved(entry.tree, spot)) for key, entry in tree.entries.items()}, spot)


def _placed(tree: Tree | None, path: tuple[Step, ...], value: Tree, spot: Spot, done: tuple[Step, ...]) -> Tree:
    """Return the tree with the value at the path, and the mappings on the way made where there are none."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    here = (*done, step)
    if isinstance(tree, Items):
        return _placed_in_items(tree, step, rest, value, spot, done)
    if isinstance(tree, Leaf):
        raise _Misfit(here, f"{written(done)} is the single value {tree.text}; set it as a whole")
    table = tree if tree is not None else Table({}, spot)
    if isinstance(step, int) and str(step) not in table.entries:
        example = written((*done, next(iter(table.entries), "key")))
        raise _Misfit(here, f"{written(done) or 'the file'} is no list; write its keys, such as {example}")
    old = table.entries.get(str(step))
    new = _placed(old.tree if old else None, rest, value, spot, here)
    # The key keeps its place when something under it changes: only what was set is new.
    return table.with_entry(str(step), Entry(old.key if old and rest else spot, new))


def _placed_in_items(
    tree: Items, step: Step, rest: tuple[Step, ...], value: Tree, spot: Spot, done: tuple[Step, ...]
) -> Items:
    if not isinstance(step, int):
        raise _Misfit((*done, step), f"{written(done)} is a list; say which item, such as {written((*done, 0, step))}")
    if step >= len(tree.items):
        raise _Misfit((*done, step), f"there is no such item; {written(done)} has {len(tree.items)}, counted from 0")
    items = list(tree.items)
    items[step] = _placed(items[step], rest, value, spot, (*done, step))
    return Items(tuple(items), tree.spot)
