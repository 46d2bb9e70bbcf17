"""`tem-sim run`: runs scenarios, says what became of them, saves runs and plots."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tem_sim.cli.console import (
    BROKE,
    FALSE,
    INCONCLUSIVE,
    INTERRUPTED,
    OK,
    USAGE,
    AsJson,
    Files,
    Settings,
    annotate,
    complain,
    load_all,
    print_facts,
    print_outcome,
    refuse_all,
    usage_errors,
    users_own,
    write,
    write_json,
)

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.report.document import Document
    from tem_sim.report.jobs import Job
    from tem_sim.report.outcome import Outcome

# A run in the table on the page of a workflow.
Row = tuple[str, ...]

# Of several runs, the code that matters most is the command's.
GRAVEST_FIRST = (INTERRUPTED, BROKE, USAGE, FALSE, INCONCLUSIVE, OK)


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for every run of one command."""

    store: str
    json: bool
    plots: bool
    quiet: bool
    strict: bool
    traceback: bool


def run(
    files: Files,
    seed: Annotated[int | None, typer.Option(min=0, metavar="N", help="The seed, instead of the scenario's.")] = None,
    settings: Settings = None,
    store: Annotated[
        str, typer.Option(metavar="URL", help="Where the pipeline keeps its rows: a SQLAlchemy URL.")
    ] = "sqlite://",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The run's folder; of several files, the folder of their folders. An earlier run there is replaced. "
            "[default: reports/<scenario>/seed-<N>]",
        ),
    ] = None,
    as_json: AsJson = False,
    plots: Annotated[bool, typer.Option("--plots/--no-plots", help="Draw the plots into the run's folder.")] = True,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the verdict and what is wrong; no progress bar.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 4 when any check cannot be judged, not only when none can.")
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", envvar="TEM_SIM_TRACEBACK", help="Show the traceback when a run breaks.")
    ] = False,
) -> None:
    """Run scenarios, say what became of them, save runs and plots."""
    from tem_sim.report.document import together

    with usage_errors():
        options = Options(store, as_json, plots, quiet, strict, traceback)
        documents: list[Document] = []
        codes: list[int] = []
        rows: list[Row] = []
        try:
            for number, job in enumerate(_jobs(files, seed, settings or [], store, out)):
                if number and not as_json:
                    write("\n")
                codes.append(_run(job, options, documents, rows))
                if codes[-1] == INTERRUPTED:
                    break
        finally:
            # Also when a later file cannot be run: these runs are done, and saved.
            if documents:
                write_json(documents[0] if len(files) == 1 else together(documents))
            _summarise(rows)
    raise typer.Exit(min(codes, key=GRAVEST_FIRST.index))


# --- from files to jobs


def _jobs(files: Sequence[Path], seed: int | None, settings: Sequence[str], store: str, out: Path | None) -> list[Job]:
    """Return what is to be run; every mistake of every file is told before anything runs."""
    from tem_sim.report.jobs import plan, refuse_bad_folders

    scenarios, problems = load_all(files, settings)
    refuse_all(problems)
    jobs = plan(scenarios, seed=seed, settings=settings, store=store, out=out)
    refuse_bad_folders(jobs)
    return jobs


# --- one run


def _run(job: Job, options: Options, documents: list[Document], rows: list[Row]) -> int:
    """Do one run, save and print it, or add its document and its row for later; return its exit code."""
    try:
        outcome = _outcome(job, options)
    except Exception as error:
        if users_own(error):
            raise
        return _broke(job, options, error, documents, rows)
    job.traceback_file.unlink(missing_ok=True)
    if not options.json:
        print_outcome(outcome, options.quiet)
    drawn = _draw(outcome.run, job.folder, options.plots)
    if options.json:
        from tem_sim.report.document import document

        documents.append(document(outcome, job.folder))
    elif not options.quiet:
        plots = {"plots": f"{drawn[0].parent} ({len(drawn)} files)"} if drawn else {}
        print_facts({"saved": str(job.folder), **plots, "digest": outcome.run.digest, "repeat": job.repeat})
    _tell_github(job, outcome, rows)
    return outcome.exit_code


def _outcome(job: Job, options: Options) -> Outcome:
    """Simulate, save and judge; saved first, so that nothing that follows can lose the run."""
    from tem_sim.report.outcome import judge
    from tem_sim.report.progress import bar
    from tem_sim.sim.world import simulate

    shown = sys.stderr.isatty() and not options.quiet
    with bar(job.scenario.name, job.scenario.horizon_s, shown) as progress:
        made = simulate(job.scenario, job.seed, store=options.store, progress=progress)
    made.save(job.folder)
    return judge(made, strict=options.strict)


def _broke(job: Job, options: Options, error: Exception, documents: list[Document], rows: list[Row]) -> int:
    """Tell that a run broke, and where its traceback is kept."""
    import traceback

    job.traceback_file.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    if options.traceback:
        traceback.print_exception(error)
    message = str(error) if type(error).__name__ == "SimulationError" else f"{type(error).__name__}: {error}"
    complain(f"BROKEN {job.scenario.name}: {message}\ntraceback {job.traceback_file}\nrepeat    {job.repeat}")
    if options.json:
        from tem_sim.report.document import broken_document

        documents.append(broken_document(job.scenario.name, job.seed, message, job.traceback_file))
    _tell_github(job, message, rows)
    return BROKE


def _tell_github(job: Job, found: Outcome | str, rows: list[Row]) -> None:
    """In a step of a workflow, annotate the scenario's lines; `found` is the outcome, or why the run broke."""
    from tem_sim.report import github

    if not github.active():
        return
    from tem_sim.scenario.loader import places_in

    places = places_in(job.file, job.settings)
    if isinstance(found, str):
        annotate([github.of_broken_run(job.scenario.name, job.seed, found, places)])
        rows.append(("**BROKEN**", job.scenario.name, str(job.seed), found))
    else:
        annotate(github.of_outcome(found, places))
        rows.append(github.run_row(found))


def _summarise(rows: list[Row]) -> None:
    if rows:
        from tem_sim.report import github

        github.append_summary(github.table(github.RUN_HEADER, rows))


def _draw(made: Run, folder: Path, wanted: bool) -> list[Path]:
    from tem_sim.report.pictures import clear, draw

    clear(folder)
    return draw(made, folder) if wanted else []
