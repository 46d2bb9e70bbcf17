"""The numbers of one storm after another: the peaks and the time to spread, per policy, seed and retry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tem_sim.analysis.bursts import Bursts, bursts, spread_s
from tem_sim.analysis.cohort import Cohort, storm_of
from tem_sim.analysis.ticks import Tick
from tem_sim.pipeline.backoff import Policy


class Question(NamedTuple):
    """What is asked of every policy."""

    n: int
    retries: int
    widths_s: tuple[float, ...]
    tick: Tick | None
    fail_s: float
    seeds: tuple[int, ...]

    @property
    def peaks(self) -> dict[str, float]:
        """The columns of the peaks and the width of each bin; a tick's bin is its period."""
        named = {f"peak_{width_name(width_s)}": width_s for width_s in self.widths_s}
        return named if self.tick is None else named | {"peak_tick": self.tick.period_s}

    @property
    def headline(self) -> str:
        """The peak that verdicts speak of: in the widest bin."""
        return f"peak_{width_name(self.widths_s[-1])}"


def width_name(width_s: float) -> str:
    """Return a bin's width as it stands in a column's name: 100ms, 1s."""
    return f"{width_s:g}s" if width_s >= 1 else f"{width_s * 1e3:g}ms"


def width_words(width_s: float) -> str:
    """Return a bin's width as it stands in a sentence: 100 ms, 1 s."""
    return f"{width_s:g} s" if width_s >= 1 else f"{width_s * 1e3:g} ms"


def replicated(policy: Policy, asked: Question, factor: float) -> tuple[list[dict[str, float]], list[Bursts]]:
    """Return the rows of every seed, one per retry and one for all of them (retry 0), and the first seed's bins.

    The bins are those of the widest width, an entry per retry.
    """
    rows: list[dict[str, float]] = []
    first: list[Bursts] = []
    for seed in asked.seeds:
        cohort = storm_of(policy, asked.n, asked.retries, seed, fail_s=asked.fail_s, tick=asked.tick, stretch=factor)
        found, widest = peaks_and_spread(cohort, asked)
        rows += [{"seed": seed} | row for row in found]
        first = first or widest
    return rows, first


def peaks_and_spread(cohort: Cohort, asked: Question) -> tuple[list[dict[str, float]], list[Bursts]]:
    """Return one row of numbers for all retries and one for each, and each one's bins of the widest width."""
    rows: list[dict[str, float]] = [{"retry": retry} for retry in range(cohort.retries + 1)]
    widest: list[Bursts] = []
    finest: list[Bursts] = []
    for column, width_s in asked.peaks.items():
        finest = [_binned(cohort, retry, width_s, finest) for retry in range(1, cohort.retries + 1)]
        together = [Bursts.merged(finest)] if finest else []
        for row, found in zip(rows, [*together, *finest], strict=False):
            row[column] = found.peak
        if column == asked.headline:
            widest = finest
    for row in rows[1:]:
        row["spread_s"] = spread_s(cohort.of_retry(int(row["retry"])))
    return rows, widest


def _binned(cohort: Cohort, retry: int, width_s: float, finer: Sequence[Bursts]) -> Bursts:
    """Count one retry's starts per bin; from narrower bins that are already counted where they fit."""
    if finer:
        times = width_s / finer[0].width_s
        if abs(times - round(times)) < 1e-9 and round(times) >= 1:
            return finer[retry - 1].wider(round(times))
    return bursts(cohort.of_retry(retry), width_s)
