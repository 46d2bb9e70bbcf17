"""`tem-sim live up` and `token`: a live system for as long as one wants it, and the way into it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tem_sim.cli.console import AsJson, Settings, load_one, print_facts, refuse_all, write, write_json
from tem_sim.cli.live_console import live_errors

if TYPE_CHECKING:
    from tem_sim.live.config import LiveConfig
    from tem_sim.live.ending import Told
    from tem_sim.live.status import Watcher
    from tem_sim.live.system import System
    from tem_sim.live.up import Access, Wish
    from tem_sim.report.document import Document
    from tem_sim.scenario.models import Scenario

REFRESH_S = 1.0
# Where changes are lines, counts are told no more often than this.
COUNTS_EVERY_S = 5.0

Port = Annotated[int | None, typer.Option(min=1, max=65535, metavar="N", help="[default: one that is free]")]


def up(
    scenario: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="A scenario: its pipeline, workers, scheduler, broker, handler and users. Its arrivals and faults are "
            "not played; `tem-sim live run` plays them.",
            show_default=False,
        ),
    ] = None,
    settings: Settings = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where the pipeline keeps its rows; brought to the newest schema, and kept. "
            "[default: a private SQLite file that goes when the system stops]",
        ),
    ] = None,
    redis: Annotated[
        str, typer.Option(metavar="URL", help="A Redis that runs, or `own` for one that goes when the system stops.")
    ] = "own",
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Worker processes, instead of the scenario's.")
    ] = None,
    pool: Annotated[
        Literal["prefork", "threads"], typer.Option(help="What a worker's slots are: processes, or threads.")
    ] = "prefork",
    api_port: Port = None,
    gateway_port: Port = None,
    log_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the logs there, and keep them; those of an earlier system grow."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start the whole pipeline on this machine, on loopback, until Ctrl-C.

    Prints where everything is when all of it is ready; then, on a terminal, a table of how it does, else a line on
    stderr for each change. With --json one document when it is ready. Ctrl-C or SIGTERM stops it: nothing is left but a
    store and logs that you named. Exit codes: 0 it was ready and then stopped by you, 2 wrong usage, file, store, port
    or Redis, 3 a part of it does not come up, 130 or 143 stopped before it was ready.
    """
    with live_errors():
        from tem_sim.live.ending import Told, ToldToEnd
        from tem_sim.live.up import Wish
        from tem_sim.live.up import up as live_up

        loaded = _loaded(scenario, [*(settings or []), *([] if workers is None else [f"workers.count={workers}"])])
        own_redis = redis == "own"
        wish = Wish(loaded, store, None if own_redis else redis, pool, api_port, gateway_port, log_dir)
        _tell(f"starting {loaded.name} …")
        try:
            with Told() as told, live_up(wish, told) as system:
                _greet(system, wish, as_json)
                _watch(system, told, on_terminal=sys.stdout.isatty() and not as_json)
                _tell("stopping …")
        except ToldToEnd as told_early:
            raise typer.Exit(told_early.exit_code) from None
        _tell(f"stopped; {_what_is_left(wish)}")


def token(
    user: Annotated[int | None, typer.Option(min=1, metavar="N", help="The user whose token it is.")] = None,
    operator: Annotated[
        bool,
        typer.Option("--operator", help="One that may see and replay every user's events, and submit for any user."),
    ] = False,
    valid_for: Annotated[str, typer.Option(metavar="DURATION", help="How long it holds.")] = "24h",
    config: Annotated[
        Path | None,
        typer.Option(
            envvar="TEM_SIM_LIVE",
            metavar="FILE",
            help="The running system's live.json, which `live up` names.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print a bearer token for a running system's API and sockets."""
    with live_errors():
        from tem_sim.live.tokens import MAX_USER_ID, issue
        from tem_sim.scenario.quantities import argument, positive_duration_s

        if config is None:
            refuse_all(["live token: needs the system's file; give --config FILE, or set TEM_SIM_LIVE"])
            return
        if user is None and not operator:
            refuse_all(["live token: whose? give --user N, --operator, or both"])
        if user is not None and user > MAX_USER_ID:
            refuse_all([f"--user: must be at most {MAX_USER_ID} (got {user})"])
        try:
            valid_s = argument(positive_duration_s, "--valid-for", valid_for)
        except ValueError as error:
            refuse_all([str(error)])
            raise
        write(issue(_config_in(config).secret, user_id=user, operator=operator, valid_s=valid_s) + "\n")


def _config_in(file: Path) -> LiveConfig:
    from tem_sim.live.config import LiveConfig

    try:
        return LiveConfig.load(file)
    except ValueError:
        refuse_all([f"{file}: is no live.json of a running system"])
        raise


# --- the scenario


def _loaded(file: Path | None, settings: Sequence[str]) -> Scenario:
    from tem_sim.live.up import DEFAULT
    from tem_sim.scenario.errors import ScenarioError
    from tem_sim.scenario.loader import loads

    if file is not None:
        return load_one(file, settings)
    try:
        return loads(DEFAULT, settings, file="--set")
    except ScenarioError as error:
        refuse_all(error.problems)
        raise


# --- what is said


def _tell(text: str) -> None:
    """Write a line to stderr; it goes nowhere where nobody is left to read it, and no harm is done by that."""
    from tem_sim.report.screen import discard, write

    try:
        write(f"{text}\n", sys.stderr)
    except OSError:
        # The terminal is gone.
        discard(sys.stderr)


def _greet(system: System, wish: Wish, as_json: bool) -> None:
    from tem_sim.live.up import DEMO_USER, Access

    access = Access.of(system.config, own_redis=wish.redis_url is None)
    if as_json:
        write_json(_document(system, access))
        return
    goes = " (goes when this stops)"
    write(f"{system.config.scenario.name} is up: {_workers(system)}\n")
    print_facts(
        {
            "API": access.api,
            "OpenAPI": access.openapi,
            "page": f"{access.page}  (user {DEMO_USER})",
            "gateway": access.gateway,
            "metrics": access.metrics,
            "store": access.store + (goes if wish.store_url is None else ""),
            "Redis": access.redis + (goes if wish.redis_url is None else ""),
            "logs": access.logs + (goes if wish.logs is None else ""),
            "config": access.config,
            f"user {DEMO_USER}": access.user_token,
            "operator": access.operator_token,
        }
    )
    write(f"\n{access.curl}\n\nCtrl-C stops it.\n")


def _workers(system: System) -> str:
    workers = system.config.scenario.workers
    return f"{workers.count} workers × {workers.concurrency} ({system.config.pool})"


def _document(system: System, access: Access) -> Document:
    from dataclasses import asdict

    pids: Document = {node.name: node.pid for node in system.nodes()}
    return {"scenario": system.config.scenario.name, **asdict(access), "pids": pids}


def _what_is_left(wish: Wish) -> str:
    kept = [name for name, given in (("the store", wish.store_url), ("the logs", wish.logs)) if given is not None]
    return f"{' and '.join(kept)} kept, nothing else left" if kept else "nothing is left of it"


# --- while it is up


def _watch(system: System, told: Told, on_terminal: bool) -> None:
    """Show how the system does until the process is told to end."""
    from tem_sim.live.status import Watcher

    watcher = Watcher(system)
    try:
        (_show_table if on_terminal else _tell_changes)(watcher, told)
    finally:
        watcher.close()


def _show_table(watcher: Watcher, told: Told) -> None:
    from rich.live import Live

    from tem_sim.cli.live_screen import screen
    from tem_sim.report.screen import console_for, discard

    is_told = False
    try:
        with Live(console=console_for(sys.stdout), auto_refresh=False) as shown:
            while not is_told:
                shown.update(screen(watcher.look()), refresh=True)
                is_told = told.wait(REFRESH_S)
    except OSError:
        # The terminal is gone, and with it whoever watched. Under nohup the system goes on.
        discard(sys.stdout)
    while not is_told:
        is_told = told.wait(REFRESH_S)


def _tell_changes(watcher: Watcher, told: Told) -> None:
    from tem_sim.cli.live_screen import Changes

    changes = Changes(COUNTS_EVERY_S)
    is_told = False
    while not is_told:
        for line in changes.since(watcher.look(), time.monotonic()):
            _tell(f"{time.strftime('%H:%M:%S')} {line}")
        is_told = told.wait(REFRESH_S)
