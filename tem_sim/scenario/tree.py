"""A scenario file as a tree in which every key and value knows the place where it was written.

Merging a base, setting a value from the command line and filling in variables are steps from tree to tree; an error in
the result can then still be shown in the file, line and column it came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from pydantic import JsonValue

from tem_sim.scenario.base import SELECTORS
from tem_sim.scenario.errors import Spot

Step: TypeAlias = str | int

_PATH = re.compile(r"[^.\[\]=\s]+(\[[0-9]+\]|\.[^.\[\]=\s]+)*")
_STEP = re.compile(r"[^.\[\]]+")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A single value and the text it was written as."""

    value: str | int | float | bool | None
    text: str
    spot: Spot


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Tree, ...]
    spot: Spot


class Entry(NamedTuple):
    """A key's place and what stands under it."""

    key: Spot
    tree: Tree


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping; its spot is where it begins."""

    entries: Mapping[str, Entry]
    spot: Spot

    def without(self, *keys: str) -> Table:
        """Return the table less these keys."""
        return Table({key: entry for key, entry in self.entries.items() if key not in keys}, self.spot)

    def with_entry(self, key: str, entry: Entry) -> Table:
        """Return the table with one entry added or replaced."""
        return Table({**self.entries, key: entry}, self.spot)


Tree: TypeAlias = Leaf | Items | Table


def plain(tree: Tree) -> JsonValue:
    """Return what the tree says, without the places."""
    if isinstance(tree, Leaf):
        return tree.value
    if isinstance(tree, Items):
        return [plain(item) for item in tree.items]
    return {key: plain(entry.tree) for key, entry in tree.entries.items()}


def grown(value: JsonValue, spot: Spot) -> Tree:
    """Return plain data as a tree that stands in one place."""
    if isinstance(value, dict):
        return Table({key: Entry(spot, grown(item, spot)) for key, item in value.items()}, spot)
    if isinstance(value, list):
        return Items(tuple(grown(item, spot) for item in value), spot)
    return Leaf(value, str(value), spot)


def merged(base: Table, child: Table) -> Table:
    """Return the base as changed by the child: mappings merge, anything else replaces.

    A mapping that names another kind, growth or preset than the base's replaces it as well: its other keys mean
    something else.
    """
    entries = dict(base.entries)
    for key, entry in child.entries.items():
        under = entries.get(key)
        if under is not None and _mergeable(under.tree, entry.tree):
            assert isinstance(under.tree, Table)
            assert isinstance(entry.tree, Table)
            entries[key] = Entry(entry.key, merged(under.tree, entry.tree))
        else:
            entries[key] = entry
    return Table(entries, child.spot)


def _mergeable(base: Tree, child: Tree) -> bool:
    if not isinstance(base, Table) or not isinstance(child, Table):
        return False
    return all(key not in child.entries or _same(base, child, key) for key in SELECTORS)


def _same(base: Table, child: Table, key: str) -> bool:
    return key in base.entries and plain(base.entries[key].tree) == plain(child.entries[key].tree)


def leaves(tree: Tree, path: tuple[Step, ...] = ()) -> Iterator[tuple[tuple[Step, ...], Leaf]]:
    """Yield every single value with its path."""
    if isinstance(tree, Leaf):
        yield path, tree
    elif isinstance(tree, Items):
        for index, item in enumerate(tree.items):
            yield from leaves(item, (*path, index))
    else:
        for key, entry in tree.entries.items():
            yield from leaves(entry.tree, (*path, key))


def written(path: tuple[Step, ...]) -> str:
    """Write a path as users do: `faults[1].for`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def steps_of(text: str) -> tuple[Step, ...] | None:
    """Return the path that users write as `faults[1].for` or `faults.1.for`; None for what is no path."""
    if not _PATH.fullmatch(text.strip()):
        return None
    return tuple(int(step) if step.isdecimal() else step for step in _STEP.findall(text.strip()))


def flow(tree: Tree) -> str:
    """Write a value in one line, single values as they were written: `{preset: sidekiq}`, `1s`."""
    if isinstance(tree, Leaf):
        return tree.text
    if isinstance(tree, Items):
        return f"[{', '.join(flow(item) for item in tree.items)}]"
    return f"{{{', '.join(f'{key}: {flow(entry.tree)}' for key, entry in tree.entries.items())}}}"
