"""`tem-sim validate-model`: the simulator against queueing theory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tem_sim.cli.console import FALSE, OK, AsJson, usage_errors, write, write_json

if TYPE_CHECKING:
    from tem_sim.studies.validation import Validation


def validate_model(
    quick: Annotated[
        bool, typer.Option("--quick", help="Three points and few events, as in CI, instead of the whole grid.")
    ] = False,
    jobs: Annotated[int | None, typer.Option(min=1, metavar="N", help="Processes. [default: one per core]")] = None,
    full_table: Annotated[
        bool, typer.Option("--table", help="Print every number, not only a line per measure.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Hold the simulator against queueing theory: M/M/c with retries; exit with 1 where it does not agree."""
    from tem_sim.report.document import result_document
    from tem_sim.studies.validation import FULL, QUICK
    from tem_sim.studies.validation import validate_model as validate

    with usage_errors():
        found = validate(QUICK if quick else FULL, jobs=jobs, progress=_count if sys.stderr.isatty() else None)
        if as_json:
            write_json(result_document(found) | {"passed": found.passed})
        else:
            write(_text(found, full_table))
    raise typer.Exit(OK if found.passed else FALSE)


def _count(done: int, total: int) -> None:
    typer.echo(f"\r{done} of {total} runs" + ("\n" if done == total else ""), err=True, nl=False)


def _text(found: Validation, full_table: bool) -> str:
    table = (found.table if full_table else found.summary).to_string(index=False, float_format="{:.4g}".format)
    return "\n".join([found.title, "", found.verdict, "", table, "", *(f"· {note}" for note in found.notes), ""])
