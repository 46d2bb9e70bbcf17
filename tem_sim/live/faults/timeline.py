"""The time of a live run: does things when they are due, one after the other, in a thread of its own."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

# How long to wait in the end for what was done aside.
ASIDE_WITHIN_S = 5.0


class Timeline:
    """What is asked of it before it begins is done once it has begun. Times are seconds since the beginning.

    All actions are done by one thread, so that none needs a lock against another. `failed` is told what one raises.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._news = threading.Condition()
        self._began = math.nan
        self._closed = False
        self._busy = False
        self._aside: set[threading.Thread] = set()
        self._thread = threading.Thread(target=self._run, name="faults", daemon=True)

    @property
    def now(self) -> float:
        """How long ago it began; 0 before."""
        return 0.0 if math.isnan(self._began) else time.monotonic() - self._began

    @property
    def is_behind(self) -> bool:
        """Whether something is due, or being done."""
        with self._news:
            return self._busy or bool(self._due and self._due[0][0] <= self.now)

    def begin(self, started_at: float) -> None:
        """Let time pass, from that moment on (seconds since the epoch)."""
        self._began = time.monotonic() - (time.time() - started_at)
        self._thread.start()

    def call_at(self, at_s: float, action: Callable[[], object]) -> None:
        """Do something at a time, or soon when that is over; what is due at the same time in the order of asking."""
        with self._news:
            heapq.heappush(self._due, (at_s, next(self._order), action))
            self._news.notify()

    def call_later(self, delay_s: float, action: Callable[[], object]) -> None:
        """Do something after a while."""
        self.call_at(self.now + delay_s, action)

    def aside(self, work: Callable[[], T], then: Callable[[T], object]) -> None:
        """Do what takes its time in another thread, and then something with what came of it."""

        def do() -> None:
            try:
                done = work()
            except Exception as error:
                self._failed(error)
            else:
                self.call_later(0.0, lambda: then(done))
            finally:
                self._aside.discard(thread)

        thread = threading.Thread(target=do, name="fault", daemon=True)
        self._aside.add(thread)
        thread.start()

    def ask(self, question: Callable[[], T], otherwise: T) -> T:
        """From another thread: have something done here and wait for what comes of it; when it is over, `otherwise`."""
        answer: Future[T] = Future()

        def do() -> None:
            try:
                answer.set_result(question())
            except Exception as error:
                answer.set_result(otherwise)
                self._failed(error)

        with self._news:
            if self._closed or math.isnan(self._began):
                return otherwise
            heapq.heappush(self._due, (0.0, next(self._order), do))
            self._news.notify()
        return answer.result()

    def close(self) -> None:
        """End what is being done, and do nothing more of what was to come but answer those who have asked."""
        with self._news:
            self._closed = True
            self._news.notify()
        if self._thread.is_alive():
            self._thread.join()
        for thread in list(self._aside):
            thread.join(ASIDE_WITHIN_S)

    def _run(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception as error:
                self._failed(error)

    def _next(self) -> Callable[[], object] | None:
        with self._news:
            while True:
                # What is due at 0 is a question, or was due all along.
                wait_s = self._due[0][0] - self.now if self._due else math.inf
                if self._closed and not (self._due and self._due[0][0] <= 0):
                    return None
                if wait_s <= 0:
                    self._busy = True
                    return heapq.heappop(self._due)[2]
                self._busy = False
                self._news.wait(None if math.isinf(wait_s) else wait_s)
