"""Campaigns in processes of their own: forked from one that has everything loaded, a few at a time."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess

from . import imported, reached
from .campaign import Outcome, pursue, wanted_of
from .mutant import Mutant
from .patches import PatchError, patched


@dataclass(frozen=True, slots=True)
class Job:
    """One campaign to run: a mutant, or None for the code as it is; the tiers, all of them where none is named.

    `first`: end it at the first alarm, whether its check is named or not.
    """

    mutant: Mutant | None
    tiers: Sequence[str] = ()
    block: int = 0
    first: bool = False

    @property
    def name(self) -> str:
        """The mutant's name."""
        return "control" if self.mutant is None else self.mutant.name


def load() -> None:
    """Load what every campaign needs, once, before the first fork."""
    import hypothesis.stateful
    import scipy.stats

    import tem_sim.checks.registry
    import tem_sim.faultsweep.cases
    import tem_sim.races.game
    import tem_sim.sim.world
    import tem_sim.strategies
    import tem_sim.testing.lifecycle  # noqa: F401

    _ = hypothesis.stateful, scipy.stats
    imported.learn()
    reached.warm_up()


def run_jobs(jobs: Iterable[Job], processes: int, done: Callable[[Job, Outcome], None]) -> None:
    """Run the jobs, so many at a time, and tell of each as soon as it is over."""
    context = multiprocessing.get_context("fork")
    waiting, running = list(jobs), dict[Connection, tuple[Job, ForkProcess]]()
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                job = waiting.pop(0)
                theirs, ours = context.Pipe()
                process = context.Process(target=_run, args=(job, ours))
                process.start()
                ours.close()
                running[theirs] = job, process
            for pipe in wait(list(running)):
                assert isinstance(pipe, Connection)
                job, process = running.pop(pipe)
                done(job, _received(job, pipe, process))
    finally:
        for _, process in running.values():
            process.kill()


def _received(job: Job, pipe: Connection, process: ForkProcess) -> Outcome:
    try:
        outcome = pipe.recv()
        assert isinstance(outcome, Outcome)
    except EOFError:
        process.join()
        outcome = Outcome(job.name, error=f"its process died (exit code {process.exitcode})")
    pipe.close()
    process.join()
    return outcome


def _run(job: Job, pipe: Connection) -> None:
    """Be one campaign's process."""
    began = time.perf_counter()
    outcome, counter = Outcome(job.name), reached.Counter()
    markers = 0
    try:
        if job.mutant is not None:
            code, markers = reached.instrumented(patched(job.mutant.patches))
            imported.install(code)
        import tem_sim.sim.world
        import tem_sim.testing.lifecycle  # noqa: F401
    except PatchError as error:
        pipe.send(Outcome(job.name, error=str(error)))
        return
    except Exception as error:
        pipe.send(Outcome(job.name, error=f"the patched code cannot be imported: {type(error).__name__}: {error}"))
        return
    counter.begin()
    outcome.seconds = time.perf_counter() - began

    def report(found: Outcome) -> None:
        found.passed = counter.passed if markers else None
        pipe.send(found)

    wanted = None if job.mutant is None else () if job.first else wanted_of(job.mutant)
    report(pursue(outcome, wanted, tiers=job.tiers, block=job.block, report=report))
