"""Rounds of tries, each a Hypothesis run of its own: they know nothing of each other and can be done anywhere.

Which round it was that found something is then the same however many processes share the work. Hypothesis makes the
scenarios, steers towards an objective, and shrinks what it finds; here it is stopped by count and by clock.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tem_sim.hunt.coverage import Coverage
from tem_sim.hunt.space import candidates
from tem_sim.hunt.tries import Tried, attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from tem_sim.hunt.goal import Goal
    from tem_sim.scenario.models import Scenario

ROUND_TRIES = 60
# Hypothesis shrinks what is drawn, which is soon as simple as it gets; the rest is done knowing what a scenario is.
SHRINK_TRIES = 16
# Larger than any round is ever given.
_SEEDS_PER_HUNT = 1_000_000


@dataclass(frozen=True, slots=True)
class Round:
    """Tries to make; `until_s` is by the machine's clock (`time.time`), which all processes share."""

    scenario: Scenario
    goal: Goal
    seed: int
    number: int
    tries: int
    until_s: float


@dataclass(slots=True)
class Found:
    """What came of a round: the simplest scenario that violates, if any does, and at which try it was first seen."""

    number: int
    simplest: Tried | None = None
    at_try: int = 0
    coverage: Coverage = field(default_factory=Coverage)
    interrupted: bool = False


class _Violated(Exception):
    """Tells Hypothesis that a try is what is looked for."""


class _Enough(BaseException):
    """Stops Hypothesis. It takes an Exception for a finding, and passes on anything else."""


def search_round(task: Round, told: Callable[[Coverage], None] | None = None) -> Found:
    """Do a round; `told` hears of each try. Ctrl-C ends it early, and what was found so far is kept."""
    found = Found(task.number)
    try:
        with _leaving_no_folder():
            _hypothesis(task, found, told)
    except (_Violated, _Enough):
        pass
    except KeyboardInterrupt:
        found.interrupted = True
    return found


@contextmanager
def _leaving_no_folder() -> Iterator[None]:
    """Keep what Hypothesis remembers, a `.hypothesis` in the working directory otherwise, out of the user's way."""
    from hypothesis import configuration

    before = getattr(configuration, "__hypothesis_home_directory", None)
    with tempfile.TemporaryDirectory(prefix="tem-sim-hunt-") as folder:
        configuration.set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(before)


def _hypothesis(task: Round, found: Found, told: Callable[[Coverage], None] | None) -> None:
    import hypothesis
    from hypothesis import HealthCheck, Phase, Verbosity

    @hypothesis.seed(task.seed * _SEEDS_PER_HUNT + task.number)
    @hypothesis.settings(
        max_examples=task.tries,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.target, Phase.shrink),
        # They judge tests by how long they take; a try is a simulation, and the budget is the user's.
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=Verbosity.quiet,
    )
    @hypothesis.given(candidates(task.scenario))
    def tries(scenario: Scenario) -> None:
        if _over(task, found):
            raise _Enough
        goal = task.goal if found.simplest is None else task.goal.narrowed(_name(found.simplest))
        tried = attempt(scenario, goal)
        found.coverage.add(tried.coverage)
        if told is not None:
            told(tried.coverage)
        if tried.seen.score is not None and found.simplest is None:
            hypothesis.target(max(tried.seen.score, -1e300))
        if _keep(found, tried):
            raise _Violated

    tries()


def _over(task: Round, found: Found) -> bool:
    if time.time() >= task.until_s:
        return True
    return found.simplest is not None and found.coverage.tries >= found.at_try + SHRINK_TRIES


def _keep(found: Found, tried: Tried) -> bool:
    """Keep the simplest scenario that violates; tell whether this one violates, and in the same way."""
    if tried.seen.violation is None:
        return False
    if found.simplest is None:
        found.simplest, found.at_try = tried, found.coverage.tries
    elif tried.seen.violation.name != _name(found.simplest):
        return False
    elif tried.size < found.simplest.size:
        found.simplest = tried
    return True


def _name(tried: Tried) -> str:
    assert tried.seen.violation is not None
    return tried.seen.violation.name
