"""`tem-sim show` and `version`: a saved run again, and the versions that runs rest on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tem_sim.cli.console import AsJson, print_facts, print_outcome, usage_errors, write, write_json


def show(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `tem-sim run` wrote.")],
    as_json: AsJson = False,
) -> None:
    """Print a saved run again.

    It is measured and checked anew. The exit code is 0 whatever the verdict.
    """
    with usage_errors():
        from tem_sim.frames import Run
        from tem_sim.report.outcome import judge

        outcome = judge(Run.load(folder))
        if as_json:
            from tem_sim.report.document import document

            write_json(document(outcome, folder))
        else:
            print_outcome(outcome, quiet=False)
            run = outcome.run
            print_facts({"seed": str(run.seed), "store": run.store, **({"digest": run.digest} if run.digest else {})})


def version(as_json: AsJson = False) -> None:
    """Print the versions that a run's behaviour rests on."""
    from tem_sim.versions import versions

    if as_json:
        from tem_sim.report.document import SCHEMA_VERSION

        found = versions()
        write_json({"schema_version": SCHEMA_VERSION, "version": found["tem_sim"], "versions": {**found}})
        return
    for name, number in versions().items():
        write(f"{name} {number}\n")
