"""Asking what may be away: an answer within a time, or the reason why there is none."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from sqlalchemy.exc import DBAPIError

from tem_sim.live.api.models import Part

_T = TypeVar("_T")
ANSWERS_WITHIN_S = 2.0


class Probe(Generic[_T]):
    """A question, with threads of its own: one that hangs keeps nobody else from being asked."""

    def __init__(self, question: Callable[[], _T]) -> None:
        self._question = question
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="probe")

    def ask(self) -> _T:
        """Return the answer; raise what the question raises, or TimeoutError."""
        asked = self._threads.submit(self._question)
        try:
            return asked.result(ANSWERS_WITHIN_S)
        except TimeoutError:
            asked.cancel()
            raise

    def try_ask(self) -> _T | None:
        """Return the answer, None when there is none."""
        try:
            return self.ask()
        except Exception:
            return None

    def part(self) -> Part:
        """Return whether there is an answer, and how soon, or why not."""
        began = time.perf_counter()
        try:
            self.ask()
        except Exception as error:
            return Part(ok=False, detail=_why(error))
        return Part(ok=True, detail=f"{(time.perf_counter() - began) * 1000:.1f} ms")

    def close(self) -> None:
        """Ask nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _why(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {ANSWERS_WITHIN_S:g} s"
    return f"{type(cause).__name__}: {cause}".partition("\n")[0][:200]
