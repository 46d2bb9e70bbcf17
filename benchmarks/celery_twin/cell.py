"""One run of one variant in a process of its own, printed as JSON.

It stops, and takes all that it has started with it, once its standard input ends: when whoever has started it is gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from benchmarks.celery_twin.outcome import Outcome, Seen, judged
from benchmarks.celery_twin.schedule import Faults, scenario
from benchmarks.celery_twin.variants import VARIANTS, Variant
from tem_sim.scenario.models import Scenario


def measure(variant: Variant, events: int, seed: int, faults: Faults, logs: Path | None) -> Outcome:
    """Run a variant and return what became of its events; logs are kept in the folder, if there is one."""
    play = scenario(events, seed, durable=variant.durable, faults=faults)
    began = time.monotonic()
    seen = _run(variant, play, logs)
    return judged(seen, play, variant=variant.name, wall_s=time.monotonic() - began)


def _run(variant: Variant, play: Scenario, logs: Path | None) -> Seen:
    if variant.design == "ours":
        from benchmarks.celery_twin import ours

        return ours.run(play, logs)
    from benchmarks.celery_twin import twin

    return twin.run(play, variant.visibility_timeout_s, logs)


def _stop_when_alone() -> None:
    # Not through sys.stdin, whose lock this thread would still hold at the interpreter's end.
    while os.read(0, 1):
        continue
    os.kill(os.getpid(), signal.SIGINT)


def main() -> None:
    """Run and print."""
    name, events, seed, faults, *logs = sys.argv[1:]
    # Ignored, where a shell has started the benchmark in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_stop_when_alone, daemon=True).start()
    kept = Path(logs[0]) / f"{name}-{seed}" if logs else None
    outcome = measure(VARIANTS[name], int(events), int(seed), Faults(faults), kept)
    print(json.dumps(outcome.to_json()))


if __name__ == "__main__":
    main()
