"""The store under simulated time, in one of two ways.

With `interleave: transaction` all sim threads share one connection. None of them is ever switched away from between
BEGIN and COMMIT, so the transactions are serial, on SQLite and PostgreSQL alike, and a transaction is one instant,
reached after the store's latency. With `interleave: statement` each has a connection of its own (`sessions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import URL, Connection, Engine, event, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, StaticPool

from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.store import Store, StoreError, make_engine, own_schema, parse_url
from tem_sim.pipeline.tables import metadata
from tem_sim.scenario.store import Store as StoreModel
from tem_sim.scenario.streams import Streams
from tem_sim.sim import row_images
from tem_sim.sim.kernel import Kernel
from tem_sim.sim.locking import LOCKING
from tem_sim.sim.pace import Latencies
from tem_sim.sim.schedules import Turnstile, strategy_of
from tem_sim.sim.sessions import StatementStore
from tem_sim.sim.watch import Txn, Watch, failure

# Where Linux keeps files in memory.
_MEMORY = Path("/dev/shm")


class SimStore(Store):
    """The pipeline's store, at the far end of a round trip that takes simulated time.

    Sleeping in SQLAlchemy's `begin` event would come too late: its listeners run in the order in which they were added,
    whatever `insert=True` says, so BEGIN would have been said before.
    """

    __slots__ = ("_held", "_kernel", "_reach", "_txn", "_watch", "transactions")

    def __init__(
        self, engine: Engine, kernel: Kernel, reach: Callable[[str], None], watch: Watch | None = None
    ) -> None:
        super().__init__(engine)
        self.transactions = 0
        self._held: Connection | None = None
        self._kernel = kernel
        self._reach = reach
        self._watch = watch
        self._txn: Txn | None = None
        if watch is not None:
            event.listen(engine, "before_cursor_execute", lambda *_: watch.forget())
            event.listen(engine, "after_cursor_execute", self._on_executed)
            watch.open_of = lambda _: self._txn

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Reach the store, then open a transaction; see `Store.begin`. The hub, which never waits, is there at once."""
        caller = self._kernel.current
        if caller is not None:
            self.transactions += 1
            self._reach(caller.node.name)
        # There is one connection only, so it need not go back to the pool in between, which costs more than a BEGIN.
        if self._held is None:
            self._held = self.engine.connect()
        if self._watch is None or caller is None:
            with self._held.begin():
                yield self._held
            return
        with self._watched(self._watch, self._held):
            yield self._held

    @contextmanager
    def _watched(self, watch: Watch, connection: Connection) -> Iterator[None]:
        txn = self._txn = watch.opened()
        watch.note("begin", txn)
        try:
            with connection.begin():
                yield
        except BaseException as error:
            if isinstance(error, DBAPIError) and error.statement is not None:
                watch.note("statement", txn, sql=error.statement, error=failure(error))
            watch.note("rollback", txn)
            raise
        finally:
            self._txn = None
        watch.committed(txn, watch.note("commit", txn))

    def _on_executed(self, _connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if self._txn is not None and self._watch is not None and not statement.startswith("BEGIN"):
            self._watch.note("statement", self._txn, sql=statement, rows=cursor.rowcount)

    def close(self) -> None:
        """Close the connection."""
        if self._held is not None:
            self._held.close()
        super().close()


class Database:
    """The run's store, and what the simulator counts in it.

    `statements`: those that the pipeline's code sent, BEGIN and COMMIT aside; one executed for many rows counts once.
    `watch` is None where nobody asked for the frames `steps` and `changes`.
    """

    store: SimStore | StatementStore

    def __init__(self, kernel: Kernel, url: str, model: StoreModel, streams: Streams) -> None:
        self.statements = 0
        self.watch = Watch(kernel) if model.watched else None
        strategy = strategy_of(model.schedule, streams)
        self.latencies = Latencies(kernel, model, streams)
        self.pace = self.latencies if strategy is None else Turnstile(kernel, strategy)
        self._kernel = kernel
        self._model = model
        self._luck = streams.stream("store-latency")
        # What the run has for itself and leaves behind for nobody: a schema, or a folder.
        self._own = ExitStack()
        parsed = parse_url(url)
        try:
            self.store = self._open(parsed)
        except DBAPIError as error:
            self._own.close()
            raise StoreError(f"store: cannot use {parsed!r}: {str(error.orig).strip()}") from error
        event.listen(self.store.engine, "before_cursor_execute", self._on_statement)

    def _open(self, url: URL) -> SimStore | StatementStore:
        inside = self._own_place(url)
        store = self._statement_store(inside) if self._model.interleave == "statement" else self._serial_store(inside)
        if url.get_backend_name() == "sqlite" and set(inspect(store.engine).get_table_names()) & set(metadata.tables):
            store.close()
            raise StoreError(f"store: {url!r} holds a pipeline's tables already; give a new file")
        store.create_tables()
        if self.watch is not None:
            row_images.install(store.reader if isinstance(store, StatementStore) else store.engine)
        return store

    def _serial_store(self, url: URL) -> SimStore:
        engine = make_engine(url, poolclass=StaticPool)
        self._listen(engine)
        return SimStore(engine, self._kernel, self._reach, self.watch)

    def _statement_store(self, url: URL) -> StatementStore:
        impatient = LOCKING[url.get_backend_name()].connect(url)
        engine = make_engine(impatient, poolclass=NullPool, isolation=self._model.isolation)
        reader = make_engine(url, poolclass=NullPool, isolation=IsolationLevel.READ_COMMITTED)
        self._listen(engine)
        # What SQLAlchemy asks a server once, it asks now.
        engine.connect().close()
        return StatementStore(engine, self._kernel, self.watch or Watch(self._kernel), self.pace, reader, self._model)

    def _listen(self, engine: Engine) -> None:
        if self.watch is not None:
            row_images.listen(engine, self.watch.saw)

    def _reach(self, node: str) -> None:
        """Let the calling thread, of that node, take the time of a transaction that is one instant."""
        self.latencies.spend(node, self._model.latency_s.quantile(self._luck.random()))

    def _own_place(self, url: URL) -> URL:
        """Return where the run's tables are: a schema, or a file that goes with the run, so that it touches no other's.

        Several connections cannot share a database in memory as they would a file: they would lock whole tables.
        """
        if url.get_backend_name() == "postgresql":
            # What a crash of the server would lose, the run has no use for.
            return self._own.enter_context(own_schema(url, "-csynchronous_commit=off"))
        if self._model.interleave == "statement" and url.database in (None, "", ":memory:"):
            folder = TemporaryDirectory(prefix="tem-sim-", dir=_MEMORY if _MEMORY.is_dir() else None)
            return url.set(database=f"{self._own.enter_context(folder)}/run.db")
        return url

    def _on_statement(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        # SQLite's driver is told to begin, and so locks; PostgreSQL's begins by itself, and is told to lock.
        if self._kernel.current is not None and not statement.startswith(("BEGIN", "SELECT pg_advisory_xact_lock")):
            self.statements += 1

    @property
    def schedule(self) -> dict[int, str]:
        """At which steps another thread went on than by default, so far; empty where latencies decide."""
        return dict(self.pace.deviations) if isinstance(self.pace, Turnstile) else {}

    def close(self) -> None:
        """Close the connections and drop what the run had for itself."""
        self.store.close()
        self._own.close()
