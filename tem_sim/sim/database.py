"""The store under simulated time: a transaction is one instant, reached after the store's latency.

With `interleave: transaction` all sim threads share one connection. None of them is ever switched away from between
BEGIN and COMMIT, so the transactions are serial, on SQLite and PostgreSQL alike. What takes time is the way there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from sqlalchemy import URL, Connection, Engine, event, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from tem_sim.pipeline.store import Store, StoreError, make_engine, parse_url
from tem_sim.pipeline.tables import metadata
from tem_sim.sim.kernel import Kernel


class SimStore(Store):
    """The pipeline's store, at the far end of a round trip that takes simulated time.

    Sleeping in SQLAlchemy's `begin` event would come too late: its listeners run in the order in which they were added,
    whatever `insert=True` says, so BEGIN would have been said before.
    """

    __slots__ = ("_held", "_kernel", "_latency_s", "transactions")

    def __init__(self, engine: Engine, kernel: Kernel, latency_s: Callable[[], float]) -> None:
        super().__init__(engine)
        self.transactions = 0
        self._held: Connection | None = None
        self._kernel = kernel
        self._latency_s = latency_s

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Reach the store, then open a transaction; see `Store.begin`. The hub, which never waits, is there at once."""
        if self._kernel.current is not None:
            self.transactions += 1
            self._kernel.sleep(self._latency_s())
        # There is one connection only, so it need not go back to the pool in between, which costs more than a BEGIN.
        if self._held is None:
            self._held = self.engine.connect()
        with self._held.begin():
            yield self._held

    def close(self) -> None:
        """Close the connection."""
        if self._held is not None:
            self._held.close()
        super().close()


class Database:
    """The run's store, and what the simulator counts in it.

    `statements`: those that the pipeline's code sent, BEGIN and COMMIT aside; one executed for many rows counts once.
    """

    def __init__(self, kernel: Kernel, url: str, latency_s: Callable[[], float]) -> None:
        self.statements = 0
        self._kernel = kernel
        self._latency_s = latency_s
        self._admin: Engine | None = None
        self._schema = ""
        parsed = parse_url(url)
        try:
            self.store = self._open(parsed)
        except DBAPIError as error:
            self._drop_schema()
            raise StoreError(f"store: cannot use {parsed!r}: {str(error.orig).strip()}") from error
        event.listen(self.store.engine, "before_cursor_execute", self._on_statement)

    def _open(self, url: URL) -> SimStore:
        inside = self._own_schema(url) if url.get_backend_name() == "postgresql" else url
        store = SimStore(make_engine(inside, poolclass=StaticPool), self._kernel, self._latency_s)
        if self._admin is None and set(inspect(store.engine).get_table_names()) & set(metadata.tables):
            store.close()
            raise StoreError(f"store: {url!r} holds a pipeline's tables already; give a new file")
        store.create_tables()
        return store

    def _own_schema(self, url: URL) -> URL:
        """Make a schema for this run alone, so that a run can never touch a database's other tables."""
        self._admin = make_engine(url)
        # The one name in a run that is not a function of the seed; nothing that happens in the run depends on it.
        schema = f"tem_sim_{uuid4().hex[:16]}"
        with self._admin.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        self._schema = schema
        return url.update_query_dict({"options": f"-csearch_path={schema}"})

    def _on_statement(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        # SQLite's driver is told to begin, and so locks; PostgreSQL's begins by itself, and is told to lock.
        if self._kernel.current is not None and not statement.startswith(("BEGIN", "SELECT pg_advisory_xact_lock")):
            self.statements += 1

    def close(self) -> None:
        """Close the connections and drop the run's schema."""
        self.store.close()
        self._drop_schema()

    def _drop_schema(self) -> None:
        if self._admin is None:
            return
        if self._schema:
            with self._admin.begin() as connection:
                connection.execute(text(f"DROP SCHEMA IF EXISTS {self._schema} CASCADE"))
        self._admin.dispose()
