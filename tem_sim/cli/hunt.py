"""`tem-sim hunt`: searches seeds, loads and fault schedules for what a scenario does not stand."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tem_sim.cli.console import (
    USAGE,
    AsJson,
    Settings,
    complain,
    load_one,
    print_facts,
    usage_errors,
    write_json,
)

if TYPE_CHECKING:
    from tem_sim.hunt.coverage import Coverage
    from tem_sim.hunt.goal import Goal, Violation
    from tem_sim.hunt.hunt import Hunt, Progress
    from tem_sim.scenario.models import Scenario

T = TypeVar("T")


def hunt(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The scenario.", show_default=False)],
    budget: Annotated[
        str,
        typer.Option(metavar="DURATION", help="How long to search; shrinking late finds may take a quarter more."),
    ] = "60s",
    objective: Annotated[
        str | None,
        typer.Option(metavar="EXPRESSION", help='What to reach instead of a false check: "amplification>3".'),
    ] = None,
    check: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A check to break, or a metric of harm such as lost_events. [default: all]"),
    ] = None,
    thresholds: Annotated[
        bool, typer.Option("--thresholds", help="Try to break the scenario's own thresholds as well.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="The seed of the search: the same, the same finding.")
    ] = 1,
    tries: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="End after about so many tries, however fast they are.")
    ] = None,
    settings: Settings = None,
    jobs: Annotated[int | None, typer.Option(min=1, metavar="N", help="Processes; one per core if left out.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Where what is found is written. [default: reports/hunts]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Search seeds and fault schedules for a violation, shrink it, and write it as a scenario to replay."""
    from tem_sim.hunt.hunt import hunt as hunted
    from tem_sim.hunt.written import FOLDER, write
    from tem_sim.scenario.quantities import argument, positive_duration_s

    with usage_errors():
        budget_s = _told("--budget", lambda: argument(positive_duration_s, "budget", budget))
        scenario = load_one(file, settings or [])
        goal = _goal(scenario, check or [], objective, thresholds)
        with _line(sys.stderr.isatty()) as progress:
            made = hunted(scenario, goal, budget_s=budget_s, tries=tries, seed=seed, jobs=jobs, progress=progress)
        repeat = _repeat(file, seed, budget, objective, check or [], thresholds, tries, settings or [])
        found = None if made.finding is None else write(made, out or FOLDER, repeat)
        _answer(made, found, repeat, as_json)
    raise typer.Exit(made.exit_code)


def _goal(scenario: Scenario, checks: Sequence[str], objective: str | None, thresholds: bool) -> Goal:
    """Return what to hunt; a mistake is told with the option that it is in."""
    from tem_sim.hunt.goal import broken_by, goal_of

    if objective is not None:
        _told("--objective", lambda: broken_by(objective))
    return _told("--check", lambda: goal_of(scenario, checks=checks, objective=objective, thresholds=thresholds))


def _told(option: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except ValueError as error:
        complain(f"hunt: {option}: {error}")
        raise typer.Exit(USAGE) from None


def _repeat(
    file: Path,
    seed: int,
    budget: str,
    objective: str | None,
    checks: Sequence[str],
    thresholds: bool,
    tries: int | None,
    settings: Sequence[str],
) -> str:
    """Return the command that hunts in the same way again."""
    words = ["tem-sim", "hunt", str(file), "--seed", str(seed), "--budget", budget]
    words += ["--objective", objective] if objective is not None else []
    words += [word for check in checks for word in ("--check", check)]
    words += ["--thresholds"] if thresholds else []
    words += ["--tries", str(tries)] if tries is not None else []
    words += [word for setting in settings for word in ("--set", setting)]
    return shlex.join(words)


def _answer(made: Hunt, file: Path | None, repeat: str, as_json: bool) -> None:
    from tem_sim.hunt.account import account, hunt_document
    from tem_sim.report.screen import show

    if as_json:
        write_json(hunt_document(made, file))
        return
    show(account(made))
    facts = {"spent": f"{made.spent_s:.3g} s of {made.budget_s:g} s", "repeat": repeat}
    if file is not None and made.finding is not None:
        digest = {"digest": made.finding.digest} if made.finding.digest else {}
        facts = {"wrote": str(file), **digest, "replay": shlex.join(["tem-sim", "run", str(file)]), **facts}
    print_facts(facts)


@contextmanager
def _line(shown: bool) -> Iterator[Progress | None]:
    """Show on one line how far the hunt is, and yield what moves it; None if not shown."""
    if not shown:
        yield None
        return
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    from tem_sim.report.screen import console_for

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=console_for(sys.stderr), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("hunting")

        def tell(covered: Coverage, violation: Violation | None) -> None:
            what = "hunting" if violation is None else f"shrinking {violation.name}"
            landed = sum(covered.landed.values())
            bar.update(task, description=f"{what}: {covered.tries:,} tries, {landed:,} faults landed")

        yield tell
