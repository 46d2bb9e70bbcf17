"""The isolation report for people and for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from tem_sim.pipeline.settings import WriteGuard
from tem_sim.races.judge import INVARIANTS
from tem_sim.races.races import DEFAULT_GUARD, Cell, divergences
from tem_sim.report.document import SCHEMA_VERSION, Document
from tem_sim.versions import versions

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLES = {"FINE": "bold green", "BROKEN": "bold red", "INCONCLUSIVE": "bold yellow", "NOT ASKED": "bold"}
EXIT_CODES = {"FINE": 0, "BROKEN": 1, "INCONCLUSIVE": 4, "NOT ASKED": 0}


def verdict(cells: Sequence[Cell]) -> str:
    """Return what the schedules say of the pipeline as it is by default: FINE, BROKEN, INCONCLUSIVE or NOT ASKED."""
    default = [cell for cell in cells if cell.is_default]
    if not default:
        return "NOT ASKED"
    if any(cell.broken for cell in default):
        return "BROKEN"
    return "FINE" if all(cell.certified for cell in default) else "INCONCLUSIVE"


def sentence(cells: Sequence[Cell]) -> str:
    """Return the verdict in words."""
    default = [cell for cell in cells if cell.is_default]
    word = verdict(cells)
    if word == "BROKEN":
        pairs = list(dict.fromkeys(cell.pair for cell in default if cell.broken))
        return f"BROKEN  write_guard {DEFAULT_GUARD}, the default, does not stand {', '.join(pairs)}"
    if word == "NOT ASKED":
        return f"NOT ASKED  nothing here is about the pipeline with write_guard {DEFAULT_GUARD}, the default"
    if word == "INCONCLUSIVE":
        open_ = list(dict.fromkeys(cell.pair for cell in default if not cell.certified))
        return f"INCONCLUSIVE  too many schedules of {', '.join(open_)}; give more with --schedules"
    total = f"{sum(cell.schedules for cell in default):,} schedules"
    some = list(dict.fromkeys(cell.pair for cell in default if not cell.complete))
    if some:
        bound = min(cell.bound for cell in default if cell.bound is not None)
        within = f"of {', '.join(some)} all with at most {bound} deviations, and not all there are"
        return f"FINE  write_guard {DEFAULT_GUARD}, the default, stands {total}; {within}"
    return f"FINE  write_guard {DEFAULT_GUARD}, the default, stands all of {total}"


def account(cells: Sequence[Cell]) -> Iterator[RenderableType]:
    """Yield the verdict, a table of what broke where, each guard's sum, and where the stores differ."""
    line = Text(sentence(cells))
    line.stylize(_STYLES[verdict(cells)], 0, len(verdict(cells)))
    yield line
    yield ""
    yield _matrix(cells)
    yield ""
    yield _legend(cells)
    yield from _what_broke(cells)
    yield from _by_guard(cells)
    yield from _apart(cells)


def _legend(cells: Sequence[Cell]) -> str:
    words = ["schedules that broke something, of all there are up to the order of independent steps"]
    bounds = sorted({cell.bound for cell in cells if cell.bound is not None})
    words += [f"(≤ {bound}): of some, among them all with at most {bound} deviations" for bound in bounds]
    words += ["?: of some, and nobody knows of the others"] if any(not cell.certified for cell in cells) else []
    return "; ".join(words)


def _matrix(cells: Sequence[Cell]) -> Table:
    heads = list(dict.fromkeys((cell.store, cell.isolation) for cell in cells))
    table = _table("race", "guard", *(f"{store} {isolation}" for store, isolation in heads))
    rows: defaultdict[tuple[str, str], dict[tuple[str, str], Cell]] = defaultdict(dict)
    for cell in cells:
        rows[cell.pair, cell.guard][cell.store, cell.isolation] = cell
    for (pair, guard), found in rows.items():
        table.add_row(pair, guard, *(_numbers(found[head]) if head in found else "" for head in heads))
    return table


def _numbers(cell: Cell) -> Text:
    within = "" if cell.complete else f" (≤ {cell.bound})" if cell.bound is not None else " ?"
    text = f"{cell.broken:,} of {cell.schedules:,}{within}"
    return Text(text, style="red" if cell.broken else "" if cell.certified else "yellow")


def _what_broke(cells: Sequence[Cell]) -> Iterator[RenderableType]:
    broken = [cell for cell in cells if cell.broken or cell.failed]
    if not broken:
        return
    yield ""
    table = _table("race", "guard", "store", "isolation", "what broke", right=0)
    for cell in broken:
        words = [f"{name} {times:,}" for name, times in cell.broke.items()]
        words += [f"task fails with {name} {times:,}" for name, times in cell.failed.items()]
        table.add_row(cell.pair, cell.guard, cell.store, cell.isolation, ", ".join(words))
    yield table
    yield ""
    for name in dict.fromkeys(name for cell in broken for name in cell.broke):
        yield f"{name}: {INVARIANTS[name]}"


def _by_guard(cells: Sequence[Cell]) -> Iterator[RenderableType]:
    guards = [str(guard) for guard in WriteGuard if any(cell.guard == guard for cell in cells)]
    if not guards:
        return
    yield ""
    table = _table("guard", "races broken", "schedules broken")
    for guard in guards:
        own = [cell for cell in cells if cell.guard == guard]
        races = {cell.pair for cell in own}, {cell.pair for cell in own if cell.broken}
        broken, total = sum(cell.broken for cell in own), sum(cell.schedules for cell in own)
        table.add_row(guard, f"{len(races[1])} of {len(races[0])}", f"{broken:,} of {total:,}")
    yield table


def _apart(cells: Sequence[Cell]) -> Iterator[RenderableType]:
    if len({cell.store for cell in cells}) < 2:
        return
    yield ""
    table = _table("race", "guard", "isolation", "broken only on", right=0)
    for one, _, only in divergences(cells):
        words = ", ".join(f"{name} ({store})" for name, store in only.items())
        table.add_row(one.pair, one.guard, one.isolation, words)
    yield table if table.row_count else "the stores do not differ in what broke"


def _table(first: str, *others: str, right: int | None = None) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first, no_wrap=True)
    for other in others:
        is_text = right == 0 or other in ("guard",)
        table.add_column(other, justify="left" if is_text else "right", no_wrap=True)
    return table


# --- for programs


def races_document(cells: Sequence[Cell]) -> Document:
    """Return the report as JSON; `shortest` are schedules to be replayed, step to thread."""
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": verdict(cells),
        "cells": [_cell_document(cell) for cell in cells],
        "divergences": [
            {"pair": one.pair, "guard": one.guard, "isolation": one.isolation, "only_on": {**only}}
            for one, _, only in divergences(cells)
        ],
        "versions": {**versions()},
    }


def _cell_document(cell: Cell) -> Document:
    return {
        "pair": cell.pair,
        "guard": cell.guard,
        "isolation": cell.isolation,
        "store": cell.store,
        "schedules": cell.schedules,
        "complete": cell.complete,
        "all_within_deviations": cell.bound,
        "broken": cell.broken,
        "broke": {**cell.broke},
        "failed": {**cell.failed},
        "outcomes": cell.outcomes,
        "shortest": {
            name: {str(step): thread for step, thread in schedule.items()} for name, schedule in cell.shortest.items()
        },
    }
