"""The transition log as arrays, event by event: what the checks and the curves are computed from.

A log of 1.5 million rows costs seconds when it is grouped in Python and milliseconds as sorted arrays.
Events are numbered 0, 1, 2 … in the order of their ids, so that "per event" is a `bincount`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

Array = np.ndarray[Any, np.dtype[Any]]

_histories: WeakKeyDictionary[Run, History] = WeakKeyDictionary()
_tries: WeakKeyDictionary[Run, Tries] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The transition log sorted by (event, seq).

    `order` holds each row's place in `run.transitions`, `event` its event's number (an index into `ids`),
    `first` and `last` whether it is that event's first or last. `before`, `after`, `cause` and `actor` are
    category codes.
    """

    ids: Array
    order: Array
    event: Array
    at_s: Array
    before: Array
    after: Array
    cause: Array
    actor: Array
    attempt_no: Array
    retry_count: Array
    first: Array
    last: Array
    words: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.order)

    def has(self, column: str, *values: str) -> Array:
        """Return a mask of the rows whose `column` (before, after, cause, actor) is one of the values."""
        words = self.words[column]
        codes = getattr(self, column)
        mask = np.zeros(len(self), dtype=bool)
        for value in values:
            if value in words:
                mask |= codes == words.index(value)
        return mask

    def per_event(self, mask: Array) -> Array:
        """Return how many of the masked rows each event has, by event number."""
        return np.bincount(self.event[mask], minlength=len(self.ids))

    def previous(self, values: Array) -> Array:
        """Return the values of each row's predecessor; at an event's first row they mean nothing."""
        shifted = np.empty_like(values)
        shifted[:1] = values[:1]
        shifted[1:] = values[:-1]
        return shifted

    def within_event(self, flags: Array) -> Array:
        """Return, for each row, how many flagged rows its event has had up to and including it."""
        running = np.cumsum(flags)
        starts = np.flatnonzero(self.first)
        offsets = running[starts] - flags[starts]
        return np.asarray(running - np.repeat(offsets, np.diff(np.append(starts, len(self)))))

    def in_order_s(self) -> Array:
        """Return the times made non-decreasing within each event.

        A skewed clock can put an event's claim before its submit; a curve of rows by state would then count
        a row twice or not at all. Each row is moved no further than its predecessor.
        """
        backwards = ~self.first & (self.at_s < self.previous(self.at_s))
        if not backwards.any():
            return self.at_s
        micros = np.rint(self.at_s * 1e6).astype(np.int64)
        # Whole microseconds plus a step per event, larger than any time: one running maximum serves all.
        step = int(micros.max() - micros.min()) + 1
        lifted = micros + self.event.astype(np.int64) * step
        return np.asarray((np.maximum.accumulate(lifted) - self.event.astype(np.int64) * step) / 1e6)


@dataclass(frozen=True, slots=True, eq=False)
class Tries:
    """The attempts sorted by (event, attempt_no); `key` names an attempt by both in one integer."""

    order: Array
    event: Array
    attempt_no: Array
    key: Array
    first: Array

    def find(self, event: Array, attempt_no: Array) -> Array:
        """Return the place in `run.attempts` of each (event number, attempt_no), -1 where there is none."""
        wanted = _key(event, attempt_no)
        at = np.searchsorted(self.key, wanted)
        inside = np.minimum(at, max(len(self.key) - 1, 0))
        found = (at < len(self.key)) & (self.key[inside] == wanted) if len(self.key) else np.zeros(len(at), bool)
        return np.where(found, self.order[inside] if len(self.order) else -1, -1)


def history(run: Run) -> History:
    """Return the run's history, built when first asked for and kept as long as the run lives."""
    if run not in _histories:
        _histories[run] = _build(run)
    return _histories[run]


def tries(run: Run) -> Tries:
    """Return the run's attempts in order, built when first asked for and kept as long as the run lives."""
    if run not in _tries:
        _tries[run] = _build_tries(run)
    return _tries[run]


def log_rows(run: Run, mask: Array) -> pd.DataFrame:
    """Return the transitions that a mask over `history(run)` picks, by event and then in order."""
    return run.transitions.iloc[history(run).order[mask]]


def event_numbers(run: Run, event_ids: Array) -> Array:
    """Return the numbers of the events in `history(run).ids`."""
    return np.searchsorted(history(run).ids, event_ids).astype(np.int32)


def after_a_change(values: Array) -> Array:
    """Return a mask of the values that differ from the one before; the first does."""
    mask = np.ones(len(values), dtype=bool)
    mask[1:] = values[1:] != values[:-1]
    return mask


def before_a_change(values: Array) -> Array:
    """Return a mask of the values that differ from the one after; the last does."""
    return after_a_change(values[::-1])[::-1]


def words_of(column: pd.Series[Any]) -> list[str]:
    """Return a categorical column's vocabulary, by code."""
    return [str(word) for word in column.cat.categories]


def _build(run: Run) -> History:
    log = run.transitions
    event_ids = log["event_id"].to_numpy()
    order = np.lexsort((log["seq"].to_numpy(), event_ids)).astype(np.int32)
    event_ids = event_ids[order]
    first = after_a_change(event_ids)
    everywhere = [event_ids[first], run.events["event_id"].to_numpy(), run.attempts["event_id"].to_numpy()]
    ids = np.unique(np.concatenate(everywhere))
    labels = ("before", "after", "cause", "actor")
    numbers = ("at_s", "attempt_no", "retry_count")
    return History(
        ids=ids,
        order=order,
        event=np.searchsorted(ids, event_ids).astype(np.int32),
        first=first,
        last=before_a_change(event_ids),
        words={name: words_of(log[name]) for name in labels},
        **{name: log[name].cat.codes.to_numpy()[order] for name in labels},
        **{name: log[name].to_numpy()[order] for name in numbers},
    )


def _build_tries(run: Run) -> Tries:
    event = event_numbers(run, run.attempts["event_id"].to_numpy())
    attempt_no = run.attempts["attempt_no"].to_numpy()
    keys = _key(event, attempt_no)
    order = np.argsort(keys, kind="stable")
    event = event[order]
    return Tries(order=order, event=event, attempt_no=attempt_no[order], key=keys[order], first=after_a_change(event))


def _key(event: Array, attempt_no: Array) -> Array:
    return np.asarray((event.astype(np.int64) << 32) | attempt_no)
