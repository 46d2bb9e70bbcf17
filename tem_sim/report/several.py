"""One scenario under several seeds, question by question: each check and each threshold gets one answer.

What a verdict means is decided in `outcome`, for each run; here the runs of the seeds are put together. A check must
hold in every run, and one that is meant to be broken must be in one of them; a threshold is held by all runs together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tem_sim.checks.thresholds import Measured, hold, measured
from tem_sim.report.outcome import judge

if TYPE_CHECKING:
    from tem_sim.checks.verdict import Verdict
    from tem_sim.frames import Run
    from tem_sim.report.outcome import Judged, Kind
    from tem_sim.scenario.models import Scenario
    from tem_sim.scenario.thresholds import Threshold

# `unknown` is left open without harm; `inconclusive` is what leaves a whole run open.
Fate = Literal["kept", "broken", "inconclusive", "unknown", "warned"]

_FATES: dict[Kind, Fate] = {
    "holds": "kept",
    "as_meant": "kept",
    "broken": "broken",
    "unbroken": "broken",
    "unknown": "unknown",
}
_WORST_FIRST: tuple[Fate, ...] = ("broken", "inconclusive", "unknown", "warned", "kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one check or threshold comes to over the seeds; `seeds` are those that made it so, the first to be shown."""

    fate: Fate
    sentence: str
    seeds: tuple[int, ...]
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class _JudgedRun:
    """What is kept of a run once it is judged: the frames are not."""

    seed: int
    checks: dict[str, Judged]
    proves_nothing: bool
    measured: Measured
    digest: str


@dataclass(frozen=True, slots=True)
class Several:
    """The runs of a scenario, judged."""

    scenario: Scenario
    runs: tuple[_JudgedRun, ...]

    @classmethod
    def judged(cls, scenario: Scenario, runs: Iterable[Run], *, strict: bool = False) -> Several:
        """Judge runs of one scenario as they come, each under a seed of its own."""
        return cls(scenario, tuple(_judged(run, strict) for run in runs))

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.seed for run in self.runs)

    @property
    def digests(self) -> tuple[str, ...]:
        return tuple(run.digest for run in self.runs)

    def check(self, name: str) -> Answer:
        """Return what a check comes to: the worst over all runs, but a violation that is meant is seen or not."""
        fates = [_fate(run.checks[name], run.proves_nothing) for run in self.runs]
        seen = any(run.checks[name].kind == "as_meant" for run in self.runs)
        fate = "kept" if seen else min(fates, key=_WORST_FIRST.index)
        worst = [run for run, one in zip(self.runs, fates, strict=True) if one == fate]
        judged = worst[0].checks[name]
        remark = {"as_meant": "broken, as it is meant to be: ", "unbroken": "meant to be broken and not seen to be: "}
        sentence = f"{name}: {remark.get(judged.kind, '')}{judged.verdict.detail}{self._where(worst)}"
        return Answer(fate=fate, sentence=sentence, seeds=_seeds(worst), verdict=judged.verdict)

    def threshold(self, threshold: Threshold) -> Answer:
        """Return what a threshold comes to over all runs together; its seeds are those that alone would not keep it."""
        pooled = hold(threshold, [run.measured for run in self.runs])
        alone = [(run, hold(threshold, [run.measured])) for run in self.runs]
        unmet = [run for run, held in alone if held.verdict == pooled.verdict != "true"]
        over = f" over {len(self.runs)} seeds" if len(self.runs) > 1 else ""
        sentence = f"{threshold.metric}: {pooled.detail}{over}, asked is {threshold}{self._where(unmet)}"
        fates: dict[str, Fate] = {"true": "kept", "false": "broken", "unknown": "inconclusive"}
        fate = fates[pooled.verdict]
        if fate != "kept" and not threshold.strict:
            fate = "warned"
        return Answer(fate=fate, sentence=sentence, seeds=_seeds(unmet or self.runs))

    def _where(self, runs: Sequence[_JudgedRun]) -> str:
        """Say under which of the seeds; nothing where there is only one, or all are alike."""
        if not runs or len(runs) == len(self.runs):
            return ""
        named = ", ".join(map(str, _seeds(runs)[:5])) + (", ..." if len(runs) > 5 else "")
        return f" (in {len(runs)} of {len(self.runs)} runs: seed {named})"


def _judged(run: Run, strict: bool) -> _JudgedRun:
    outcome = judge(run, strict=strict)
    checks = {judged.verdict.name: judged for judged in outcome.checks}
    found = measured(run, run.scenario.thresholds.listed(), outcome.metrics)
    return _JudgedRun(run.seed, checks, outcome.proves_nothing, found, run.digest)


def _fate(judged: Judged, proves_nothing: bool) -> Fate:
    fate = _FATES[judged.kind]
    return "inconclusive" if fate == "unknown" and proves_nothing else fate


def _seeds(runs: Iterable[_JudgedRun]) -> tuple[int, ...]:
    return tuple(run.seed for run in runs)
