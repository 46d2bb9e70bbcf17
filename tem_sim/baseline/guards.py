"""Which metrics a baseline guards, which way is worse, and from what effect on it matters.

A metric that varies so much that the baseline's seeds could not even settle a change of luck is watched only: a proven
regression of it counts, but that nothing can be told of it is no reason to stop anyone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tem_sim.analysis.equivalence import Tolerance, Worse, pairs_needed
from tem_sim.analysis.metrics import METRICS
from tem_sim.scenario.errors import did_you_mean
from tem_sim.scenario.quantities import duration_s
from tem_sim.scenario.thresholds import in_seconds

# Of a metric and its parts, such as attempts and events, one is enough; of numbers of shape less is not better.
GUARDED = (
    *("amplification", "retry_peak_per_s", "drain_s", "recovery_s"),
    *("latency_p50_s", "latency_p95_s", "latency_p99_s", "delivery_p95_s"),
    *("extinct_rate", "in_flight", "lost_events", "rejected_submissions"),
    *("queue_age_peak_s", "scheduler_lag_p95_s", "statements_per_event", "stuck_rows"),
    *("duplicate_effects", "lost_notifications", "duplicate_notifications", "wasted_worker_s"),
)
LESS_IS_WORSE = ("processed",)
MIN_EFFECT = "5%"
_NUMBER = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


class GuardError(ValueError):
    """A minimal effect that cannot be read, or of something that is no metric."""


@dataclass(frozen=True, slots=True)
class Guard:
    """How a metric is guarded: `min_effect` as it is written, `must_settle` if not being able to tell matters."""

    min_effect: str = MIN_EFFECT
    worse: Worse = "more"
    must_settle: bool = True

    def tolerance(self, metric: str) -> Tolerance:
        """Return the minimal effect as a number; GuardError where it is none."""
        return tolerance_of(metric, self.min_effect)


def tolerance_of(metric: str, text: str) -> Tolerance:
    """Read `5%` of the baseline's mean, or a number in the metric's own unit, a duration where it is a time."""
    share = text.strip().removesuffix("%").rstrip()
    if text.strip().endswith("%") and _NUMBER.fullmatch(share):
        return Tolerance(float(share) / 100)
    try:
        size = duration_s(text) if in_seconds(metric) and not _NUMBER.fullmatch(text) else float(text)
        return Tolerance(size, relative=False)
    except ValueError:
        unit = "a duration such as 500ms" if in_seconds(metric) else "a number"
        raise GuardError(f"the minimal effect of {metric} must be a share such as 5%, or {unit}, got {text}") from None


def guards_of(values: Mapping[str, Sequence[float]], asked: Sequence[str] = ()) -> dict[str, Guard]:
    """Return the guards of a new baseline, given its metrics by seed; `asked` is as for `with_effects`."""
    made = with_effects({name: Guard() for name in GUARDED}, asked)
    return {name: replace(guard, must_settle=settles(name, guard, values[name])) for name, guard in made.items()}


def with_effects(guards: Mapping[str, Guard], asked: Sequence[str]) -> dict[str, Guard]:
    """Return the guards with other minimal effects: `10%` for all, `drain_s=2s` for one, `drain_s=off` for none."""
    made = dict(guards)
    for one in asked:
        metric, equals, text = (part.strip() for part in one.rpartition("="))
        if equals and metric not in METRICS:
            raise GuardError(f"no such metric: {metric} {did_you_mean(metric, METRICS)}".rstrip())
        for name in [metric] if equals else list(made):
            if text == "off":
                made.pop(name, None)
                continue
            tolerance_of(name, text)
            worse: Worse = "less" if name in LESS_IS_WORSE else "more"
            made[name] = replace(made[name], min_effect=text) if name in made else Guard(text, worse)
    return made


def settles(metric: str, guard: Guard, values: Sequence[float]) -> bool:
    """Tell whether so many seeds would show, 9 times of 10, that other luck alone is no regression."""
    known = np.array([value for value in values if math.isfinite(value)])
    if len(known) < 2 or not known.any():
        return True
    tolerance = guard.tolerance(metric)
    mean, scatter = float(known.mean()), float(known.std(ddof=1))
    over = -tolerance.size * (abs(mean) if tolerance.relative else 1.0)
    needed = 2 if scatter == 0 else pairs_needed(over, scatter * math.sqrt(2))
    return needed is not None and needed <= len(values)
