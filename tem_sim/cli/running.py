"""How a command does its runs: one after the other, each saved, judged, told and drawn; and what they exit with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tem_sim.cli.console import (
    BROKE,
    FALSE,
    INCONCLUSIVE,
    INTERRUPTED,
    OK,
    USAGE,
    annotate,
    complain,
    print_facts,
    print_outcome,
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
# Makes a job's run, and tells how far it is: seconds so far, and the horizon in seconds.
Make = Callable[["Job", Callable[[float, float], None] | None], "Run"]

# Of several runs, the code that matters most is the command's.
GRAVEST_FIRST = (INTERRUPTED, BROKE, USAGE, FALSE, INCONCLUSIVE, OK)
# Errors that say all there is to say.
OUTSPOKEN = ("SimulationError", "LiveError")


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for every run of one command. `mode` is what its runs are: "sim" or "live"."""

    json: bool
    plots: bool
    quiet: bool
    strict: bool
    traceback: bool
    mode: str = "sim"


def run_all(jobs: Sequence[Job], options: Options, make: Make) -> int:
    """Do all runs, and tell what became of them; return the command's exit code."""
    from tem_sim.report.document import together

    documents: list[Document] = []
    codes: list[int] = []
    rows: list[Row] = []
    try:
        for number, job in enumerate(jobs):
            if number and not options.json:
                write("\n")
            codes.append(_run(job, options, make, documents, rows))
            if codes[-1] == INTERRUPTED:
                break
    finally:
        # Also when a later file cannot be run: these runs are done, and saved.
        if documents:
            write_json(documents[0] if len(jobs) == 1 else together(documents))
        _summarise(rows)
    return min(codes, key=GRAVEST_FIRST.index)


def _run(job: Job, options: Options, make: Make, documents: list[Document], rows: list[Row]) -> int:
    """Do one run, save and print it, or add its document and its row for later; return its exit code."""
    try:
        outcome = _outcome(job, options, make)
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
        digest = {"digest": outcome.run.digest} if outcome.run.digest else {}
        print_facts({"saved": str(job.folder), **plots, **digest, "repeat": job.repeat})
    _tell_github(job, outcome, rows)
    return outcome.exit_code


def _outcome(job: Job, options: Options, make: Make) -> Outcome:
    """Run, save and judge; saved first, so that nothing that follows can lose the run."""
    from tem_sim.report.outcome import judge
    from tem_sim.report.progress import bar

    shown = sys.stderr.isatty() and not options.quiet
    with bar(job.scenario.name, job.scenario.horizon_s, shown, simulated=options.mode == "sim") as progress:
        made = make(job, progress)
    made.save(job.folder)
    return judge(made, strict=options.strict)


def _broke(job: Job, options: Options, error: Exception, documents: list[Document], rows: list[Row]) -> int:
    """Tell that a run broke, and where its traceback is kept."""
    import traceback

    job.traceback_file.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    if options.traceback:
        traceback.print_exception(error)
    name = type(error).__name__
    message = str(error) if name in OUTSPOKEN else f"{name}: {error}"
    complain(f"BROKEN {job.scenario.name}: {message}\ntraceback {job.traceback_file}\nrepeat    {job.repeat}")
    if options.json:
        from tem_sim.report.document import broken_document

        documents.append(broken_document(job.scenario.name, job.seed, message, job.traceback_file, options.mode))
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
