"""The simulated side: runs of a scenario as a live system is, one per seed, of which only what is compared is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tem_sim.analysis.conformance import Course, course_of
from tem_sim.scenario.loader import changed_by
from tem_sim.scenario.streams import Streams
from tem_sim.studies.pools import processes
from tem_sim.studies.progress import Progress, reported

if TYPE_CHECKING:
    from tem_sim.checks.verdict import Verdict
    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario


class Seen(NamedTuple):
    """What is kept of a run: its course, and the checks of safety that it breaks without being meant to."""

    course: Course
    broken: tuple[tuple[str, str], ...]


def seen(run: Run) -> Seen:
    """Return what is kept of a run."""
    return Seen(course_of(run), tuple((one.name, one.detail) for one in broken_safety(run)))


def broken_safety(run: Run) -> list[Verdict]:
    """Return the checks that say that something bad has happened, and that the scenario is not meant to break."""
    from tem_sim.checks.registry import run_checks

    meant = run.scenario.expect.violations
    return [one for one in run_checks(run) if one.kind == "safety" and one.verdict == "false" and one.name not in meant]


def with_phase(scenario: Scenario, seed: int) -> Scenario:
    """Return a scenario whose scheduler begins to tick at some moment: nobody knows when a live one does."""
    beat = scenario.beat
    longest_s = max(beat.retry_every_s, beat.rescue_every_s, beat.relay_every_s)
    return changed_by(scenario, {"beat": {"phase": Streams(seed).uniform("beat-phase") * longest_s}})


def simulated(scenario: Scenario, seed: int) -> Run:
    """Simulate one run."""
    from tem_sim.sim.world import simulate

    run = simulate(with_phase(scenario, seed), seed, progress=_untold)
    if run.status == "interrupted":
        raise KeyboardInterrupt
    return run


def predict(
    scenario: Scenario, seeds: Sequence[int], *, jobs: int | None = None, progress: Progress | None = None
) -> list[Seen]:
    """Simulate a scenario under each seed, in `jobs` processes (None for one per core); return them in that order."""
    found: dict[int, Seen] = {}
    with reported("runs", len(seeds), progress) as tell:
        for done, (place, one) in enumerate(processes(jobs)(lambda seed: _seen_of(scenario, seed), seeds), start=1):
            found[place] = one
            tell(done, len(seeds))
    return [found[place] for place in range(len(seeds))]


def _seen_of(scenario: Scenario, seed: int) -> Seen:
    return seen(simulated(scenario, seed))


def _untold(now_s: float, horizon_s: float) -> None:
    pass
