"""A copy of the store as it was at one moment, to which it can be set back: what an asynchronous replica has."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Connection, Engine, text

from tem_sim.pipeline.tables import metadata

_PREFIX = "replica_of_"


class Replica:
    """All tables of a store as of the moment at which this was made. `control` is a way to it apart from its users'."""

    def __init__(self, control: Engine) -> None:
        self._control = control
        self._copy: Any = None
        if control.dialect.name == "sqlite":
            self._copy = sqlite3.connect(":memory:")
            _with_driver(control, lambda driver: driver.backup(self._copy))
            return
        with control.begin() as connection:
            for table in metadata.sorted_tables:
                connection.execute(text(f"CREATE UNLOGGED TABLE {_PREFIX}{table.name} AS TABLE {table.name}"))

    def take_over(self) -> None:
        """Let the store have what the copy has, and nothing else. No trigger of the store sees it. Once only."""
        if self._copy is not None:
            _with_driver(self._control, self._copy.backup)
            self._copy.close()
            return
        with self._control.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(text(f"ALTER TABLE {table.name} DISABLE TRIGGER USER"))
                connection.execute(text(f"DELETE FROM {table.name}"))
            for table in metadata.sorted_tables:
                _fill(connection, table.name)


def _fill(connection: Connection, name: str) -> None:
    connection.execute(text(f"INSERT INTO {name} OVERRIDING SYSTEM VALUE TABLE {_PREFIX}{name}"))
    connection.execute(text(f"ALTER TABLE {name} ENABLE TRIGGER USER"))
    connection.execute(text(f"DROP TABLE {_PREFIX}{name}"))


def _with_driver(engine: Engine, act: Any) -> None:
    connection = engine.raw_connection()
    try:
        act(connection.driver_connection)
    finally:
        connection.close()
