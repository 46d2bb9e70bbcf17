"""`python -m benchmarks.studies`: what studies of many runs take, against the times that they were promised in.

The promises hold for two cores with nothing else to do. On a shared machine the wall time says how much others did, so
the CPU time of all processes, divided by two, stands beside it. Interpreters that start are counted, too.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable

from benchmarks import host
from benchmarks.figures import Figure
from benchmarks.processes import ROOT
from benchmarks.run import print_table, say

CORES = 2
# The delays of the original system, 10, 20, 40 s and so on, over the shipped storm of 10 000 events.
ORIGINAL = ("pipeline.backoff.base=10s",)


def jitters(seeds: int, events: int, overrides: tuple[str, ...] = ()) -> None:
    """Compare five jitters over a storm."""
    from tem_sim.scenario.loader import load
    from tem_sim.studies.comparison import compare_jitters

    storm = load(ROOT / "scenarios" / "retry_storm.yaml", [f"arrivals.events={events}", *overrides])
    compare_jitters(storm, seeds=seeds, jobs=CORES, progress=_told)


def collapse_map(seeds: int) -> None:
    """Map P(collapse) over six loads and six outages."""
    from tem_sim.scenario.loader import load
    from tem_sim.studies.metastability import metastability

    metastability(load(ROOT / "scenarios" / "metastable.yaml"), seeds=seeds, jobs=CORES, progress=_told)


def bakeoff(seeds: int) -> None:
    """Run every preset over an outage under a steady load."""
    from tem_sim.scenario.loader import load
    from tem_sim.studies.bakeoff import bakeoff as race

    race(load(ROOT / "scenarios" / "recovery_flow.yaml"), seeds=seeds, jobs=CORES, progress=_told)


def timed(name: str, study: Callable[[], None], target_s: float | None) -> list[Figure]:
    """Run a study; return its wall time, and its CPU time per core."""
    from joblib.externals.loky import get_reusable_executor

    say(f"\n{name}")
    wall_s, cpu_s = time.perf_counter(), _cpu_s()
    study()
    wall_s = time.perf_counter() - wall_s
    # The time of processes counts once they have ended.
    get_reusable_executor().shutdown(wait=True)
    cpu_s = _cpu_s() - cpu_s
    return [
        Figure(f"{name}, wall", "s", (wall_s,), target_s, at_least=False),
        Figure(f"{name}, CPU / {CORES} cores", "s", (cpu_s / CORES,), target_s, at_least=False),
    ]


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _told(done: int, total: int) -> None:
    print(f"\r{done}/{total}", end="", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("names", nargs="*", help="what to measure; all if left out: jitters, shipped, map, bakeoff")
    parser.add_argument("--seeds", type=int, default=10, help="replications (default 10, for which the targets are)")
    parser.add_argument("--events", type=int, default=10_000, help="events of the storm (default 10 000)")
    options = parser.parse_args()
    seeds, events = options.seeds, options.events
    what = f"{seeds} seeds × {events:,} events"
    full = (seeds, events) == (10, 10_000)
    studies: dict[str, tuple[str, Callable[[], None], float | None]] = {
        "jitters": (f"5 jitters × {what}", lambda: jitters(seeds, events, ORIGINAL), 60.0 if full else None),
        "shipped": ("the same, delays from 2 s", lambda: jitters(seeds, events), None),
        "map": (f"metastability 6 × 6 × {seeds}", lambda: collapse_map(seeds), 300.0 if seeds == 10 else None),
        "bakeoff": (f"bake-off, 33 policies × {seeds} seeds", lambda: bakeoff(seeds), None),
    }
    figures = [line for name in options.names or studies for line in timed(*studies[name])]
    print(", ".join(f"{name}: {value}" for name, value in host.described().items()))
    print_table(figures)


if __name__ == "__main__":
    main()
