"""The table of a comparison, and the part of docs/celery_twin.md that is written from it."""

from __future__ import annotations

import datetime
import re
import statistics
import subprocess
from collections.abc import Callable, Sequence

from benchmarks import host
from benchmarks.celery_twin.outcome import Outcome
from benchmarks.celery_twin.variants import VARIANTS
from benchmarks.processes import ROOT

PAGE = ROOT / "docs" / "celery_twin.md"
BEGIN, END = "<!-- measured by python -m benchmarks.celery_twin -->\n", "<!-- measured until here -->\n"
PACKAGES = ("celery", "kombu", "redis", "sqlalchemy", "websockets")

COLUMNS: dict[str, Callable[[Outcome], float]] = {
    "accepted": lambda one: one.accepted,
    "lost": lambda one: one.lost,
    "of these never begun": lambda one: one.lost_untried,
    "in flight at the end": lambda one: one.in_flight,
    "done twice": lambda one: one.doubled,
    "will be done again": lambda one: one.doubles_to_come,
    "done, user not told": lambda one: one.untold,
    "told twice": lambda one: one.told_twice,
    "given up": lambda one: one.given_up,
    "settled after": lambda one: one.settled_after_s,
}


def measured_with(events: int, repetitions: int, jobs: int) -> dict[str, str]:
    """Return what the figures were measured on and with."""
    said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v=(\S+)", said)
    return {
        "events": str(events),
        "runs of each variant": str(repetitions),
        "at the same time": str(jobs),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **host.described(PACKAGES),
        "redis-server": found.group(1) if found else said.strip(),
    }


def text(outcomes: Sequence[Outcome], about: dict[str, str]) -> str:
    """Return the table in Markdown: of each variant the median of its runs, with the lowest and the highest."""
    names = [name for name in VARIANTS if any(one.variant == name for one in outcomes)]
    rows = [["variant", *COLUMNS], ["---", *["---:"] * len(COLUMNS)]]
    for name in names:
        runs = [one for one in outcomes if one.variant == name]
        rows.append([VARIANTS[name].about, *(_cell([value(run) for run in runs]) for value in COLUMNS.values())])
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"{table}\n\n{', '.join(f'{name} {value}' for name, value in about.items())}.\n"


def _cell(values: Sequence[float]) -> str:
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:g}" if low == high else f"{middle:g} ({low:g} to {high:g})"


def write(outcomes: Sequence[Outcome], about: dict[str, str]) -> None:
    """Write the measured part of the page anew."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{text(outcomes, about)}\n{END}{after}", encoding="utf-8")
