"""What of a run counts: the warm-up cut from its front, and the events at its end that never ended.

A run starts empty, so its first minutes flatter every mean; and events that are still open when it ends have no
latency and no fate yet. What was left out is part of the answer: everything here can say so in a sentence (`note`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

    from tem_sim.frames import Run

BATCH = 5
# The last few batches agree with one another by chance, and as few altogether have no warm-up to be found.
LAST_BATCHES = 5
ENDED = ("PROCESSED", "EXTINCT")


class WarmUp(NamedTuple):
    """How many of the n first values of a series to leave out.

    `settled` is False when the best cut lies in the second half, or there are fewer than 50 values: the series is too
    short to tell its warm-up from the rest, nothing is cut, and a longer run is called for.
    """

    cut: int
    n: int
    settled: bool

    @property
    def note(self) -> str:
        """What was cut, in a sentence."""
        if not self.settled:
            return f"The series of {self.n} values is too short to find its warm-up (MSER-5)."
        return f"The first {self.cut} of {self.n} values were cut as warm-up (MSER-5)."


def mser5(series: ArrayLike) -> WarmUp:
    """Return the warm-up cut that leaves the mean of the rest the smallest marginal standard error.

    White 1997 ("An effective truncation heuristic for bias reduction in simulation output", Simulation 69, 323–334),
    on means of batches of five (White, Cobb and Spratt 2000): of all d in the first half, the one with the least
    Σ_{i>d} (y_i − ȳ_d)² / (m − d)². The series has one value per equal step of time; the incomplete last batch takes
    no part. Raises ValueError where a value is NaN.
    """
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 1 or bool(np.isnan(values).any()):
        raise ValueError(f"series must be numbers without a NaN, got {series!r:.80}")
    batches = len(values) // BATCH
    if batches < 2 * LAST_BATCHES:
        return WarmUp(0, len(values), settled=False)
    means = values[: batches * BATCH].reshape(batches, BATCH).mean(axis=1)
    # About its own mean, so that no square of a large level eats the digits of a small scatter.
    means = means - means.mean()
    left = np.arange(batches, 0, -1)
    sums = np.cumsum(means[::-1])[::-1]
    squares = np.cumsum((means * means)[::-1])[::-1]
    scatter = np.maximum(0.0, squares - sums * sums / left) / left**2
    best = int(np.argmin(scatter[: batches - LAST_BATCHES]))
    settled = best <= batches // 2
    return WarmUp(best * BATCH if settled else 0, len(values), settled)


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """The events submitted in [from_s, before_s), their attempts, and what was left out."""

    events: pd.DataFrame
    attempts: pd.DataFrame
    from_s: float
    before_s: float
    left_out: int
    unfinished: int

    @property
    def drained(self) -> bool:
        """Whether every event of it ended before the run did, so that none is censored."""
        return self.unfinished == 0

    @property
    def note(self) -> str:
        """Which events count and which are censored, in a sentence."""
        fate = "all ended" if self.drained else f"{self.unfinished:,} had not ended when the run did (censored)"
        window = f"the {len(self.events):,} submitted from {self.from_s:g} s to {self.before_s:g} s count"
        return f"Of {len(self.events) + self.left_out:,} events, {window}; {fate}."


def after_warm_up(run: Run, warm_up_s: float, before_s: float | None = None) -> Cohort:
    """Return the events submitted from `warm_up_s` on and, where given, before `before_s`, with their attempts.

    A cohort by submission: an event counts whole, with retries long after, or not at all. With `before_s` early
    enough that all of them end within the run, nothing is censored.
    """
    end_s = run.end_s if before_s is None else before_s
    if not 0 <= warm_up_s < end_s:
        raise ValueError(f"warm_up_s must be from 0 to before {end_s:g} s, got {warm_up_s:g}")
    submitted_s = run.events["submitted_s"]
    # The run's last instant counts when no end is asked for.
    inside = (submitted_s >= warm_up_s) & ((submitted_s < end_s) if before_s is not None else True)
    events = run.events[inside]
    return Cohort(
        events=events,
        attempts=run.attempts[run.attempts["event_id"].isin(events["event_id"])],
        from_s=warm_up_s,
        before_s=end_s,
        left_out=len(run.events) - len(events),
        unfinished=int((~events["status"].isin(ENDED)).sum()),
    )
