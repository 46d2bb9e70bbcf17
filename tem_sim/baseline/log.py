"""The transition log in the order of time: kept small in a baseline, and where two of them part.

The first rows are kept whole, so that both sides of a difference among them can be shown. Of the rest only hashes of
blocks are kept: they say between which rows, and so at which time, a later difference lies, and what happens there now.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from tem_sim.frames import Run

# 1,000 rows take 8 kB packed; 64 hashes take 1 kB.
KEPT_ROWS = 1000
BLOCKS = 64
_COLUMNS = ("event_id", "before", "after", "cause", "actor", "attempt_no")


class Step(NamedTuple):
    """One transition."""

    at_s: float
    event: int
    before: str
    after: str
    cause: str
    actor: str
    attempt: int

    def __str__(self) -> str:
        change = f"{self.before} → {self.after}" if self.before else f"→ {self.after}"
        return f"{change} at {self.at_s:.6f} s ({self.cause}, by {self.actor})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What is kept of a log: how many rows it has, the first of them, and a hash of each block of all."""

    rows: int
    kept: tuple[str, ...]
    blocks: tuple[str, ...]

    @property
    def block_rows(self) -> int:
        """How many rows a block has."""
        return _block_rows(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """The first transition in which two logs differ: of which event, and the how-manieth of it (from 1).

    `old` or `new` is None where there is none. Where the baseline did not keep it, `kept` is false and `after_s` and
    `before_s` say between which times the logs part.
    """

    event: int
    number: int
    old: Step | None
    new: Step | None
    kept: bool = True
    after_s: float = 0.0
    before_s: float = 0.0

    def __str__(self) -> str:
        if not self.kept:
            return (
                f"the first difference lies between {self.after_s:.6f} s and {self.before_s:.6f} s, after what the "
                "baseline has kept of the log"
            )
        was, now = (str(step) if step else "none" for step in (self.old, self.new))
        return f"the first transition that differs is number {self.number} of event {self.event}: was {was}, is {now}"


def rows_of(run: Run) -> list[str]:
    """Return the log, a line per transition: microseconds, event, before, after, cause, actor and attempt."""
    frame = run.transitions
    micros = np.rint(frame["at_s"].to_numpy() * 1e6).astype(np.int64)
    order = np.lexsort((frame["seq"].to_numpy(), frame["event_id"].to_numpy(), micros))
    columns = [frame[name].astype(object).to_numpy()[order].tolist() for name in _COLUMNS]
    return ["|".join(map(str, row)) for row in zip(micros[order].tolist(), *columns, strict=True)]


def kept(rows: Sequence[str], first: int = KEPT_ROWS) -> Log:
    """Return what a baseline keeps of a log."""
    return Log(rows=len(rows), kept=tuple(rows[:first]), blocks=tuple(_hashes(rows, _block_rows(len(rows)))))


def packed(lines: Sequence[str]) -> str:
    """Return lines as short text."""
    return base64.b85encode(zlib.compress("\n".join(lines).encode(), 9)).decode()


def unpacked(text: str) -> tuple[str, ...]:
    """Return what was packed; ValueError for anything else."""
    try:
        whole = zlib.decompress(base64.b85decode(text)).decode()
    except zlib.error as error:
        raise ValueError(str(error)) from None
    return tuple(whole.split("\n")) if whole else ()


def parting(old: Log, new: Sequence[str]) -> Parting | None:
    """Return where a log parts from what was kept of another; None where it does not."""
    known = len(old.kept)
    same = _common(old.kept, new)
    if same < known or (known == old.rows and len(new) > known):
        return _parted(old.kept, new, same, whole=known == old.rows)
    return None if len(new) == old.rows and list(old.blocks) == _hashes(new, old.block_rows) else _later(old, new)


def _common(old: Sequence[str], new: Sequence[str]) -> int:
    """Return how many rows the two begin with alike."""
    for number, (was, now) in enumerate(zip(old, new, strict=False)):
        if was != now:
            return number
    return min(len(old), len(new))


def _parted(old: Sequence[str], new: Sequence[str], same: int, *, whole: bool) -> Parting:
    """Take the earlier of the two rows that differ, and the same event's next one on the other side."""
    ahead = [_step(rows[same]) for rows in (old, new) if same < len(rows)]
    event = min(ahead, key=lambda step: (step.at_s, step.event)).event
    number = 1 + sum(_step(row).event == event for row in old[:same])
    was, now = (_next_of(event, rows[same:]) for rows in (old, new))
    if was is None and not whole:
        # The event goes on after the rows that were kept: when, is not known.
        return Parting(
            event=event,
            number=number,
            old=None,
            new=now,
            kept=False,
            after_s=_at(new, same),
            before_s=_at(old, len(old) - 1),
        )
    return Parting(event=event, number=number, old=was, new=now)


def _next_of(event: int, rows: Sequence[str]) -> Step | None:
    return next((step for step in map(_step, rows) if step.event == event), None)


def _later(old: Log, new: Sequence[str]) -> Parting:
    """Name the block in which a difference lies that comes after the rows that were kept."""
    size = old.block_rows
    now = _hashes(new, size)
    block = next(
        (i for i, (a, b) in enumerate(zip(old.blocks, now, strict=False)) if a != b), min(len(old.blocks), len(now))
    )
    first = max(len(old.kept), block * size)
    step = _step(new[first]) if first < len(new) else None
    event = step.event if step else 0
    return Parting(
        event=event,
        number=1 + sum(_step(row).event == event for row in new[:first]),
        old=None,
        new=step,
        kept=False,
        after_s=_at(new, first),
        before_s=_at(new, block * size + size - 1),
    )


def _at(rows: Sequence[str], number: int) -> float:
    return _step(rows[min(number, len(rows) - 1)]).at_s if rows else 0.0


def _step(row: str) -> Step:
    # An actor's name may hold anything; what is around it does not.
    micros, event, before, after, cause, rest = row.split("|", 5)
    actor, _, attempt = rest.rpartition("|")
    return Step(int(micros) / 1e6, int(event), before, after, cause, actor, int(attempt))


def _block_rows(rows: int) -> int:
    return max(64, -(-rows // BLOCKS))


def _hashes(rows: Sequence[str], size: int) -> list[str]:
    return [
        hashlib.sha256("\n".join(rows[start : start + size]).encode()).hexdigest()[:8]
        for start in range(0, len(rows), size)
    ]
