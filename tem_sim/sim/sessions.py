"""The store taken apart: each transaction on a connection of its own, and others come in between its statements.

The pipeline's code is unmodified. SQLAlchemy asks before it executes, commits or rolls back; there the calling sim
thread waits in simulated time, and then the statement is executed at once. None ever waits inside the database, which
would stop the one OS thread: a lock that another holds is refused immediately, the thread is parked until somebody
ends a transaction, and its statement is executed again.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Executable, event
from sqlalchemy.exc import DBAPIError

from tem_sim.pipeline.store import Store
from tem_sim.scenario.store import Store as StoreModel
from tem_sim.sim.kernel import Kernel, Node, SimThread
from tem_sim.sim.locking import LOCKING, Locking
from tem_sim.sim.pace import Pace
from tem_sim.sim.pools import NodePool, Resting
from tem_sim.sim.watch import Txn, Watch, failure

# Where a fault may come in, beside the edges of the pipeline's own code.
Point = str


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
    # Why the server closed the connection: what the next use of it is answered with.
    cut: Callable[[], BaseException] | None = None

    @property
    def node(self) -> Node:
        """Whose it is."""
        return self.thread.node


class StatementStore(Store):
    """The pipeline's store under `interleave: statement`. The hub, which never waits, reads on a connection apart."""

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
        # Called by the thread that passes a point: `connect`, where there is no session yet, `before_statement`,
        # `after_statement`, `before_commit` or `after_commit`. They may kill or freeze the node, `cut` the session, or
        # raise what the server would.
        self.at_point: list[Callable[[SimThread, Session | None, Point, str], None]] = []
        self.sessions: dict[SimThread, Session] = {}
        watch.open_of = lambda thread: self.sessions[thread].txn if thread in self.sessions else None
        self._reader = reader
        self._model = model
        self._pools: dict[str, NodePool] = {}
        self._orphans: list[Session] = []
        self._hook(engine)
        kernel.on_thread_kill.append(self._lose)
        kernel.on_kill.append(self._lose_pool)

    # --- transactions

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Take a connection of the node's pool and open a transaction on it; see `Store.begin`."""
        thread = self.kernel.current
        if thread is None:
            with self._reader.begin() as connection:
                yield connection
            return
        session = self._open(thread)
        self.transactions += 1
        try:
            with session.connection.begin():
                yield session.connection
        finally:
            self._release(session)

    def execute_many(self, connection: Connection, statement: Executable, rows: Sequence[Mapping[str, object]]) -> int:
        """See `Store.execute_many`. On PostgreSQL row by row, as the driver sends them: each waits for its own lock."""
        if self.dialect == "sqlite" or self.kernel.current is None:
            return super().execute_many(connection, statement, rows)
        return sum(connection.execute(statement, row).rowcount for row in rows)

    def pool(self, node: str) -> NodePool:
        """Return the connection pool of a node."""
        found = self._pools.get(node)
        if found is None:
            size, timeout_s = self._model.pool.size, self._model.pool.timeout_s
            found = self._pools[node] = NodePool(self.kernel, size, timeout_s)
        return found

    def _open(self, thread: SimThread) -> Session:
        pool = self.pool(thread.node.name)
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
        session = Session(connection, connection.connection.dbapi_connection, thread, self.watch.opened())
        session.cut = resting.cut
        self.sessions[thread] = session
        self.watch.note("begin", session.txn)
        return session

    def _connect(self, thread: SimThread) -> Connection:
        self.pace.pause(thread, "connect")
        base: Any = self.engine.dialect.loaded_dbapi.Error
        try:
            self._reach(thread, None, "connect", "")
            connection = self.engine.connect()
        except (base, DBAPIError) as error:
            self.watch.note("connect", error=failure(error))
            if isinstance(error, DBAPIError):
                raise
            raise DBAPIError.instance(None, None, error, base, dialect=self.engine.dialect) from error
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
            pool.idle.append(Resting(session.connection))
        pool.give(session.thread)

    # --- faults

    def cut(self, session: Session, why: Callable[[], BaseException]) -> None:
        """Close a session's connection at the server's end: its transaction is undone, its next use raises `why()`."""
        if session.cut is None:
            session.cut = why
            self._undo(session)

    def cut_idle(self, nodes: Container[str], why: Callable[[], BaseException]) -> int:
        """Close these nodes' connections at rest at the server's end; who takes one finds out. Return how many."""
        resting = [one for name, pool in self._pools.items() if name in nodes for one in pool.idle if one.cut is None]
        for one in resting:
            one.cut = why
        return len(resting)

    def _undo(self, session: Session) -> None:
        with suppress(Exception):
            session.driver.rollback()
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

    # --- what SQLAlchemy asks

    def _hook(self, engine: Engine) -> None:
        event.listen(engine, "do_execute", self._execute_one)
        event.listen(engine, "do_executemany", self._execute_batch)
        event.listen(engine, "do_execute_no_params", self._execute_bare)
        dialect: Any = engine.dialect
        self._commit, self._rollback, self._close_driver = dialect.do_commit, dialect.do_rollback, dialect.do_close
        dialect.do_commit, dialect.do_rollback, dialect.do_close = self._on_commit, self._on_rollback, self._on_close

    def _execute_one(self, cursor: Any, statement: str, parameters: Any, _context: Any = None) -> bool:
        return self._execute(cursor, statement, lambda: cursor.execute(statement, parameters))

    def _execute_batch(self, cursor: Any, statement: str, parameters: Any, _context: Any = None) -> bool:
        return self._execute(cursor, statement, lambda: cursor.executemany(statement, parameters))

    def _execute_bare(self, cursor: Any, statement: str, _context: Any = None) -> bool:
        return self._execute(cursor, statement, lambda: cursor.execute(statement))

    def _execute(self, cursor: Any, statement: str, run: Callable[[], Any]) -> bool:
        """Execute a statement in the calling thread's session when its time has come; True: it is done."""
        thread = self.kernel.current
        if thread is None:
            return False
        self.kernel.checkpoint()
        session = self.sessions[thread]
        if statement == "BEGIN":
            run()
        elif statement == "BEGIN IMMEDIATE":
            # Others come in before it, and not between it and the write that it is said for.
            self.pace.pause(thread, "statement")
            session.begun_after_s = self._run(session, statement, run)
        else:
            self._step(session, cursor, statement, run)
        return True

    def _step(self, session: Session, cursor: Any, statement: str, run: Callable[[], Any]) -> None:
        self._reach(session.thread, session, "before_statement", statement)
        if session.begun_after_s is None:
            self.pace.pause(session.thread, "statement")
        waited_s = self._run(session, statement, run) + (session.begun_after_s or 0.0)
        session.begun_after_s = None
        self.watch.note("statement", session.txn, sql=statement, rows=cursor.rowcount, waited_s=waited_s)
        self._reach(session.thread, session, "after_statement", statement)

    def _run(self, session: Session, statement: str, run: Callable[[], Any]) -> float:
        began_s = self.kernel.now
        while True:
            self._still_connected(session)
            self.watch.forget()
            try:
                self.locking.attempt(session.driver, statement, run)
            except self.locking.refusals as refusal:
                self.watch.forget()
                try:
                    self.locking.park(session, refusal, began_s)
                    self.pace.again(session.thread)
                except Exception as error:
                    self._note_failure(session, statement, error, self.kernel.now - began_s)
                    raise
            except Exception as error:
                self.watch.forget()
                self._note_failure(session, statement, error, self.kernel.now - began_s)
                raise
            else:
                session.busy = True
                return self.kernel.now - began_s

    def _note_failure(self, session: Session, sql: str, error: BaseException, waited_s: float) -> None:
        self.watch.note("statement", session.txn, sql=sql, waited_s=waited_s, error=failure(error))

    def _still_connected(self, session: Session) -> None:
        if session.cut is not None:
            error = session.cut()
            self._note_failure(session, "", error, 0.0)
            raise error

    def _on_commit(self, driver: Any) -> None:
        thread = self.kernel.current
        if thread is None:
            self._commit(driver)
            return
        self.kernel.checkpoint()
        session = self.sessions[thread]
        if not session.busy or not self.locking.is_open(session.driver):
            # No transaction was ever begun at the server, so none is ended there.
            session.busy = False
            return
        self._reach(thread, session, "before_commit", "COMMIT")
        self.pace.pause(thread, "commit")
        self.commit(session)
        self._reach(thread, session, "after_commit", "COMMIT")

    def commit(self, session: Session) -> None:
        """Commit at the server, at this instant."""
        self._still_connected(session)
        try:
            self._commit(session.driver)
        except Exception as error:
            self.watch.note("commit", session.txn, error=failure(error))
            raise
        step = self.watch.note("commit", session.txn)
        self.watch.committed(session.txn, step)
        session.busy = False
        self.locking.ended()

    def _on_rollback(self, driver: Any) -> None:
        thread = self.kernel.current
        if thread is None:
            self._rollback(driver)
            return
        # The dead roll nothing back: the server does, once it notices.
        session = None if thread.dead else self.sessions.get(thread)
        if session is None or session.cut is not None:
            return
        self._rollback(driver)
        if session.busy:
            self.watch.note("rollback", session.txn)
        session.txn.changes.clear()
        session.busy = False
        self.locking.ended()

    def _on_close(self, driver: Any) -> None:
        thread = self.kernel.current
        if thread is None or not thread.dead:
            self._close_driver(driver)

    def _reach(self, thread: SimThread, session: Session | None, point: Point, statement: str) -> None:
        for disturb in list(self.at_point):
            disturb(thread, session, point, statement)

    def _may_move(self) -> bool:
        """Whether a session that may hold locks is not itself waiting for one."""
        held = [*self.sessions.values(), *self._orphans]
        return any(session.busy and not self.locking.is_parked(session.thread) for session in held)

    def close(self) -> None:
        """Close every connection."""
        for session in (*self.sessions.values(), *self._orphans):
            with suppress(Exception):
                session.driver.close()
        for pool in self._pools.values():
            self._close(pool.idle)
        self._reader.dispose()
        super().close()
