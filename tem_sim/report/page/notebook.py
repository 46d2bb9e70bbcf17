"""The notebook behind a page: short calls on saved runs, in the order in which the page shows what they return.

The page is made by running it, so what stands on the page can be had by anyone who opens the notebook, changed or not.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tem_sim.report.page.conformed import heads, of_both_modes

if TYPE_CHECKING:
    from nbformat import NotebookNode

# Where the runs lay on the machine that made the page is none of the page's business: equal runs make equal pages.
PRIVATE = "private"
# By this key a notebook of ours is known from any other.
MARK = "tem_sim_report"

_IMPORTS = """\
from tem_sim.report.page.assumptions import assumptions, glossary
from tem_sim.report.page.checks import checks
from tem_sim.report.page.comparison import comparison
from tem_sim.report.page.conformed import conformed, timelines
from tem_sim.report.page.figures import figure, overlay
from tem_sim.report.page.provenance import provenance
from tem_sim.report.page.runs import load_runs
from tem_sim.report.page.tables import latencies, recoveries
from tem_sim.report.page.verdict import verdict
from tem_sim.report.page.worst import worst"""


class Section(NamedTuple):
    """A part of the page: its heading, how to read it, and the calls whose results it shows."""

    name: str
    title: str
    about: str
    calls: tuple[str, ...]
    only_several: bool = False
    only_both_modes: bool = False


SECTIONS: tuple[Section, ...] = (
    Section(
        "provenance",
        "Provenance",
        "What was run, and how to run it again.",
        ("provenance(runs)",),
    ),
    Section(
        "storm",
        "Storm timeline",
        "How hard the retries hit, and where the rows stood meanwhile. The time of each fault is shaded.",
        (
            'figure("attempts_per_second", runs)',
            'figure("rows_by_state", runs)',
            'figure("goodput", runs)',
        ),
    ),
    Section(
        "amplification",
        "Amplification and drain",
        "How many attempts each event cost, and how long it took to get over each fault.",
        (
            'figure("amplification", runs)',
            'figure("attempts_histogram", runs)',
            'figure("backlog_age", runs)',
            "recoveries(runs)",
        ),
    ),
    Section(
        "latency",
        "Latency tails",
        "How long events took, from their submit. The tail is where users wait; more attempts take longer.",
        (
            'figure("latency_ecdf", runs)',
            'figure("latency_tails", runs)',
            "latencies(runs)",
            'figure("time_in_state", runs)',
            'figure("scheduler_lag", runs)',
        ),
    ),
    Section(
        "comparison",
        "Policy comparison",
        "What differs between the runs, and what each number came to.",
        (
            "comparison(runs)",
            'overlay("retries", runs)',
            'overlay("backlogs", runs)',
            'overlay("latencies", runs)',
        ),
        only_several=True,
    ),
    Section(
        "conformance",
        "Simulated against live",
        "How far the simulation is from the real thing: what it predicts of one more run, and what live runs came to.",
        ("conformed(runs)", "timelines(runs)"),
        only_several=True,
        only_both_modes=True,
    ),
    Section(
        "worst-event",
        "Timeline of the worst event",
        "One event's life, step by step: the one that tells most of what went wrong.",
        ('figure("event_timeline", runs)', "worst(runs)"),
    ),
    Section(
        "checks",
        "Checks",
        "What must hold of any run, whatever its policy. A check that finds an offence shows the rows.",
        ("checks(runs)",),
    ),
    Section(
        "assumptions",
        "Assumptions",
        "What the numbers rest on.",
        ("assumptions(runs)",),
    ),
    Section(
        "glossary",
        "Glossary",
        "The words of this page.",
        ("glossary()",),
    ),
)


def sections(several: bool, both_modes: bool = False) -> list[Section]:
    """Return the sections of a page about one run or about several, of one scenario simulated and live or not."""
    return [
        section
        for section in SECTIONS
        if (several or not section.only_several) and (both_modes or not section.only_both_modes)
    ]


def notebook(folders: Sequence[Path]) -> NotebookNode:
    """Return the notebook about the runs saved in these folders, not yet executed."""
    from nbformat import from_dict

    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    document = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "cells": list(_cells(folders)),
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}, MARK: {"schema_version": 1}},
    }
    made: NotebookNode = from_dict(document)  # type: ignore[no-untyped-call] # nbformat has no types.
    return made


def _cells(folders: Sequence[Path]) -> Iterator[dict[str, object]]:
    yield _code("imports", _IMPORTS)
    yield {**_code("runs", _loading(folders)), "metadata": {"tags": [PRIVATE]}}
    yield _code("verdict", "verdict(runs)")
    for section in sections(len(folders) > 1, of_both_modes(heads(folders))):
        yield _cell("markdown", section.name, f"## {section.title}\n\n{section.about}")
        for number, call in enumerate(section.calls, start=1):
            yield _code(f"{section.name}-{number}", call)


def _loading(folders: Sequence[Path]) -> str:
    loads = ",\n    ".join(repr(folder.as_posix()) for folder in folders)
    return f"runs = load_runs(\n    {loads},\n)\nruns"


def moved(notebook: NotebookNode, folders: Sequence[Path], to: Path) -> NotebookNode:
    """Return the notebook as it is kept in the folder `to`, from where Jupyter will look for the runs."""
    kept = copy.deepcopy(notebook)
    for cell in kept.cells:
        if cell.id == "runs":
            cell.source = _loading([Path(os.path.relpath(folder, to)) for folder in folders])
    return kept


def _code(name: str, source: str) -> dict[str, object]:
    return {**_cell("code", name, source), "execution_count": None, "outputs": []}


def _cell(kind: str, name: str, source: str) -> dict[str, object]:
    # nbformat would draw the cells' ids anew each time.
    return {"cell_type": kind, "id": name, "metadata": {}, "source": source}
