"""Calls that wait for the store: in threads of their own, within a time, and 503 when the store is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from tem_sim.live.api.problems import try_again
from tem_sim.live.api.watching import FACTS
from tem_sim.live.logs import Log
from tem_sim.pipeline.failures import DATABASE_FAILURES
from tem_sim.pipeline.shedding import Overloaded

# As many as a pool of connections has: who waits for a thread does not time out waiting for a connection.
THREADS = 15
ANSWERS_WITHIN_S = 10.0
COMES_BACK_AFTER_S = 1.0
_UNKNOWN = "whether this was done is not known"

_P = ParamSpec("_P")
_T = TypeVar("_T")


class StoreCalls:
    """Runs functions that use the store."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="store")

    async def __call__(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what a function of the store returns; refuse with 503 when the store fails it, or takes too long.

        What has begun is not ended by that: it may be done all the same, and its client finds out by asking again.
        """

        def run() -> _T:
            FACTS.get().reach_store()
            return function(*args, **kwargs)

        began = self._threads.submit(partial(copy_context().run, run))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(began), ANSWERS_WITHIN_S)
        except Overloaded as overloaded:
            raise try_again("overload", str(overloaded), after_s=overloaded.retry_after_s) from None
        except TimeoutError:
            rule = f"must answer within {ANSWERS_WITHIN_S:g} s; {_UNKNOWN}"
            raise try_again("store", rule, after_s=COMES_BACK_AFTER_S) from None
        except DATABASE_FAILURES as error:
            self._log.note("store_failed", error=f"{type(error).__name__}: {error}"[:500])
            rule = f"must be there; {_UNKNOWN}"
            raise try_again("store", rule, type(error).__name__, after_s=COMES_BACK_AFTER_S) from error

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
