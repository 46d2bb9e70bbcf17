"""The watched stream as objects: what each thread did, and each committed change of a row with its images.

The frames `steps` and `changes` are read once per run. What a check asks is in whose hands a row was and who moved it,
so that here changes come row by row, in the order in which they were committed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

Row = dict[str, Any]

# Steps of a thread at which no transaction of its own may be open: others wait for its locks meanwhile.
OUTSIDE = ("wake", "publish", "handle", "handled", "task", "task_done")
_STATE = "processing_state"


class Step(NamedTuple):
    """One row of the frame `steps`."""

    step: int
    t_s: float
    clock_s: float
    actor: str
    thread: str
    kind: str
    label: str
    sql: str
    rows: int
    event_id: int
    txn: int
    waited_s: float
    error: str

    @property
    def reads(self) -> bool:
        """Whether it is a statement that only reads."""
        return self.kind == "statement" and self.sql.startswith("SELECT")


class Change(NamedTuple):
    """One row of the frame `changes`, its images as mappings: None before an insert and after a delete."""

    change: int
    step: int
    commit_step: int
    txn: int
    t_s: float
    clock_s: float
    actor: str
    thread: str
    label: str
    table: str
    op: str
    event_id: int
    before: Row | None
    after: Row | None

    def was(self, column: str) -> Any:
        """Return a column's value before; None where there was no row."""
        return None if self.before is None else self.before.get(column)

    def now(self, column: str) -> Any:
        """Return a column's value after; None where the row is gone."""
        return None if self.after is None else self.after.get(column)

    @property
    def edge(self) -> tuple[str | None, str | None]:
        """The status before and after."""
        return self.was("status"), self.now("status")

    @property
    def moves(self) -> bool:
        """Whether the row's status changed, or the row is new."""
        return bool(self.was("status") != self.now("status"))

    @property
    def at_s(self) -> float:
        """The time by which its author judged: what it wrote as the time of the change."""
        stamp = self.now("changed_at")
        return self.clock_s if stamp is None else float(stamp)

    def differing(self) -> frozenset[str]:
        """Return the columns whose value changed."""
        before, after = self.before or {}, self.after or {}
        return frozenset(name for name in {*before, *after} if before.get(name) != after.get(name))


@dataclass(frozen=True, slots=False, eq=False)
class Stream:
    """All steps and changes of a run, each in the order in which it happened."""

    steps: tuple[Step, ...]
    changes: tuple[Change, ...]
    _by_step: dict[int, Step] = field(default_factory=dict, repr=False)

    @property
    def watched(self) -> bool:
        """Whether anything was seen at all."""
        return bool(self.steps)

    def sql(self, change: Change) -> str:
        """Return the statement that made a change."""
        found = self.step(change.step)
        return "" if found is None else found.sql

    def step(self, number: int) -> Step | None:
        """Return the step of that number."""
        if not self._by_step:
            self._by_step.update((step.step, step) for step in self.steps)
        return self._by_step.get(number)

    def of(self, table: str) -> list[Change]:
        """Return the changes of one table."""
        return self._of_table.get(table, [])

    @cached_property
    def _of_table(self) -> dict[str, list[Change]]:
        found: defaultdict[str, list[Change]] = defaultdict(list)
        for change in self.changes:
            found[change.table].append(change)
        return dict(found)

    @property
    def states(self) -> list[Change]:
        """The changes of `processing_state`."""
        return self.of(_STATE)

    @cached_property
    def rows(self) -> dict[int, list[Change]]:
        """The changes of `processing_state` by event, each event's in their order."""
        found: defaultdict[int, list[Change]] = defaultdict(list)
        for change in self.states:
            found[change.event_id].append(change)
        return dict(found)

    @cached_property
    def transactions(self) -> dict[int, list[Change]]:
        """What each committed transaction changed, by its number."""
        found: defaultdict[int, list[Change]] = defaultdict(list)
        for change in self.changes:
            found[change.txn].append(change)
        return dict(found)

    @cached_property
    def threads(self) -> dict[str, list[Step]]:
        """What each thread did, by its name."""
        found: defaultdict[str, list[Step]] = defaultdict(list)
        for step in self.steps:
            found[step.thread].append(step)
        return dict(found)


_streams: WeakKeyDictionary[Run, Stream] = WeakKeyDictionary()


def stream(run: Run) -> Stream:
    """Return the run's stream, read when first asked for and kept as long as the run lives."""
    if run not in _streams:
        _streams[run] = Stream(tuple(_steps(run.steps)), tuple(_changes(run.changes)))
    return _streams[run]


def _values(frame: pd.DataFrame, names: tuple[str, ...]) -> list[list[Any]]:
    return [frame[name].tolist() for name in names]


def _steps(frame: pd.DataFrame) -> list[Step]:
    return [Step(*values) for values in zip(*_values(frame, Step._fields), strict=True)]


def _changes(frame: pd.DataFrame) -> list[Change]:
    columns = _values(frame, Change._fields)
    plain, images = columns[:-2], columns[-2:]
    before, after = ([json.loads(text) if text else None for text in texts] for texts in images)
    return [Change(*values) for values in zip(*plain, before, after, strict=True)]
