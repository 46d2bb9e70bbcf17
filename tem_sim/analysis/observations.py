"""What a run has many of, an array each: latencies of events, waits of retries, retries of seconds.

An event that is still in flight when the run ends has taken so long already and will take nobody knows how much longer.
Left out, the slowest would be the ones that nobody counts; so each value is given by the least and the most it can be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tem_sim.analysis.latency import latencies
from tem_sim.analysis.storm import retries_per_bin
from tem_sim.analysis.stuck import OPEN

if TYPE_CHECKING:
    from tem_sim.analysis.history import Array
    from tem_sim.frames import Run


class Observed(NamedTuple):
    """Values between their bounds; the two are equal for what is known."""

    least: Array
    most: Array

    @classmethod
    def exactly(cls, values: Array) -> Observed:
        """Return values that are known, but for NaN, which may stand for anything."""
        numbers = np.asarray(values, dtype=np.float64)
        unknown = np.isnan(numbers)
        return cls(np.where(unknown, -np.inf, numbers), np.where(unknown, np.inf, numbers))

    @property
    def known(self) -> Array:
        """The values that are known."""
        return np.asarray(self.least[self.least == self.most])


def together(parts: list[Observed]) -> Observed:
    """Return the values of all parts."""
    return Observed(np.concatenate([part.least for part in parts]), np.concatenate([part.most for part in parts]))


def _latency(column: str) -> Callable[[Run], Observed]:
    def observe(run: Run) -> Observed:
        times_s = latencies(run)[column].dropna().to_numpy()
        waiting = run.events["status"].isin(OPEN).to_numpy()
        age_s = np.maximum(run.end_s - run.events["submitted_s"].to_numpy()[waiting], 0.0)
        return together([Observed.exactly(times_s), Observed(age_s, np.full(len(age_s), np.inf))])

    return observe


OBSERVATIONS: dict[str, Callable[[Run], Observed]] = {
    "latency_s": _latency("processed_s"),
    "delivery_s": _latency("delivered_s"),
    "attempts_per_event": lambda run: Observed.exactly(run.events["attempt_no"].to_numpy()),
    "retry_delay_s": lambda run: Observed.exactly(run.attempts["delay_s"].dropna().to_numpy()),
    "retries_per_s": lambda run: Observed.exactly(retries_per_bin(run)),
}
