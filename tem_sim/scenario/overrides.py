"""`--set path=value`: one value of a scenario replaced from outside, as if the file had said so."""

from __future__ import annotations

from collections.abc import Sequence

from tem_sim.scenario.errors import Problem, ScenarioError, Spot
from tem_sim.scenario.tree import Entry, Items, Leaf, Step, Table, Tree, steps_of, written
from tem_sim.scenario.vocabulary import full_path
from tem_sim.scenario.yaml_reader import read_tree


class Misfit(Exception):
    """A path that leads nowhere in the file."""

    def __init__(self, path: tuple[Step, ...], message: str) -> None:
        super().__init__(message)
        self.path, self.message = path, message


def overridden_tree(tree: Table, overrides: Sequence[str], problems: list[Problem]) -> Table:
    """Return the tree with each `path=value` applied in turn; add to `problems` those that make no sense.

    `faults[0].for` and `faults.0.for` are the same path, and so are `pipeline.backoff.base` and its end `backoff.base`,
    which no other path has. The value is YAML: a scalar or flow style. Keys that no setting has are set all the same,
    and found when the whole is checked.
    """
    for override in overrides:
        spot = Spot(f"--set {override}")
        try:
            path, text = parts_of(override)
            tree = placed(tree, path, Entry(spot, value_of(path, text, spot)))
        except Misfit as misfit:
            problems.append(Problem(spot, written(misfit.path), misfit.message))
    return tree


def parts_of(override: str) -> tuple[tuple[Step, ...], str]:
    """Return the path that an override sets and the text of its value; Misfit when it is not `path=value`."""
    text, equals, value = override.partition("=")
    path = steps_of(text)
    if not equals or path is None:
        raise Misfit((), "must be path=value, such as pipeline.backoff.base=1s or faults[0].for=30s")
    return full_path(path), value


def placed(tree: Table, path: tuple[Step, ...], entry: Entry) -> Table:
    """Return the tree with a value at the path; `entry.key` is the place of what sets it. Misfit where it has none."""
    changed = _placed(tree, path, entry.tree, entry.key, ())
    assert isinstance(changed, Table)
    return changed


def value_of(path: tuple[Step, ...], value: str, spot: Spot) -> Tree:
    """Read a value from the command line; Misfit for what is no YAML, and for nothing at all."""
    found: list[Problem] = []
    try:
        tree = read_tree(value, spot.file, found)
    except ScenarioError as error:
        found = list(error.problems)
        tree = None
    if found:
        raise Misfit(path, f"the value is {found[0].message}")
    if tree is None:
        raise Misfit(path, "is empty; give it a value")
    return _moved(tree, spot)


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
        raise Misfit(here, f"{written(done)} is the single value {tree.text}; set it as a whole")
    table = tree if tree is not None else Table({}, spot)
    if isinstance(step, int) and str(step) not in table.entries:
        example = written((*done, next(iter(table.entries), "key")))
        raise Misfit(here, f"{written(done) or 'the file'} is no list; write its keys, such as {example}")
    old = table.entries.get(str(step))
    new = _placed(old.tree if old else None, rest, value, spot, here)
    # The key keeps its place when something under it changes: only what was set is new.
    return table.with_entry(str(step), Entry(old.key if old and rest else spot, new))


def _placed_in_items(
    tree: Items, step: Step, rest: tuple[Step, ...], value: Tree, spot: Spot, done: tuple[Step, ...]
) -> Items:
    if not isinstance(step, int):
        raise Misfit((*done, step), f"{written(done)} is a list; say which item, such as {written((*done, 0, step))}")
    if step >= len(tree.items):
        raise Misfit((*done, step), f"there is no such item; {written(done)} has {len(tree.items)}, counted from 0")
    items = list(tree.items)
    items[step] = _placed(items[step], rest, value, spot, (*done, step))
    return Items(tuple(items), tree.spot)
