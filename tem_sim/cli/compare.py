"""`tem-sim compare`: two runs, scenarios or sweeps side by side."""

from __future__ import annotations

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
    load_all,
    refuse_all,
    usage_errors,
    write,
    write_json,
)

if TYPE_CHECKING:
    from tem_sim.analysis.result import Result


def compare(
    a: Annotated[
        Path,
        typer.Argument(metavar="A", help="A run's folder, a scenario, or a sweep's results file.", show_default=False),
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another of the same kind.", show_default=False)],
    seeds: Annotated[int, typer.Option(min=2, metavar="N", help="Of scenarios: the seeds 1 to N, for both.")] = 10,
    settings: Settings = None,
    jobs: Jobs = None,
    as_json: AsJson = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE.csv", help="Save the table there.")] = None,
) -> None:
    """How B differs from A in every metric, in pairs by seed, with intervals and what the pairing gained."""
    from tem_sim.baseline.compare import CompareError
    from tem_sim.report.document import result_document
    from tem_sim.report.findings import finding_blocks
    from tem_sim.report.screen import show

    with usage_errors():
        try:
            found = _compared(a, b, seeds, settings or [], jobs)
        except CompareError as error:
            complain(f"compare: {error}")
            raise typer.Exit(USAGE) from None
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            found.table.to_csv(out, index=False)
    if as_json:
        write_json(result_document(found))
        return
    write(f"a is {a}, b is {b}\n")
    show(finding_blocks(found))


def _compared(a: Path, b: Path, seeds: int, settings: list[str], jobs: int | None) -> Result:
    from tem_sim.baseline.compare import CompareError, compare_runs, kind_of

    kinds = (kind_of(a), kind_of(b))
    if kinds[0] != kinds[1]:
        raise CompareError(f"{a} is a {kinds[0]} and {b} is a {kinds[1]}; give two of a kind")
    if settings and kinds[0] != "scenario":
        raise CompareError(f"--set changes scenarios, and {a} is a {kinds[0]}")
    if kinds[0] == "scenario":
        return _scenarios(a, b, seeds, settings, jobs)
    if kinds[0] == "sweep":
        return _sweeps(a, b)
    from tem_sim.frames import Run

    return compare_runs(Run.load(a), Run.load(b))


def _scenarios(a: Path, b: Path, seeds: int, settings: list[str], jobs: int | None) -> Result:
    from tem_sim.baseline.compare import compare_scenarios
    from tem_sim.report.progress import steps

    loaded, problems = load_all([a, b], settings)
    refuse_all(problems)
    with steps("runs", sys.stderr.isatty()) as tell:
        return compare_scenarios(loaded[0][1], loaded[1][1], seeds, jobs=jobs, progress=tell)


def _sweeps(a: Path, b: Path) -> Result:
    from tem_sim.baseline.compare import CompareError, compare_sweeps
    from tem_sim.sweeps.results import SweepError
    from tem_sim.sweeps.sweep import Sweep

    try:
        return compare_sweeps(Sweep.load(a), Sweep.load(b))
    except SweepError as error:
        raise CompareError(str(error)) from None
