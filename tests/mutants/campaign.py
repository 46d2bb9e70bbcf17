"""One campaign: the trials against one mutant, or against the code as it is, and what came of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .mutant import Mutant
from .trials import Alarms, Trial, trials

# No honest trial takes this long, however busy the machine is.
MOST_S = 40.0


@dataclass(frozen=True, slots=True)
class Alarm:
    """A check that fired: in which trial, after how many runs and seconds, and what it said."""

    check: str
    tier: str
    trial: str
    seed: int
    runs: int
    seconds: float
    detail: str


@dataclass
class Outcome:
    """What a campaign saw of a mutant. `alarms` holds the first one of each check, in their order."""

    name: str
    alarms: list[Alarm] = field(default_factory=list)
    runs: int = 0
    seconds: float = 0.0
    # How often the changed code was passed; None where no marker could be put there.
    passed: int | None = 0
    # What kept the campaign from its end.
    error: str = ""

    def first(self, checks: Sequence[str]) -> Alarm | None:
        """Return the first alarm of one of these checks; of any, where none is named."""
        return next((alarm for alarm in self.alarms if not checks or alarm.check in checks), None)

    def add(self, trial: Trial, found: Alarms) -> None:
        """Keep the alarms that are news."""
        known = {alarm.check for alarm in self.alarms}
        for check, detail in found.items():
            if check not in known:
                at = self.runs, self.seconds
                self.alarms.append(Alarm(check, trial.tier, trial.name, trial.seed, *at, detail))


def pursue(
    outcome: Outcome,
    wanted: Sequence[str] | None,
    *,
    tiers: Sequence[str] = (),
    block: int = 0,
    report: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Run the trials up to the first alarm of a wanted check; of any where the list is empty, to the end for None."""
    began = time.perf_counter()
    before = outcome.seconds
    for trial in _chosen(tiers, block):
        with _limited(outcome, trial, report):
            found = _looked(trial)
        outcome.runs += 1
        outcome.seconds = before + time.perf_counter() - began
        outcome.add(trial, found)
        if wanted is not None and outcome.first(wanted) is not None:
            break
    outcome.seconds = before + time.perf_counter() - began
    return outcome


def _chosen(tiers: Sequence[str], block: int) -> Iterator[Trial]:
    return (trial for trial in trials(block) if not tiers or trial.tier in tiers)


def _looked(trial: Trial) -> Alarms:
    """Return a trial's alarms; code that raises where nothing should is one, too."""
    try:
        return trial.look()
    except Exception as error:
        return {"broken": f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]}


class _limited:  # noqa: N801  A context manager.
    """Ends the process when a trial hangs: an exception thrown into whatever greenlet runs would not end it."""

    def __init__(self, outcome: Outcome, trial: Trial, report: Callable[[Outcome], None]) -> None:
        self._outcome, self._trial, self._report = outcome, trial, report

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, self._hangs)
        signal.setitimer(signal.ITIMER_REAL, MOST_S)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _hangs(self, *_: Any) -> None:
        self._outcome.runs += 1
        self._outcome.seconds += MOST_S
        self._outcome.add(self._trial, {"hangs": f"not over after {MOST_S:g} s"})
        self._report(self._outcome)
        os._exit(0)


def wanted_of(mutant: Mutant) -> Sequence[str] | None:
    """Return the checks at which the campaign against a mutant ends."""
    return None if mutant.equivalent else mutant.named
