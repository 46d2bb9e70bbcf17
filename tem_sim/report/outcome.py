"""What a run comes to: checks against what it is meant to break, thresholds; a word, a sentence and an exit code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Literal

from tem_sim.analysis.metrics import metrics
from tem_sim.checks.registry import run_checks
from tem_sim.checks.thresholds import run_thresholds
from tem_sim.checks.verdict import Verdicts, count
from tem_sim.report.numbers import plain

if TYPE_CHECKING:
    from tem_sim.checks.thresholds import Held
    from tem_sim.checks.verdict import Answer, Verdict
    from tem_sim.frames import Run

Kind = Literal["holds", "broken", "unknown", "as_meant", "unbroken"]
Word = Literal["PASS", "FAIL", "INCONCLUSIVE", "INTERRUPTED", "BROKEN"]

EXIT_CODES: dict[Word, int] = {"PASS": 0, "FAIL": 1, "BROKEN": 3, "INCONCLUSIVE": 4, "INTERRUPTED": 130}


@dataclass(frozen=True, slots=True)
class Judged:
    """A check's verdict, and whether the scenario is meant to break it."""

    verdict: Verdict
    expected: bool

    @property
    def kind(self) -> Kind:
        """How the verdict stands to what was expected; an expected violation must be seen, `unknown` is not enough."""
        if self.expected:
            return "as_meant" if self.verdict.verdict == "false" else "unbroken"
        answers: dict[str, Kind] = {"true": "holds", "false": "broken", "unknown": "unknown"}
        return answers[self.verdict.verdict]


@dataclass(frozen=True, repr=False)
class Outcome:
    """A run with its metrics, judged checks and thresholds.

    With `strict`, a check that cannot tell makes it inconclusive. A threshold that cannot tell always does, unless the
    scenario says of it `strict: false`: nothing would be decided by leaving it out.
    """

    run: Run
    metrics: dict[str, float]
    checks: tuple[Judged, ...]
    strict: bool = False
    thresholds: tuple[Held, ...] = ()

    def named(self, kind: Kind) -> list[str]:
        """Return the names of the checks of this kind."""
        return [judged.verdict.name for judged in self.checks if judged.kind == kind]

    def unmet(self, answer: Answer, *, strict: bool) -> list[Held]:
        """Return the thresholds with this answer, of those that decide (`strict`) or of those that only warn."""
        return [held for held in self.thresholds if held.verdict == answer and held.threshold.strict == strict]

    def numbered_thresholds(self) -> list[tuple[tuple[str, int], Held]]:
        """Return each threshold with its metric and its number among those of this metric, in the scenario's order."""
        seen: Counter[str] = Counter()
        found = []
        for held in self.thresholds:
            metric = held.threshold.metric
            found.append(((metric, seen[metric]), held))
            seen[metric] += 1
        return found

    @cached_property
    def word(self) -> Word:
        """The verdict in a word. A run in which no check could judge anything has proven nothing: inconclusive."""
        if self.run.status != "complete":
            return "INTERRUPTED" if self.run.status == "interrupted" else "BROKEN"
        if self.named("broken") or self.named("unbroken") or self.unmet("false", strict=True):
            return "FAIL"
        return "INCONCLUSIVE" if self.proves_nothing or self.unmet("unknown", strict=True) else "PASS"

    @property
    def proves_nothing(self) -> bool:
        """Whether checks that cannot tell leave it open: all of them, or with `strict` any."""
        unknown = len(self.named("unknown"))
        return unknown == len(self.checks) or bool(unknown and self.strict)

    @property
    def exit_code(self) -> int:
        """The process's exit code: 0, 1 (a check false, a threshold broken, a violation missing), 3, 4 or 130."""
        return EXIT_CODES[self.word]

    def sentence(self) -> str:
        """Return the verdict in one line: word, scenario, what became of the events, what checks and thresholds say."""
        return f"{self.word} {self.run.name}: " + "; ".join([self._events(), self._checks(), *self._thresholds()])

    def __repr__(self) -> str:
        return self.sentence()

    def _repr_html_(self) -> str:
        warnings = "".join(f"<p>{escape(warning)}</p>" for warning in self.warnings())
        verdicts = Verdicts(judged.verdict for judged in self.checks)
        return f"<div><b>{escape(self.sentence())}</b>{warnings}{verdicts._repr_html_()}</div>"

    def _events(self) -> str:
        numbers = self.metrics
        parts = [f"{numbers['processed']:,.0f} of {numbers['events']:,.0f} events processed"]
        parts += [f"{numbers['extinct']:,.0f} extinct"] if numbers["extinct"] else []
        parts += [f"{numbers['in_flight']:,.0f} in flight"] if numbers["in_flight"] else []
        parts += [f"{numbers['rejected_submissions']:,.0f} never taken in"] if numbers["rejected_submissions"] else []
        if numbers["retries"]:
            parts.append(f"{plain(numbers['amplification'])} attempts per event")
        if self.run.status == "interrupted":
            horizon, time = self.run.scenario.horizon_s, "simulated" if self.run.mode == "sim" else "real"
            parts.insert(0, f"stopped after {self.run.end_s:,.6g} s of at most {horizon:,.6g} s of {time} time")
        return ", ".join(parts)

    def _checks(self) -> str:
        holding, total = len(self.named("holds")), len(self.checks)
        if holding == total:
            return f"all {total} checks hold"
        clauses: dict[Kind, str] = {
            "broken": "{n} of {total} checks false ({names})",
            "unbroken": "{names} meant to be broken and not seen to be",
            "as_meant": "{names} broken, as it is meant to be",
            "unknown": "{n} cannot be judged ({names})",
        }
        parts = [
            clause.format(n=len(names), total=total, names=", ".join(names))
            for kind, clause in clauses.items()
            if (names := self.named(kind))
        ]
        return "; ".join([*parts, f"the other {holding} hold"] if holding else parts)

    def _thresholds(self) -> list[str]:
        if not self.thresholds:
            return []
        unmet = [held for held in self.thresholds if held.verdict != "true"]
        told = f" ({', '.join(f'{held.threshold.metric} {held.detail}' for held in unmet)})" if unmet else ""
        return [f"{len(self.thresholds) - len(unmet)} of {count(len(self.thresholds), 'threshold')} met{told}"]

    def warnings(self) -> list[str]:
        """Return what the reader should know before trusting the numbers, a sentence each."""
        return [*self.run.scenario.warnings(), *_never_landed(self.run), *self._lenient()]

    def _lenient(self) -> list[str]:
        """Tell of thresholds that are not kept and decide nothing."""
        words: dict[Answer, str] = {"false": "is not met", "unknown": "cannot be judged"}
        return [
            f"The threshold {held.threshold} of {held.threshold.metric} {how} ({held.detail}); it only warns."
            for answer, how in words.items()
            for held in self.unmet(answer, strict=False)
        ]


def judge(run: Run, *, strict: bool = False) -> Outcome:
    """Measure and check a run, and hold it against `expect.violations` and `thresholds` of its scenario."""
    meant = set(run.scenario.expect.violations)
    checks = tuple(Judged(verdict, verdict.name in meant) for verdict in run_checks(run))
    numbers = metrics(run)
    return Outcome(run, numbers, checks, strict, tuple(run_thresholds(run, numbers)))


def _never_landed(run: Run) -> list[str]:
    idle = run.faults[run.faults["landed"] == 0]
    return [
        f"Fault {row.fault_id} ({row.kind} on {row.target}) never landed: it was asked for and did nothing."
        for row in idle.itertuples()
    ]
