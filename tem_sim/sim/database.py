"""The store under simulated time: a transaction is one instant, reached after the store's latency.

With `interleave: transaction` all sim threads share one connection. None of them is ever switched away from between
BEGIN and COMMIT, so the transactions are serial, on SQLite and PostgreSQL alike. What takes time is the way there.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event, inspect, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from tem_sim.pipeline.store import Store, StoreError, make_engine
from tem_sim.pipeline.tables import metadata
from tem_sim.sim.kernel import Kernel

_schemas = itertools.count(1)


class SimStore(Store):
    """The pipeline's store, at the far end of a round trip that takes simulated time.

    Sleeping in SQLAlchemy's `begin` event would come too late: its listeners run in the order in which they were added,
    whatever `insert=True` says, so BEGIN would have been said before.
    """

    __slots__ = ("_kernel", "_latency_s", "transactions")

    def __init__(self, engine: Engine, kernel: Kernel, latency_s: Callable[[], float]) -> None:
        super().__init__(engine)
        self.transactions = 0
        self._kernel = kernel
        self._latency_s = latency_s

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Reach the store, then open a transaction; see `Store.begin`. The hub, which never waits, is there at once."""
        if self._kernel.current is not None:
            self.transactions += 1
            self._kernel.sleep(self._latency_s())
        with self.engine.begin() as connection:
            yield connection


class Database:
    """The run's store, and what the simulator counts in it."""

    def __init__(self, kernel: Kernel, url: str, latency_s: Callable[[], float]) -> None:
        self.statements = 0
        self._kernel = kernel
        self._latency_s = latency_s
        self._admin: Engine | None = None
        self._schema = ""
        try:
            self.store = self._open(url)
        except OperationalError as error:
            raise StoreError(f"store: cannot open {make_url(url)!r}: {str(error.orig).strip()}") from error
        event.listen(self.store.engine, "before_cursor_execute", self._on_statement)

    def _open(self, url: str) -> SimStore:
        if make_url(url).get_backend_name() == "postgresql":
            url = self._own_schema(url)
        store = SimStore(make_engine(url, poolclass=StaticPool), self._kernel, self._latency_s)
        if self._admin is None and set(inspect(store.engine).get_table_names()) & set(metadata.tables):
            store.close()
            raise StoreError(f"store: {make_url(url)!r} holds a pipeline's tables already; give a new file")
        store.create_tables()
        return store

    def _own_schema(self, url: str) -> str:
        """Make a schema for this run alone, so that a run can never touch a database's other tables."""
        self._admin = make_engine(url)
        self._schema = f"tem_sim_{os.getpid()}_{next(_schemas)}"
        with self._admin.begin() as connection:
            connection.execute(text(f"DROP SCHEMA IF EXISTS {self._schema} CASCADE"))
            connection.execute(text(f"CREATE SCHEMA {self._schema}"))
        inside = make_url(url).update_query_dict({"options": f"-csearch_path={self._schema}"})
        return inside.render_as_string(hide_password=False)

    def _on_statement(self, *_: Any) -> None:
        if self._kernel.current is not None:
            self.statements += 1

    def close(self) -> None:
        """Close the connections and drop the run's schema."""
        self.store.close()
        if self._admin is not None:
            with self._admin.begin() as connection:
                connection.execute(text(f"DROP SCHEMA IF EXISTS {self._schema} CASCADE"))
            self._admin.dispose()
