"""A sweep as data: the cells of a scenario's matrix, each a scenario of its own, and the seeds for all of them.

Cells are made from the tree of the file, so that a value of the matrix which does not fit is told where it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tem_sim.scenario.errors import Problem, ScenarioError, Spot
from tem_sim.scenario.matrix import EXCLUDE, INCLUDE, NOT_VARIED, Combination, combinations, whole_path
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.overrides import Misfit, overridden_tree, parts_of, placed, value_of
from tem_sim.scenario.seeds import DEFAULT_SEEDS, SeedsUntil
from tem_sim.scenario.tree import Entry, Items, Step, Table, Tree, flow, steps_of, written
from tem_sim.scenario.variables import filled_in
from tem_sim.scenario.verdicts import checked

SECTIONS = ("matrix", "seeds")
# Of these a comma parts nothing: each run has its own, or it is prose.
NOT_SPLIT = (*NOT_VARIED, "scenario", "about")
# Enough to see what is wrong, of ten thousand cells that are wrong in the same way.
MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One cell: what it sets, as written, by path; and the scenario that this makes, without seeds and matrix."""

    labels: dict[str, str]
    scenario: Scenario


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep runs. `scenario` is the one that all cells change; `paths` are what any cell sets, in order.

    `seeds`: 1 to that number, those listed, or as many as it takes.
    """

    scenario: Scenario
    paths: tuple[str, ...]
    cells: tuple[PlannedCell, ...]
    seeds: int | tuple[int, ...] | SeedsUntil


def planned(tree: Table, overrides: Sequence[str], file: str, folder: Path, problems: list[Problem]) -> Plan:
    """Return the plan of a scenario's tree; ScenarioError with everything that is wrong, `problems` included.

    Of the overrides, one with several values (`path=1s,2s`) is an axis of the matrix, and one whose path the matrix
    has replaces its values; the others are set in each cell, on top of what the matrix sets.
    """
    settings = _read(overrides, problems)
    sections = [text for text, setting in settings if setting is not None and setting.path[0] in SECTIONS]
    tree = overridden_tree(tree, sections, problems)
    others = [(text, setting) for text, setting in settings if setting is not None and text not in sections]
    matrix = _matrix_of(tree)
    varied = {steps_of(path): path for path in matrix.entries if path not in (INCLUDE, EXCLUDE)}
    axes = [setting for _, setting in others if len(setting.values) > 1 or setting.path in varied]
    fixed = [text for text, setting in others if setting not in axes]
    problems += _overlaps(others, axes, varied)
    base = checked(filled_in(overridden_tree(tree, fixed, problems), file, problems), folder, problems)
    for axis in axes:
        matrix = matrix.with_entry(varied.get(axis.path, written(axis.path)), axis.entry())
    cells = _cells(tree.without(*SECTIONS), matrix, fixed, folder)
    paths = dict.fromkeys(path for cell in cells for path in cell.labels)
    return Plan(base, tuple(paths), cells, DEFAULT_SEEDS if base.seeds is None else base.seeds)


# --- what comes from the command line


@dataclass(frozen=True, slots=True)
class _Setting:
    path: tuple[Step, ...]
    values: tuple[Tree, ...]
    spot: Spot

    def entry(self) -> Entry:
        return Entry(self.spot, Items(self.values, self.spot))


def _read(overrides: Sequence[str], problems: list[Problem]) -> list[tuple[str, _Setting | None]]:
    """Return what each override sets; what makes no sense is told once the others are applied, or here and now."""
    found: list[tuple[str, _Setting | None]] = []
    for override in overrides:
        spot = Spot(f"--set {override}")
        try:
            path, text = parts_of(override)
            texts = [text] if path[0] in NOT_SPLIT else values_in(text)
            found.append((override, _Setting(path, tuple(value_of(path, one, spot) for one in texts), spot)))
        except Misfit as misfit:
            problems.append(Problem(spot, written(misfit.path), misfit.message))
    return found


def values_in(text: str) -> list[str]:
    """Split a comma list; commas within quotes, braces and brackets belong to their value."""
    values, depth, quote = [""], 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and not values[-1].strip(" {[,:"):
            # In the middle of a word it is an apostrophe.
            quote = char
        elif char in "{[":
            depth += 1
        elif char in "}]":
            depth -= 1
        if char == "," and not quote and depth <= 0:
            values.append("")
        else:
            values[-1] += char
    return values


def _overlaps(
    others: Sequence[tuple[str, _Setting]], axes: Sequence[_Setting], varied: Mapping[tuple[Step, ...] | None, str]
) -> Iterator[Problem]:
    """Yield a problem per setting that would undo what the matrix varies."""
    paths = [*(path for path in varied if path), *(axis.path for axis in axes)]
    for _, setting in others:
        for path in paths:
            if path != setting.path and path[: len(setting.path)] == setting.path:
                rule = f"sets what the matrix varies, {written(path)}; set that, or take it out of the matrix"
                yield Problem(setting.spot, written(setting.path), rule)
                break


# --- cells


def _matrix_of(tree: Table) -> Table:
    entry = tree.entries.get("matrix")
    return entry.tree if entry is not None and isinstance(entry.tree, Table) else Table({}, tree.spot)


def _cells(tree: Table, matrix: Table, fixed: Sequence[str], folder: Path) -> tuple[PlannedCell, ...]:
    """Return every cell; ScenarioError with the mistakes of all of them, each told once."""
    found = combinations(matrix)
    if not found and matrix.entries:
        where = matrix.entries.get(EXCLUDE, Entry(matrix.spot, matrix)).key
        raise ScenarioError([Problem(where, "matrix.exclude", "leaves no cell; exclude fewer")])
    cells: list[PlannedCell] = []
    problems: dict[tuple[object, ...], Problem] = {}
    for combination in found or [{}]:
        labels = {whole_path(path): flow(entry.tree) for path, entry in combination.items()}
        try:
            cells.append(PlannedCell(labels, _cell(tree, combination, fixed, folder)))
        except ScenarioError as error:
            for problem in error.problems:
                told = (problem.spot, problem.path, problem.message, problem.value)
                problems.setdefault(told, _in_cell(problem, labels))
        if len(problems) > MAX_PROBLEMS:
            break
    if problems:
        raise ScenarioError(problems.values())
    return tuple(cells)


def _cell(tree: Table, combination: Combination, fixed: Sequence[str], folder: Path) -> Scenario:
    problems: list[Problem] = []
    for path, entry in combination.items():
        try:
            tree = placed(tree, steps_of(path) or (path,), entry)
        except Misfit as misfit:
            problems.append(Problem(entry.key, written(misfit.path), misfit.message))
    tree = overridden_tree(tree, fixed, problems)
    # A variable may be there for one cell only, so here none is reported as unused.
    return checked(filled_in(tree, "", problems), folder, problems)


def _in_cell(problem: Problem, labels: Mapping[str, str]) -> Problem:
    cell = ", ".join(f"{path}: {value}" for path, value in labels.items())
    hint = f"{problem.hint} (in the cell {cell})".strip() if labels else problem.hint
    return Problem(problem.spot, problem.path, problem.message, problem.value, hint)
