"""Ids of events: 53 bits, so that JavaScript holds them exactly, chosen by each process on its own.

The upper 31 bits are the second in which the id was made, since the start of 2025 (enough until 2093); the lower 22 are
counted up from a place that is drawn anew for each second. So later ids are larger, which keeps the store's trees
appending and lets pages of events go by id, and **one process never makes an id twice**: what overflows a second goes
into the next, and a clock that is set back is not followed.

Two processes, or one before and after a restart within a second or a clock set back, meet only when their places are
close: with m and n ids in the same second, some of them are equal with a probability of at most (m + n) / 2^22. For two
APIs that take in 1 000 events a second each, all day and night, that is one such second in about 35 minutes; for one
that is restarted, in its next second, one restart in 2 000. (Ids of 53 random bits would rather clash with what the
store holds, ever more as it grows: beside 10^9 events, about one in 10^7 of those that are new.)

It may happen: the store refuses an id that it has, and the event gets another one, in the same request (`another_id` of
`lifecycle.submit`). Idempotency is by key and never by id, so that no clash answers for another's event.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable

MAX_ID = 2**53 - 1
# 2025-01-01T00:00:00Z, in seconds since the epoch.
EPOCH_S = 1_735_689_600
COUNTER_BITS = 22
_PER_SECOND = 1 << COUNTER_BITS


class Ids:
    """Makes ids that grow; safe to share between threads. `draw` gives a whole number below the one it is given."""

    def __init__(self, clock: Callable[[], float] = time.time, draw: Callable[[int], int] = secrets.randbelow) -> None:
        self._clock = clock
        self._draw = draw
        self._lock = threading.Lock()
        self._last = 0

    def __call__(self) -> int:
        """Return the next id, from 1 to `MAX_ID`; raises OverflowError when the second has no room in 31 bits."""
        with self._lock:
            self._last = self._next(max(0, int(self._clock()) - EPOCH_S))
            return self._last

    def _next(self, second: int) -> int:
        if second <= self._last >> COUNTER_BITS:
            chosen = self._last + 1
        else:
            chosen = max(1, second * _PER_SECOND + self._draw(_PER_SECOND))
        if chosen > MAX_ID:
            raise OverflowError(f"no id of 53 bits is left for {second} s after the start of 2025; set the clock right")
        return chosen
