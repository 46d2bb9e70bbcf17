"""From a scenario file to a `Scenario`: read, merge with its base, set, fill in, check; or every mistake at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from tem_sim.scenario.errors import Problem, ScenarioError, Spot
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.overrides import overridden_tree
from tem_sim.scenario.places import Places
from tem_sim.scenario.plan import Plan, planned
from tem_sim.scenario.tree import Entry, Items, Leaf, Table, Tree, grown, merged
from tem_sim.scenario.variables import filled_in
from tem_sim.scenario.verdicts import checked
from tem_sim.scenario.yaml_reader import read_tree

MAX_BYTES = 50_000_000


def load(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Scenario:
    """Return the scenario in a YAML file, with each `path=value` of `overrides` set on top.

    Raises ScenarioError, which lists every mistake as `file:line:col: path: message (got value)`.
    """
    file = os.fspath(path)
    return loads(_text_of(Path(file), file), overrides, file=file)


def loads(text: str, overrides: Sequence[str] = (), *, file: str = "<text>") -> Scenario:
    """Return the scenario in YAML text; `file` names it in errors, and its folder is where `extends` looks."""
    problems: list[Problem] = []
    folder = Path(file).parent
    tree = _extended(_root(text, file, problems), file, folder, problems)
    tree = overridden_tree(tree, overrides, problems)
    return checked(filled_in(tree, file, problems), folder, problems)


def places_in(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Places:
    """Return where a YAML file says what; ScenarioError where it is no YAML, or no mapping."""
    file = os.fspath(path)
    problems: list[Problem] = []
    tree = _extended(_root(_text_of(Path(file), file), file, problems), file, Path(file).parent, problems)
    return Places(overridden_tree(tree, overrides, problems))


def load_plan(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Plan:
    """Return the sweep in a YAML file: the cells of its `matrix` and its `seeds`; see `planned` for the overrides.

    Raises ScenarioError as `load` does, here also for values of the matrix that make no scenario.
    """
    file = os.fspath(path)
    return loads_plan(_text_of(Path(file), file), overrides, file=file)


def loads_plan(text: str, overrides: Sequence[str] = (), *, file: str = "<text>") -> Plan:
    """Return the sweep in YAML text, as `load_plan` does."""
    problems: list[Problem] = []
    folder = Path(file).parent
    tree = _extended(_root(text, file, problems), file, folder, problems)
    return planned(tree, overrides, file, folder, problems)


def plan_of(scenario: Scenario, overrides: Sequence[str] = ()) -> Plan:
    """Return the sweep of a scenario that is loaded already; what its matrix sets must not be variables."""
    tree = grown(scenario.resolved(), Spot(scenario.name))
    assert isinstance(tree, Table)
    return planned(tree, overrides, scenario.name, Path(), [])


def overridden(scenario: Scenario, overrides: Sequence[str]) -> Scenario:
    """Return a scenario with each `path=value` set on top; ScenarioError for what does not fit."""
    problems: list[Problem] = []
    tree = grown(scenario.resolved(), Spot(scenario.name))
    assert isinstance(tree, Table)
    return checked(overridden_tree(tree, overrides, problems), Path(), problems)


def overlaid(scenario: Scenario, path: str | os.PathLike[str]) -> Scenario:
    """Return a scenario as changed by a fragment of one in a YAML file, merged as over a base that it `extends`.

    Raises ScenarioError for a fragment that cannot be read, or does not fit.
    """
    problems: list[Problem] = []
    file = os.fspath(path)
    return _laid_over(scenario, _root(_text_of(Path(file), file), file, problems), file, problems)


def changed_by(scenario: Scenario, fragment: JsonValue) -> Scenario:
    """Return a scenario as changed by a fragment of one that is plain data; see `overlaid`."""
    tree = grown(fragment, Spot("fragment"))
    assert isinstance(tree, Table)
    return _laid_over(scenario, tree, "fragment", [])


def _laid_over(scenario: Scenario, fragment: Table, file: str, problems: list[Problem]) -> Scenario:
    base = grown(scenario.resolved(), Spot(scenario.name))
    assert isinstance(base, Table)
    return checked(filled_in(merged(base, fragment), file, problems), Path(file).parent, problems)


def _root(text: str, file: str, problems: list[Problem]) -> Table:
    """Return the mapping that the text is; ScenarioError when it is anything else."""
    tree = read_tree(text, file, problems)
    if isinstance(tree, Table):
        return tree
    if tree is None:
        rule = "is empty; `tem-sim init` writes an example to start from"
        raise ScenarioError([Problem(Spot(file, 1, 1), "", rule)])
    kind = "a list" if isinstance(tree, Items) else "a single value"
    raise ScenarioError([Problem(tree.spot, "", f"must be a mapping such as `scenario: storm`, not {kind}")])


def _extended(tree: Table, file: str, folder: Path, problems: list[Problem]) -> Table:
    """Return the tree merged over the base that it names, if it names one."""
    entry = tree.entries.get("extends")
    if entry is None:
        return tree
    if not isinstance(entry.tree, Leaf) or not isinstance(entry.tree.value, str):
        problems.append(Problem(entry.tree.spot, "extends", "must be the path of a scenario file"))
        return tree.without("extends")
    base_path = folder / entry.tree.value
    base = _base(base_path, entry.tree, problems)
    further = base.entries.get("extends")
    if further is not None:
        rule = f"{file} extends this file, and a base must not extend another; put both in one base"
        problems.append(Problem(further.key, "extends", rule))
    moved = _with_paths_from(base.without("extends"), os.path.relpath(base_path.parent, folder))
    return merged(moved, tree.without("extends"))


def _base(path: Path, leaf: Leaf, problems: list[Problem]) -> Table:
    try:
        text = _text_of(path, str(path))
    except ScenarioError as error:
        message = error.problems[0].message
        if error.problems[0].line is not None:
            raise
        raise ScenarioError([*problems, Problem(leaf.spot, "extends", message, leaf.text)]) from None
    return _root(text, str(path), problems)


def _with_paths_from(base: Table, folder: str) -> Table:
    """Return a base whose replay files, named relative to it, are named relative to the file that extends it."""
    arrivals = base.entries.get("arrivals")
    if folder == "." or arrivals is None:
        return base
    key, tree = arrivals
    if isinstance(tree, Items):
        tree = Items(tuple(_moved(item, folder) for item in tree.items), tree.spot)
    return base.with_entry("arrivals", Entry(key, _moved(tree, folder)))


def _moved(process: Tree, folder: str) -> Tree:
    if not isinstance(process, Table) or "file" not in process.entries:
        return process
    key, leaf = process.entries["file"]
    if not isinstance(leaf, Leaf) or not isinstance(leaf.value, str):
        return process
    return process.with_entry("file", Entry(key, Leaf(os.path.join(folder, leaf.value), leaf.text, leaf.spot)))


def _text_of(path: Path, file: str) -> str:
    """Return a file's text; ScenarioError when there is none or it is not UTF-8."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ScenarioError([Problem(Spot(file), "", f"cannot be read: {reason}")]) from None
    except ValueError as error:
        raise ScenarioError([Problem(Spot(repr(file)), "", f"is no path: {error}")]) from None
    if len(raw) > MAX_BYTES:
        raise ScenarioError([Problem(Spot(file), "", f"must be at most {MAX_BYTES} bytes", str(len(raw)))])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].split(b"\n")
        spot = Spot(file, len(before), len(before[-1].decode("utf-8", "replace")) + 1)
        rule = f"byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise ScenarioError([Problem(spot, "", rule)]) from None
