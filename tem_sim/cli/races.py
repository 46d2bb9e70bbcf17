"""`tem-sim races`: all interleavings of the pipeline's own functions, two at a time, on real connections."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tem_sim.cli.console import AsJson, refuse_all, usage_errors, write, write_json

if TYPE_CHECKING:
    from tem_sim.races.races import Cell
    from tem_sim.races.yields import Yield
    from tem_sim.report.document import Document

T = TypeVar("T")


def races(
    pair: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A race, such as settle-rescue. [default: all]")
    ] = None,
    guard: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A write_guard, such as refresh. [default: all]")
    ] = None,
    isolation: Annotated[
        list[str] | None,
        typer.Option(metavar="LEVEL", help="read_committed, snapshot or serializable. [default: all]"),
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="A store, such as postgresql+psycopg://… [default: SQLite in memory]"),
    ] = None,
    schedules: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The most that a search runs before it is incomplete. [default: 1000]"),
    ] = None,
    unreduced: Annotated[
        bool, typer.Option("--unreduced", help="Also run schedules that differ in the order of independent steps.")
    ] = False,
    show: Annotated[
        str | None,
        typer.Option(metavar="INVARIANT", help="Show the shortest schedule that breaks it; `any` for all of them."),
    ] = None,
    replay: Annotated[
        str | None,
        typer.Option(metavar="STEPS", help="Instead, play one schedule of one race: 2:worker-2/0,5:worker-1/0."),
    ] = None,
    yields: Annotated[
        bool, typer.Option("--yields", help="Instead, measure what each strategy finds on races known to break.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run every interleaving of pairs of tasks, under each write guard and isolation level; say what broke.

    A schedule is a sequence of statements and commits. Those that differ only in the order of independent steps are
    run once. Exit codes: 1 when the default write guard breaks something, 4 when the search of it is not complete.
    """
    with usage_errors():
        asked = {"--guard": guard, "--isolation": isolation, "--show": show, "--unreduced": unreduced or None}
        if yields:
            _ignored("--yields", asked | {"--replay": replay, "a second --store": (store or [])[1:] or None})
            _measure(pair, store, schedules, as_json)
            return
        if replay is not None:
            _ignored("--replay", {name: asked[name] for name in ("--show", "--unreduced")} | {"--schedules": schedules})
            _replay(pair, guard, isolation, store, replay, as_json)
            return
        if show is not None and show != "any":
            _known_invariant(show)
        found, code = _search(pair, guard, isolation, store, schedules, unreduced, as_json)
        if show is not None and not as_json:
            _show(found, store or _STORES, show)
    raise typer.Exit(code)


_STORES = ["sqlite://"]


def _ignored(mode: str, given: Mapping[str, object]) -> None:
    """Refuse options that were given, not None, and that mean nothing to a mode."""
    told = [name for name, value in given.items() if value is not None]
    refuse_all([f"races: {mode} has no use for {', '.join(told)}"] if told else [])


def _search(
    pair: Sequence[str] | None,
    guard: Sequence[str] | None,
    isolation: Sequence[str] | None,
    store: Sequence[str] | None,
    schedules: int | None,
    unreduced: bool,
    as_json: bool,
) -> tuple[list[Cell], int]:
    from tem_sim.pipeline.isolation_level import IsolationLevel
    from tem_sim.pipeline.settings import WriteGuard
    from tem_sim.races.account import EXIT_CODES, account, races_document, verdict
    from tem_sim.races.pairs import RACES
    from tem_sim.races.races import SCHEDULES, cells
    from tem_sim.report.screen import show as show_on_screen

    pairs = _known("--pair", pair, list(RACES), str)
    guards = _known("--guard", guard, list(map(str, WriteGuard)), WriteGuard)
    levels = _known("--isolation", isolation, list(map(str, IsolationLevel)), IsolationLevel)
    with _line(sys.stderr.isatty()) as tell:
        found = cells(
            pairs,
            guards,
            levels,
            store or _STORES,
            schedules=schedules or SCHEDULES,
            reduce=not unreduced,
            tell=tell,
        )
    if as_json:
        write_json(races_document(found))
    else:
        show_on_screen(account(found))
    return found, EXIT_CODES[verdict(found)]


def _known(option: str, given: Sequence[str] | None, names: Sequence[str], make: Callable[[str], T]) -> list[T] | None:
    """Return what was given to an option, each made; refuse what is none of these names."""
    strangers = [name for name in given or () if name not in names]
    refuse_all([f"races: {option}: {name}: not one of {', '.join(names)}" for name in strangers])
    return [make(name) for name in given] if given else None


def _replay(
    pair: Sequence[str] | None,
    guard: Sequence[str] | None,
    isolation: Sequence[str] | None,
    store: Sequence[str] | None,
    steps: str,
    as_json: bool,
) -> None:
    from tem_sim.pipeline.isolation_level import IsolationLevel
    from tem_sim.pipeline.settings import WriteGuard
    from tem_sim.races.pairs import RACES
    from tem_sim.races.races import DEFAULT_GUARD
    from tem_sim.races.shown import replayed

    pairs = _known("--pair", pair, list(RACES), str) or []
    guards = _known("--guard", guard, list(map(str, WriteGuard)), WriteGuard) or [DEFAULT_GUARD]
    levels = _known("--isolation", isolation, list(map(str, IsolationLevel)), IsolationLevel)
    levels = levels or [IsolationLevel.READ_COMMITTED]
    if [len(one) for one in (pairs, guards, levels, store or _STORES)] != [1, 1, 1, 1]:
        refuse_all(["races: --replay plays one schedule; give one --pair, and one of each other option at most"])
    threads = list(RACES[pairs[0]].threads)
    try:
        deviations = {int(step): name for step, _, name in (part.partition(":") for part in steps.split(",") if part)}
    except ValueError:
        deviations = {0: steps}
    if any(step < 1 or name not in threads for step, name in deviations.items()):
        refuse_all([f"races: --replay: {steps}: give STEP:THREAD,… with the threads {', '.join(threads)}"])
    made = replayed(pairs[0], guards[0], levels[0], (store or _STORES)[0], deviations)
    if as_json:
        write_json(made.document())
    else:
        write("".join(f"{line}\n" for line in made.lines()))


def _known_invariant(name: str) -> None:
    from tem_sim.races.judge import INVARIANTS

    _known("--show", [name], list(INVARIANTS), str)


def _show(found: Iterable[Cell], stores: Sequence[str], invariant: str) -> None:
    from tem_sim.races.shown import shown

    for cell in found:
        url = next(url for url in stores if url.startswith(cell.store))
        for lines in shown(cell, url, None if invariant == "any" else invariant):
            write("\n" + "".join(f"{line}\n" for line in lines))


def _measure(pair: Sequence[str] | None, store: Sequence[str] | None, schedules: int | None, as_json: bool) -> None:
    from tem_sim.races.shown import yield_table
    from tem_sim.races.yields import KNOWN
    from tem_sim.races.yields import yields as measured
    from tem_sim.report.document import SCHEMA_VERSION
    from tem_sim.report.screen import show as show_on_screen

    pairs = _known("--pair", pair, [known.pair for known in KNOWN], str)
    known = [one for one in KNOWN if pairs is None or one.pair in pairs]
    made = list(measured(known, schedules=schedules or 1000, store=(store or _STORES)[0]))
    if as_json:
        write_json({"schema_version": SCHEMA_VERSION, "yields": [_plain(one) for one in made]})
    else:
        show_on_screen([yield_table(made)])


def _plain(one: Yield) -> Document:
    return {
        "pair": one.known.pair,
        "guard": str(one.known.guard),
        "invariant": one.known.invariant,
        "strategy": one.strategy,
        "schedules": one.schedules,
        "all": one.all_of_them,
        "first": one.first,
        "broken": one.broken,
        "outcomes": one.outcomes,
    }


@contextmanager
def _line(shown: bool) -> Iterator[Callable[[Cell], object]]:
    """Show on one line how far the search is, and yield what moves it."""
    if not shown:
        yield lambda cell: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from tem_sim.report.screen import console_for

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console_for(sys.stderr), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("racing")

        def tell(cell: Cell) -> None:
            words = shlex.join([cell.pair, cell.guard, cell.store, cell.isolation])
            bar.update(task, description=f"{words}: {cell.broken:,} of {cell.schedules:,} schedules broke something")

        yield tell
