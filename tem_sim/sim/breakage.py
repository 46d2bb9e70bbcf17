"""What a database does to those who use it, as the driver tells them: errors, and connections that end.

On PostgreSQL the server itself does it, wherever it can be made to. SQLite has no server to fail: there the driver's
own exception is raised that comes nearest.
"""

from __future__ import annotations

import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn

from sqlalchemy import Connection, Engine, text

from tem_sim.sim.locking import fail

# How long a server has to end a connection, in real time; none needs more than a few milliseconds.
_PATIENCE_S = 5.0
_IO_ERROR, _CANNOT_OPEN = 10, 14


class _Error(NamedTuple):
    sqlstate: str
    said: str
    sqlite_code: int | None
    sqlite_said: str
    # Whom it can strike: only statements that write or lock, or any.
    writes: bool


# What a driver says of a connection that has ended, once it is used: only then does it find out.
Told = Callable[[], Exception]

ERRORS: dict[str, _Error] = {
    "serialization_failure": _Error(
        "40001", "could not serialize access due to concurrent update", 517, "database is locked", writes=False
    ),
    "deadlock": _Error("40P01", "deadlock detected", None, "", writes=True),
    "lock_timeout": _Error("55P03", "canceling statement due to lock timeout", 5, "database is locked", writes=True),
    "statement_timeout": _Error(
        "57014", "canceling statement due to statement timeout", 9, "interrupted", writes=False
    ),
    "disk_full": _Error(
        "53100", "could not extend file: No space left on device", 13, "database or disk is full", True
    ),
    "read_only": _Error(
        "25006",
        "cannot execute this in a read-only transaction",
        8,
        "attempt to write a readonly database",
        writes=True,
    ),
}


class Breakage(ABC):
    """How one kind of database fails its users. `control` is a way to the server apart from theirs."""

    def __init__(self, control: Engine) -> None:
        self._control = control

    @abstractmethod
    def refused(self) -> Exception:
        """Return what a driver raises that finds no server."""

    @abstractmethod
    def sever(self, drivers: Sequence[Any]) -> list[Told]:
        """End these connections at the server's end, and return what the next use of each is answered with."""

    def idle_too_long(self, driver: Any) -> Told:
        """End a connection that was idle in a transaction for too long; return what its next use is answered with."""
        return self.sever([driver])[0]

    def knows(self, error: str) -> bool:
        """Whether this kind of database has such an error."""
        return True

    @abstractmethod
    def fail(self, driver: Any, error: str) -> NoReturn:
        """Let the server fail a statement with one of `ERRORS`; raises the driver's own exception."""

    @abstractmethod
    def commit_unheard(self, driver: Any, arrives: bool) -> tuple[bool, Told]:
        """Lose the connection in a commit, before or after it arrives; return whether it was done, and what is said."""


class SqliteBreakage(Breakage):
    """SQLite, which is a library: its file is lost, as one on a network is."""

    def refused(self) -> Exception:
        """See `Breakage.refused`."""
        return _sqlite_error(_CANNOT_OPEN, "unable to open database file")

    def sever(self, drivers: Sequence[Any]) -> list[Told]:
        """See `Breakage.sever`."""
        for driver in drivers:
            driver.rollback()
        return [partial(_sqlite_error, _IO_ERROR, "disk I/O error") for _ in drivers]

    def knows(self, error: str) -> bool:
        """See `Breakage.knows`."""
        return ERRORS[error].sqlite_code is not None

    def fail(self, driver: Any, error: str) -> NoReturn:
        """See `Breakage.fail`."""
        code = ERRORS[error].sqlite_code
        assert code is not None
        raise _sqlite_error(code, ERRORS[error].sqlite_said)

    def commit_unheard(self, driver: Any, arrives: bool) -> tuple[bool, Told]:
        """See `Breakage.commit_unheard`."""
        if arrives:
            driver.commit()
        return arrives, self.sever([driver])[0]


def _sqlite_error(code: int, said: str) -> Exception:
    error: Any = sqlite3.OperationalError(said)
    error.sqlite_errorcode = code
    result: Exception = error
    return result


class PostgresqlBreakage(Breakage):
    """PostgreSQL, whose server can be made to do all of it."""

    def refused(self) -> Exception:
        """See `Breakage.refused`; asked of a port at which nobody listens."""
        import psycopg

        try:
            psycopg.connect(host="127.0.0.1", port=1, connect_timeout=2).close()
        except psycopg.OperationalError as error:
            return error
        return psycopg.OperationalError("connection refused")

    def sever(self, drivers: Sequence[Any]) -> list[Told]:
        """See `Breakage.sever`. The server terminates each backend, and it is gone when this returns."""
        pids = [driver.info.backend_pid for driver in drivers if not driver.closed]
        with self._at_once() as control:
            for pid in pids:
                control.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            for pid in pids:
                _await_end(control, pid)
        return [partial(_told, driver) for driver in drivers]

    def idle_too_long(self, driver: Any) -> Told:
        """See `Breakage.idle_too_long`. The connection ends for real, and only the reason is of our making."""
        from psycopg.errors import IdleInTransactionSessionTimeout

        self.sever([driver])

        def told() -> Exception:
            _told(driver)
            return IdleInTransactionSessionTimeout("terminating connection due to idle-in-transaction timeout")

        return told

    def fail(self, driver: Any, error: str) -> NoReturn:
        """See `Breakage.fail`."""
        fail(driver, ERRORS[error].sqlstate, ERRORS[error].said)

    def commit_unheard(self, driver: Any, arrives: bool) -> tuple[bool, Told]:
        """See `Breakage.commit_unheard`. COMMIT is really sent, and the socket closed before its answer is read."""
        pid, transaction = driver.info.backend_pid, _transaction_of(driver)
        if arrives:
            driver.pgconn.send_query(b"COMMIT")
            while driver.pgconn.flush():
                pass
        driver.pgconn.finish()
        done = self._outcome(pid, transaction)
        # One that wrote nothing leaves nothing to ask for.
        return arrives if transaction is None else done, partial(_told, driver)

    def _outcome(self, pid: int, transaction: str | None) -> bool:
        """Wait until the backend is gone, and return whether its transaction was committed."""
        with self._at_once() as control:
            _await_end(control, pid)
            outcome = text("SELECT pg_xact_status(CAST(:id AS xid8))")
            return bool(control.execute(outcome, {"id": transaction}).scalar_one() == "committed")

    def _at_once(self) -> Connection:
        """Connect, with each statement a transaction of its own."""
        return self._control.connect().execution_options(isolation_level="AUTOCOMMIT")


def _await_end(control: Connection, pid: int) -> None:
    alive = text("SELECT 1 FROM pg_stat_activity WHERE pid = :pid")
    deadline_s = time.monotonic() + _PATIENCE_S
    while control.execute(alive, {"pid": pid}).first() is not None:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"PostgreSQL's backend {pid} does not end")
        time.sleep(0.001)


def _transaction_of(driver: Any) -> str | None:
    """Return the number of the transaction that is open, if it has written anything."""
    found = driver.execute("SELECT CAST(pg_current_xact_id_if_assigned() AS text)").fetchone()[0]
    return None if found is None else str(found)


def _told(driver: Any) -> Exception:
    """Return what the driver says of a connection that has ended."""
    try:
        driver.execute("SELECT 1")
    except Exception as error:
        return error
    raise AssertionError("the connection has not ended")


BREAKAGE: dict[str, type[Breakage]] = {"sqlite": SqliteBreakage, "postgresql": PostgresqlBreakage}
