"""Threads that hammer a few rows in transactions taken apart, and what each of them did: the core under contention."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from tem_sim.pipeline import lifecycle
from tem_sim.pipeline.conflicts import rerun_on_conflict
from tem_sim.pipeline.lifecycle import Submission
from tem_sim.pipeline.tables import processing_state
from tem_sim.scenario.store import Store as StoreModel
from tem_sim.scenario.streams import Streams
from tem_sim.sim.database import Database
from tem_sim.sim.kernel import Kernel, SimThread
from tem_sim.sim.sessions import StatementStore
from tem_sim.sim.watch import Watch

row = processing_state.c


@dataclass
class Bench:
    """A kernel, a database with some rows, and threads that the test starts on nodes of its own."""

    kernel: Kernel
    store: StatementStore
    watch: Watch
    raised: Counter[str] = field(default_factory=Counter)

    def start(self, node: str, body: Callable[[], object], name: str = "t") -> SimThread:
        """Start a thread; what the database raises to it is counted."""

        def run() -> None:
            try:
                body()
            except DBAPIError as error:
                self.raised[type(error.orig).__name__] += 1

        return self.kernel.node(node).spawn(name, run)

    def add(self, connection: Any, event_id: int) -> int:
        """Raise a row's version by 1."""
        changed = update(processing_state).where(row.event_id == event_id).values(version=row.version + 1)
        count: int = connection.execute(changed).rowcount
        return count

    def read(self, connection: Any, event_id: int) -> int:
        """Read a row's version."""
        version: int = connection.execute(select(row.version).where(row.event_id == event_id)).scalar_one()
        return version

    def versions(self) -> list[int]:
        """Read all versions, outside of any thread."""
        with self.store.begin() as connection:
            return list(connection.execute(select(row.version).order_by(row.event_id)).scalars())

    def steps(self, **wanted: Any) -> list[Any]:
        """Return the steps whose columns have these values, as (t_s, thread, kind, sql, rows, waited_s, error)."""
        names = ("step", "t_s", "clock_s", "actor", "thread", "kind", "label", "sql", "rows")
        names += ("event_id", "txn", "waited_s", "error")
        found = (dict(zip(names, step, strict=True)) for step in self.watch.steps)
        return [step for step in found if all(step[name] == value for name, value in wanted.items())]


@contextmanager
def bench(url: str, *, seed: int = 1, rows: int = 4, **store: Any) -> Iterator[Bench]:
    """Open a database for `interleave: statement` with rows 1 to `rows`; constant latencies unless given."""
    latencies = {"statement_latency": "1ms", "commit_latency": "1ms", "connect_latency": "2ms"}
    model = StoreModel.model_validate({"interleave": "statement", **latencies, **store})
    kernel = Kernel()
    database = Database(kernel, url, model, Streams(seed))
    kernel.watch = database.watch
    assert isinstance(database.store, StatementStore)
    assert database.watch is not None
    try:
        submissions = [Submission(n, f"event-{n}", 1, "normal", {}) for n in range(1, rows + 1)]
        at = Bench(kernel, database.store, database.watch)
        at.start("setup", lambda: lifecycle.submit(at.store, submissions, now=0.0, actor="test"))
        kernel.run(1.0)
        at.watch.steps.clear()
        at.watch.changes.clear()
        yield at
    finally:
        kernel.close()
        database.close()


class Hammered(NamedTuple):
    """What came of it: a digest of all that happened, what was refused, writes that stand, and transactions."""

    digest: str
    refused: Counter[str]
    written: int
    committed: int


def hammered(url: str, isolation: str, seed: int) -> Hammered:
    """Let 8 threads read and write 4 rows in orders by chance, in 6 transactions of two writes each."""
    exponential = {"kind": "exponential", "mean": "1ms"}
    with bench(url, seed=seed, isolation=isolation, statement_latency=exponential, commit_latency=exponential) as at:
        for number in range(8):
            luck = Streams(seed).stream("hammer", number)
            at.start(f"node-{number % 4}", lambda luck=luck: _hammer(at, luck), f"t{number}")
        at.kernel.run(60.0)
        versions = at.versions()
        refused = Counter(str(step["error"]) for step in at.steps() if step["error"])
        everything = repr((at.watch.steps, at.watch.changes, versions, sorted(at.raised.items())))
        committed = len(at.steps(kind="commit", error=""))
    # Each row began with 1.
    return Hammered(hashlib.sha256(everything.encode()).hexdigest(), refused, sum(versions) - 4, committed)


def _hammer(at: Bench, luck: Any) -> None:
    @rerun_on_conflict
    def transaction(first: int, second: int) -> None:
        with at.store.begin() as connection:
            at.read(connection, first)
            at.add(connection, first)
            at.add(connection, second)

    for _ in range(6):
        first = 1 + int(luck.random() * 4)
        # Where it has lost five times it goes on with its next.
        with suppress(DBAPIError):
            transaction(first, 1 + (first + int(luck.random() * 3)) % 4)
