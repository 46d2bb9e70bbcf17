"""Each guarded metric against the baseline's, pair by pair, and all of them together held to one rate of false alarms.

Seeds are shared, and so is their luck. The family is everything that one check looks at: whatever number of metrics and
scenarios it is, the chance that any of them is called a regression without being one is at most 2.5 % (Holm). The false
discovery rate would not do here: one false alarm stops a build, however many true ones stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tem_sim.analysis.equivalence import (
    ALPHA_EQUIVALENT,
    ALPHA_WORSE,
    Contrast,
    Effect,
    contrast,
    holm,
    pairs_needed,
    vanished_p,
)
from tem_sim.baseline.guards import Guard

# "vanished": the metric had a value and has none now, such as the drain time of a backlog that never drains.
Finding = Effect | Literal["vanished", "absent"]
FAILING: tuple[Finding, ...] = ("worse", "vanished")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """A guarded metric of a scenario, before and now, by seed; NaN where a run has no value."""

    scenario: str
    metric: str
    guard: Guard
    before: Mapping[int, float]
    now: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the pairs of a metric show; `missing` counts the seeds in which only the baseline has a value.

    `seeds_needed`: of what is unsure, how many seeds would probably settle it; None where no number would.
    """

    pairs: Pairs
    contrast: Contrast
    finding: Finding
    missing: int
    seeds_needed: int | None = None

    @property
    def metric(self) -> str:
        """The metric's name."""
        return self.pairs.metric

    @property
    def open(self) -> bool:
        """Whether it is unsure and has to be settled."""
        return self.finding == "unsure" and self.pairs.guard.must_settle

    @property
    def suspect(self) -> bool:
        """Whether it would be a regression if nothing else had been looked at."""
        return self.finding == "unsure" and self.contrast.p_worse <= ALPHA_WORSE


@dataclass(frozen=True, slots=True)
class _Tested:
    """Pairs with the two tests that they are put to: is it worse, has it vanished."""

    pairs: Pairs
    contrast: Contrast
    missing: int
    appeared: int
    p_worse: float
    p_vanished: float


def judged(family: Sequence[Pairs]) -> list[Judged]:
    """Judge every metric that a check looks at, in the order given."""
    tested = [_tested(pairs) for pairs in family]
    p_values = np.array([(one.p_worse, one.p_vanished) for one in tested]).reshape(-1)
    rejected = holm(p_values).reshape(-1, 2)
    # The smallest p must pass the whole family's bar: so does a test that is planned.
    alpha = ALPHA_WORSE / max(1, int(np.count_nonzero(~np.isnan(p_values))))
    return [_judged(one, bool(worse), bool(gone), alpha) for one, (worse, gone) in zip(tested, rejected, strict=True)]


def _tested(pairs: Pairs) -> _Tested:
    seeds = [seed for seed in pairs.before if seed in pairs.now]
    before = np.array([pairs.before[seed] for seed in seeds], dtype=float)
    now = np.array([pairs.now[seed] for seed in seeds], dtype=float)
    found = contrast(before, now, pairs.guard.tolerance(pairs.metric), pairs.guard.worse)
    missing = int(np.count_nonzero(np.isfinite(before) & ~np.isfinite(now)))
    appeared = int(np.count_nonzero(~np.isfinite(before) & np.isfinite(now)))
    return _Tested(
        pairs=pairs,
        contrast=found,
        missing=missing,
        appeared=appeared,
        p_worse=found.p_worse if found.testable else math.nan,
        p_vanished=vanished_p(missing, appeared) if missing else math.nan,
    )


def _judged(one: _Tested, worse: bool, vanished: bool, alpha: float) -> Judged:
    finding: Finding = _finding(one, worse, vanished)
    needed = _seeds_needed(one, alpha) if finding == "unsure" else None
    return Judged(pairs=one.pairs, contrast=one.contrast, finding=finding, missing=one.missing, seeds_needed=needed)


def _finding(one: _Tested, worse: bool, vanished: bool) -> Finding:
    if worse:
        return "worse"
    if vanished:
        return "vanished"
    if one.missing:
        # Over the rest, the luckier ones, nothing reassuring can be said.
        return "unsure"
    if not one.contrast.n:
        return "absent"
    return one.contrast.judged(worse=False)


def _seeds_needed(one: _Tested, alpha: float) -> int | None:
    """Return how many seeds would settle what is unsure, if things are as they seem to be."""
    if one.missing:
        share = one.missing / (one.contrast.n + one.missing + one.appeared)
        return math.ceil(math.log2(1 / alpha) / share)
    found = one.contrast
    if found.n < 2:
        return 2 if found.n else None
    return pairs_needed(found.over, found.scatter, alpha if found.over > 0 else ALPHA_EQUIVALENT)
