"""A hunt: tries until something is found or the budget is spent, then the shortest way to what was found."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tem_sim.hunt.coverage import Coverage
from tem_sim.hunt.goal import Goal, Violation, goal_of
from tem_sim.hunt.search import ROUND_TRIES, Found, Round, search_round
from tem_sim.hunt.shrink import shrink
from tem_sim.hunt.tries import Tried, attempt
from tem_sim.studies.pools import processes

if TYPE_CHECKING:
    from tem_sim.scenario.models import Scenario

Word = Literal["FOUND", "CLEAN", "INCONCLUSIVE", "INTERRUPTED"]
EXIT_CODES: dict[Word, int] = {"CLEAN": 0, "FOUND": 1, "INCONCLUSIVE": 4, "INTERRUPTED": 130}
# Told of the tries so far, and of the violation once there is one.
Progress = Callable[[Coverage, "Violation | None"], None]
# What is found late is shrunk all the same, for this part of the budget more.
SHRINK_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The smallest scenario that violates, and how it was come by.

    `first` and `last` are faults and events as the search left them, and in the end. `limits` says of durations what
    was not enough. `complete`: nothing simpler was left to try when shrinking ended.
    """

    violation: Violation
    scenario: Scenario
    digest: str | None
    at_try: int
    first: tuple[int, int]
    last: tuple[int, int]
    shrink_tries: int
    complete: bool
    limits: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Hunt:
    """What a hunt came to."""

    scenario: Scenario
    goal: Goal
    seed: int
    budget_s: float
    finding: Finding | None = None
    coverage: Coverage = field(default_factory=Coverage)
    interrupted: bool = False
    spent_s: float = 0.0

    @property
    def word(self) -> Word:
        """The verdict in a word. A hunt that got no further than the scenario as it stands has proven nothing."""
        if self.interrupted:
            return "INTERRUPTED"
        if self.finding is not None:
            return "FOUND"
        return "CLEAN" if self.coverage.tries > 1 else "INCONCLUSIVE"

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.word]

    def sentence(self) -> str:
        """Return the verdict in one line."""
        covered = self.coverage.sentence(self.scenario)
        if self.finding is None:
            return f"{self.word} {self.scenario.name}: nothing found of {self.goal}; {covered}"
        found = self.finding
        violation = found.violation
        return f"{self.word} {self.scenario.name}: {violation.name} in try {found.at_try:,}: {violation.detail}"


def hunt(
    scenario: Scenario,
    goal: Goal | None = None,
    *,
    budget_s: float = 60.0,
    tries: int | None = None,
    seed: int = 1,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Hunt:
    """Search seeds, loads and fault schedules for a violation of `goal`: all checks, if left out; see `goal_of`.

    `budget_s` ends the search; shrinking takes what is left of it, or a quarter of it if that is more. `tries` ends it
    by count, about. The finding is the same for the same `seed`, however many `jobs`, unless time ends the search
    before. Ctrl-C ends it early, and what was found so far is returned.
    """
    began_s = time.time()
    goal = goal_of(scenario) if goal is None else goal
    made = Hunt(scenario=goal.prepared(scenario), goal=goal, seed=seed, budget_s=budget_s)
    try:
        simplest, at_try = _searched(made, began_s + budget_s, tries, jobs, progress)
        if simplest is not None:
            _finish(made, simplest, at_try, began_s + budget_s, progress)
    except KeyboardInterrupt:
        made.interrupted = True
    made.spent_s = time.time() - began_s
    return made


def _searched(
    made: Hunt, until_s: float, tries: int | None, jobs: int | None, progress: Progress | None
) -> tuple[Tried | None, int]:
    """Return what violates, and in which try it was seen; first the scenario as it stands is tried."""
    tell = progress or _nobody
    as_it_stands = attempt(made.scenario, made.goal)
    made.coverage.add(as_it_stands.coverage)
    tell(made.coverage, as_it_stands.seen.violation)
    if as_it_stands.seen.violation is not None:
        return as_it_stands, 1
    before = 0
    for wave in _waves(made, until_s, tries, _cores() if jobs is None else jobs):
        results = _do(made, wave, jobs, tell)
        for number in sorted(results):
            if (simplest := results[number].simplest) is not None:
                return simplest, 1 + before + results[number].at_try
            before += results[number].coverage.tries
        if any(found.interrupted for found in results.values()):
            raise KeyboardInterrupt
    return None, 0


def _waves(made: Hunt, until_s: float, tries: int | None, jobs: int) -> Iterator[list[Round]]:
    """Yield rounds, as many at once as there are processes, until time or tries are spent."""
    number, left = 0, float("inf") if tries is None else tries - 1
    while time.time() < until_s and left > 0:
        wave = []
        for _ in range(jobs):
            if left > 0:
                size = int(min(ROUND_TRIES, left))
                wave.append(Round(made.scenario, made.goal, made.seed, number, size, until_s))
                number, left = number + 1, left - size
        yield wave


def _do(made: Hunt, wave: list[Round], jobs: int | None, tell: Progress) -> dict[int, Found]:
    """Do the rounds of a wave; once one has found something and those before it have not, the others are left."""
    results: dict[int, Found] = {}
    if len(wave) == 1:

        def told(coverage: Coverage) -> None:
            made.coverage.add(coverage)
            tell(made.coverage, None)

        return {wave[0].number: search_round(wave[0], told)}
    with warnings.catch_warnings():
        # joblib warns of rounds that are left undone.
        warnings.simplefilter("ignore", UserWarning)
        for _, found in processes(jobs)(search_round, wave):
            results[found.number] = found
            made.coverage.add(found.coverage)
            tell(made.coverage, None if found.simplest is None else found.simplest.seen.violation)
            if _settled(wave, results):
                break
    return results


def _settled(wave: list[Round], results: dict[int, Found]) -> bool:
    """Whether the first round of a wave that found something is known, so that the others change nothing."""
    first = min((number for number, one in results.items() if one.simplest is not None), default=None)
    return first is not None and all(task.number in results for task in wave if task.number < first)


def _finish(made: Hunt, simplest: Tried, at_try: int, until_s: float, progress: Progress | None) -> None:
    """Shrink what was found, and keep it in the hunt."""
    violation = simplest.seen.violation
    assert violation is not None
    until_s = max(until_s, time.time() + made.budget_s * SHRINK_SHARE)
    tell = progress or _nobody
    small = shrink(simplest, made.goal, until_s, lambda: tell(made.coverage, violation))
    best = small.best
    assert best.seen.violation is not None
    made.interrupted = small.interrupted
    made.finding = Finding(
        violation=best.seen.violation,
        scenario=best.scenario,
        digest=best.digest,
        at_try=at_try,
        first=simplest.size[:2],
        last=best.size[:2],
        shrink_tries=small.tries,
        complete=small.complete,
        limits=tuple(small.limits),
    )


def _cores() -> int:
    from joblib import cpu_count  # type: ignore[import-untyped]  # joblib has no types.

    return int(cpu_count())


def _nobody(coverage: Coverage, violation: Violation | None) -> None:
    pass
