"""Where the cost of an attempt goes: `python -m benchmarks.profile_storm [--events N] [--top N]`.

Three runs of one storm: as it is, for the total; recorded and said again to sqlite3 alone, for the SQL by kind of
statement; under cProfile, for the Python by function. A profiler inflates whatever makes many small calls, so the third
ranks functions and the first two say what they cost.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import re
import sqlite3
import time
from collections import defaultdict
from dataclasses import dataclass

from benchmarks import raw_sqlite, storm


@dataclass(slots=True)
class Spent:
    """What one kind of statement took."""

    calls: int = 0
    rows: int = 0
    wall_s: float = 0.0


def kind_of(sql: str) -> str:
    """Name a statement by its verb, its table and, where several share those, by what tells them apart."""
    words = re.sub(r"\s+", " ", sql).strip()
    found = re.match(
        r"(INSERT INTO|UPDATE(?: OR FAIL)?|SELECT .*? FROM|BEGIN IMMEDIATE|COMMIT|ROLLBACK)(?: (\w+))?", words
    )
    if found is None:
        return words[:40]
    verb, table = found.group(1).split()[0], found.group(2) or ""
    causes = re.findall(r"cause='?(\w+|\?)", words)
    where = "where " + words.split(" WHERE ")[1][:34] if " WHERE " in words and not causes else ""
    return " ".join((verb, table, *(f"cause={cause}" for cause in causes), where)).strip()


def said_again(trace: list[raw_sqlite.Step], connection: sqlite3.Connection) -> dict[str, Spent]:
    """Replay a trace and time each step of it."""
    spent: defaultdict[str, Spent] = defaultdict(Spent)
    kinds = {sql: kind_of(sql) for sql in {step.sql for step in trace}}
    for step in trace:
        start = time.perf_counter()
        raw_sqlite.replay(connection, [step])
        entry = spent[kinds[step.sql]]
        entry.wall_s += time.perf_counter() - start
        entry.calls += 1
        entry.rows += len(step.values) if step.many else 1
    return dict(spent)


def print_statements(events: int) -> None:
    """Print the SQL side."""
    trace, attempts = raw_sqlite.record(events)
    spent = said_again(trace, raw_sqlite.connect())
    total = sum(entry.wall_s for entry in spent.values())
    print(f"\nSQL alone, said again to sqlite3: {total / attempts * 1e6:.1f} µs per attempt")
    print(f"{'µs/attempt':>11} {'calls':>7} {'rows':>7}  statement")
    for kind, entry in sorted(spent.items(), key=lambda item: -item[1].wall_s):
        print(f"{entry.wall_s / attempts * 1e6:11.2f} {entry.calls:7} {entry.rows:7}  {kind}")


def print_functions(events: int, top: int) -> None:
    """Print the Python side, by time in the function itself."""
    from tem_sim.sim.world import World

    world = World(storm.storm(events), storm.SEED, "sqlite://")
    profiler = cProfile.Profile()
    profiler.runcall(world.run)
    world.close()
    print("\nPython under cProfile, by time in the function itself")
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(top)


def main() -> None:
    """Print all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=storm.EVENTS)
    parser.add_argument("--top", type=int, default=25)
    options = parser.parse_args()
    running, reading = storm.measure(storm.storm(options.events))
    for name, what in (("run", running), ("frames", reading)):
        print(f"{name:>7}: {what.us_each:.1f} µs CPU per attempt, {what.count / what.cpu_s:,.0f} attempts/s")
    print_statements(options.events)
    print_functions(options.events, options.top)


if __name__ == "__main__":
    main()
