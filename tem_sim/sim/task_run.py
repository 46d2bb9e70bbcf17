"""A task under simulated time, run as Celery does: what the database does to it fails it, and the worker goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, IntegrityError

from tem_sim.pipeline.failures import DATABASE_FAILURES
from tem_sim.sim.kernel import Kernel

_T = TypeVar("_T")


def run_task(kernel: Kernel, task: Callable[[], _T]) -> _T | None:
    """Run a task in the calling sim thread and return its result; None when the database failed it."""
    watch = kernel.watch
    if watch is not None:
        watch.note("task")
    try:
        result = task()
    except (*DATABASE_FAILURES, IntegrityError) as error:
        # A watched task fails of it, as under Celery: the checks see what was refused, and who tried it. A bug of the
        # code under simulation breaks a run that nobody watches.
        if watch is None and isinstance(error, IntegrityError):
            raise
        kernel.failed_tasks += 1
        if watch is not None:
            watch.note("task_failed", error=name_of(error))
        return None
    if watch is not None:
        watch.note("task_done")
    return result


def name_of(error: Exception) -> str:
    """Return the name of the driver's own exception."""
    return type(error.orig if isinstance(error, DBAPIError) else error).__name__
