"""Which steps of two threads may be swapped without anybody noticing: what each step read, wrote and locked.

Two steps depend on each other when both touch a common thing and one of them changes it. The things are coarse, which
costs schedules and never hides one: the committed rows of a table, the locks of a table, SQLite's one write lock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.tables import metadata

TABLES = tuple(metadata.tables)
_TARGET = re.compile(r"\b(?:INSERT INTO|(?<!FOR )UPDATE(?: OR FAIL)?|DELETE FROM) (\w+)")
_NAMES = re.compile(rf"\b(?:{'|'.join(TABLES)})\b")
_EVERYTHING = frozenset(f"rows:{name}" for name in TABLES)


class Access(NamedTuple):
    """What one step touched: what it only looked at, and what it changed."""

    reads: frozenset[str]
    writes: frozenset[str]


NOTHING = Access(frozenset(), frozenset())


def dependent(one: Access, other: Access) -> bool:
    """Whether the order of two steps of different threads may matter."""
    return bool(one.writes & other.writes or one.writes & other.reads or one.reads & other.writes)


class Told(NamedTuple):
    """One row of the frame `steps`, as far as it matters here."""

    kind: str
    sql: str
    error: str


class _Statement(NamedTuple):
    tables: frozenset[str]
    # The table that it writes, empty where it writes none.
    target: str
    locks: bool
    advisory: bool


@lru_cache(maxsize=1024)
def _parsed(sql: str) -> _Statement:
    tables = frozenset(_NAMES.findall(sql))
    target = _TARGET.search(sql)
    locks = target is not None or "FOR UPDATE" in sql or "FOR SHARE" in sql
    if target is not None and target.group(1) != "event":
        # Its foreign key looks the event up.
        tables |= {"event"}
    return _Statement(tables, target.group(1) if target else "", locks, "pg_advisory" in sql)


@dataclass(slots=True)
class _Open:
    """A thread's transaction so far."""

    began: bool = False
    # SQLite's write lock is held.
    holds: bool = False
    read: set[str] = field(default_factory=set)
    wrote: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)


class Accesses:
    """Reads the accesses of each step off what the step did; made anew for each schedule."""

    def __init__(self, dialect: str, isolation: IsolationLevel) -> None:
        self._isolation = isolation
        self._sqlite = dialect == "sqlite"
        self._open: dict[str, _Open] = {}

    def of(self, thread: str, told: Iterable[Told], refused: str | None) -> Access:
        """Return what a step touched; `refused` is the statement that has to wait for a lock, where one has."""
        found = [self._of_one(thread, one) for one in told]
        if refused is not None:
            found.append(self._of_statement(self._open_of(thread), refused, refused=True))
            # All parked is a deadlock, whose victim is the one that came last.
            found.append(Access(frozenset(), frozenset({"parked"})))
        reads = frozenset[str]().union(*(one.reads for one in found))
        writes = frozenset[str]().union(*(one.writes for one in found))
        return Access(reads - writes, writes)

    def holder(self, thread: str, next_sql: str | None) -> str | None:
        """Return who else holds SQLite's write lock where a thread needs it for its next statement, else None.

        A refused attempt would change nothing there, so that no schedule with one leads to another end.
        """
        if not self._sqlite or self._open_of(thread).holds:
            return None
        needs = next_sql is None or bool(_parsed(next_sql).target)
        return next((name for name, open_ in self._open.items() if open_.holds), None) if needs else None

    def _open_of(self, thread: str) -> _Open:
        return self._open.setdefault(thread, _Open())

    def _of_one(self, thread: str, told: Told) -> Access:
        open_ = self._open_of(thread)
        if told.kind == "statement":
            return self._of_statement(open_, told.sql, refused=False)
        if told.kind in ("commit", "rollback", "begin"):
            # A rollback of what had not begun at the server is not noted; then the next one begins.
            self._open[thread] = _Open()
        if told.kind in ("commit", "rollback"):
            return self._of_end(open_, commits=told.kind == "commit" and not told.error)
        return NOTHING

    def _of_statement(self, open_: _Open, sql: str, *, refused: bool) -> Access:
        if self._sqlite:
            return self._on_sqlite(open_, _parsed(sql), refused)
        return self._on_postgresql(open_, _parsed(sql))

    def _on_sqlite(self, open_: _Open, statement: _Statement, refused: bool) -> Access:
        """Inside a write transaction nothing is visible to others, nor are they to it."""
        open_.wrote |= {statement.target} - {""}
        if open_.holds:
            return NOTHING
        takes_lock = bool(statement.target) or refused or self._isolation is IsolationLevel.SERIALIZABLE
        if takes_lock:
            open_.holds = not refused
            open_.began = True
            return Access(_EVERYTHING, frozenset({"lock"}))
        if self._isolation is IsolationLevel.READ_COMMITTED:
            return Access(_rows(statement.tables), frozenset())
        if open_.began:
            return NOTHING
        open_.began = True
        return Access(_EVERYTHING, frozenset())

    def _on_postgresql(self, open_: _Open, statement: _Statement) -> Access:
        sees = _rows(statement.tables)
        if self._isolation is not IsolationLevel.READ_COMMITTED:
            # The first statement takes the snapshot; after it only those notice others that change or lock rows.
            sees = _EVERYTHING if not open_.began else sees if statement.locks else frozenset()
        open_.began = True
        open_.wrote |= {statement.target} - {""}
        changes = set[str]()
        if statement.locks:
            locked = {statement.target} if statement.target else set(statement.tables)
            open_.locked |= locked
            changes |= {f"locks:{name}" for name in locked}
        if statement.advisory:
            open_.locked.add("advisory")
            changes.add("locks:advisory")
        if self._isolation is IsolationLevel.SERIALIZABLE:
            open_.read |= statement.tables
            sees |= {f"conflicts:{name}" for name in statement.tables}
            changes |= {f"conflicts:{statement.target}"} if statement.target else set()
        return Access(frozenset(sees), frozenset(changes))

    def _of_end(self, open_: _Open, *, commits: bool) -> Access:
        shown = _rows(open_.wrote) if commits else frozenset[str]()
        if self._sqlite:
            return Access(frozenset(), shown | {"lock"} if open_.holds else frozenset())
        freed = {f"locks:{name}" for name in open_.locked}
        if self._isolation is IsolationLevel.SERIALIZABLE:
            # Who of three is given up is decided at the commits, by their order.
            freed |= {f"conflicts:{name}" for name in open_.read | open_.wrote} | {"commits"}
        return Access(frozenset(), shown | freed)


def _rows(tables: Iterable[str]) -> frozenset[str]:
    return frozenset(f"rows:{name}" for name in tables)


def told_of(steps: Sequence[tuple[Any, ...]]) -> list[Told]:
    """Return what matters here of rows of the frame `steps`."""
    return [Told(step[5], step[7], step[12]) for step in steps]
