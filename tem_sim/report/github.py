"""For GitHub Actions: findings beside the lines they are about, and a table on the page of the workflow's run.

Annotations are workflow commands, lines that the runner picks out of what a step prints. The page is a file to add to.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tem_sim.report.outcome import Outcome
    from tem_sim.scenario.errors import Problem, Spot
    from tem_sim.scenario.places import Places

Level = Literal["error", "warning"]


def active() -> bool:
    """Whether this process is a step of a workflow."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


# --- annotations


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One finding at a place; a file without a line is annotated as a whole."""

    level: Level
    title: str
    message: str
    file: str
    line: int | None = None
    col: int | None = None

    def __str__(self) -> str:
        """The workflow command: `::error file=storm.yaml,line=3,title=...::message`."""
        known = {"file": _in_workspace(self.file), "line": self.line, "col": self.col, "title": self.title}
        given = ",".join(f"{key}={_property(str(value))}" for key, value in known.items() if value not in (None, ""))
        return f"::{self.level} {given}::{_data(self.message)}"


def of_problem(problem: Problem) -> Annotation:
    """Annotate a mistake in a scenario file where it is; one that came from the command line has no place in a file."""
    path = f"{problem.path}: " if problem.path else ""
    hint = f"\n{problem.hint}" if problem.hint else ""
    placed = problem.line is not None
    return Annotation(
        level="error",
        title="tem-sim: not a scenario",
        message=f"{path}{problem.message}{hint}" if placed else f"{problem.headline}{hint}",
        file=problem.file if placed else "",
        line=problem.line,
        col=problem.col,
    )


def of_outcome(outcome: Outcome, places: Places) -> Iterator[Annotation]:
    """Annotate what made a run fail or inconclusive: checks, and thresholds at their own lines."""
    if outcome.word == "PASS":
        return
    title = f"{outcome.word} {outcome.run.name}, seed {outcome.run.seed}"
    for judged in outcome.checks:
        found = judged.verdict
        if judged.kind in ("broken", "unbroken"):
            meant = "is meant to be broken and is not: " if judged.kind == "unbroken" else ""
            yield _at(places.violation(found.name), "error", title, f"{found.name}: {meant}{found.detail}")
        elif judged.kind == "unknown" and outcome.proves_nothing:
            yield _at(places.name, "warning", title, f"{found.name} cannot be judged: {found.detail}")
    for (metric, index), held in outcome.numbered_thresholds():
        if held.verdict != "true":
            level: Level = "error" if held.verdict == "false" and held.threshold.strict else "warning"
            message = f"{metric}: {held.detail}, asked is {held.threshold}"
            yield _at(places.threshold(metric, index), level, title, message)


def of_broken_run(name: str, seed: int, message: str, places: Places) -> Annotation:
    """Annotate a scenario under which the simulation broke."""
    return _at(places.name, "error", f"BROKEN {name}, seed {seed}", message)


def _at(spot: Spot, level: Level, title: str, message: str) -> Annotation:
    return Annotation(level=level, title=title, message=message, file=spot.file, line=spot.line, col=spot.col)


def _in_workspace(file: str) -> str:
    """Return a path as GitHub wants it, relative to the repository, with slashes."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if not file or not workspace:
        return file.replace(os.sep, "/")
    try:
        return Path(file).resolve().relative_to(Path(workspace).resolve()).as_posix()
    except ValueError:
        return file.replace(os.sep, "/")


def _data(text: str) -> str:
    """Escape as the runner unescapes: it takes one line."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape what would also end a property, or the properties."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# --- the page


def append_summary(markdown: str) -> None:
    """Append to the page of the workflow's run, where there is one."""
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        with open(page, "a", encoding="utf-8") as file:
            file.write(markdown.rstrip("\n") + "\n\n")


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    columns = list(header)
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    """Keep a text in its cell, and what it says from being taken for HTML."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


RUN_HEADER = ("verdict", "scenario", "seed", "finding")


def run_row(outcome: Outcome) -> tuple[str, ...]:
    """Return a run's row in the table of runs."""
    return f"**{outcome.word}**", outcome.run.name, str(outcome.run.seed), outcome.sentence().partition(": ")[2]
