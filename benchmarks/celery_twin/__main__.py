"""Celery's own retry against the database state machine, under the same faults: `python -m benchmarks.celery_twin`.

Every run has a process of its own, a Redis of its own and all other parts of a live system, which end with it. A whole
measurement writes the table of docs/celery_twin.md anew; whether what the page says around it still holds is for
whoever measures to check. It takes about half an hour, most of which is waiting.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.celery_twin import page
from benchmarks.celery_twin.cells import Cells
from benchmarks.celery_twin.outcome import Outcome
from benchmarks.celery_twin.schedule import Faults
from benchmarks.celery_twin.variants import VARIANTS

EVENTS, QUICK_EVENTS = 500, 100
REPETITIONS = 3


def say(text: str) -> None:
    """Tell on stderr how far it is."""
    print(text, file=sys.stderr, flush=True)


def outcomes(
    started: Cells, variants: Sequence[str], events: int, repetitions: int, jobs: int, faults: Faults
) -> list[Outcome]:
    """Run every variant once per repetition, which is also the seed; `jobs` at the same time."""
    plays = [(variant, seed) for seed in range(1, repetitions + 1) for variant in variants]

    def one(play: tuple[str, int]) -> Outcome:
        began = time.monotonic()
        done = started.run(play[0], events, play[1], faults)
        say(f"{play[0]}, seed {play[1]}: {time.monotonic() - began:.0f} s, {done.lost} lost, {done.doubled} doubled")
        return done

    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(one, play) for play in plays]
        try:
            return [future.result() for future in waiting]
        except BaseException:
            # The pool waits for what runs: that ends now, and the rest never begins.
            pool.shutdown(wait=False, cancel_futures=True)
            started.close()
            raise


def main() -> None:
    """Run, print, and write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.celery_twin", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--events", type=int, help=f"events per run (default {EVENTS}; quick: {QUICK_EVENTS})")
    parser.add_argument("--repetitions", type=int, help=f"runs per variant (default {REPETITIONS}; quick: 1)")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), help="these variants only; writes no page")
    parser.add_argument(
        "--faults", choices=list(Faults), default=Faults.ALL, help="what goes wrong; less than all writes no page"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--keep-logs", type=Path, metavar="FOLDER", help="keep the logs of all processes there")
    parser.add_argument("--quick", action="store_true", help="few events, one run each, no wait for a timeout; no page")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table; no page")
    options = parser.parse_args()
    chosen = options.only or [name for name in VARIANTS if not (options.quick and "short" in name)]
    events = options.events or (QUICK_EVENTS if options.quick else EVENTS)
    repetitions = options.repetitions or (1 if options.quick else REPETITIONS)
    about = page.measured_with(events, repetitions, options.jobs)
    with Cells(options.keep_logs) as started:
        found = outcomes(started, chosen, events, repetitions, options.jobs, Faults(options.faults))
    if options.json:
        print(json.dumps({"host": about, "outcomes": [one.to_json() for one in found]}, indent=2))
        return
    print(page.text(found, about))
    if not (options.quick or options.only) and options.faults == Faults.ALL:
        page.write(found, about)


if __name__ == "__main__":
    main()
