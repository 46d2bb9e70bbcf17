"""`tem-sim run`: runs scenarios, says what became of them, saves runs and plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tem_sim.cli.console import AsJson, Files, Settings, load_all, refuse_all, usage_errors
from tem_sim.cli.running import Options, run_all

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.report.jobs import Job

Seed = Annotated[int | None, typer.Option(min=0, metavar="N", help="The seed, instead of the scenario's.")]
Plots = Annotated[bool, typer.Option("--plots/--no-plots", help="Draw the plots into the run's folder.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the verdict and what is wrong; no progress bar.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 4 when any check cannot be judged, not only when none can.")
]
Traceback = Annotated[
    bool, typer.Option("--traceback", envvar="TEM_SIM_TRACEBACK", help="Show the traceback when a run breaks.")
]


def run(
    files: Files,
    seed: Seed = None,
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
    plots: Plots = True,
    quiet: Quiet = False,
    strict: Strict = False,
    traceback: Traceback = False,
) -> None:
    """Run scenarios, say what became of them, save runs and plots."""
    with usage_errors():
        jobs = _jobs(files, seed, settings or [], store, out)

        def make(job: Job, progress: Callable[[float, float], None] | None) -> Run:
            from tem_sim.sim.world import simulate

            return simulate(job.scenario, job.seed, store=store, progress=progress)

        code = run_all(jobs, Options(as_json, plots, quiet, strict, traceback), make)
    raise typer.Exit(code)


def _jobs(files: Sequence[Path], seed: int | None, settings: Sequence[str], store: str, out: Path | None) -> list[Job]:
    """Return what is to be run; every mistake of every file is told before anything runs."""
    from tem_sim.report.jobs import plan, refuse_bad_folders

    scenarios, problems = load_all(files, settings)
    refuse_all(problems)
    jobs = plan(scenarios, seed=seed, settings=settings, store=store, out=out)
    refuse_bad_folders(jobs)
    return jobs
