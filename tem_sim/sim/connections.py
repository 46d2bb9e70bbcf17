"""The connections under `interleave: statement`: whose they are, and what becomes of them at the server's end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from tem_sim.pipeline.store import Store
from tem_sim.scenario.store import Store as StoreModel
from tem_sim.sim.breakage import BREAKAGE, Breakage, Told
from tem_sim.sim.kernel import Kernel, Node, SimThread
from tem_sim.sim.locking import LOCKING, Locking
from tem_sim.sim.outsider import Outsider
from tem_sim.sim.pace import Pace
from tem_sim.sim.pools import NodePool, Resting
from tem_sim.sim.watch import Txn, Watch, failure

# Where a fault may come in, beside the edges of the pipeline's own code, with the step that notes what it raises.
Point = Literal["connect", "before_statement", "after_statement", "before_commit", "after_commit"]
_ANSWERED: dict[Point, str] = {
    "connect": "connect",
    "before_statement": "statement",
    "after_statement": "answer_lost",
    "before_commit": "commit",
    "after_commit": "answer_lost",
}


@dataclass(eq=False, slots=True)
class Session:
    """One connection at work for one sim thread: from the beginning of a transaction to its end."""

    connection: Connection
    # The driver's connection. SQLAlchemy forgets it when a dead thread's stack is unwound; the server does not.
    driver: Any
    thread: SimThread
    txn: Txn
    # Executed on in this transaction, so that it may hold locks.
    busy: bool = False
    # How long SQLite's BEGIN IMMEDIATE has waited, on behalf of the write that follows at once; None where none does.
    begun_after_s: float | None = None
    # The server has closed the connection: what its next use is answered with.
    cut: Told | None = None
    # How many statements have been sent on it, and come back.
    uses: int = 0

    @property
    def node(self) -> Node:
        """Whose it is."""
        return self.thread.node


def _driver_of(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


class Connections(Store, ABC):
    """A store whose connections are opened, kept in pools, and lost, under simulated time."""

    def __init__(
        self,
        engine: Engine,
        kernel: Kernel,
        watch: Watch,
        pace: Pace,
        reader: Engine,
        model: StoreModel,
    ) -> None:
        super().__init__(engine)
        self.transactions = 0
        self.kernel = kernel
        self.watch = watch
        self.pace = pace
        self.locking: Locking = LOCKING[self.dialect](kernel, self._may_move, model.lock_timeout_s)
        self.breakage: Breakage = BREAKAGE[self.dialect](reader)
        # Called by the thread that passes a point: `connect`, where there is no session yet, `before_statement`,
        # `after_statement`, `before_commit` or `after_commit`. They may kill or freeze the node, `cut` the session, or
        # raise the driver's own exception.
        self.at_point: list[Callable[[SimThread, Session | None, Point, str], None]] = []
        # Asked about each commit: None if all is well, else whether it arrives before the connection is lost.
        self.unheard: list[Callable[[Session], bool | None]] = []
        # How often somebody found no place in a pool.
        self.pool_waits = 0
        self.sessions: dict[SimThread, Session] = {}
        watch.open_of = lambda thread: self.sessions[thread].txn if thread in self.sessions else None
        self.reader = reader
        self._model = model
        self._pools: dict[str, NodePool] = {}
        self._taken: Counter[str] = Counter()
        self._orphans: list[Session] = []
        self._outsiders: list[Outsider] = []
        driver: Any = engine.dialect.loaded_dbapi
        self._driver_error: type[Exception] = driver.Error
        kernel.on_thread_kill.append(self._lose)
        kernel.on_kill.append(self._lose_pool)
        self._hook(engine)

    @abstractmethod
    def _hook(self, engine: Engine) -> None:
        """Be asked whatever is executed, committed and rolled back on the engine's connections."""

    def pool(self, node: str) -> NodePool:
        """Return the connection pool of a node."""
        found = self._pools.get(node)
        if found is None:
            size, timeout_s = self._model.pool.size, self._model.pool.timeout_s
            found = self._pools[node] = NodePool(self.kernel, size, timeout_s, taken=self._taken[node])
        return found

    def _open(self, thread: SimThread) -> Session:
        pool = self.pool(thread.node.name)
        self.pool_waits += pool.is_full
        pool.take(thread)
        if pool.idle:
            resting = pool.idle.pop()
        else:
            try:
                resting = Resting(self._connect(thread))
            except BaseException:
                pool.give(thread)
                raise
        connection = resting.connection
        session = Session(connection, _driver_of(connection), thread, self.watch.opened())
        session.cut = resting.cut
        self.sessions[thread] = session
        self.watch.note("begin", session.txn)
        return session

    def _connect(self, thread: SimThread) -> Connection:
        self.pace.pause(thread, "connect")
        try:
            self._reach(thread, None, "connect", "")
        except self._driver_error as error:
            raise DBAPIError.instance(None, None, error, self._driver_error, dialect=self.engine.dialect) from error
        connection = self.engine.connect()
        self.watch.note("connect")
        return connection

    def _release(self, session: Session) -> None:
        if session.thread.dead:
            return
        self.sessions.pop(session.thread, None)
        pool = self.pool(session.node.name)
        if session.connection.closed or session.connection.invalidated or session.cut is not None:
            with suppress(Exception):
                session.connection.invalidate()
            session.connection.close()
            # One that is found dead tells SQLAlchemy's pool that those opened before it may be, too.
            self._close([resting for resting in pool.idle if resting.cut is not None])
            pool.idle = [resting for resting in pool.idle if resting.cut is None]
        else:
            if session.busy:
                # SQLAlchemy leaves it to its pool to roll back what could not be committed.
                self._undo(session)
            pool.idle.append(Resting(session.connection))
        pool.give(session.thread)

    # --- what the server does

    def cut(self, session: Session, told: Told | None = None) -> None:
        """Close a session's connection at the server's end: its transaction is undone, its next use raises an error.

        That is `told`, or what the driver says by itself of a connection that has ended.
        """
        if session.cut is None:
            session.cut = told or self.breakage.sever([session.driver])[0]
            self._undo(session)

    def cut_all(self, nodes: Container[str]) -> int:
        """Close all connections of these nodes, as a restart of the server does; return how many.

        Those at rest stay in the pool: who takes one finds out at its first statement, and the others go with it.
        """
        at_work = [one for one in self._held() if one.node.name in nodes and one.cut is None]
        at_rest = [one for name, pool in self._pools.items() if name in nodes for one in pool.idle if one.cut is None]
        drivers = [one.driver for one in at_work] + [_driver_of(one.connection) for one in at_rest]
        answers = self.breakage.sever(drivers)
        for session, told in zip(at_work, answers, strict=False):
            self.cut(session, told)
        for resting, told in zip(at_rest, answers[len(at_work) :], strict=True):
            resting.cut = told
        return len(drivers)

    def take_away(self, node: str, places: int) -> None:
        """Let the pool of a node have fewer places, or more again."""
        self._taken[node] += places
        self.pool(node).take_away(places)

    def outsider(self) -> Outsider:
        """Return somebody who is no part of the run, and can hold the lock that all writers need."""
        self._outsiders.append(Outsider(self.reader, self.locking))
        return self._outsiders[-1]

    def unlock_outsiders(self) -> None:
        """Let nobody from outside hold a lock any more."""
        for outsider in self._outsiders:
            outsider.unlock()

    def _held(self) -> list[Session]:
        """Return the sessions that the server knows of, those of the dead included."""
        return [*self.sessions.values(), *self._orphans]

    def _undo(self, session: Session) -> None:
        if session.cut is None:
            with suppress(Exception):
                session.driver.rollback()
        if session.busy:
            self.watch.note("rollback", session.txn, thread=session.thread)
        session.txn.changes.clear()
        session.busy = False
        self.locking.ended()

    def _lose(self, thread: SimThread) -> None:
        """Keep the session of a killed thread as the server sees it, until that notices that the client is gone."""
        if thread.node.name in self._pools:
            self._pools[thread.node.name].give(thread)
        session = self.sessions.pop(thread, None)
        if session is None:
            return
        self._orphans.append(session)
        self.locking.leave(thread)

        def notice() -> None:
            if session in self._orphans:
                self._orphans.remove(session)
                self._undo(session)
                with suppress(Exception):
                    session.driver.close()

        self.kernel.call_later(thread.node.connections_close_after_s, notice)

    def _lose_pool(self, node: Node) -> None:
        pool = self._pools.pop(node.name, None)
        if pool is not None:
            self._close(pool.idle)

    def _close(self, resting: Iterable[Resting]) -> None:
        for one in resting:
            with suppress(Exception):
                one.connection.invalidate()
                one.connection.close()

    # --- what those who use them hear

    def _reach(self, thread: SimThread, session: Session | None, point: Point, statement: str) -> None:
        kind = _ANSWERED[point]
        try:
            for disturb in list(self.at_point):
                disturb(thread, session, point, statement)
        except self._driver_error as error:
            self.watch.note(kind, None if session is None else session.txn, sql=statement, error=failure(error))
            raise
        if session is not None:
            self._still_connected(session, kind, statement)

    def _still_connected(self, session: Session, kind: str, sql: str = "") -> None:
        if session.cut is not None:
            error = session.cut()
            self.watch.note(kind, session.txn, sql=sql, error=failure(error))
            raise error

    def _may_move(self) -> bool:
        """Whether a session that may hold locks is not itself waiting for one."""
        return any(session.busy and not self.locking.is_parked(session.thread) for session in self._held())

    def close(self) -> None:
        """Close every connection."""
        self.unlock_outsiders()
        for session in self._held():
            with suppress(Exception):
                session.driver.close()
        for pool in self._pools.values():
            self._close(pool.idle)
        self.reader.dispose()
        super().close()
