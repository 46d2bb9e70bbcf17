"""One measurement in a process of its own, printed as JSON: `python -m benchmarks.cell NAME [N]`.

So no measurement pays for the heap, the caches or the peak memory that another one left behind. The imports are done
before the clock starts, except for what a run imports only when it needs it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable

from benchmarks.measure import Measurement


def _storm(n: int) -> Iterable[Measurement]:
    from benchmarks import storm

    return storm.measure(storm.storm(n))


def _crowded(n: int) -> Iterable[Measurement]:
    from benchmarks import storm

    return storm.measure(storm.crowded(n))


def _raw(n: int) -> Iterable[Measurement]:
    from benchmarks import raw_sqlite

    return [raw_sqlite.measure(n)]


def _ciw(n: int) -> Iterable[Measurement]:
    from benchmarks import peers

    return peers.measure_ciw(n)


def _simpy(n: int) -> Iterable[Measurement]:
    from benchmarks import peers

    return [peers.measure_simpy(n)]


def _orm(n: int) -> Iterable[Measurement]:
    from benchmarks import naive_orm

    return [naive_orm.measure(n)]


def _orm2(n: int) -> Iterable[Measurement]:
    from benchmarks import naive_orm

    return [naive_orm.measure(n, two_commits=True)]


def _jitter(n: int) -> Iterable[Measurement]:
    from benchmarks import jitter

    return [jitter.measure_study(n)]


def _jitter_loop(n: int) -> Iterable[Measurement]:
    from benchmarks import jitter

    return [jitter.measure_loop(n)]


CELLS: dict[str, Callable[[int], Iterable[Measurement]]] = {
    "storm": _storm,
    "crowded": _crowded,
    "raw": _raw,
    "ciw": _ciw,
    "simpy": _simpy,
    "orm": _orm,
    "orm2": _orm2,
    "jitter": _jitter,
    "jitter_loop": _jitter_loop,
}


def main() -> None:
    """Measure and print."""
    name, n = sys.argv[1], int(sys.argv[2])
    print(json.dumps([measurement.to_json() for measurement in CELLS[name](n)]))


if __name__ == "__main__":
    main()
