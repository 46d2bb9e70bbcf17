"""The store's schema over time: made on first start, and brought to the newest revision on every later one."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, ForeignKeyConstraint, Index, inspect
from sqlalchemy.exc import DBAPIError, SAWarning
from sqlalchemy.pool import NullPool

from tem_sim.live.schema_shape import OPTIONAL, differences, intended, shape
from tem_sim.pipeline import store
from tem_sim.pipeline.store import StoreError, make_engine, parse_url
from tem_sim.pipeline.tables import metadata

# Not Alembic's own name: a database may hold another application's tables, and their revision.
VERSION_TABLE = "tem_sim_revision"
# The revision of the tables that `open_store` makes; later ones add what is beside them.
AS_OPENED = "0001"
# Alembic hands a migration its connection in a global.
_one_at_a_time = threading.Lock()


def migrate(url: str) -> None:
    """Bring a store to the newest revision of its schema: an empty one gets all tables, a current one stays as it is.

    All or nothing, in one transaction, and safe when several processes start at once. Tables that `open_store` made are
    adopted when they are as this version makes them. Raises `StoreError` for a store in memory, which processes can't
    share, for one of a newer version, and for tables of the same names that are another's.
    """
    with _alone(url) as connection:
        config = _config(connection)
        if not _is_known(connection, ScriptDirectory.from_config(config)) and shape(connection):
            _adopt(connection, config)
        command.upgrade(config, "head")
        _refuse_holes(connection)


def revert(url: str, to: str = "base") -> None:
    """Take a store back to an earlier revision; `base` drops the tables, with all that is in them."""
    with _alone(url) as connection:
        command.downgrade(_config(connection), to)


@contextmanager
def own_schema(url: str, folder: Path | None = None) -> Iterator[str]:
    """Make a store for the block alone, with the tables in it; yield its URL.

    In a PostgreSQL database it is a schema, dropped at the end. On SQLite it is a file in `folder` where the URL names
    none, which goes with its folder (a StoreError without one); a file that it names is kept, and must hold no
    pipeline's tables before.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "postgresql":
        with ExitStack() as own:
            with _refusing(parsed):
                inside = own.enter_context(store.own_schema(parsed))
            yield _migrated(inside)
        return
    if is_in_memory(parsed):
        if folder is not None:
            parsed = parsed.set(database=str(folder / "store.db"))
    elif _holds_tables(parsed):
        raise StoreError(f"store: {parsed!r} holds a pipeline's tables already; give a new file")
    yield _migrated(parsed)


def include(part: Any, name: str | None, kind: str, reflected: bool, compare_to: object) -> bool:
    """Say whether Alembic should compare a part of the schema: other tables of the database are none of its business.

    Nor are parts that only the other kind of database has.
    """
    if kind == "table":
        return name in metadata.tables
    if reflected:
        return name not in OPTIONAL
    return not (isinstance(part, (Index, ForeignKeyConstraint)) and part._ddl_if is not None)


# --- the one transaction


@contextmanager
def _alone(url: str) -> Iterator[Connection]:
    """Open a transaction in which nobody else migrates the store."""
    parsed = parse_url(url)
    if is_in_memory(parsed):
        raise StoreError(f"store: several processes share it, so it must be a file or a server (got {parsed!r})")
    engine = make_engine(parsed, poolclass=NullPool)
    try:
        # On SQLite this takes the lock of the file's only writer.
        with _one_at_a_time, warnings.catch_warnings(), _refusing(parsed), engine.begin() as connection:
            # The optional index is of an expression, which SQLAlchemy does not read on SQLite; it need not.
            warnings.filterwarnings("ignore", "Skipped unsupported reflection", SAWarning)
            if engine.dialect.name == "postgresql":
                store.lock_tables(connection)
            else:
                _refuse_no_wal(connection, parsed)
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _refusing(url: URL) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise StoreError(f"store: cannot use {url!r}: {str(error.orig).strip()}") from error


def _refuse_no_wal(connection: Connection, url: URL) -> None:
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if mode != "wal":
        raise StoreError(f"store: {url!r} must be in WAL mode, got {mode}; give a file on a local disk")


def _is_known(connection: Connection, scripts: ScriptDirectory) -> bool:
    """Say whether the store tells its revision; refuse one that this version does not know."""
    options = {"version_table": VERSION_TABLE}
    revisions = MigrationContext.configure(connection, opts=options).get_current_heads()
    strange = sorted(set(revisions) - {script.revision for script in scripts.walk_revisions()})
    if strange:
        raise StoreError(
            f"store: its schema must be of a revision that this version knows, got {', '.join(strange)} "
            f"(newest here {scripts.get_current_head()}); upgrade tem-sim, or give another store"
        )
    return bool(revisions)


def _adopt(connection: Connection, config: Config) -> None:
    odd = differences(shape(connection), intended(connection))
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise StoreError(
            f"store: it has tables of the pipeline's names that are not as this version makes them: "
            f"{', '.join(odd[:3])}{more}; give another store, or a schema of its own"
        )
    command.stamp(config, AS_OPENED)


def _refuse_holes(connection: Connection) -> None:
    missing = metadata.tables.keys() - set(inspect(connection).get_table_names())
    if missing:
        raise StoreError(f"store: tables are missing though its revision has them: {', '.join(sorted(missing))}")


# --- on Alembic


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    # Found by the package's name: there is no file of settings where it is installed.
    config.set_main_option("script_location", "tem_sim.live:migrations")
    return config


# --- where a run's own store is


def _migrated(url: URL) -> str:
    text = url.render_as_string(hide_password=False)
    migrate(text)
    return text


def is_in_memory(url: URL) -> bool:
    """Whether a store's URL names no file and no server, so that no two processes can share it."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def _holds_tables(url: URL) -> bool:
    engine = make_engine(url, poolclass=NullPool)
    with _refusing(url), engine.connect() as connection:
        return bool(metadata.tables.keys() & set(inspect(connection).get_table_names()))
