"""`tem-sim live calibrate` and `tem-sim live conform`: how far the simulation is from the real thing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tem_sim.cli.console import (
    BROKE,
    FALSE,
    INCONCLUSIVE,
    OK,
    USAGE,
    AsJson,
    Jobs,
    Settings,
    complain,
    load_one,
    print_facts,
    write,
    write_json,
)
from tem_sim.cli.live_console import live_errors
from tem_sim.cli.live_run import Pool, Redis, Store, TimeScale

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tem_sim.conformance.conform import Conformance
    from tem_sim.frames import Run
    from tem_sim.live.calibrate import Calibration
    from tem_sim.report.document import Document

File = Annotated[Path, typer.Argument(metavar="FILE", help="The scenario.", show_default=False)]
EXIT_CODES = {"CONFORMS": OK, "DEVIATES": FALSE, "INCONCLUSIVE": INCONCLUSIVE}
# Called with (what is done, how much of it, of how much).
Tell = Callable[[str, float, float], None]


def calibrate(
    file: File,
    time_scale: TimeScale = 1.0,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="The seed. [default: far from all that are compared]")
    ] = None,
    starts: Annotated[
        int, typer.Option(min=0, max=3, metavar="N", help="How often a worker is started to see how long it takes.")
    ] = 3,
    settings: Settings = None,
    store: Store = None,
    redis: Redis = "own",
    pool: Pool = "prefork",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="The fragment. [default: reports/<scenario>/calibration.yaml]"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure on live runs without faults how long the infrastructure takes, as a fragment of a scenario.

    A run of the scenario without its faults tells what the store, the broker, the API, the gateway and a call of the
    downstream take; a short one under a light load, how long a worker takes to start. Lay the fragment over the
    scenario with `tem-sim live conform --calibration`, at the same time scale, or let a scenario extend it.
    """
    with _errors():
        from tem_sim.live.calibrate import calibrate as measure
        from tem_sim.live.calibrate import without_faults
        from tem_sim.live.run import check_live
        from tem_sim.scenario.time_scale import scaled

        scenario = load_one(file, settings or [])
        out = Path("reports") / scenario.name / "calibration.yaml" if out is None else out
        with _refused():
            check_live(scaled(without_faults(scenario), time_scale), store=store, redis=redis, pool=pool)
        with _told(scenario.name, as_json) as tell:
            found = measure(
                scenario,
                seed,
                time_scale=time_scale,
                store=store,
                redis=redis,
                pool=pool,
                starts=starts,
                progress=tell,
            )
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(found.yaml(), encoding="utf-8")
        if as_json:
            write_json(_calibration_document(found, out))
            return
        write(f"{found!r}\n")
        print_facts({"saved": str(out)})


def conform(
    file: File,
    time_scale: TimeScale = 1.0,
    runs: Annotated[int, typer.Option(min=1, metavar="N", help="Live runs.")] = 5,
    seeds: Annotated[int, typer.Option(min=2, metavar="N", help="Simulated runs, of the seeds 1 to N.")] = 50,
    calibration: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What `tem-sim live calibrate` wrote.", show_default=False)
    ] = None,
    at_least: Annotated[
        int, typer.Option(min=0, max=12, metavar="N", help="Metrics that must be inside for exit code 0.")
    ] = 9,
    settings: Settings = None,
    store: Store = None,
    redis: Redis = "own",
    pool: Pool = "prefork",
    jobs: Jobs = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="The folder. [default: reports/<scenario>/conformance]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hold live runs against what simulated ones predict: 12 metrics, inside or outside of their intervals.

    Simulates the scenario under many seeds, runs it live under others, and prints for each metric the interval that one
    more run should fall into, where the live runs fell, and for what is outside which assumption of the simulator is
    the likely culprit. 1: fewer metrics are inside than asked for, or a check of safety is broken. 4: nobody can tell.
    `tem-sim report` makes a page of the folder. Each live run is saved as soon as it has ended, and kept if a later one
    breaks or Ctrl-C comes.
    """
    with _kept() as kept, _errors():
        from tem_sim.conformance.conform import check_conform
        from tem_sim.conformance.conform import conform as compare
        from tem_sim.conformance.document import keep, refuse_stranger, save

        scenario = load_one(file, settings or [])
        out = Path("reports") / scenario.name / "conformance" if out is None else out
        refuse_stranger(out)
        asked: dict[str, Any] = {
            "runs": runs,
            "seeds": seeds,
            "calibration": calibration,
            "time_scale": time_scale,
            "store": store,
            "redis": redis,
            "pool": pool,
        }
        with _refused():
            check_conform(scenario, **asked)

        def lived(run: Run) -> None:
            folder = keep(run, out)
            kept.append(str(folder) if run.status == "complete" else f"{folder} ({run.status})")

        with _told(scenario.name, as_json) as tell:
            found = compare(scenario, **asked, at_least=at_least, jobs=jobs, progress=tell, lived=lived)
        save(found, out)
        kept[:] = [str(out)]
        _answer(found, out, as_json)
    raise typer.Exit(EXIT_CODES[found.word])


def _answer(found: Conformance, out: Path, as_json: bool) -> None:
    """Draw and print what was found, and saved."""
    from tem_sim.conformance.document import conformance_document
    from tem_sim.plots.conformance import conformance_timelines
    from tem_sim.plots.files import save_figure
    from tem_sim.report.findings import finding_blocks
    from tem_sim.report.screen import show

    about = f"{found.scenario.name}: {len(found.live_seeds)} live and {len(found.seeds)} simulated runs"
    save_figure(
        lambda figure: conformance_timelines(found.timelines, figure, about), out / "timelines.png", size=(9.0, 6.4)
    )
    if as_json:
        write_json(conformance_document(found, out))
        return
    write(f"{found.word} ")
    show(finding_blocks(found))
    print_facts({"saved": str(out), "plot": str(out / "timelines.png"), "page": f"tem-sim report {out}"})


def _calibration_document(found: Calibration, out: Path) -> Document:
    from tem_sim.report.document import SCHEMA_VERSION, number

    samples: list[JsonValue] = [
        {
            "name": name,
            "n": n,
            "mean_s": number(mean_s),
            "median_s": number(median_s),
            "p95_s": number(p95_s),
            "about": what,
        }
        for name, n, mean_s, median_s, p95_s, what in found.rows()
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": found.scenario,
        "seed": found.seed,
        "about": {**found.about},
        "samples": samples,
        "fragment": found.fragment,
        "file": str(out),
    }


@contextmanager
def _errors() -> Iterator[None]:
    """Tell what the user can mend and exit with 2; a live system or a simulation that breaks exits with 3."""
    with live_errors():
        from tem_sim.live.run import LiveError

        try:
            yield
        except LiveError as error:
            complain(f"BROKEN {error}")
            raise typer.Exit(BROKE) from None


@contextmanager
def _refused() -> Iterator[None]:
    """Tell what is wrong with what the user gave, and exit with 2; once runs have begun, a ValueError is a bug."""
    try:
        yield
    except ValueError as error:
        complain(str(error))
        raise typer.Exit(USAGE) from None


@contextmanager
def _kept() -> Iterator[list[str]]:
    """Where a command breaks or is interrupted, tell after that what is there of it: what is in the list by then."""
    kept: list[str] = []
    try:
        yield kept
    except BaseException:
        if kept:
            complain("\n".join(f"kept      {what}" for what in kept))
        raise


@contextmanager
def _told(title: str, as_json: bool) -> Iterator[Tell | None]:
    """Show a bar on a terminal, for one part after the other."""
    if not sys.stderr.isatty() or as_json:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from tem_sim.report.screen import console_for

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console_for(sys.stderr), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(title, total=None)

        def tell(what: str, done: float, total: float) -> None:
            progress.update(task, description=f"{title}: {what}", completed=done, total=total)

        yield tell
