"""What all commands share: their options, exit codes, where text goes, and how a user's mistake is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tem_sim.report.document import Document
    from tem_sim.report.github import Annotation
    from tem_sim.report.outcome import Outcome
    from tem_sim.scenario.errors import Problem
    from tem_sim.scenario.models import Scenario

OK, FALSE, USAGE, BROKE, INCONCLUSIVE, INTERRUPTED = 0, 1, 2, 3, 4, 130

Files = Annotated[list[Path], typer.Argument(metavar="FILE", help="Scenario files.", show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Set a value of the scenario, such as pipeline.backoff.base=1s."),
]
Jobs = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, metavar="N", help="Processes; one per core if left out.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else.")]


def load_all(
    files: Sequence[Path], settings: Sequence[str], say_ok: bool = False
) -> tuple[list[tuple[Path, Scenario]], list[Problem]]:
    """Load scenario files; return those that can be used, and every problem of the others.

    With `say_ok` each good file is told, and its matrix has to be in order as well: a run does without.
    """
    from tem_sim.report.jobs import unknown_checks
    from tem_sim.scenario.errors import ScenarioError
    from tem_sim.scenario.loader import load, load_plan

    loaded: list[tuple[Path, Scenario]] = []
    problems: list[Problem] = []
    for file in files:
        try:
            scenario = load_plan(file, settings).scenario if say_ok else load(file, settings)
        except ScenarioError as error:
            problems += error.problems
            continue
        strangers = unknown_checks(file, scenario, settings)
        problems += strangers
        if not strangers:
            loaded.append((file, scenario))
            if say_ok:
                write(f"{file}: ok ({scenario.name})\n")
    return loaded, problems


def load_one(file: Path, settings: Sequence[str]) -> Scenario:
    """Load a scenario file; tell every problem of it and exit with 2, if there are any."""
    loaded, problems = load_all([file], settings)
    refuse_all(problems)
    return loaded[0][1]


def refuse_all(problems: Sequence[Problem | str]) -> None:
    """Tell every problem at once and exit with 2, if there are any."""
    if problems:
        complain("\n".join(map(str, problems)))
        annotate_problems(problems)
        raise typer.Exit(USAGE)


def annotate_problems(problems: Sequence[Problem | str]) -> None:
    """Tell GitHub where in the files the mistakes are, in a step of a workflow."""
    from tem_sim.report import github

    if github.active():
        annotate(github.of_problem(problem) for problem in problems if not isinstance(problem, str))


def annotate(annotations: Iterable[Annotation]) -> None:
    """Print workflow commands; on stderr, since stdout may be one JSON document, and the runner reads both."""
    for annotation in annotations:
        complain(str(annotation))


def print_outcome(outcome: Outcome, quiet: bool) -> None:
    """Print the account of a run; with `quiet` only its verdict and what is wrong."""
    from tem_sim.report.screen import show as show_on_screen
    from tem_sim.report.screen import speaks_unicode
    from tem_sim.report.summary import brief, summary

    show_on_screen((brief if quiet else summary)(outcome, unicode=speaks_unicode(sys.stdout)))


def print_facts(facts: dict[str, str]) -> None:
    """Print what one copies from a terminal: never folded, since a folded command cannot be pasted."""
    width = max(7, *map(len, facts))
    write("\n" + "".join(f"{name:<{width}} {fact}\n" for name, fact in facts.items()))


def write_json(document: Document) -> None:
    """Print the one document that `--json` promises."""
    from tem_sim.report.document import text

    write(text(document) + "\n")


def write(text: str) -> None:
    """Write a result to stdout."""
    from tem_sim.report.screen import write

    write(text)


def complain(text: str) -> None:
    """Write an error to stderr, as it is: a caret must stay under its place."""
    typer.echo(text.rstrip("\n"), err=True)


def mend_streams() -> None:
    """Let output that cannot be shown do no harm: a closed stream takes it silently, a narrow encoding shows `?`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  It lives as long as the process.
        elif not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors="replace")


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn what the user can mend into a message and exit code 2, and Ctrl-C outside a run into 130."""
    try:
        yield
    except KeyboardInterrupt:
        complain("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if not users_own(error):
            raise
        complain(_of_file(error) if isinstance(error, OSError) else str(error))
        raise typer.Exit(USAGE) from None


def users_own(error: Exception) -> bool:
    """Whether the user can mend it. What breaks under simulation comes as a SimulationError, OSErrors included."""
    from tem_sim.frames import RunError
    from tem_sim.pipeline.store import StoreError

    return isinstance(error, (OSError, RunError, StoreError))


def _of_file(error: OSError) -> str:
    return str(error) if error.filename is None else f"{error.filename}: {error.strerror}"
