"""What every thread did, step by step, and every row that a committed transaction changed: who, when, by what code.

Nothing here polls. Steps are noted where they happen, and the images of a row, before and after, come from triggers
that the store itself runs within the statement (`row_images`).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import FrameType
from typing import Any, NamedTuple

from sqlalchemy.exc import DBAPIError

from tem_sim.sim.kernel import Kernel, SimThread

Image = Mapping[str, Any]

_PIPELINE = "tem_sim.pipeline."
# Modules of the pipeline that carry out what others decide.
_CARRIERS = frozenset({"tasks", "store", "tables", "rows", "conflicts"})
# Steps that say nothing of a transaction that happens to be open.
_OF_THE_THREAD = frozenset({"connect", "killed", "task_failed"})
_IN_LIST = re.compile(r"IN \((?:[^()]|\([^()]*\))*\)")


class RowImage(NamedTuple):
    """One row as a statement found it and as it left it."""

    table: str
    op: str
    before: Image | None
    after: Image | None


class _Change(NamedTuple):
    step: int
    clock_s: float
    thread: SimThread
    label: str
    image: RowImage


@dataclass(slots=True)
class Txn:
    """One open transaction, and what it has changed so far."""

    number: int
    changes: list[_Change] = field(default_factory=list)


class Watch:
    """Keeps the rows of the frames `steps` and `changes`."""

    def __init__(self, kernel: Kernel) -> None:
        self.steps: list[tuple[Any, ...]] = []
        self.changes: list[tuple[Any, ...]] = []
        self._kernel = kernel
        self._txns = 0
        # Which transaction a thread has open; the store knows.
        self.open_of: Callable[[SimThread], Txn | None] = lambda thread: None
        self._seen: list[RowImage] = []

    def restart(self) -> None:
        """Forget all that was kept, and number from 1 again."""
        self.steps.clear()
        self.changes.clear()
        self._txns = 0

    def saw(self, image: RowImage) -> None:
        """Take a row image from the statement that is being executed."""
        if self._kernel.current is not None and image.before != image.after:
            self._seen.append(image)

    def forget(self) -> None:
        """Drop the images of a statement that failed or was undone."""
        self._seen.clear()

    def opened(self) -> Txn:
        """Begin a transaction."""
        self._txns += 1
        return Txn(self._txns)

    def take_back(self, kept: int) -> int:
        """Drop all changes but the first so many: the store has forgotten the others. Return how many."""
        gone = len(self.changes) - kept
        del self.changes[kept:]
        return gone

    def note(
        self,
        kind: str,
        txn: Txn | None = None,
        *,
        thread: SimThread | None = None,
        sql: str = "",
        rows: int = -1,
        event_id: int = 0,
        waited_s: float = 0.0,
        error: str = "",
    ) -> int:
        """Note a step of the calling thread, or of `thread`, and return its number."""
        who = thread or self._kernel.current
        if who is None:
            return 0
        number = len(self.steps) + 1
        clock_s = who.node.clock.now()
        label = doing() if thread is None else ""
        inside = self.open_of(who) if txn is None and kind not in _OF_THE_THREAD else txn
        txn_number = 0 if inside is None else inside.number
        self.steps.append(
            (number, self._kernel.now, clock_s, who.node.name, who.name, kind, label, _short(sql), rows,
             event_id, txn_number, waited_s, error)
        )  # fmt: skip
        if kind == "statement" and txn is not None and self._seen:
            txn.changes += [_Change(number, clock_s, who, label, image) for image in self._seen]
            self._seen.clear()
        return number

    def committed(self, txn: Txn, step: int) -> None:
        """Make what a transaction changed part of the stream, in the order of its statements."""
        now = self._kernel.now
        for change in txn.changes:
            image = change.image
            row = image.after or image.before or {}
            event_id = row.get("id" if image.table == "event" else "event_id", 0)
            self.changes.append(
                (len(self.changes) + 1, change.step, step, txn.number, now, change.clock_s, change.thread.node.name,
                 change.thread.name, change.label, image.table, image.op, event_id, _text(image.before),
                 _text(image.after))
            )  # fmt: skip
        txn.changes.clear()


def failure(error: BaseException) -> str:
    """Return what a step says of an error: the driver's own exception, and the constraint that it names."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    # PostgreSQL names it apart; SQLite's message ends with it.
    constraint = getattr(getattr(cause, "diag", None), "constraint_name", None)
    if constraint is None and type(cause).__name__ == "IntegrityError":
        constraint = str(cause).rpartition(": ")[2]
    return type(cause).__name__ + (f": {constraint}" if constraint else "")


def doing() -> str:
    """Return the function of the pipeline at whose behest this is done: the outermost below the task."""
    frame: FrameType | None = sys._getframe(2)
    found = task = ""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(_PIPELINE):
            name = module[len(_PIPELINE) :]
            if name not in _CARRIERS:
                found = f"{name}.{frame.f_code.co_name}"
            elif name == "tasks":
                task = f"{name}.{frame.f_code.co_name}"
        frame = frame.f_back
    return found or task


@lru_cache(maxsize=4096)
def _short(sql: str) -> str:
    """Return a statement as it is compared: one text, however many values a list in it has."""
    return " ".join(_IN_LIST.sub(_shortened, sql).split())


def _shortened(found: re.Match[str]) -> str:
    text = found.group(0)
    return text if "SELECT" in text else "IN (…)"


def _text(image: Image | None) -> str:
    return "" if image is None else json.dumps(image, sort_keys=True)
