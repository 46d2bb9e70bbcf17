"""The same work on many things, in this process or in several; results as they come.

Things know nothing of each other, so that where they are done, and in which order, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

# How many things are with a process, or on their way to it.
DISPATCHED = 2
# How long a process waits for more to do. Those whose parent was killed wait for as long, in vain.
IDLE_S = 20


class Pool(Protocol):
    """Does the work on each thing, somewhere, and yields the thing's number with what came of it, in any order."""

    def __call__(self, work: Callable[[T], R], things: Sequence[T]) -> Iterator[tuple[int, R]]:
        """Do it."""


def surely(
    pool: Pool, work: Callable[[T], R], things: Sequence[T], lost: Callable[[T, Exception], R]
) -> Iterator[tuple[int, R]]:
    """Do the work on each thing, also when it kills its process: what comes of that thing is what `lost` says.

    Which of those that were being worked on did it, nobody can tell; so each of them is done again in a process that
    has nothing else to lose.
    """
    left = list(enumerate(things))
    while left:
        done = set()
        try:
            for place, result in pool(work, [thing for _, thing in left]):
                done.add(place)
                yield left[place][0], result
            return
        except BrokenExecutor:
            rest = [one for place, one in enumerate(left) if place not in done]
        suspects = DISPATCHED * _cores()
        yield from ((number, _alone(work, thing, lost)) for number, thing in rest[:suspects])
        left = rest[suspects:]


def _alone(work: Callable[[T], R], thing: T, lost: Callable[[T, Exception], R]) -> R:
    from joblib import Parallel, delayed  # type: ignore[import-untyped]  # joblib has no types.

    try:
        result: R = Parallel(n_jobs=2, backend="loky")([delayed(work)(thing)])[0]
    except BrokenExecutor as error:
        return lost(thing, error)
    return result


def processes(jobs: int | None) -> Pool:
    """Return a pool of so many processes: None for one per core, 1 for this one alone; ValueError below 1.

    `work` goes to the processes by value, so it may be a lambda.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be at least 1, or None for one per core, got {jobs}")
    return _Processes(jobs)


class _Processes:
    def __init__(self, jobs: int | None) -> None:
        self._jobs = jobs

    def __call__(self, work: Callable[[T], R], things: Sequence[T]) -> Iterator[tuple[int, R]]:
        number = min(_cores() if self._jobs is None else self._jobs, len(things))
        return _in_many(work, things, number) if number > 1 else _here(work, things)


def _here(work: Callable[[T], R], things: Sequence[T]) -> Iterator[tuple[int, R]]:
    return ((number, work(thing)) for number, thing in enumerate(things))


def _in_many(work: Callable[[T], R], things: Sequence[T], processes: int) -> Iterator[tuple[int, R]]:
    from joblib import Parallel, delayed, parallel_config

    with parallel_config(backend="loky", idle_worker_timeout=IDLE_S):
        pool = Parallel(
            n_jobs=processes,
            return_as="generator_unordered",
            batch_size=1,
            pre_dispatch=DISPATCHED * processes,
        )
    yield from pool(delayed(numbered)(work, number, thing) for number, thing in enumerate(things))


def numbered(work: Callable[[T], R], number: int, thing: T) -> tuple[int, R]:
    """Do the work, and say on which thing."""
    return number, work(thing)


def _cores() -> int:
    from joblib import cpu_count

    return int(cpu_count())
