"""A cell is one run of a study, (variant, scenario, seed), and becomes one row; cells know nothing of each other.

So they can be done in any order, in any process, or another day, and their rows are the same.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from tem_sim.studies.pools import processes
from tem_sim.studies.progress import Progress, reported

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario

# What a study wants to know of a run, as named numbers; NaN where one does not exist.
Measure = Callable[["Run"], Mapping[str, float]]


class StudyError(Exception):
    """A study that has nothing to say: none of its runs came to an end, or a process that did them died."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One run to do."""

    variant: str
    scenario: Scenario
    seed: int


@dataclass(frozen=True, slots=True)
class Row:
    """What became of a cell: its numbers, or the error that broke it."""

    variant: str
    seed: int
    values: dict[str, float] = field(default_factory=dict)
    error: str = ""


def cells_of(variants: Mapping[str, Scenario], seeds: Iterable[int]) -> list[Cell]:
    """Return every variant under every seed; the same seeds for all, so that rows can be compared in pairs."""
    once = list(seeds)
    return [Cell(name, scenario, seed) for name, scenario in variants.items() for seed in once]


def run_cell(cell: Cell, measure: Measure) -> Row:
    """Simulate and measure; an exception becomes the row's error. Ctrl-C is passed on as KeyboardInterrupt."""
    from tem_sim.sim.world import simulate

    try:
        # A study tells of its runs; a bar for each of them would flicker below.
        run = simulate(cell.scenario, cell.seed, progress=_untold)
        if run.status == "interrupted":
            raise KeyboardInterrupt
        return Row(cell.variant, cell.seed, {name: float(value) for name, value in measure(run).items()})
    except Exception as error:
        return Row(cell.variant, cell.seed, error=told(error))


def _untold(now_s: float, horizon_s: float) -> None:
    pass


def run_cells(
    cells: Sequence[Cell], measure: Measure, *, jobs: int | None = None, progress: Progress | None = None
) -> list[Row]:
    """Return a row per cell, in the cells' order, whatever order `jobs` processes finish them in.

    `jobs`: None for one process per core, 1 for none but this one. `measure` goes to the processes by value, so it
    may be a lambda. Raises `StudyError` when every cell broke, or a process died.
    """
    found: list[Row | None] = [None] * len(cells)
    pool = processes(jobs)
    with reported("runs", len(cells), progress) as tell:
        try:
            for done, (number, row) in enumerate(pool(partial(run_cell, measure=measure), cells), start=1):
                found[number] = row
                tell(done, len(cells))
        except BrokenExecutor as error:
            why = "a process of the study died, was killed, or could not import what it was sent"
            raise StudyError(f"{why}; jobs=1 does all runs in this process and says more") from error
    rows = [row for row in found if row is not None]
    if rows and all(row.error for row in rows):
        first = rows[0]
        raise StudyError(f"all {len(rows)} runs broke; {first.variant}, seed {first.seed}: {first.error}")
    return rows


def told(error: Exception) -> str:
    """Say in one line what broke, and in which line."""
    message = f"{type(error).__name__}: {error}".splitlines()[0]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.replace(chr(92), '/').rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return message + where
