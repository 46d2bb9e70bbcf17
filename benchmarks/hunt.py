"""`python -m benchmarks.hunt`: how long a hunt takes to find what was switched off, and how small it gets.

In one process, so that its CPU time is what one core with nothing else to do would take; two share the search's rounds.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

from benchmarks.processes import ROOT
from benchmarks.run import say

# From scratch: the outage that the scenario ships with would show the stale write in the first try.
SWITCHED_OFF = {
    "write_guard: stale": ("faults=[]", "pipeline.write_guard=stale"),
    "outbox: false": ("faults=[]", "pipeline.outbox=false"),
}


def main() -> None:
    """Hunt under each seed, and print a line per hunt and one for all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="hunts of each kind")
    parser.add_argument("--scenario", default=str(ROOT / "scenarios" / "recovery_flow.yaml"))
    asked = parser.parse_args()
    for name, overrides in SWITCHED_OFF.items():
        say(f"\n{name}\nseed  try  CPU s  faults  events  found")
        cpu_s = [hunted(asked.scenario, overrides, seed) for seed in range(1, asked.seeds + 1)]
        say(f"CPU s: median {median(cpu_s):.1f}, largest {max(cpu_s):.1f}")


def hunted(file: str, overrides: tuple[str, ...], seed: int) -> float:
    """Hunt from scratch; return the CPU time that it took, its shrinking included."""
    from tem_sim.hunt.hunt import hunt
    from tem_sim.scenario.loader import load

    scenario = load(file, overrides)
    before_s = time.process_time()
    # By the CPU: what a shared machine does besides must not end the search.
    found = hunt(scenario, seed=seed, jobs=1, budget_s=3600, tries=600).finding
    spent_s = time.process_time() - before_s
    if found is None:
        say(f"{seed:4}    -  {spent_s:5.1f}  nothing found")
        return spent_s
    faults, events = found.last
    told = "; ".join([found.violation.name, *(fault.describe() for fault in found.scenario.faults)])
    say(f"{seed:4} {found.at_try:4}  {spent_s:5.1f}  {faults:6}  {events:6}  {told}")
    return spent_s


if __name__ == "__main__":
    main()
