"""Jitter against the scheduler's tick: the largest burst that one releases, drawn and on paper, and what LIMIT costs.

A jitter of width J is looked at through a grid of period T. Narrower than the grid (J < T) it is erased: whoever fails
together is released together. A LIMIT per tick bounds the burst and is paid for in lag: time from due to started.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tem_sim.analysis.burst_theory import expected_max
from tem_sim.analysis.bursts import bursts
from tem_sim.analysis.cohort import Cohort, retries_of, storm_of
from tem_sim.analysis.columns import mean_columns
from tem_sim.analysis.lineup import retrying
from tem_sim.analysis.result import Result
from tem_sim.analysis.tick_law import tick_shares, tick_warning
from tem_sim.analysis.ticks import Tick
from tem_sim.scenario.seeds import DEFAULT_SEEDS, seed_list
from tem_sim.scenario.streams import Streams

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tem_sim.analysis.lineup import Policies
    from tem_sim.pipeline.backoff import Policy

PERIODS_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class Storms(NamedTuple):
    """What is asked of every policy: rows, retries, how long an attempt takes to fail, and under which seeds."""

    n: int
    retries: int | None
    fail_s: float
    seeds: tuple[int, ...]


def tick_study(
    policies: Policies,
    periods_s: Sequence[float] = PERIODS_S,
    *,
    n: int = 10_000,
    retries: int | None = 3,
    limit: int | None = None,
    fail_s: float = 0.0,
    seeds: int | Sequence[int] = DEFAULT_SEEDS,
) -> Result:
    """Return how large the bursts of a tick get, for n rows that fail together, per policy, period and retry.

    Table: policy, period_s, retry, width_s (J), erased (0 < J < T), burst (the most rows released by one tick, mean and
    t interval over the seeds), burst_share of n, expected_burst (on paper; NaN where that cannot be told), lag_mean_s
    and lag_max_s (from due to started). Where the failure falls between two ticks is drawn anew for each seed.
    """
    import pandas as pd

    named, asked = retrying(policies), Storms(n, retries, fail_s, seed_list(seeds))
    rows = [
        row
        for name, policy in named.items()
        for period_s in periods_s
        for row in _rows(name, policy, Tick(period_s, limit), asked)
    ]
    table = pd.DataFrame(rows)
    return Result(
        title=f"Jitter against the scheduler's tick: {n:,} rows that fail together",
        verdict=_verdict(table, n, limit),
        table=table,
        notes=(*_notes(asked, limit), *warnings(named, periods_s)),
    )


def warnings(policies: Mapping[str, Policy], periods_s: Sequence[float]) -> tuple[str, ...]:
    """Return for each policy whose first jitter one of the periods erases a sentence, about the shortest of those."""
    said = [[tick_warning(policy, t_s, name=name) for t_s in sorted(periods_s)] for name, policy in policies.items()]
    return tuple(next(filter(None, sentences)) for sentences in said if any(sentences))


def _rows(name: str, policy: Policy, tick: Tick, asked: Storms) -> list[dict[str, object]]:
    retries = retries_of(policy, asked.retries)
    drawn, paper = [], []
    for seed in asked.seeds:
        phase_s = Streams(seed).uniform("tick", "phase") * tick.period_s
        phased = Tick(tick.period_s, tick.limit, phase_s)
        cohort = storm_of(policy, asked.n, retries, seed, fail_s=asked.fail_s, tick=phased)
        drawn.append([_looked_at(cohort, retry, phased) for retry in range(1, retries + 1)])
        paper.append(_on_paper(policy, phased, retries, asked))
    bursts_, lags_s, longest_s = np.moveaxis(np.array(drawn).reshape(len(drawn), retries, 3), 2, 0)
    expected = np.array(paper).mean(axis=0)
    return [
        _row(name, policy, tick, retry, bursts_[:, retry - 1], asked.n)
        | {
            "expected_burst": float(expected[retry - 1]),
            "lag_mean_s": float(lags_s[:, retry - 1].mean()),
            "lag_max_s": float(longest_s[:, retry - 1].max()),
        }
        for retry in range(1, retries + 1)
    ]


def _looked_at(cohort: Cohort, retry: int, tick: Tick) -> tuple[float, float, float]:
    starts_s, lags_s = cohort.of_retry(retry), cohort.lags_s(retry)
    if not len(starts_s):
        return 0.0, math.nan, math.nan
    # From one grid point to the next, whatever the phase; half a period keeps the points off the edges.
    burst = bursts(starts_s - tick.phase_s + 1.5 * tick.period_s, tick.period_s).peak
    return float(burst), float(lags_s.mean()), float(lags_s.max())


def _on_paper(policy: Policy, tick: Tick, retries: int, asked: Storms) -> list[float]:
    if tick.limit is not None:
        return [math.nan] * retries
    laws = tick_shares(policy, tick, retries, asked.fail_s)
    known = [expected_max(asked.n, _relevant(law.shares)) for law in laws]
    return known + [math.nan] * (retries - len(known))


def _relevant(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out the ticks that are never the fullest, and make equal what only rounding tells apart."""
    return np.asarray(np.round(shares[shares > shares.max() / 20] / max(1.0, shares.sum()), 9))


def _row(name: str, policy: Policy, tick: Tick, retry: int, found: NDArray[np.float64], n: int) -> dict[str, object]:
    low_s, high_s = policy.support(retry)
    return {
        "policy": name,
        "period_s": tick.period_s,
        "retry": retry,
        "width_s": high_s - low_s,
        "erased": 0 < high_s - low_s < tick.period_s,
        **mean_columns("burst", found, most=n),
        "burst_share": float(found.mean()) / n,
    }


def _verdict(table: pd.DataFrame, n: int, limit: int | None) -> str:
    worst = table.sort_values("burst", kind="stable").iloc[-1]
    erased = table[table["erased"]]
    said = (
        f"The largest burst of one tick is {worst['burst']:,.0f} of {n:,} rows: retry {worst['retry']} of "
        f"{worst['policy']} under a tick of {worst['period_s']:g} s."
    )
    if limit is not None:
        lag = table.sort_values("lag_max_s").iloc[-1]
        said += (
            f" LIMIT {limit:,} bounds it, and makes a row wait up to {lag['lag_max_s']:,.3g} s beyond its due time "
            f"({lag['policy']}, tick {lag['period_s']:g} s)."
        )
    if erased.empty:
        return f"{said} No jitter here is narrower than the tick."
    first = erased.sort_values(["retry", "period_s"]).iloc[0]
    return (
        f"{said} {len(erased)} of {len(table)} rows have a jitter narrower than the tick (J < T), which erases it: "
        f"{first['policy']}, J {first['width_s']:.3g} s against T {first['period_s']:g} s at retry {first['retry']}, "
        f"{first['burst']:,.0f} rows in one tick."
    )


def _notes(asked: Storms, limit: int | None) -> tuple[str, ...]:
    return (
        f"{len(asked.seeds)} replications with streams shared between policies; 95 % t intervals. Each seed draws "
        "where the failure falls between two ticks, the same place for all policies.",
        f"Every attempt fails, {asked.fail_s:g} s after it started; no worker is ever short.",
        "Expected: the mean largest count of rows that fall into the ticks with the shares on paper, at the same "
        "places of the grid; not told past retry 1 for budgets and decorrelated jitter."
        if limit is None
        else f"At most {limit:,} rows per tick, the longest due first; the expected burst is not told under a LIMIT.",
    )
