"""Locks that nobody waits for inside the database: refused at once, waited for in simulated time."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from simpy.events import Event
from sqlalchemy import URL

from tem_sim.sim.kernel import Kernel, SimThread

if TYPE_CHECKING:
    from tem_sim.sim.connections import Session

# How long SQLite's waiters are patient when nobody says otherwise: as long as the pipeline's own connections are.
_SQLITE_BUSY_S = 30.0
_BUSY, _BUSY_SNAPSHOT = 5, 517
_READS = ("SELECT", "BEGIN", "SHOW")
_LOCKS = ("FOR UPDATE", "FOR SHARE", "pg_advisory")


class Locking(ABC):
    """Who is parked, and until when. Those parked try again in the order of parking whenever a transaction ends."""

    refusals: ClassVar[tuple[type[Exception], ...]] = ()

    def __init__(self, kernel: Kernel, may_move: Callable[[], bool], timeout_s: float | None) -> None:
        self.kernel = kernel
        self.timeout_s = timeout_s
        self._may_move = may_move
        # How often a statement had to wait, and how many outside of the run hold a lock that may make it so.
        self.parkings = 0
        self.held_outside = 0
        self._parked: dict[SimThread, Event] = {}

    @staticmethod
    def connect(url: URL) -> URL:
        """Return the URL with what makes the database refuse instead of waiting."""
        return url

    @abstractmethod
    def attempt(self, driver: Any, statement: str, run: Callable[[], Any]) -> None:
        """Execute a statement, or raise one of `refusals` where it would have to wait, and leave no trace of it."""

    @staticmethod
    def may_lock(statement: str) -> bool:
        """Whether a statement may need a lock that another holds: one that writes, or reads for update."""
        return not statement.startswith(_READS) or any(word in statement for word in _LOCKS)

    def is_open(self, driver: Any) -> bool:
        """Whether the server knows of a transaction on this connection on which something was executed."""
        return True

    def is_parked(self, thread: SimThread) -> bool:
        """Whether a thread waits for a lock."""
        return thread in self._parked

    def park(self, session: Session, refusal: Exception, began_s: float) -> None:
        """Wait until it is worth trying again; raise what the database would where that never comes."""
        if not self.is_worth_waiting(refusal):
            raise refusal
        thread = session.thread
        self.parkings += 1
        woken = self._parked[thread] = Event(self.kernel.env)
        try:
            if not self.held_outside and not self._may_move():
                self.deadlock(session, refusal)
            if self.timeout_s is not None:
                left_s = max(0.0, began_s + self.timeout_s - self.kernel.now)
                self.kernel.call_later(left_s, lambda: None if woken.triggered else woken.succeed("timeout"))
            if self.kernel.wait(woken) == "timeout":
                self.timed_out(session, refusal)
        finally:
            if self._parked.get(thread) is woken:
                del self._parked[thread]

    def is_worth_waiting(self, refusal: Exception) -> bool:
        """Whether the one that holds the lock will end and leave it to others."""
        return True

    def deadlock(self, session: Session, refusal: Exception) -> None:
        """All who hold locks wait for one: make this session the victim."""
        raise refusal

    def timed_out(self, session: Session, refusal: Exception) -> NoReturn:
        """Raise what the database says to who has waited too long."""
        raise refusal

    def leave(self, thread: SimThread) -> None:
        """Forget a thread that was killed."""
        self._parked.pop(thread, None)

    def ended(self) -> None:
        """Let all who are parked try again, in the order in which they came: a transaction has ended."""
        parked, self._parked = self._parked, {}
        for woken in parked.values():
            if not woken.triggered:
                woken.succeed("retry")


class SqliteLocking(Locking):
    """SQLite: one writer at a time, and a reader whose snapshot is old may not write at all."""

    refusals: ClassVar[tuple[type[Exception], ...]] = (sqlite3.OperationalError,)

    def __init__(self, kernel: Kernel, may_move: Callable[[], bool], timeout_s: float | None) -> None:
        super().__init__(kernel, may_move, _SQLITE_BUSY_S if timeout_s is None else timeout_s)

    @staticmethod
    def connect(url: URL) -> URL:
        """Switch the busy handler off: it sleeps in C."""
        return url.update_query_dict({"timeout": "0"})

    def attempt(self, driver: Any, statement: str, run: Callable[[], Any]) -> None:
        """Execute a statement; see `Locking.attempt`. A busy database has done nothing of it."""
        run()

    def is_open(self, driver: Any) -> bool:
        """Not while only reads were done outside of any transaction; see `Locking.is_open`."""
        return bool(driver.in_transaction)

    def is_worth_waiting(self, refusal: Exception) -> bool:
        """Not with an old snapshot, which gets no younger, nor when the error is another."""
        return getattr(refusal, "sqlite_errorcode", None) == _BUSY


class PostgresqlLocking(Locking):
    """PostgreSQL: row locks, found out by a lock timeout of a millisecond, from a savepoint before each statement."""

    def __init__(self, kernel: Kernel, may_move: Callable[[], bool], timeout_s: float | None) -> None:
        from psycopg.errors import LockNotAvailable

        super().__init__(kernel, may_move, timeout_s)
        # Also what a statement with NOWAIT gets; the pipeline has none.
        self.refusals = (LockNotAvailable,)  # type: ignore[misc]

    @staticmethod
    def connect(url: URL) -> URL:
        """Add a lock timeout, the shortest there is."""
        options = url.query.get("options", "")
        return url.update_query_dict({"options": f"{options} -clock_timeout=1".strip()})

    def attempt(self, driver: Any, statement: str, run: Callable[[], Any]) -> None:
        """Execute a statement; see `Locking.attempt`. Its locks are given back when it would have to wait for one."""
        if not self.may_lock(statement):
            run()
            return
        driver.execute("SAVEPOINT tem_sim")
        try:
            run()
        except self.refusals:
            driver.execute("ROLLBACK TO SAVEPOINT tem_sim")
            raise
        driver.execute("RELEASE SAVEPOINT tem_sim")

    def deadlock(self, session: Session, refusal: Exception) -> None:
        """Let the server itself say so, through the driver, and abort the transaction."""
        fail(session.driver, "40P01", "deadlock detected")

    def timed_out(self, session: Session, refusal: Exception) -> NoReturn:
        """Fail as with a lock_timeout of that length."""
        fail(session.driver, "55P03", "canceling statement due to lock timeout")


def fail(driver: Any, sqlstate: str, message: str) -> NoReturn:
    """Let a PostgreSQL server raise an error with this SQLSTATE, so that it comes as the driver's own exception."""
    driver.execute(f"DO $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{sqlstate}'; END $$")
    raise AssertionError("the server raised nothing")


LOCKING: dict[str, type[Locking]] = {"sqlite": SqliteLocking, "postgresql": PostgresqlLocking}
