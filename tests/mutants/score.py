"""What became of each mutant, in words, and what became of all of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from .campaign import Alarm, Outcome
from .mutant import Mutant


@dataclass(frozen=True, slots=True)
class Row:
    """A mutant and what its campaign saw."""

    mutant: Mutant
    outcome: Outcome

    @property
    def alarm(self) -> Alarm | None:
        """The alarm of a named check that killed it; none for an equivalent."""
        return None if self.mutant.equivalent else self.outcome.first(self.mutant.named)

    @property
    def instead(self) -> Alarm | None:
        """The first alarm where no named check fired."""
        return self.outcome.first(()) if self.alarm is None else None

    @property
    def reached(self) -> bool:
        """Whether the changed code is known to have run."""
        return bool(self.outcome.passed)

    @property
    def killed(self) -> bool:
        """Whether a named check saw it, in a run that passed the changed code."""
        return not self.outcome.error and self.alarm is not None and self.reached

    @property
    def as_meant(self) -> bool:
        """Whether it was killed; an equivalent must have been run and survived."""
        if self.mutant.equivalent:
            return not self.outcome.error and not self.outcome.alarms and self.reached
        return self.killed

    @property
    def seconds(self) -> float:
        """From the fork of its process to the alarm, or to the campaign's end."""
        return self.outcome.seconds if self.alarm is None else self.alarm.seconds

    def verdict(self) -> str:
        """Say what became of it."""
        if self.outcome.error:
            return f"NOT RUN: {self.outcome.error}"
        if self.mutant.equivalent:
            return self._of_equivalent()
        if self.alarm is None:
            if self.instead is not None:
                return f"killed by {self.instead.check} instead of {' or '.join(self.mutant.named)}"
            return f"SURVIVED {self.outcome.runs} runs"
        return "killed" if self.reached else "killed, and its code was NEVER REACHED"

    def _of_equivalent(self) -> str:
        if self.outcome.alarms:
            return f"NOT EQUIVALENT: {self.outcome.alarms[0].check} fired"
        return "equivalent" if self.reached else "equivalent, and its code was NEVER REACHED"


@dataclass
class Control:
    """The campaigns against the code as it is."""

    runs: int = 0
    alarms: list[Alarm] = field(default_factory=list)
    error: str = ""

    def add(self, outcome: Outcome) -> None:
        """Count one more campaign."""
        self.runs += outcome.runs
        self.alarms += outcome.alarms
        self.error = self.error or outcome.error


@dataclass
class Score:
    """All of it."""

    rows: list[Row]
    control: Control
    seconds: float = 0.0

    @property
    def mutants(self) -> list[Row]:
        """The rows of mutants that are to be killed."""
        return [row for row in self.rows if not row.mutant.equivalent]

    @property
    def good(self) -> bool:
        """Whether all is as it should be."""
        fine = all(row.as_meant for row in self.rows)
        return fine and not self.control.alarms and not self.control.error

    def last_line(self) -> str:
        """Return the line with which the command ends."""
        killed = sum(row.killed for row in self.mutants)
        control = f"{len(self.control.alarms)} alarms in {self.control.runs} runs"
        return f"{killed} of {len(self.mutants)} mutants killed in {self.seconds:.0f} s; control: {control}"

    def times(self) -> str:
        """Say how long kills took."""
        seconds = [row.seconds for row in self.mutants if row.killed]
        if not seconds:
            return "none killed"
        worst = max((row for row in self.mutants if row.killed), key=lambda row: row.seconds)
        return f"median {statistics.median(seconds):.2f} s, worst {worst.seconds:.1f} s ({worst.mutant.name})"


_WIDTHS = (31, 9, 28, 20, 5, 7)


def line(row: Row) -> str:
    """Return what became of a mutant on one line: its name, tier, trial, check, runs, seconds, and the verdict."""
    return "  ".join([*(cell.ljust(width) for cell, width in zip(_cells(row), _WIDTHS, strict=False)), row.verdict()])


def _cells(row: Row) -> tuple[str, ...]:
    alarm = row.alarm or row.instead
    if alarm is None:
        return (row.mutant.name, "-", "-", "-", str(row.outcome.runs), f"{row.outcome.seconds:.2f}")
    seconds, runs = f"{alarm.seconds:.2f}", str(alarm.runs)
    return (row.mutant.name, alarm.tier, alarm.trial, alarm.check, runs, seconds)


def problems(score: Score) -> Sequence[str]:
    """Return a line for all that is not as it should be."""
    found = [f"control: {alarm.check} in {alarm.tier}/{alarm.trial}: {alarm.detail}" for alarm in score.control.alarms]
    if score.control.error:
        found.append(f"control: {score.control.error}")
    for row in score.rows:
        if not row.as_meant:
            others = "; ".join(f"{alarm.check} ({alarm.tier}): {alarm.detail}" for alarm in row.outcome.alarms[:4])
            found.append(f"{row.mutant.name}: {row.verdict()}{others and '. ' + others}")
    return found
