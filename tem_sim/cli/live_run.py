"""`tem-sim live run`: scenarios on real processes, judged, saved and told as `tem-sim run` does it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tem_sim.cli.console import AsJson, Files, Settings, load_all, refuse_all
from tem_sim.cli.live_console import live_errors
from tem_sim.cli.run import Plots, Quiet, Seed, Strict, Traceback
from tem_sim.cli.running import Options, run_all

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.report.jobs import Job
    from tem_sim.scenario.errors import Problem
    from tem_sim.scenario.models import Scenario

TimeScale = Annotated[
    float,
    typer.Option(
        metavar="K",
        help="Multiply every duration of the scenario by this and divide every rate: 0.1 makes ten minutes one. The "
        "latencies of the infrastructure are what they are.",
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Where the pipeline keeps its rows: a PostgreSQL server, on which each run has a schema of its own, or a "
        "new SQLite file. [default: a SQLite file that goes with the run]",
    ),
]
Redis = Annotated[str, typer.Option(metavar="URL", help="A Redis that runs, or `own` for one that goes with the run.")]
Pool = Annotated[Literal["prefork", "threads"], typer.Option(help="What a worker's slots are: processes, or threads.")]


@dataclass(frozen=True, slots=True)
class Ground:
    """What the runs of one command stand on."""

    time_scale: float
    store: str | None
    redis: str
    pool: Literal["prefork", "threads"]

    def words(self) -> list[str]:
        """Return the options that say so; the store has its own."""
        said = {"--time-scale": f"{self.time_scale:g}", "--redis": self.redis, "--pool": self.pool}
        usual = {"--time-scale": "1", "--redis": "own", "--pool": "prefork"}
        return [word for name, value in said.items() if value != usual[name] for word in (name, value)]


def run(
    files: Files,
    time_scale: TimeScale = 1.0,
    seed: Seed = None,
    settings: Settings = None,
    store: Store = None,
    redis: Redis = "own",
    pool: Pool = "prefork",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The run's folder; of several files, the folder of their folders. An earlier run there is replaced. "
            "[default: reports/<scenario>/live-seed-<N>]",
        ),
    ] = None,
    keep_logs: Annotated[
        bool, typer.Option("--keep-logs", help="Keep the logs of all processes, beside the run's folder.")
    ] = False,
    as_json: AsJson = False,
    plots: Plots = True,
    quiet: Quiet = False,
    strict: Strict = False,
    traceback: Traceback = False,
) -> None:
    """Run scenarios on real processes: Celery, Redis, a database, HTTP and sockets, all on this machine's loopback.

    The scenario's load is posted, its users connect, its handler takes the time and has the luck that it has in the
    simulator, and its faults are inflicted on the processes that this command has started. A fault that cannot be is
    told before anything starts. It takes as long as the scenario says: see --time-scale. Ctrl-C ends a run early, and
    what happened is saved. Nothing else is left behind.
    """
    with live_errors():
        ground = Ground(time_scale, store, redis, pool)
        jobs = _jobs(files, seed, settings or [], ground, out)
        if keep_logs:
            refuse_all([problem for job in jobs for problem in _strangers(_logs_folder(job))])

        def make(job: Job, progress: Callable[[float, float], None] | None) -> Run:
            from tem_sim.live.run import run_live

            logs = _emptied(_logs_folder(job)) if keep_logs else None
            return run_live(job.scenario, job.seed, store=store, redis=redis, pool=pool, keep=logs, progress=progress)

        code = run_all(jobs, Options(as_json, plots, quiet, strict, traceback, mode="live"), make)
    raise typer.Exit(code)


def _jobs(files: Sequence[Path], seed: int | None, settings: Sequence[str], on: Ground, out: Path | None) -> list[Job]:
    """Return what is to be run; every mistake of every file is told before anything starts."""
    from tem_sim.live.own_redis import redis_server
    from tem_sim.live.up import refuse_no_redis
    from tem_sim.report.jobs import plan, refuse_bad_folders

    loaded, problems = load_all(files, settings)
    refuse_all(problems)
    scenarios = _scaled(loaded, on.time_scale)
    refuse_all([problem for file, scenario in scenarios for problem in _impossible(file, scenario, settings, on)])
    if on.redis == "own":
        redis_server()
    else:
        refuse_no_redis(on.redis)
    jobs = plan(
        scenarios,
        seed=seed,
        settings=settings,
        store=on.store or "sqlite://",
        out=out,
        command=("tem-sim", "live", "run"),
        more=on.words(),
        label="live-seed",
    )
    refuse_bad_folders(jobs)
    return jobs


def _scaled(loaded: Sequence[tuple[Path, Scenario]], time_scale: float) -> list[tuple[Path, Scenario]]:
    from tem_sim.scenario.time_scale import TimeScaleError, scaled

    scenarios, problems = [], []
    for file, scenario in loaded:
        try:
            scenarios.append((file, scaled(scenario, time_scale)))
        except TimeScaleError as error:
            problems.append(f"{file}: {error}")
    refuse_all(problems)
    return scenarios


def _impossible(file: Path, scenario: Scenario, settings: Sequence[str], on: Ground) -> Sequence[Problem]:
    """Return the faults that cannot be inflicted live, at their places in the file."""
    from tem_sim.live.run import check_live
    from tem_sim.scenario.errors import ScenarioError
    from tem_sim.scenario.loader import places_in

    try:
        check_live(scenario, store=on.store, redis=on.redis, pool=on.pool, places=places_in(file, settings))
    except ScenarioError as error:
        return error.problems
    return ()


def _logs_folder(job: Job) -> Path:
    """Return where a run's logs are kept: not in its folder, which is the run's alone."""
    return job.folder.with_name(f"{job.folder.name}.logs")


def _strangers(folder: Path) -> Iterator[str]:
    """Yield a problem where a folder holds something else than an earlier run's logs, which would be lost."""
    is_ours = (folder / "system.jsonl").is_file() or (folder.is_dir() and not any(folder.iterdir()))
    if folder.exists() and not is_ours:
        yield f"--keep-logs: {folder} exists and holds no run's logs; choose another --out or empty it"


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder
