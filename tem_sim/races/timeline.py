"""A schedule as people read it: a column per thread, what each sent, what it saw or changed, and when it waited."""

from __future__ import annotations

import json
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event

from tem_sim.races.arena import Stage
from tem_sim.races.game import RaceGame, Round
from tem_sim.sim.schedules import Deviating, Strategy

WIDTH = 56
# Columns that change along with others and say nothing more.
_SILENT = frozenset({"changed_at", "changed_by", "woken_at", "queued_at", "last_delay_s", "last_error", "cause"})
_MADE = {
    "attempt": ("attempt_no", "outcome", "worker"),
    "notification": ("event_id",),
    "event": ("id", "idempotency_key"),
    "processing_state": ("event_id", "status"),
}
_VERBS = {"commit": "COMMIT", "rollback": "ROLLBACK"}
_MOST_ROWS = 3


@dataclass(slots=True)
class Entry:
    """One step of one thread."""

    thread: str
    head: str
    details: list[str] = field(default_factory=list)


class _Eyes(Strategy):
    """Follows a schedule, and sees what each SELECT returns and who has to wait."""

    def __init__(self, game: RaceGame, deviations: Mapping[int, str]) -> None:
        self.saw: dict[int, list[str]] = {}
        # Number of steps noted so far to the threads that were refused a lock just then.
        self.refused: defaultdict[int, list[str]] = defaultdict(list)
        self._game = game
        self._strategy = Deviating(deviations)

    def choose(self, step: int, ready: Sequence[str], default: str) -> str:
        """See `Strategy.choose`."""
        self.look()
        return self._strategy.choose(step, ready, default)

    def look(self) -> None:
        """Note whether the thread that went on last has to wait."""
        if self._game.is_refused():
            self.refused[len(self._game.arena.watch.steps)].append(self._game.last)

    def on_statement(self, connection: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        """Read again what a SELECT returned, in the same transaction and at the same instant."""
        if not sql.startswith("SELECT"):
            return
        cursor = connection.connection.dbapi_connection.cursor()
        cursor.execute(sql, parameters)
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchmany(_MOST_ROWS)]
        cursor.close()
        self.saw[len(self._game.arena.watch.steps)] = [_said(row) for row in rows] or ["nothing"]


def timeline(stage: Stage, deviations: Mapping[int, str]) -> tuple[Round, list[Entry]]:
    """Play a schedule once more and return what was judged of it, and its steps."""
    game = RaceGame(stage)
    eyes = _Eyes(game, deviations)
    engine = stage.arena.store.engine
    event.listen(engine, "after_cursor_execute", eyes.on_statement)
    try:
        round_ = game.play(eyes)
        eyes.look()
    finally:
        event.remove(engine, "after_cursor_execute", eyes.on_statement)
        game.close()
    return round_, list(_entries(round_, eyes))


def _entries(round_: Round, eyes: _Eyes) -> Iterator[Entry]:
    changed = defaultdict(list)
    for _, step, _, _, _, _, _, _, _, table, op, _, before, after in round_.played.changes:
        changed[step].append(_change(table, op, *(json.loads(text) if text else {} for text in (before, after))))
    for number, *_, thread, kind, _, sql, rows, _, _, _, error in round_.played.steps:
        for waiting in eyes.refused.pop(number - 1, ()):
            yield Entry(waiting, "waits for a lock")
        if kind not in ("statement", *_VERBS):
            continue
        entry = Entry(thread, _VERBS.get(kind) or _head(sql))
        entry.details += [f"sees {row}" for row in eyes.saw.get(number, ())]
        entry.details += changed[number]
        if error:
            entry.details.append(f"fails: {error}")
        elif kind == "statement" and not sql.startswith("SELECT") and not changed[number] and rows == 0:
            entry.details.append("finds no such row")
        yield entry
    for thread, error in round_.played.raised.items():
        yield Entry(thread, f"the task fails: {type(getattr(error, 'orig', None) or error).__name__}")


def _head(sql: str) -> str:
    """Return the verb and the table of a statement."""
    words = sql.replace("(", " ").replace(",", " ").split()
    if "UPDATE" in words and words[0] in ("UPDATE", "WITH"):
        table = "processing_state" if "processing_state" in sql else "notification"
        return f"UPDATE {table}"
    if words[0] == "INSERT":
        return f"INSERT {words[2]}"
    if words[0] == "SELECT" and "FROM" in words:
        lock = " FOR UPDATE" if "FOR UPDATE" in sql else ""
        return f"SELECT {words[words.index('FROM') + 1]}{lock}"
    return " ".join(words[:3])


def _change(table: str, op: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if op == "insert":
        return f"adds {_said({name: after.get(name) for name in _MADE[table]})}"
    names = [name for name in after if before.get(name) != after[name] and name not in _SILENT]
    of = after.get("event_id", after.get("id"))
    return f"event {of}: " + ", ".join(f"{name} {_value(before.get(name))} → {_value(after[name])}" for name in names)


def _said(row: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in row.items())


def _value(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def columns(entries: Sequence[Entry], threads: Sequence[str]) -> list[str]:
    """Return the steps as lines, each thread's in a column of its own."""
    rule = "   ".join("─" * WIDTH for _ in threads)
    lines = [f"  #  {'   '.join(f'{name:{WIDTH}}' for name in threads)}", f"     {rule}"]
    for number, entry in enumerate(entries, start=1):
        before = threads.index(entry.thread) * (WIDTH + 3)
        text = [entry.head]
        for detail in entry.details:
            text += textwrap.wrap(detail, WIDTH, initial_indent="  ", subsequent_indent="    ")
        lines += [f"{number if not at else '':>3}  {' ' * before}{line}" for at, line in enumerate(text)]
    return [line.rstrip() for line in lines]
