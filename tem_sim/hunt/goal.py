"""What a hunt looks for: a check that is false, a threshold that is broken, or a simulation that breaks.

An objective, `amplification>3`, is hunted as the threshold that it breaks, `amplification: value<=3`. So all that is
hunted stands in the scenario that is written in the end, and `tem-sim run` judges it as the hunt did.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_sim.analysis.metrics import METRICS
from tem_sim.checks.registry import ALL_CHECKS, CHECKS, checks_for, run_checks
from tem_sim.checks.thresholds import OPPOSITE, hold, measured
from tem_sim.scenario.errors import did_you_mean
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.thresholds import KINDS, Threshold, ThresholdError

if TYPE_CHECKING:
    from tem_sim.checks.thresholds import Held
    from tem_sim.frames import Run

BREAKS = "the simulation breaks"
_OBJECTIVE = re.compile(r"\s*([A-Za-z_][A-Za-z_0-9]*)\s*:?\s*(.*)", re.DOTALL)
# Metrics that count what must not be: `--check lost_events` means that there is one.
HARMS = ("lost_events", "stuck_rows", "lost_notifications", "duplicate_notifications", "duplicate_effects")


class GoalError(ValueError):
    """Something that cannot be hunted."""


@dataclass(frozen=True, slots=True)
class Violation:
    """What was found in a run: the name of the check, the threshold, or `BREAKS`; and the finding in a sentence.

    `event_ids` are the events that offend, where single events do.
    """

    name: str
    detail: str
    event_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a goal makes of a run; `score` is how near it is to its objective, more is nearer."""

    violation: Violation | None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """The checks that are judged, and the thresholds; each threshold is to be broken."""

    checks: tuple[str, ...]
    thresholds: tuple[Threshold, ...] = ()

    def __str__(self) -> str:
        names = [*self.checks] if len(self.checks) < len(CHECKS) - 1 else [f"{len(self.checks)} checks"]
        return ", ".join([*names, *(_named(threshold) for threshold in self.thresholds)])

    def prepared(self, scenario: Scenario) -> Scenario:
        """Return the scenario with what is hunted as its thresholds, and with nothing that it is meant to break.

        A file's matrix and seeds are for sweeps; a hunt has seeds of its own.
        """
        held: dict[str, list[str]] = {}
        for threshold in self.thresholds:
            held.setdefault(threshold.metric, []).append(str(threshold))
        plain = {name: value for name, value in scenario.resolved().items() if name not in ("matrix", "seeds")}
        return Scenario.model_validate({**plain, "thresholds": held, "expect": {"violations": []}})

    def judge(self, run: Run) -> Seen:
        """Return the first violation of a run, checks first, and how near it came to the objective."""
        for verdict in run_checks(run, self.checks) if self.checks else ():
            if verdict.verdict == "false":
                ids = verdict.rows["event_id"].tolist() if "event_id" in verdict.rows else []
                return Seen(Violation(verdict.name, verdict.detail, tuple(dict.fromkeys(ids))))
        held = [hold(one, [measured(run, [one], _numbers(run, one))]) for one in self.thresholds]
        broken = next((one for one in held if one.verdict == "false"), None)
        found = None if broken is None else Violation(_named(broken.threshold), _detail(broken))
        return Seen(found, max((_score(one) for one in held), default=None))

    def narrowed(self, name: str) -> Goal:
        """Return the goal that looks for this one violation only."""
        if name in ALL_CHECKS:
            return Goal((name,))
        return Goal((), tuple(one for one in self.thresholds if _named(one) == name))


def goal_of(
    scenario: Scenario, *, checks: Sequence[str] = (), objective: str | None = None, thresholds: bool = False
) -> Goal:
    """Return what to hunt: the named checks, an objective, or every check that the scenario is not meant to break.

    With `thresholds` also the scenario's own thresholds that decide (`strict`). Raises `GoalError`.
    """
    own = tuple(one for one in scenario.thresholds.listed() if one.strict) if thresholds else ()
    if objective is not None:
        return Goal(tuple(name for name in checks if not _harm(name)), (*_harms(checks), broken_by(objective), *own))
    if checks:
        return Goal(tuple(name for name in checks if not _harm(name)), (*_harms(checks), *own))
    return Goal(tuple(name for name in checks_for(scenario) if name not in scenario.expect.violations), own)


def broken_by(objective: str) -> Threshold:
    """Return the threshold that an objective breaks; `GoalError` unless it is a metric held to a bound."""
    match = _OBJECTIVE.fullmatch(objective)
    if match is None or not match[2]:
        raise GoalError(f"{objective!r} must be a metric, a comparison and a bound; write for example amplification>3")
    metric, rest = match[1], match[2]
    if metric not in KINDS:
        hint = did_you_mean(metric, KINDS)
        raise GoalError(f"{metric} is no metric; {hint or 'there are ' + ', '.join(KINDS)}")
    asked = f"value{rest}" if rest[0] in "<>=!" else rest
    try:
        wanted = Threshold.parse(metric, asked)
    except ThresholdError as error:
        raise GoalError(f"{metric}: {error.message}{error.hint and '; ' + error.hint}, got {rest}") from None
    return Threshold(metric, wanted.aggregate, OPPOSITE[wanted.comparison], wanted.bound, wanted.percent)


def _harm(name: str) -> bool:
    """Tell whether a name given as a check is a metric of harm; `GoalError` if it is neither."""
    if name in ALL_CHECKS:
        return False
    if name in HARMS:
        return True
    known = (*ALL_CHECKS, *HARMS)
    raise GoalError(f"there is no check {name}; {did_you_mean(name, known) or 'there are ' + ', '.join(known)}")


def _harms(names: Sequence[str]) -> tuple[Threshold, ...]:
    return tuple(Threshold.parse(name, "count==0") for name in names if _harm(name))


def _named(threshold: Threshold) -> str:
    return f"{threshold.metric} {threshold}"


def _detail(held: Held) -> str:
    return f"{held.threshold.metric} {held.detail}"


def _numbers(run: Run, threshold: Threshold) -> dict[str, float]:
    """Measure what the threshold asks for, and no other metric: each try costs its time."""
    wanted = (threshold.metric, *(KINDS[threshold.metric].parts or ()))
    return {name: float(METRICS[name].of(run)) for name in wanted if name in METRICS}


def _score(held: Held) -> float:
    """Return how far a value has gone towards breaking its threshold; it may be anything where it has no value."""
    if not math.isfinite(held.value):
        return -math.inf
    towards = {"<": 1.0, "<=": 1.0, ">": -1.0, ">=": -1.0}.get(held.threshold.comparison)
    distance = abs(held.value - held.threshold.bound)
    return towards * held.value if towards else -distance if held.threshold.comparison == "!=" else distance
