"""A sweep's account, for people and for programs: where which faults struck, how often, and what they broke."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from tem_sim.checks.verdict import count
from tem_sim.report.document import SCHEMA_VERSION, Document
from tem_sim.versions import versions

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from tem_sim.faultsweep.journal import Row
    from tem_sim.faultsweep.sweep import FaultSweep
    from tem_sim.report.outcome import Word

_STYLES: dict[Word, str] = {"PASS": "bold green", "FAIL": "bold red", "BROKEN": "bold red"}
# What a fault's name begins with, as the table's columns.
FAMILIES = ("killed", "paused", "not done", "answer lost", "lost", "again")
MOST_NAMED = 5


def sentence(made: FaultSweep) -> str:
    """Return the verdict in one line."""
    places = len({(row.variant, *row.places) for row in made.singles})
    landed = sum(row.landed for row in made.singles)
    did = f"{count(len(made.singles), 'run')} with one fault at {count(places, 'place')}, {landed:,} landed"
    if made.at:
        did += f" (only {', '.join(made.at)})"
    return f"{made.word} {made.scenario.name}: {did}{_paired(made)}; {_found(made)}"


def _paired(made: FaultSweep) -> str:
    if not made.asked:
        return ""
    landed = sum(row.landed for row in made.pairs)
    of = f" of about {made.possible_pairs:,}" if made.possible_pairs else ""
    return f"; {count(len(made.pairs), 'pair')}{of}, so incomplete, both landed in {landed:,}"


def _found(made: FaultSweep) -> str:
    failing = Counter(name for row in made.failing for name in made.unmeant(row))
    if failing:
        return "broken: " + ", ".join(f"{name} in {count(times, 'run')}" for name, times in failing.most_common())
    doubts = {"never landed": len(made.missed), "could not be judged": len(made.undecided)}
    told = ", ".join(f"{count(number, 'run')} {what}" for what, number in doubts.items() if number)
    return f"nothing broken{', ' if told else ''}{told}"


def account(made: FaultSweep) -> Iterator[RenderableType]:
    """Yield the verdict, the table by place and fault, and what is broken."""
    line = Text(sentence(made))
    line.stylize(_STYLES.get(made.word, "bold yellow"), 0, len(made.word))
    yield line
    yield ""
    yield _by_place(made, made.singles)
    if made.pairs:
        yield ""
        yield "the second of two faults, by its place"
        yield _by_place(made, made.pairs)
    yield ""
    yield _seen(made)
    yield from _listed("broken", made, made.failing)
    yield from _listed("never landed", made, made.missed)
    yield from _listed("not judged", made, made.undecided)


def _seen(made: FaultSweep) -> str:
    """Say which of the things that should happen sometimes did in how many runs, and which in none."""
    hit = ", ".join(f"{name} {runs:,}" for name, runs in made.seen.items() if runs)
    never = ", ".join(name for name, runs in made.seen.items() if not runs)
    return f"seen in runs: {hit or 'nothing'}; never: {never or 'nothing'}"


def _by_place(made: FaultSweep, rows: Sequence[Row]) -> Table:
    """Return how many runs had a fault of each family at each place, and how many of them broke something."""
    runs: Counter[tuple[str, str]] = Counter()
    broken: Counter[tuple[str, str]] = Counter()
    checks: dict[str, Counter[str]] = {}
    for row in rows:
        at = row.places[-1], family(row.faults[-1])
        runs[at] += row.landed
        broken[at] += bool(made.unmeant(row))
        checks.setdefault(at[0], Counter()).update(list(made.unmeant(row)))
    families = [name for name in FAMILIES if any(key[1] == name for key in runs)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("landed at", no_wrap=True)
    for name in families:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("broken")
    for place in dict.fromkeys(sorted(checks)):
        cells = [_cell(runs[place, name], broken[place, name], (place, name) in runs) for name in families]
        table.add_row(place, *cells, ", ".join(f"{name} × {n}" for name, n in checks[place].most_common()))
    return table


def _cell(runs: int, broken: int, asked: bool) -> str:
    if not asked:
        return "·"
    return f"{broken} of {runs} ✘" if broken else str(runs)


def family(fault: str) -> str:
    """Return the family of a fault by its name."""
    return next((name for name in FAMILIES if fault.startswith(name)), fault)


def _listed(what: str, made: FaultSweep, rows: Sequence[Row]) -> Iterator[RenderableType]:
    for row in rows[:MOST_NAMED]:
        found = made.unmeant(row) or row.unknown
        why = "; ".join(f"{name}: {detail}" for name, detail in found.items())
        yield ""
        yield f"{what}: {row.variant}, {told(row)}" + (f": {why}" if why else "")
    if len(rows) > MOST_NAMED:
        yield f"… {what}: {len(rows) - MOST_NAMED:,} more; --json has them all"


def told(row: Row) -> str:
    """Say what was inflicted in a run."""
    each = [f"{fault} at {place}" for fault, place in zip(row.faults, row.places, strict=True)]
    return ", then ".join(each) or "without a fault"


def table(made: FaultSweep) -> pd.DataFrame:
    """Return a row per run: variant, places, faults, landed, broken, unknown, digest, end_s, seconds."""
    import pandas as pd

    rows = [
        {
            "variant": row.variant,
            "places": ", then ".join(row.places),
            "faults": ", then ".join(row.faults),
            "landed": row.landed,
            "broken": ", ".join(row.broken),
            "unknown": ", ".join(row.unknown),
            "digest": row.digest,
            "end_s": row.end_s,
            "seconds": row.seconds,
        }
        for row in made.rows
    ]
    return pd.DataFrame(rows)


# --- for programs


def sweep_document(made: FaultSweep, journal: Path | None, written: dict[str, Path]) -> Document:
    """Return a sweep as JSON; `written` are the scenario files of what is broken, by the keys of their runs."""
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": made.scenario.name,
        "verdict": made.word,
        "seed": made.seed,
        "at": [*made.at],
        "spent_s": round(made.spent_s, 3),
        "resumed": made.resumed,
        "journal": None if journal is None else str(journal),
        "singles": {"runs": len(made.singles), "landed": sum(row.landed for row in made.singles)},
        "pairs": {
            "asked": made.asked,
            "runs": len(made.pairs),
            "landed": sum(row.landed for row in made.pairs),
            "possible": made.possible_pairs or None,
            "complete": False,
        },
        "seen": {**made.seen},
        "failing": [_plain(row, written) for row in made.failing],
        "missed": [_plain(row, written) for row in made.missed],
        "undecided": [_plain(row, written) for row in made.undecided],
        "runs": [_plain(row, written) for row in made.rows],
        "versions": {**versions()},
    }


def _plain(row: Row, written: dict[str, Path]) -> Document:
    plain = asdict(row)
    for name in ("places", "faults", "inflicted"):
        plain[name] = list(plain[name])
    return {**plain, "file": str(written[row.key]) if row.key in written else None}
