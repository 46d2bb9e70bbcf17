"""What `make bench` runs: the storm against its peers, as ratios from interleaved rounds of one run.

Each measurement has a process of its own (see `benchmarks.cell`) and counts CPU time, user and system, which suffers
less than wall time from whoever else uses the machine; everything measured is one thread that waits for nothing. A
round measures everything once, one after the other; a ratio is taken within a round. The exit code is 0 whatever the
figures say: a benchmark reports, and the reader judges.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence

from benchmarks import host
from benchmarks.figures import Figure, Round, over, rate_per_s, ratio
from benchmarks.measure import Measurement
from benchmarks.processes import ROOT, measured, wall_s, whole_run

STORM = ROOT / "scenarios" / "retry_storm.yaml"
EVENTS, MANY_EVENTS = 10_000, 100_000
QUICK_EVENTS, QUICK_MANY = 2_000, 10_000


def say(text: str) -> None:
    """Tell on stderr how far it is."""
    print(text, file=sys.stderr, flush=True)


# --- the storm and its peers


def one_round(events: int, orm_events: int) -> dict[str, Measurement]:
    """Measure everything once. The peers serve as many customers as the storm made attempts."""
    found = {entry.name: entry for entry in measured("storm", events)}
    attempts = found["storm"].count
    for cell, n in (("ciw", attempts), ("simpy", attempts), ("raw", events), ("orm", orm_events), ("orm2", orm_events)):
        found |= {entry.name: entry for entry in measured(cell, n)}
    return found


def storm_figures(rounds: Sequence[Round]) -> list[Figure]:
    """Return the rates, and the ratios that have targets."""
    storm, frames, ciw, simpy = ["storm"], ["storm", "frames"], ["ciw"], ["simpy"]

    def line(name: str, value: Callable[[Round], float], unit: str = "×", target: float | None = None) -> Figure:
        return Figure(name, unit, over(rounds, value), target)

    return [
        line("storm: attempts per CPU second", rate_per_s("storm"), "/s"),
        line("storm with its frames read out", rate_per_s(*frames), "/s"),
        line("Ciw, M/M/64: customers per CPU second", rate_per_s("ciw"), "/s"),
        line("Ciw with its records read out", rate_per_s("ciw", "ciw records"), "/s"),
        line("bare SimPy, M/M/64", rate_per_s("simpy"), "/s"),
        line("raw sqlite3, the storm's statements", rate_per_s("raw sqlite3"), "/s"),
        line("naive ORM, one commit per attempt", rate_per_s("orm"), "/s"),
        line("naive ORM, PROCESSING committed first", rate_per_s("orm, two commits"), "/s"),
        line("storm / Ciw", ratio(storm, ciw), target=1.0),
        line("storm with frames / Ciw with records", ratio(frames, ["ciw", "ciw records"])),
        line("storm / bare SimPy", ratio(storm, simpy), target=0.4),
        line("storm / raw sqlite3", ratio(storm, ["raw sqlite3"])),
        line("raw sqlite3 / Ciw (the storm's ceiling)", ratio(["raw sqlite3"], ciw)),
        line("storm / naive ORM", ratio(storm, ["orm"]), target=20.0),
        line("storm / naive ORM, two commits", ratio(storm, ["orm, two commits"])),
    ]


# --- scaling and memory


def scaling_figures(few: int, many: int, times: int) -> list[Figure]:
    """Return the cost per attempt at many events over that at few, and the peak memory at many."""
    from benchmarks.storm import overrides
    from tem_sim.scenario.loader import load

    pairs = []
    for number in range(times):
        say(f"scaling {number + 1}/{times}: {few:,} and {many:,} events")
        pairs.append((measured("storm", few), measured("storm", many)))
    cost = tuple(large[0].us_each / small[0].us_each for small, large in pairs)
    more = tuple(large[0].more["amplification"] / small[0].more["amplification"] for small, large in pairs)
    say(f"tem-sim run with {many:,} events")
    whole = whole_run(STORM, overrides(load(STORM), many))
    say(f"the shipped storm with {many:,} events and its 64 slots")
    crowded = measured("crowded", many)
    peaks = tuple(large[1].peak_mb for _, large in pairs)
    return [
        Figure(f"cost per attempt, {many:,} / {few:,} events", "×", cost, 1.3, at_least=False),
        Figure("amplification, the same two", "×", more),
        Figure(f"peak memory, {many:,} events, run", "MB", tuple(large[0].peak_mb for _, large in pairs)),
        Figure("peak memory, run and frames", "MB", peaks, 400.0, at_least=False),
        Figure("peak memory, run and frames, 64 slots", "MB", (crowded[1].peak_mb,), 400.0, at_least=False),
        Figure("amplification of that", "×", (crowded[0].more["amplification"],)),
        Figure("peak memory, whole `tem-sim run` with plots", "MB", (whole.peak_mb,)),
        Figure("wall time of that", "s", (whole.wall_s,)),
    ]


# --- jitter


def jitter_figures(rows: int, times: int) -> list[Figure]:
    """Return what the jitter study of so many rows takes, against a loop over a fiftieth of them."""
    rounds = []
    for number in range(times):
        say(f"jitter {number + 1}/{times}: {rows:,} rows")
        rounds.append(
            {
                entry.name: entry
                for cell, n in (("jitter", rows), ("jitter_loop", rows // 50))
                for entry in measured(cell, n)
            }
        )
    study = [held["jitter"] for held in rounds]
    return [
        Figure(
            f"jitter study, {rows:,} rows × 5 × 6, CPU", "s", tuple(one.cpu_s for one in study), 10.0, at_least=False
        ),
        Figure("wall time of that, shared machine", "s", tuple(one.wall_s for one in study)),
        Figure("peak memory of that", "MB", tuple(one.peak_mb for one in study)),
        Figure("retries per CPU second, three seeds", "/s", over(rounds, rate_per_s("jitter"))),
        Figure("a loop over rows and retries", "/s", over(rounds, rate_per_s("jitter loop"))),
        Figure("jitter study / loop", "×", over(rounds, ratio(["jitter"], ["jitter loop"]))),
    ]


# --- the command line


def startup_figures(times: int) -> list[Figure]:
    """Return the wall time of `tem-sim --help`, and of the least it could take: the best of several, interleaved."""
    commands = {
        "python -c pass": ("-c", "pass"),
        'python -c "import typer"': ("-c", "import typer"),
        "tem-sim --help": ("-m", "tem_sim", "--help"),
    }
    walls: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(times):
        for name, words in commands.items():
            walls[name].append(wall_s((sys.executable, *words)))
    best = {name: min(times_s) for name, times_s in walls.items()}
    return [
        Figure(f"{name}, best of {times}", "s", (best[name],), 0.4 if "help" in name else None, at_least=False)
        for name in commands
    ]


# --- printing


def print_table(figures: Sequence[Figure]) -> None:
    """Print the figures in columns."""
    rows = [("", "median", "min to max", "target", ""), *(figure.row() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for name, *cells in rows:
        cells = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        print("  ".join((name.ljust(widths[0]), *cells)).rstrip())


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default 5; quick: 2)")
    parser.add_argument("--quick", action="store_true", help="a fifth of the events, few rounds: a look, no result")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    rounds_wanted = options.rounds or (2 if options.quick else 5)
    events, many = (QUICK_EVENTS, QUICK_MANY) if options.quick else (EVENTS, MANY_EVENTS)
    rounds = []
    for number in range(rounds_wanted):
        say(f"round {number + 1}/{rounds_wanted}: {events:,} events")
        rounds.append(one_round(events, 200 if options.quick else 1_000))
    figures = storm_figures(rounds)
    figures += scaling_figures(events, many, 1 if options.quick else 2)
    figures += jitter_figures(100_000 if options.quick else 1_000_000, 1 if options.quick else 3)
    figures += startup_figures(3 if options.quick else 10)
    about = host.described() | {"events": str(events), "attempts": str(rounds[0]["storm"].count)}
    if options.json:
        print(json.dumps({"host": about, "figures": [figure.to_json() for figure in figures]}, indent=2))
        return
    print(", ".join(f"{name}: {value}" for name, value in about.items()))
    print_table(figures)


if __name__ == "__main__":
    main()
