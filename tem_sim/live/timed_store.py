"""A store that tells how long the database takes: what the simulator's latencies are calibrated with."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, event

from tem_sim.pipeline.store import Store

if TYPE_CHECKING:
    from tem_sim.live.logs import Log

TELL_EVERY_S = 1.0
# Of each second at most so many durations are told; the count is of all.
KEPT = 40


class TimedStore(Store):
    """Logs `store_time`: about each second how many transactions, statements and commits there were, and how long.

    Each line has `what` (transaction, statement or commit), `n`, `total_s` and `durations_s`, of the first so many. A
    transaction's duration is from before its connection is had until it is over; of one that raised, too.
    """

    def __init__(self, engine: Engine, log: Log) -> None:
        super().__init__(engine)
        self._times = {what: _Times(what, log) for what in ("transaction", "statement", "commit")}
        _time_statements(engine, self._times["statement"])

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction that commits at the end of the block and rolls back when the block raises."""
        began = time.perf_counter()
        done: float | None = None
        try:
            with super().begin() as connection:
                yield connection
                done = time.perf_counter()
        finally:
            over = time.perf_counter()
            if done is not None:
                self._times["commit"].add(over - done)
            self._times["transaction"].add(over - began)


class _Times:
    """What took how long since the last line, which is written a while after the first that it tells of."""

    def __init__(self, what: str, log: Log) -> None:
        self._what = what
        self._log = log
        self._lock = threading.Lock()
        self._count = 0
        self._total_s = 0.0
        self._kept: list[float] = []

    def add(self, duration_s: float) -> None:
        with self._lock:
            self._count += 1
            self._total_s += duration_s
            if len(self._kept) < KEPT:
                self._kept.append(round(duration_s, 6))
            if self._count > 1:
                return
        # Not with the next one: who has nothing more to do would never tell of what it did.
        timer = threading.Timer(TELL_EVERY_S, self._tell)
        timer.daemon = True
        # A process that is about to end starts no more threads.
        with suppress(RuntimeError):
            timer.start()

    def _tell(self) -> None:
        with self._lock:
            about = {"what": self._what, "n": self._count, "total_s": round(self._total_s, 6)}
            kept, self._kept = self._kept, []
            self._count, self._total_s = 0, 0.0
        self._log.note("store_time", **about, durations_s=kept)


def _time_statements(engine: Engine, times: _Times) -> None:
    began = threading.local()

    def before(*_: Any) -> None:
        began.at = time.perf_counter()

    def after(*_: Any) -> None:
        times.add(time.perf_counter() - began.at)

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
