"""Opening a store: SQLite in memory or in a file, or PostgreSQL, with the tables in it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from operator import itemgetter
from typing import Any, cast
from uuid import uuid4

from sqlalchemy import ClauseElement, Connection, Engine, Executable, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry, Pool, StaticPool

from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.tables import metadata

DIALECTS = ("sqlite", "postgresql")
_GIVE = "give sqlite://, sqlite:///file.db or postgresql+psycopg://user@host/database"
# Any number that nothing else in the database locks.
_CREATE_LOCK = 7_364_921
# How long a transaction waits for the one that is writing; SQLite's waiters stand in no queue, and may be unlucky.
_SQLITE_BUSY_S = 30.0


class StoreError(ValueError):
    """A store URL that cannot be used, with what to do about it."""


class Store:
    """A database with the pipeline's tables, and the way into it: one short transaction at a time."""

    __slots__ = ("_prepared", "dialect", "engine")

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.dialect: str = engine.dialect.name
        self._prepared: dict[Executable, tuple[str, itemgetter[Any], dict[str, object]]] = {}

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction that commits at the end of the block and rolls back when the block raises."""
        with self.engine.begin() as connection:
            yield connection

    def execute_many(self, connection: Connection, statement: Executable, rows: Sequence[Mapping[str, object]]) -> int:
        """Execute a statement once per row of bind values and return the number of rows changed.

        On SQLite the compiled text goes to the driver as it is, since no type there needs converting: SQLAlchemy's
        handling of each row's parameters would cost more than SQLite's work on it (see `benchmarks/`).
        """
        if not rows:
            return 0
        if self.dialect != "sqlite":
            return connection.execute(statement, rows).rowcount
        prepared = self._prepared.get(statement)
        if prepared is None:
            prepared = self._prepared[statement] = self._prepare(statement)
        sql, in_order, constants = prepared
        if constants:
            rows = [{**constants, **row} for row in rows]
        return connection.exec_driver_sql(sql, [in_order(row) for row in rows]).rowcount

    def _prepare(self, statement: Executable) -> tuple[str, itemgetter[Any], dict[str, object]]:
        """Return the statement's text, how to put a row's values in its order, and the values it brings itself."""
        compiled: Any = cast(ClauseElement, statement).compile(dialect=self.engine.dialect)
        constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        return str(compiled), itemgetter(*compiled.positiontup), constants

    def create_tables(self) -> None:
        """Create the tables, indexes and triggers that are not there yet."""
        with self.engine.begin() as connection:
            if self.dialect == "postgresql":
                lock_tables(connection)
            metadata.create_all(connection)

    def create_index(self, statement: str) -> None:
        """Create an index that only some settings need; `statement` says IF NOT EXISTS."""
        with self.engine.begin() as connection:
            if self.dialect == "postgresql":
                lock_tables(connection)
            connection.exec_driver_sql(statement)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def lock_tables(connection: Connection) -> None:
    """Keep all others from making tables in a PostgreSQL database until this transaction ends.

    Processes that start together would all find no tables, and all but one fail at making them.
    """
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CREATE_LOCK})")


def open_store(url: str = "sqlite://", *, poolclass: type[Pool] | None = None) -> Store:
    """Open the store at a SQLAlchemy URL and create its tables where they are missing.

    `sqlite://` is in memory and lives as long as the store; `sqlite:///file.db` is a file in WAL mode;
    `postgresql+psycopg://…` a server. Raises `StoreError` for any other URL.
    """
    store = Store(make_engine(url, poolclass=poolclass))
    store.create_tables()
    return store


def parse_url(url: str) -> URL:
    """Return a store URL's parts, whose repr hides a password; raise `StoreError` when no store is there."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError(f"store: not a URL; {_GIVE}") from error
    except ValueError as error:
        # All that it makes a number of; an address with its password is nothing to repeat.
        raise StoreError(f"store: its port is no number; {_GIVE}") from error
    if parsed.get_backend_name() not in DIALECTS:
        raise StoreError(f"store: {_GIVE} (got {parsed!r})")
    return parsed


def make_engine(
    url: str | URL,
    *,
    poolclass: type[Pool] | None = None,
    isolation: IsolationLevel | None = None,
    pre_ping: bool = False,
    application: str | None = None,
) -> Engine:
    """Make the engine for a store URL, with each dialect's transactions set right; raise `StoreError` for a bad URL.

    `isolation` is what the pipeline was made for when left out: serializable on SQLite, read committed on PostgreSQL.
    Processes that run for long set `pre_ping`: a server that restarts, or an administrator, kills the connections that
    lie idle in the pool, and the next transaction would fail on one, where a new one works. `application` is what
    PostgreSQL calls their connections in `pg_stat_activity`, so that one process's can be told from another's.
    """
    parsed = parse_url(url) if isinstance(url, str) else url
    dialect = parsed.get_backend_name()
    try:
        if dialect == "sqlite" and parsed.database in (None, "", ":memory:"):
            poolclass = StaticPool
        wanted = {"timeout": _SQLITE_BUSY_S} if dialect == "sqlite" else {"application_name": application}
        connect_args = {name: value for name, value in wanted.items() if value and name not in parsed.query}
        level = {} if dialect == "sqlite" or isolation is None else {"isolation_level": _POSTGRESQL_LEVELS[isolation]}
        engine = create_engine(parsed, poolclass=poolclass, connect_args=connect_args, pool_pre_ping=pre_ping, **level)
    except NoSuchModuleError as error:
        raise StoreError(f"store: {error}; {_GIVE}") from error
    except ModuleNotFoundError as error:
        raise StoreError(f"store: {error}; install the driver: pip install 'tem-sim[postgresql]'") from error
    if dialect == "sqlite":
        _set_up_sqlite(engine)
        _BEGIN_ON_SQLITE[isolation or IsolationLevel.SERIALIZABLE](engine)
    return engine


@contextmanager
def own_schema(url: URL, *options: str) -> Iterator[URL]:
    """Make a schema for the block alone in a PostgreSQL database; yield the URL of it, and drop it at the end.

    So a run can never touch the database's other tables. `options` are settings of its sessions, such as
    `-csynchronous_commit=off`; those that the URL brings itself hold as well.
    """
    # The one name in a run that is not a function of the seed; nothing that happens in the run depends on it.
    schema = f"tem_sim_{uuid4().hex[:16]}"
    brought = url.query.get("options", ())
    said = (brought,) if isinstance(brought, str) else brought
    admin = make_engine(url, pre_ping=True)
    try:
        with admin.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        try:
            yield url.update_query_dict({"options": " ".join([*said, f"-csearch_path={schema}", *options])})
        finally:
            with admin.begin() as connection:
                connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
    finally:
        admin.dispose()


def drop_own_schema(url: str) -> None:
    """Drop the schema to which a URL leads that `own_schema` has yielded, for whoever died in its block.

    ValueError for any other URL.
    """
    parsed = make_url(url)
    found = re.search(r"-csearch_path=(tem_sim_[0-9a-f]{16})\b", str(parsed.query.get("options", "")))
    if found is None:
        raise ValueError("not the URL of a schema that a run has made for itself")
    admin = make_engine(parsed)
    with admin.begin() as connection:
        connection.execute(text(f"DROP SCHEMA IF EXISTS {found.group(1)} CASCADE"))
    admin.dispose()


def _set_up_sqlite(engine: Engine) -> None:
    # The driver's own transaction handling begins late and differs by version; so BEGIN is said by us instead.
    @event.listens_for(engine, "connect")
    def _on_connect(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        # Of a new file only: larger pages are fewer to journal at each commit, and less deep a tree.
        cursor.execute("PRAGMA page_size=8192")
        # Refused while another process that opens the file is about the same: then it is done already.
        with suppress(sqlite3.OperationalError):
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()


_POSTGRESQL_LEVELS = {
    IsolationLevel.READ_COMMITTED: "READ COMMITTED",
    IsolationLevel.SNAPSHOT: "REPEATABLE READ",
    IsolationLevel.SERIALIZABLE: "SERIALIZABLE",
}


def _begin_at_once(engine: Engine) -> None:
    # IMMEDIATE takes the write lock at once: a transaction that reads first and writes later can then not deadlock.
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))


def _begin_deferred(engine: Engine) -> None:
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))


def _begin_at_first_write(engine: Engine) -> None:
    @event.listens_for(engine, "before_cursor_execute")
    def _on_statement(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        driver: Any = connection.connection.dbapi_connection
        if not driver.in_transaction and not statement.startswith(("SELECT", "BEGIN", "PRAGMA")):
            connection.exec_driver_sql("BEGIN IMMEDIATE")


_BEGIN_ON_SQLITE = {
    IsolationLevel.READ_COMMITTED: _begin_at_first_write,
    IsolationLevel.SNAPSHOT: _begin_deferred,
    IsolationLevel.SERIALIZABLE: _begin_at_once,
}
