"""`tem-sim live …`: the real pipeline, on Celery, Redis, PostgreSQL or SQLite, and WebSockets."""

from __future__ import annotations

import typer

from tem_sim.cli.live_conform import calibrate, conform
from tem_sim.cli.live_run import run
from tem_sim.cli.live_up import token, up

live = typer.Typer(
    name="live",
    help="The real pipeline, on this machine: Celery, Redis, PostgreSQL or SQLite, WebSockets. Needs tem-sim[live].",
    no_args_is_help=True,
    rich_markup_mode=None,
)

for _command in (up, run, calibrate, conform, token):
    live.command()(_command)
