"""From measurements to figures: ratios between what ran in the same round, their median and spread, and the targets."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.measure import Measurement

# What was measured in one round, by name.
Round = Mapping[str, Measurement]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: a value per round, and the target it is held against, if there is one."""

    name: str
    unit: str
    values: tuple[float, ...]
    target: float | None = None
    at_least: bool = True

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target; None where there is none."""
        if self.target is None:
            return None
        return self.median >= self.target if self.at_least else self.median <= self.target

    def to_json(self) -> dict[str, object]:
        """Return everything about the figure, ready for `json.dumps`."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "rounds": list(self.values),
            "target": self.target,
            "target_is": None if self.target is None else "at least" if self.at_least else "at most",
            "met": self.met,
        }

    def row(self) -> tuple[str, str, str, str, str]:
        """Return the cells of the table: name, median, spread, target, verdict."""
        target = "" if self.target is None else f"{'≥' if self.at_least else '≤'} {_number(self.target)}"
        verdict = {True: "met", False: "not met", None: ""}[self.met]
        spread = f"{_number(min(self.values))} to {_number(max(self.values))}" if len(self.values) > 1 else ""
        return self.name, f"{_number(self.median)} {self.unit}", spread, target, verdict


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def rate_per_s(*parts: str) -> Callable[[Round], float]:
    """Return a function from a round to attempts per CPU second, of these measurements taken together."""

    def rate(measured: Round) -> float:
        return measured[parts[0]].count / sum(measured[part].cpu_s for part in parts)

    return rate


def ratio(ours: Sequence[str], theirs: Sequence[str]) -> Callable[[Round], float]:
    """Return a function from a round to our rate over theirs."""
    return lambda measured: rate_per_s(*ours)(measured) / rate_per_s(*theirs)(measured)


def over(rounds: Sequence[Round], value: Callable[[Round], float]) -> tuple[float, ...]:
    """Return the value of each round."""
    return tuple(value(measured) for measured in rounds)
