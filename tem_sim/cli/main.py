"""The command line: every command there is, and what wraps them all.

A command reads options, calls the rooms that decide, and turns what they say into text and exit codes. Nothing heavy is
imported until a command needs it, so that `--help` answers at once. Results go to stdout, progress and errors to
stderr. Exit codes: 0 fine; 1 a check is false, a threshold broken, or a violation that the scenario is meant to show is
missing; 2 wrong usage, file or store; 3 the simulation itself broke; 4 inconclusive; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from tem_sim.cli.baseline import baseline, check
from tem_sim.cli.compare import compare
from tem_sim.cli.console import BROKE, complain, mend_streams, write
from tem_sim.cli.hunt import hunt
from tem_sim.cli.live import live
from tem_sim.cli.policies import policies
from tem_sim.cli.races import races
from tem_sim.cli.report import report
from tem_sim.cli.run import run
from tem_sim.cli.scenarios import init, schema, validate
from tem_sim.cli.show import show, version
from tem_sim.cli.studies import study
from tem_sim.cli.sweep import sweep
from tem_sim.cli.sweep_faults import sweep_faults
from tem_sim.cli.validate_model import validate_model

EXITS = (
    "Exit codes: 0 fine, 1 a check is false, a threshold is broken, something got worse or an expected violation is "
    "missing, 2 wrong usage, file or store, 3 the simulation broke, 4 inconclusive, 130 interrupted."
)

app = typer.Typer(
    name="tem-sim",
    help="Simulate and chaos-test an event pipeline's real retry code before you ship its retry policy.",
    epilog=EXITS,
    no_args_is_help=True,
    add_completion=False,
    # Plain text: errors can be read by programs, long options are not squeezed into boxes, and rich need not be loaded.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


# In the order in which `--help` lists them.
COMMANDS = (
    run,
    sweep,
    sweep_faults,
    hunt,
    races,
    check,
    compare,
    validate,
    show,
    report,
    schema,
    init,
    policies,
    validate_model,
    version,
)


def main() -> None:
    """Run the command line and exit."""
    mend_streams()
    try:
        app()
    except Exception as error:
        if os.environ.get("TEM_SIM_TRACEBACK"):
            raise
        complain(f"tem-sim broke: {type(error).__name__}: {error}\nSet TEM_SIM_TRACEBACK=1 to see where.")
        sys.exit(BROKE)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version as version_of

        write(f"tem-sim {version_of('tem-sim')}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


for _command in COMMANDS:
    app.command()(_command)
app.add_typer(study)
app.add_typer(baseline)
app.add_typer(live)
