"""A hunt's account, for people and for programs: what was found and where it is, and what was covered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from tem_sim.checks.verdict import count
from tem_sim.hunt.coverage import Coverage, steps_of
from tem_sim.hunt.kinds import at_edges, edges, searched
from tem_sim.report.document import SCHEMA_VERSION, Document
from tem_sim.scenario.arrivals import Burst
from tem_sim.versions import versions

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tem_sim.hunt.hunt import Finding, Hunt, Word
    from tem_sim.scenario.models import Scenario

_STYLES: dict[Word, str] = {
    "CLEAN": "bold green",
    "FOUND": "bold red",
    "INCONCLUSIVE": "bold yellow",
    "INTERRUPTED": "bold yellow",
}


def account(made: Hunt) -> Iterator[RenderableType]:
    """Yield the verdict, the finding, and what was covered."""
    line = Text(made.sentence())
    line.stylize(_STYLES[made.word], 0, len(made.word))
    yield line
    if made.finding is not None:
        yield from _finding(made.finding)
        yield ""
        yield f"covered: {made.coverage.sentence(made.scenario)}"
    yield ""
    yield _by_step(made.coverage, made.scenario)
    yield ""
    yield _by_edge(made.coverage, made.scenario)


def _finding(found: Finding) -> Iterator[RenderableType]:
    scenario = found.scenario
    faults, events = found.last
    of = f", of {count(found.first[0], 'fault')} and {count(found.first[1], 'event')} at first"
    ended = "" if found.complete else "; shrunk as far as the budget allowed"
    yield f"  {count(faults, 'fault')} and {count(events, 'event')}{of}; seed {scenario.seed}{ended}"
    for process in scenario.arrivals:
        number = f"{count(process.events, 'event')} at" if isinstance(process, Burst) else f"{process.kind} from"
        yield f"  {number} {process.start_s:g} s"
    for fault in scenario.faults:
        yield f"  {fault.describe()}"
    for limit in found.limits:
        yield f"  {limit}"


def _by_step(covered: Coverage, scenario: Scenario) -> Table:
    """Return how many tries had rows take each step while a fault of each kind was on."""
    steps = steps_of(scenario)
    table = _table("fault", "asked", "landed", *steps)
    for kind in (kind for kind in searched(scenario) if covered.asked[kind]):
        numbers = [covered.asked[kind], covered.landed[kind], *(covered.steps[kind, step] for step in steps)]
        table.add_row(kind, *map(_number, numbers))
    return table


def _by_edge(covered: Coverage, scenario: Scenario) -> Table:
    """Return how often each kind that was asked for lay in wait at each edge of the code, and how often it struck."""
    kinds = [kind for kind in at_edges(searched(scenario)) if covered.asked[kind]]
    table = _table("at edge", *kinds)
    for edge in edges(scenario):
        cells = [f"{covered.edges[kind, edge]:,} of {covered.waits[kind, edge]:,}" for kind in kinds]
        table.add_row(edge, *cells)
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first, no_wrap=True)
    for other in others:
        table.add_column(other, justify="right", no_wrap=True)
    return table


def _number(number: int) -> str:
    return f"{number:,}" if number else "·"


# --- for programs


def hunt_document(made: Hunt, file: Path | None) -> Document:
    """Return a hunt as JSON; `finding` is null where there is none."""
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": made.scenario.name,
        "verdict": made.word,
        "goal": str(made.goal),
        "seed": made.seed,
        "budget_s": made.budget_s,
        "spent_s": round(made.spent_s, 3),
        "finding": None if made.finding is None else _finding_document(made.finding, file),
        "coverage": _coverage_document(made.coverage, made.scenario),
        "versions": {**versions()},
    }


def _finding_document(found: Finding, file: Path | None) -> Document:
    return {
        "name": found.violation.name,
        "detail": found.violation.detail,
        "file": None if file is None else str(file),
        "digest": found.digest,
        "seed": found.scenario.seed,
        "faults": found.last[0],
        "events": found.last[1],
        "at_try": found.at_try,
        "shrink_tries": found.shrink_tries,
        "shrunk_completely": found.complete,
        "limits": [*found.limits],
    }


def _coverage_document(covered: Coverage, scenario: Scenario) -> Document:
    reached, there_are = covered.reached(scenario)
    kinds = searched(scenario)
    return {
        "tries": covered.tries,
        "without_a_fault": covered.faultless,
        "combinations": there_are,
        "reached": reached,
        "kinds": {kind: {"asked": covered.asked[kind], "landed": covered.landed[kind]} for kind in kinds},
        "steps": {kind: {step: covered.steps[kind, step] for step in steps_of(scenario)} for kind in kinds},
        "edges": {
            kind: {
                edge: {"asked": covered.waits[kind, edge], "landed": covered.edges[kind, edge]}
                for edge in edges(scenario)
            }
            for kind in at_edges(kinds)
        },
    }
