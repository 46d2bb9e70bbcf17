"""`tem-sim sweep-faults`: one fault at every boundary of one event's life, then pairs of faults."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tem_sim.cli.console import (
    USAGE,
    AsJson,
    Jobs,
    Settings,
    complain,
    load_one,
    print_facts,
    refuse_all,
    usage_errors,
    write_json,
)

if TYPE_CHECKING:
    from tem_sim.faultsweep.sweep import FaultSweep
    from tem_sim.scenario.models import Scenario


def sweep_faults(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The scenario whose settings count.", show_default=False)
    ],
    settings: Settings = None,
    pairs: Annotated[
        int, typer.Option(min=0, metavar="N", help="Then draw so many pairs of faults, a second after a first one.")
    ] = 0,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Only at places with this in their name, such as settle.settle."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="The seed by which pairs are drawn.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE.jsonl", help="The journal. [default: reports/faults/<scenario>.jsonl]"
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is not in the journal yet.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Begin anew: what is in the journal is lost.")] = False,
    jobs: Jobs = None,
    as_json: AsJson = False,
) -> None:
    """Inflict one fault at every boundary of one event's life; say what it breaks.

    The scenario is reduced to one event, two workers and one scheduler, statement by statement. Each run is kept in the
    journal as soon as it is done; a sweep that was stopped, or killed, goes on with --resume. For each broken check a
    scenario is written beside the journal. Exit codes: 1 when a check is false, 3 when a run broke, 4 when a fault
    never landed or a check could not tell.
    """
    if resume and force:
        refuse_all(["sweep-faults: --resume goes on and --force begins anew; choose one"])
    with usage_errors():
        scenario = load_one(file, settings or [])
        path = out if out is not None else _default(scenario)
        made = _done(scenario, pairs, seed, at or [], path, resume, force, jobs)
        words = ["tem-sim", "sweep-faults", str(file), *(word for one in settings or [] for word in ("--set", one))]
        words += [word for one in at or [] for word in ("--at", one)]
        words += ["--pairs", str(pairs), "--seed", str(seed)] if pairs else []
        words += ["--out", str(path)] if path != _default(scenario) else []
        _tell(made, path, words, as_json)
    raise typer.Exit(made.exit_code)


def _default(scenario: Scenario) -> Path:
    import re

    from tem_sim.faultsweep.written import FOLDER

    name = re.sub(r"[^\w.-]+", "-", scenario.name)
    return FOLDER / f"{name}.jsonl"


def _done(
    scenario: Scenario, pairs: int, seed: int, at: list[str], path: Path, resume: bool, force: bool, jobs: int | None
) -> FaultSweep:
    from tem_sim.faultsweep.journal import JournalError
    from tem_sim.faultsweep.sweep import PlaceError
    from tem_sim.faultsweep.sweep import sweep_faults as swept
    from tem_sim.report.progress import steps

    try:
        with steps("runs", sys.stderr.isatty()) as tell:
            return swept(
                scenario,
                pairs=pairs,
                seed=seed,
                at=at,
                journal=path,
                resume=resume,
                force=force,
                jobs=jobs,
                progress=tell,
            )
    except JournalError as error:
        complain(str(error))
        raise typer.Exit(USAGE) from None
    except PlaceError as error:
        complain(f"sweep-faults: {error}")
        raise typer.Exit(USAGE) from None


def _tell(made: FaultSweep, path: Path, words: list[str], as_json: bool) -> None:
    from tem_sim.faultsweep.account import account, sweep_document
    from tem_sim.faultsweep.written import write
    from tem_sim.report.screen import show

    repeat = shlex.join([*words, "--force"])
    files = write(made, path.parent, repeat)
    if as_json:
        write_json(sweep_document(made, path, files))
        return
    show(account(made))
    runs = len(made.rows) - made.resumed
    rate = f", {runs / made.spent_s:.3g} runs per second" if runs and made.spent_s else ""
    facts = {"spent": f"{made.spent_s:.3g} s for {runs:,} runs{rate}", "journal": str(path)}
    if made.interrupted:
        facts["go on"] = shlex.join([*words, "--resume"])
    if files:
        facts["wrote"] = f"\n{' ' * 8}".join(map(str, files.values()))
        facts["replay"] = shlex.join(["tem-sim", "run", str(next(iter(files.values())))])
    print_facts({**facts, "repeat": repeat})
