"""Somebody who is no part of the run, and holds the lock without which nobody in it can write."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from tem_sim.pipeline.tables import metadata
from tem_sim.sim.locking import Locking


class Outsider:
    """A connection apart from those of the run, at first without the lock."""

    def __init__(self, control: Engine, locking: Locking) -> None:
        self._control = control
        self._locking = locking
        self._connection: Connection | None = None

    @property
    def holds(self) -> bool:
        """Whether it has the lock."""
        return self._connection is not None

    def lock(self) -> bool:
        """Take the lock if nobody is writing; return whether that worked. It never waits."""
        connection = self._control.connect()
        try:
            for statement in _STATEMENTS[self._control.dialect.name]:
                connection.exec_driver_sql(statement)
        except OperationalError:
            connection.close()
            return False
        self._connection = connection
        self._locking.held_outside += 1
        return True

    def unlock(self) -> None:
        """Give the lock back, if it has it; those who wait for it try again."""
        if self._connection is None:
            return
        with suppress(OperationalError):
            self._connection.rollback()
        self._connection.close()
        self._connection = None
        self._locking.held_outside -= 1
        self._locking.ended()


_TABLES = ", ".join(table.name for table in metadata.sorted_tables)
_STATEMENTS = {
    "sqlite": ("PRAGMA busy_timeout = 0", "BEGIN IMMEDIATE"),
    # Against everybody but those who only read.
    "postgresql": ("SET LOCAL lock_timeout = '1ms'", f"LOCK TABLE {_TABLES} IN EXCLUSIVE MODE"),
}
