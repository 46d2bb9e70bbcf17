"""`tem-sim study …`: questions that take many policies or many runs, each answered by a verdict and a table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    usage_errors,
    write,
    write_json,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tem_sim.analysis.result import Result

study = typer.Typer(
    name="study",
    help="Answer a question that takes many policies or many runs: a verdict in words, then its table.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The scenario.", show_default=False)]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="POLICY", help="Presets, as `tem-sim policies` lists them.", show_default=False),
]
Seeds = Annotated[int, typer.Option(min=2, metavar="N", help="Replications: the seeds 1 to N, the same for all.")]
Tolerated = Annotated[float, typer.Option(metavar="P", help="The share of EXTINCT events that is tolerated.")]
Lengths = Annotated[list[str] | None, typer.Option(metavar="DURATION", help="Outage lengths; give it several times.")]
Period = Annotated[
    str | None, typer.Option(metavar="DURATION", help="The scheduler's period; every retry is on time if left out.")
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="DIR", help="Save the table (CSV) and the figure (PNG) there.")
]
Draw = Callable[["Figure"], object]


@study.command()
def jitter(
    policies: Names = None,
    rows: Annotated[int, typer.Option(min=1, metavar="N", help="How many rows fail together.")] = 10_000,
    retries: Annotated[int, typer.Option(min=1, metavar="N", help="Retries of each row that are looked at.")] = 5,
    tick: Period = None,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """How far each policy spreads rows that fail together, as configured and at the same mean delay."""
    from tem_sim.analysis.jitter import jitter_study
    from tem_sim.analysis.ticks import Tick
    from tem_sim.plots.jitter import jitter_panels
    from tem_sim.scenario.quantities import argument, positive_duration_s

    with _asked():
        every = None if tick is None else Tick(argument(positive_duration_s, "--tick", tick))
        found = jitter_study(policies, rows, retries, tick=every)
        _answer(found, as_json, out, lambda figure: jitter_panels(found, figure))


@study.command()
def outage(
    policies: Names = None,
    length: Lengths = None,
    p_extinct: Tolerated = 1e-3,
    tick: Period = None,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Which outages each policy outlives: the share of EXTINCT events against the outage's length."""
    from tem_sim.analysis.survival import outage_survival
    from tem_sim.plots.survival import extinct_by_outage

    with _asked():
        found = outage_survival(policies, length, p_extinct=p_extinct, tick=tick)
        _answer(found, as_json, out, lambda figure: extinct_by_outage(found, figure.add_subplot()))


@study.command()
def size(
    outage: Annotated[str, typer.Option(metavar="DURATION", help="The outage to outlive.")] = "30s",
    p_extinct: Tolerated = 1e-3,
    base: Annotated[str, typer.Option(metavar="DURATION", help="The first delay.")] = "10s",
    cap: Annotated[str, typer.Option(metavar="DURATION", help="The longest delay, or `off`.")] = "off",
    max_retries: Annotated[int, typer.Option(min=0, metavar="N", help="Retries after the first attempt.")] = 5,
    jitter: Annotated[
        str, typer.Option(metavar="KIND", help="none, full, equal, proportional or decorrelated.")
    ] = "full",
    growth: Annotated[
        str, typer.Option(metavar="KIND", help="fixed, linear, exponential, polynomial or fibonacci.")
    ] = "exponential",
    tick: Period = None,
    added_latency: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How soon after the outage 95 % are to be through.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The smallest max_retries, base and cap with which a policy outlives an outage; with YAML to paste."""
    from tem_sim.analysis.sizing import size as sized

    with _asked():
        found = sized(
            *(outage, p_extinct),
            base=base,
            cap=cap,
            max_retries=max_retries,
            jitter=jitter,
            growth=growth,
            tick=tick,
            added_latency=added_latency,
        )
        _answer(found, as_json)
        if found.yaml and not as_json:
            write(f"\n{found.yaml}")


@study.command()
def bakeoff(
    file: File,
    policies: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="POLICY", help="A preset; give it several times. All if left out."),
    ] = None,
    max_retries: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="The same limit for all, instead of each one's own.")
    ] = None,
    seeds: Seeds = 10,
    settings: Settings = None,
    jobs: Jobs = None,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Every policy through the scenario's outage: drain, peak on the dependency, EXTINCT, added latency."""
    from tem_sim.plots.bakeoff import pareto
    from tem_sim.report.progress import steps
    from tem_sim.studies.bakeoff import bakeoff as race

    with _asked(), steps("runs", sys.stderr.isatty()) as tell:
        found = race(load_one(file, settings or []), policies, seeds, max_retries=max_retries, jobs=jobs, progress=tell)
        _answer(found, as_json, out, lambda figure: pareto(found.table, figure.add_subplot()))


@study.command()
def mitigations(
    file: File,
    seeds: Seeds = 10,
    settings: Settings = None,
    jobs: Jobs = None,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """What each mitigation would change: goodput, EXTINCT, peak, recovery and cost, in pairs with none."""
    from tem_sim.plots.mitigations import mitigation_effects
    from tem_sim.report.progress import steps
    from tem_sim.studies.mitigations import mitigations as bench

    with _asked(), steps("runs", sys.stderr.isatty()) as tell:
        found = bench(load_one(file, settings or []), seeds, jobs=jobs, progress=tell)
        _answer(found, as_json, out, lambda figure: mitigation_effects(found.table, figure))


@study.command()
def metastability(
    file: File,
    load: Annotated[
        list[float] | None, typer.Option(min=0.01, metavar="SHARE", help="Load / capacity; give it several times.")
    ] = None,
    length: Lengths = None,
    seeds: Seeds = 10,
    settings: Settings = None,
    jobs: Jobs = None,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Where an outage that is over leaves the system down: P(collapse) over outage length and load."""
    from tem_sim.plots.metastability import collapse_map
    from tem_sim.report.progress import steps
    from tem_sim.scenario.quantities import argument, positive_duration_s
    from tem_sim.studies.metastability import LOADS, OUTAGES_S
    from tem_sim.studies.metastability import metastability as mapped

    with _asked(), steps("runs", sys.stderr.isatty()) as tell:
        lengths = [argument(positive_duration_s, "--length", one) for one in length] if length else OUTAGES_S
        found = mapped(load_one(file, settings or []), load or LOADS, lengths, seeds, jobs=jobs, progress=tell)
        _answer(found, as_json, out, lambda figure: collapse_map(found.table, figure.add_subplot()))


@study.command("stale-reads")
def stale_reads(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="A scenario whose settings count instead.", show_default=False),
    ] = None,
    guard: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A write guard; give it several times. All if left out.")
    ] = None,
    isolation: Annotated[
        list[str] | None,
        typer.Option(metavar="LEVEL", help="An isolation level; give it several times. All if left out."),
    ] = None,
    calls: Annotated[
        list[float] | None,
        typer.Option(min=0.01, metavar="LEASES", help="The mean length of a call in leases; give it several times."),
    ] = None,
    seeds: Seeds = 20,
    settings: Settings = None,
    jobs: Jobs = None,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """What each write guard lets happen to rows that several workers hold, and its cost; whether `refresh` suffices."""
    from tem_sim.hunt.written import short_text
    from tem_sim.plots.stale_reads import guards_compared
    from tem_sim.report.progress import steps
    from tem_sim.studies.stale_reads import CALLS, GUARDS, ISOLATIONS
    from tem_sim.studies.stale_reads import stale_reads as compared

    with _asked(), steps("runs", sys.stderr.isatty()) as tell:
        base = None if file is None else load_one(file, settings or [])
        levels, lengths = isolation or ISOLATIONS, calls or CALLS
        found = compared(base, guard or GUARDS, levels, lengths, seeds, jobs=jobs, progress=tell)
        _answer(found, as_json, out, lambda figure: guards_compared(found.table, figure))
        if found.readable is None:
            return
        if not as_json:
            write("\n" + "\n".join(found.readable.lines) + "\n")
        if out is not None:
            about = (f"Event {found.readable.event_id}, {found.readable.harm}:", *found.readable.lines)
            text = "".join(f"# {line}\n" for line in about) + short_text(found.readable.scenario)
            (out / "readable.yaml").write_text(text, encoding="utf-8")


# --- what they share


@contextmanager
def _asked() -> Iterator[None]:
    """Tell what the user can mend, a value that a study refuses above all, and exit with 2."""
    with usage_errors():
        try:
            yield
        except ValueError as error:
            complain(f"study: {error}")
            raise typer.Exit(USAGE) from None


def _answer(result: Result, as_json: bool, out: Path | None = None, draw: Draw | None = None) -> None:
    """Print a result, and save its table and figure where that is asked for."""
    from tem_sim.report.document import result_document
    from tem_sim.report.findings import finding_blocks
    from tem_sim.report.screen import show

    if as_json:
        write_json(result_document(result))
    else:
        show(finding_blocks(result))
    if out is not None and draw is not None:
        from tem_sim.plots.files import save_figure

        out.mkdir(parents=True, exist_ok=True)
        result.table.to_csv(out / "table.csv", index=False)
        save_figure(draw, out / "figure.png")
        if not as_json:
            write(f"\nsaved   {out / 'table.csv'} and {out / 'figure.png'}\n")
