"""`tem-sim sweep`: a scenario's matrix under many seeds, in a file that survives whatever happens."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tem_sim.cli.console import (
    INTERRUPTED,
    USAGE,
    AsJson,
    Jobs,
    complain,
    print_facts,
    refuse_all,
    usage_errors,
    write_json,
)

if TYPE_CHECKING:
    from tem_sim.sweeps.sweep import Sweep


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The scenario, with its matrix.", show_default=False)],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE[,VALUE]", help="Set a value in all cells; several values are an axis."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The seeds 1 to N, instead of the scenario's.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.db", help="The results file. [default: reports/<scenario>/sweep.db]"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is not in the results file yet.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Begin anew: what is in the results file is lost.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --resume: do the runs again that broke.")
    ] = False,
    jobs: Jobs = None,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on the workers of this Dask scheduler instead.")
    ] = None,
    measures: Annotated[
        list[str] | None, typer.Option("--measure", metavar="METRIC", help="Show this metric; give it several times.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save the rows (CSV) and a figure per metric (PNG) there.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run every cell of a scenario's matrix under every seed; say which cells keep to the thresholds.

    Each run is kept as soon as it is done. A sweep that was stopped, or killed, goes on with --resume. Exit codes: 1
    when the seeds of some cell together break a threshold, or a check is false; 3 when a run broke; 4 when something
    cannot be judged.
    """
    _refuse_contradictions(resume, force, retry_failed, jobs, dask)
    with usage_errors():
        words = [*(settings or []), *([f"seeds={seeds}"] if seeds is not None else [])]
        _refuse_metrics(measures or [])
        path = out if out is not None else _default_file(file, words)
        found = _done(file, words, path, resume, force, retry_failed, jobs, dask)
        _tell(found, path, measures or [], plots, as_json)
    raise typer.Exit(found.exit_code)


def _refuse_contradictions(resume: bool, force: bool, retry_failed: bool, jobs: int | None, dask: str | None) -> None:
    clashes = {
        "--resume goes on and --force begins anew; choose one": resume and force,
        "--retry-failed needs --resume": retry_failed and not resume,
        "--jobs is for this machine and --dask for others; choose one": jobs is not None and dask is not None,
    }
    refuse_all([f"sweep: {clash}" for clash, there in clashes.items() if there])


def _refuse_metrics(measures: list[str]) -> None:
    from tem_sim.analysis.metrics import METRICS
    from tem_sim.scenario.errors import did_you_mean

    strangers = [name for name in measures if name not in METRICS]
    refuse_all([f"--measure {name}: there is no such metric; {did_you_mean(name, METRICS)}" for name in strangers])


def _default_file(file: Path, words: list[str]) -> Path:
    """Return where the results go; every mistake of the file is told before anything runs."""
    from tem_sim.report.jobs import run_folder, unknown_checks
    from tem_sim.scenario.errors import ScenarioError
    from tem_sim.scenario.loader import load_plan

    try:
        scenario = load_plan(file, words).scenario
    except ScenarioError as error:
        refuse_all([str(error)])
        raise
    refuse_all(unknown_checks(file, scenario))
    return run_folder(scenario.name, 0, None, several=True).parent / "sweep.db"


def _done(
    file: Path,
    words: list[str],
    path: Path,
    resume: bool,
    force: bool,
    retry_failed: bool,
    jobs: int | None,
    dask: str | None,
) -> Sweep:
    from tem_sim.report.progress import steps
    from tem_sim.sweeps.results import SweepError
    from tem_sim.sweeps.run import sweep as run_sweep

    try:
        with steps("runs", sys.stderr.isatty()) as tell:
            return run_sweep(
                *(file, words),
                out=path,
                resume=resume,
                force=force,
                retry_failed=retry_failed,
                jobs=jobs,
                dask=dask,
                progress=tell,
            )
    except SweepError as error:
        complain(str(error))
        raise typer.Exit(USAGE) from None
    except KeyboardInterrupt:
        complain(f"interrupted; what is done is in {path}, and --resume goes on")
        raise typer.Exit(INTERRUPTED) from None


def _tell(found: Sweep, path: Path, measures: list[str], plots: Path | None, as_json: bool) -> None:
    from tem_sim.report.findings import finding_blocks
    from tem_sim.report.screen import show
    from tem_sim.sweeps.document import document

    shown = measures or found.shown()
    drawn = []
    if plots is not None:
        from tem_sim.sweeps.pictures import draw

        drawn = draw(found, shown, plots)
    if as_json:
        write_json(document(found, path))
        return
    show(finding_blocks(found.result(shown)))
    print_facts({"results": str(path), **({"plots": f"{plots} ({len(drawn)} files)"} if drawn else {})})
