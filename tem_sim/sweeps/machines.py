"""The pool of a Dask cluster: the same work on the same things, on as many machines as it has workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from tem_sim.sweeps.results import SweepError
from tem_sim.versions import engine

if TYPE_CHECKING:
    from tem_sim.studies.pools import Pool

T = TypeVar("T")
R = TypeVar("R")

CONNECT_S = 30.0


@contextmanager
def machines(address: str, lost: Callable[[Any, Exception], Any]) -> Iterator[Pool]:
    """Connect to a Dask scheduler and yield a pool of its workers.

    `lost` says what comes of a thing whose work took every worker with it that tried.
    Raises SweepError when distributed is not installed, when nobody answers, and when a worker has another version or
    other code than this machine: its runs would be other runs.
    """
    try:
        from distributed import Client
    except ImportError:
        raise SweepError("--dask needs Dask: pip install 'tem-sim[dask]', here and on every worker") from None
    try:
        client: Any = Client(address, timeout=CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise SweepError(f"--dask {address}: no scheduler answers ({error}); `dask scheduler` starts one") from None
    with client:
        _refuse_strangers(client, address)
        yield _Machines(client, lost)


def _refuse_strangers(client: Any, address: str) -> None:
    try:
        found = client.run(engine)
    except Exception as error:
        rule = f"a worker cannot use tem_sim ({error}); install it on every one"
        raise SweepError(f"--dask {address}: {rule}") from None
    if not found:
        raise SweepError(f"--dask {address}: the scheduler has no workers; start some with `dask worker {address}`")
    strangers = [worker for worker, code in found.items() if code != engine()]
    if strangers:
        raise SweepError(
            f"--dask {address}: {', '.join(strangers)}: other versions or other code than here; "
            "install the same of tem-sim, Python and its libraries on every machine"
        )


class _Machines:
    def __init__(self, client: Any, lost: Callable[[Any, Exception], Any]) -> None:
        self._client, self._lost = client, lost

    def __call__(self, work: Callable[[T], R], things: Sequence[T]) -> Iterator[tuple[int, R]]:
        """Do the work on the cluster; what a worker had when it died Dask gives to others, a few times."""
        from distributed import as_completed

        # Not pure: what was done once for somebody is to be done again when it is asked for again.
        futures = {self._client.submit(work, thing, pure=False): number for number, thing in enumerate(things)}
        try:
            for future in as_completed(futures, loop=self._client.loop):  # type: ignore[no-untyped-call]
                number = futures[future]
                error = future.exception()
                yield number, future.result() if error is None else self._lost(things[number], error)
                future.release()
        finally:
            self._client.cancel(list(futures))
