"""A scheduler that looks every period: a retry starts at the first tick at or after it is due, at most LIMIT per tick.

Ticks lie on the grid phase + j·period. Times are compared in whole microseconds, as the store keeps them, so that a
retry due at 0.3 s is released by the third tick of 0.1 s and not by the fourth.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.pipeline.bounds import count, seconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tick:
    """The scheduler's period, its LIMIT per tick (None: no limit), and how far its grid is from the failure at 0."""

    period_s: float
    limit: int | None = None
    phase_s: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "period_s", seconds("Tick.period_s", self.period_s, above=0))
        object.__setattr__(self, "phase_s", seconds("Tick.phase_s", self.phase_s))
        if self.limit is not None:
            object.__setattr__(self, "limit", count("Tick.limit", self.limit, least=1))
        if micros(self.period_s) < 1:
            raise ValueError(f"Tick.period_s: must be at least a microsecond, got {self.period_s!r}")

    def number(self, due_s: Floats | float) -> Floats:
        """Return the number of the first tick at or after each time; NaN stays NaN."""
        # The quotient of two whole numbers below 2^53 is whole exactly when it should be.
        return np.asarray(np.ceil((np.rint(np.asarray(due_s) * 1e6) - micros(self.phase_s)) / micros(self.period_s)))

    def at_s(self, number: Floats | float) -> Floats:
        """Return the time of each tick."""
        return np.asarray((micros(self.phase_s) + number * micros(self.period_s)) / 1e6)


def micros(time_s: float) -> int:
    """Return a time in whole microseconds."""
    return round(time_s * 1e6)


def release(
    delays_s: Iterable[Floats],
    shape: tuple[int, int],
    fail_s: float = 0.0,
    tick: Tick | None = None,
    budget_s: float | None = None,
) -> tuple[Floats, Floats]:
    """Return when each retry is due and when it starts, of rows that failed at 0; arrays of `shape` (retries, n).

    Retry k + 1 is due `fail_s` and its delay after retry k has started. A row whose retry would be due later than
    `budget_s` gives up: that one and all later ones are NaN. Without a tick both results are the same array.
    """
    if tick is not None and tick.limit is not None:
        stacked = np.stack(list(delays_s)) if shape[0] else np.empty(shape)
        return _Limited(stacked, fail_s, tick, tick.limit, budget_s).run()
    due_s = np.empty(shape)
    starts_s = due_s if tick is None else np.empty(shape)
    ended_s: Floats | float = 0.0
    last: Floats | float = -np.inf
    for retry, delay_s in enumerate(delays_s):
        np.add(delay_s, ended_s, out=due_s[retry])
        if budget_s is not None:
            due_s[retry][due_s[retry] > budget_s] = np.nan
        if tick is not None:
            # A tick that has passed releases nothing any more.
            last = np.maximum(tick.number(due_s[retry]), last + 1)
            starts_s[retry] = tick.at_s(last)
        ended_s = starts_s[retry] + fail_s if fail_s else starts_s[retry]
    return due_s, starts_s


class _Limited:
    """Tick after tick: what has come due joins the queue in order of (due, row), and the first LIMIT rows leave it."""

    def __init__(self, delays_s: Floats, fail_s: float, tick: Tick, limit: int, budget_s: float | None) -> None:
        self.delays_s, self.fail_s, self.tick, self.limit = delays_s, fail_s, tick, limit
        self.budget_s = np.inf if budget_s is None else budget_s
        self.due_s = np.full_like(delays_s, np.nan)
        self.starts_s = np.full_like(delays_s, np.nan)
        self.made = np.zeros(delays_s.shape[1], dtype=np.int64)
        self.coming: dict[int, list[Rows]] = {}
        self.numbers: list[int] = []

    def run(self) -> tuple[Floats, Floats]:
        queue: deque[Rows] = deque()
        if len(self.delays_s):
            self._book(np.arange(len(self.made)), 0.0, None)
        number = self.numbers[0] if self.numbers else 0
        while queue or self.numbers:
            if not queue:
                number = self.numbers[0]
            if self.numbers and self.numbers[0] == number:
                self._join(queue, self._in_order(self.coming.pop(heappop(self.numbers))), number)
            self._start(_taken(queue, self.limit), number)
            number += 1
        return self.due_s, self.starts_s

    def _join(self, queue: deque[Rows], rows: Rows, number: int) -> None:
        """Put rows behind those that wait already, which came due before the last tick, and so before them.

        But for a row that came due upon the last tick, which had just released it: its number may go before others'.
        """
        if queue and self._due_micros(rows[:1])[0] <= 1e6 * self.tick.at_s(number - 1):
            rows = self._in_order([*queue, rows])
            queue.clear()
        queue.append(rows)

    def _in_order(self, parts: list[Rows]) -> Rows:
        rows = np.concatenate(parts)
        return rows[np.lexsort((rows, self._due_micros(rows)))]

    def _due_micros(self, rows: Rows) -> Floats:
        return np.asarray(np.rint(1e6 * self.due_s[self.made[rows], rows]))

    def _start(self, rows: Rows, number: int) -> None:
        now_s = float(self.tick.at_s(number))
        self.starts_s[self.made[rows], rows] = now_s
        self.made[rows] += 1
        self._book(rows[self.made[rows] < len(self.delays_s)], now_s + self.fail_s, number)

    def _book(self, rows: Rows, failed_s: float, now: int | None) -> None:
        """Note the rows' next retries under the ticks that will find them due; a row past its budget has none."""
        due_s = failed_s + self.delays_s[self.made[rows], rows]
        rows, due_s = rows[due_s <= self.budget_s], due_s[due_s <= self.budget_s]
        if not len(rows):
            return
        self.due_s[self.made[rows], rows] = due_s
        numbers = self.tick.number(due_s).astype(np.int64)
        if now is not None:
            numbers = np.maximum(numbers, now + 1)
        order = np.argsort(numbers, kind="stable")
        at, starts = np.unique(numbers[order], return_index=True)
        ends = np.append(starts[1:], len(rows))
        for number, start, end in zip(at.tolist(), starts.tolist(), ends.tolist(), strict=True):
            part = rows[order[start:end]]
            if number not in self.coming:
                self.coming[number] = []
                heappush(self.numbers, number)
            self.coming[number].append(part)


def _taken(queue: deque[Rows], limit: int) -> Rows:
    """Take up to `limit` rows from the front of the queue."""
    parts: list[Rows] = []
    while queue and limit:
        part = queue.popleft()
        if len(part) > limit:
            queue.appendleft(part[limit:])
        parts.append(part[:limit])
        limit -= len(parts[-1])
    return np.concatenate(parts)
