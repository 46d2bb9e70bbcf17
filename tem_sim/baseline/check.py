"""Scenarios held against their baseline: what is exactly the same, which thresholds and checks hold, what got worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tem_sim.baseline.drift import Drift, drift
from tem_sim.baseline.file import Baseline, Recorded, load_baseline
from tem_sim.baseline.guards import with_effects
from tem_sim.baseline.judged import FAILING, Judged, Pairs, judged
from tem_sim.checks.thresholds import OverSeeds, over_seeds

if TYPE_CHECKING:
    from tem_sim.baseline.seen import Case

Word = Literal["OK", "REGRESSION", "FAIL", "INCONCLUSIVE", "NO BASELINE", "BROKEN"]

EXIT_CODES: dict[Word, int] = {
    "OK": 0,
    "REGRESSION": 1,
    "FAIL": 1,
    "BROKEN": 3,
    "INCONCLUSIVE": 4,
    "NO BASELINE": 4,
}
# Of several scenarios, the one that matters most speaks for all.
GRAVEST_FIRST: tuple[Word, ...] = ("BROKEN", "REGRESSION", "FAIL", "NO BASELINE", "INCONCLUSIVE", "OK")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedCase:
    """A scenario's verdict and what it rests on; `drift` is None and `metrics` empty where there is no baseline.

    `checks` names the checks that are false and should not be, with the seeds, and those that `expect.violations`
    names and that no seed breaks, with none.
    """

    case: Case
    drift: Drift | None
    thresholds: tuple[OverSeeds, ...]
    checks: Mapping[str, tuple[int, ...]]
    metrics: tuple[Judged, ...]
    strict: bool = False

    @property
    def name(self) -> str:
        """The scenario's name."""
        return self.case.scenario.name

    @property
    def regressions(self) -> tuple[Judged, ...]:
        """The metrics that got worse, or vanished."""
        return tuple(one for one in self.metrics if one.finding in FAILING)

    @property
    def unsettled(self) -> tuple[Judged, ...]:
        """The metrics of which nothing can be told and something has to be."""
        return tuple(one for one in self.metrics if one.open or (self.strict and one.finding == "unsure"))

    def unmet(self, answer: str) -> tuple[OverSeeds, ...]:
        """The thresholds with this answer over all seeds, of those that decide."""
        return tuple(one for one in self.thresholds if one.pooled.verdict == answer and one.pooled.threshold.strict)

    @property
    def word(self) -> Word:
        """The verdict in a word."""
        if self.case.broken:
            return "BROKEN"
        if self.regressions:
            return "REGRESSION"
        if self.checks or self.unmet("false"):
            return "FAIL"
        if self.drift is None:
            return "NO BASELINE"
        if self.unsettled or self.unmet("unknown") or not (self.drift.same or self.drift.other):
            return "INCONCLUSIVE"
        return "OK"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check of one or more scenarios comes to."""

    cases: tuple[CheckedCase, ...]

    @property
    def gravest(self) -> CheckedCase:
        """The scenario that matters most."""
        return min(self.cases, key=lambda case: GRAVEST_FIRST.index(case.word))

    @property
    def word(self) -> Word:
        """The verdict of all in a word."""
        return self.gravest.word

    @property
    def exit_code(self) -> int:
        """0 fine, 1 regression, threshold or check, 3 a run broke, 4 inconclusive or no baseline."""
        return EXIT_CODES[self.word]

    def sentence(self) -> str:
        """Return the verdict in one line."""
        from tem_sim.baseline.words import sentence

        told = sentence(self.gravest)
        return told if len(self.cases) == 1 else f"{told} ({_others(self)})"


def check_baseline(
    cases: Sequence[Case], baseline: Baseline | str | Path, *, min_effects: Sequence[str] = (), strict: bool = False
) -> Checked:
    """Hold cases against a baseline, or the one in a file or folder.

    `min_effects` are as `with_effects` takes them and count instead of the baseline's own. With `strict` nothing may be
    left unsure. Raises BaselineError, GuardError.
    """
    if not cases:
        raise ValueError("cases: must be at least one")
    known = baseline if isinstance(baseline, Baseline) else load_baseline(baseline)
    drifts = [_drift(known.scenarios.get(case.scenario.name), case) for case in cases]
    family = [
        _pairs(known.scenarios[case.scenario.name], case, min_effects, found.identical) if found is not None else []
        for case, found in zip(cases, drifts, strict=True)
    ]
    verdicts = iter(judged([pairs for of in family for pairs in of]))
    return Checked(
        tuple(
            CheckedCase(
                case=case,
                drift=found,
                thresholds=tuple(_thresholds(case)),
                checks=_broken_checks(case),
                metrics=tuple(next(verdicts) for _ in of),
                strict=strict,
            )
            for case, found, of in zip(cases, drifts, family, strict=True)
        )
    )


def _drift(old: Recorded | None, case: Case) -> Drift | None:
    return None if old is None else drift(old, case)


def _pairs(old: Recorded, case: Case, min_effects: Sequence[str], identical: bool) -> list[Pairs]:
    """Return what is to be compared: nothing where all is the same, but no nonsense either."""
    guards = with_effects(old.guards, min_effects)
    if identical:
        return []
    return [
        Pairs(scenario=old.name, metric=metric, guard=guard, before=old.values(metric), now=case.values(metric))
        for metric, guard in guards.items()
        if metric in old.metrics
    ]


def _thresholds(case: Case) -> list[OverSeeds]:
    ran = [run.held for run in case.runs if run.held is not None]
    return over_seeds(case.scenario.thresholds.listed(), ran) if ran else []


def _broken_checks(case: Case) -> dict[str, tuple[int, ...]]:
    meant = case.scenario.expect.violations
    ran = [run for run in case.runs if not run.error]
    named = dict.fromkeys(name for run in ran for name in run.checks)
    false = {name: tuple(run.seed for run in ran if run.checks.get(name) == "false") for name in named}
    broken = {name: seeds for name, seeds in false.items() if seeds and name not in meant}
    return broken | {name: () for name in meant if ran and not false.get(name)}


def _others(checked: Checked) -> str:
    words = [case.word for case in checked.cases if case is not checked.gravest]
    return "; ".join(f"{words.count(word)} more {word}" for word in GRAVEST_FIRST if word in words)
