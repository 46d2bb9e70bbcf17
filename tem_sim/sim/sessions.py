"""The store taken apart: each transaction on a connection of its own, and others come in between its statements.

The pipeline's code is unmodified. SQLAlchemy asks before it executes, commits or rolls back; there the calling sim
thread waits in simulated time, and then the statement is executed at once. None ever waits inside the database, which
would stop the one OS thread: a lock that another holds is refused immediately, the thread is parked until somebody
ends a transaction, and its statement is executed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Executable, event

from tem_sim.pipeline.store import Store
from tem_sim.sim.connections import Connections, Session
from tem_sim.sim.watch import failure


class StatementStore(Connections):
    """The pipeline's store under `interleave: statement`. The hub, which never waits, reads on a connection apart."""

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Take a connection of the node's pool and open a transaction on it; see `Store.begin`."""
        thread = self.kernel.current
        if thread is None:
            with self.reader.begin() as connection:
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

    def create_tables(self) -> None:
        """See `Store.create_tables`; waits for others that make tables in the same database, in real time."""
        Store(self.reader).create_tables()

    def create_index(self, statement: str) -> None:
        """See `Store.create_index`."""
        Store(self.reader).create_index(statement)

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
        session.uses += 1
        while True:
            self._still_connected(session, "statement", statement)
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
                self._limit_idleness(session)
                return self.kernel.now - began_s

    def _limit_idleness(self, session: Session) -> None:
        """Let the server end the session if nothing is heard of it for too long while its transaction is open."""
        limit_s = self._model.idle_in_transaction_timeout_s
        session.uses += 1
        if limit_s is None:
            return
        uses = session.uses

        def check() -> None:
            idle = session.uses == uses and session.busy and session.cut is None and session in self._held()
            if idle and self.locking.is_open(session.driver):
                self.cut(session, self.breakage.idle_too_long(session.driver))

        self.kernel.call_later(limit_s, check)

    def _note_failure(self, session: Session, sql: str, error: BaseException, waited_s: float) -> None:
        self.watch.note("statement", session.txn, sql=sql, waited_s=waited_s, error=failure(error))

    def _on_commit(self, driver: Any) -> None:
        thread = self.kernel.current
        if thread is None:
            self._commit(driver)
            return
        self.kernel.checkpoint()
        session = self.sessions[thread]
        self._still_connected(session, "commit")
        if not session.busy or not self.locking.is_open(session.driver):
            # Nothing was done in it; at most SQLite was told to begin, and takes no second BEGIN before an end.
            session.busy = False
            self._commit(session.driver)
            return
        self._reach(thread, session, "before_commit", "COMMIT")
        self.pace.pause(thread, "commit")
        self._still_connected(session, "commit")
        outcomes = (ask(session) for ask in list(self.unheard))
        arrives = next((outcome for outcome in outcomes if outcome is not None), None)
        if arrives is None:
            self.commit(session)
        else:
            self._commit_unheard(session, arrives)
        self._reach(thread, session, "after_commit", "COMMIT")

    def commit(self, session: Session) -> None:
        """Commit at the server, at this instant."""
        try:
            self._commit(session.driver)
        except Exception as error:
            self.watch.note("commit", session.txn, error=failure(error))
            raise
        self._committed(session)
        self.locking.ended()

    def _committed(self, session: Session) -> None:
        self.watch.committed(session.txn, self.watch.note("commit", session.txn))
        session.busy = False

    def _commit_unheard(self, session: Session, arrives: bool) -> None:
        """Lose the connection in a commit, before or after it is done; `_reach` raises what the code hears of it."""
        done, told = self.breakage.commit_unheard(session.driver, arrives)
        if done:
            self._committed(session)
        self.cut(session, told)

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
