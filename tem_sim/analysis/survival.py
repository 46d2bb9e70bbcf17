"""Which outages a policy outlives: the share of events that end EXTINCT, against the outage's length.

An event caught at time U of an outage of length D is EXTINCT when its last attempt, at U + S_R, is still within it.
S_R, the sum of all delays, is the policy's retry horizon: outages shorter than its least kill nobody. On paper by
`outlived`, and beside it drawn, with Wilson intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.columns import interval_columns
from tem_sim.analysis.lineup import jitters, lineup
from tem_sim.analysis.outage_draws import caught
from tem_sim.analysis.outlived import TARGET, expected_share, longest_outage_s, seconds_words
from tem_sim.analysis.result import Result
from tem_sim.analysis.retry_theory import retry_horizon
from tem_sim.analysis.statistics import wilson
from tem_sim.analysis.ticked import under_tick
from tem_sim.pipeline.backoff import MAX_DELAY_S
from tem_sim.scenario.quantities import argument, duration_s, positive_duration_s

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tem_sim.analysis.lineup import Policies
    from tem_sim.pipeline.backoff import Policy

LENGTHS = 10
POINTS = 80
# A verdict names so many policies at most.
MOST_TOLD = 6


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Survival(Result):
    """`table` has a row per policy and outage length; `horizons` one per policy, with the longest outage outlived.

    `curves` has the share on paper at many more lengths, for plots.
    """

    horizons: pd.DataFrame
    curves: pd.DataFrame
    p_extinct: float


def outage_survival(
    policies: Policies | None = None,
    outages: Sequence[str | float] | None = None,
    *,
    n: int = 20_000,
    p_extinct: float = TARGET,
    fail_time: str | float = 0.0,
    tick: str | float | None = None,
    seed: int = 1,
) -> Survival:
    """Return the share of events caught by an outage that end EXTINCT, per policy and length of the outage.

    `outages`: lengths such as "30s" or 90; by default ten that span the policies' horizons. `n`: events drawn per cell.
    `p_extinct`: the share that counts as outlived. `fail_time`: how long a refused attempt takes. `tick`: the
    scheduler's period; None starts retries when they are due.

    Table: policy, outage_s, expected_share (on paper) and expected_error (about how far that may be off), extinct_share
    (drawn, Wilson), attempts (mean per event). `horizons`: policy, the retry horizon min_s, mean_s, max_s, and
    survives_s, the longest outage in which at most `p_extinct` of the events caught are EXTINCT; inf where no outage
    kills more.
    """
    import pandas as pd

    named = lineup(jitters() if policies is None else policies)
    fail_s = argument(duration_s, "fail_time", fail_time)
    period_s = None if tick is None else argument(positive_duration_s, "tick", tick)
    lengths_s = sorted(_lengths_s(named, outages))
    rows = [
        row
        for name, policy in named.items()
        for row in _rows(name, policy, np.array(lengths_s), n, fail_s, period_s, seed)
    ]
    curves = [_curve(name, policy, lengths_s, fail_s, period_s) for name, policy in named.items()]
    horizons = pd.DataFrame(list(_horizons(named, p_extinct, fail_s, period_s)))
    table = pd.DataFrame(rows)
    return Survival(
        title="EXTINCT in an outage, by its length",
        verdict=_verdict(table, horizons, p_extinct),
        table=table,
        notes=_notes(named, n, fail_s, period_s),
        horizons=horizons,
        curves=pd.concat(curves, ignore_index=True),
        p_extinct=p_extinct,
    )


def _lengths_s(named: Mapping[str, Policy], outages: Sequence[str | float] | None) -> list[float]:
    """Return the lengths given, or some that span the policies' horizons evenly on a logarithmic scale."""
    if outages is not None:
        return [argument(positive_duration_s, "outages", length) for length in outages]
    horizons = [retry_horizon(policy) for policy in named.values()]
    ends_s = [end_s for one in horizons for end_s in (one.mean_s, one.max_s) if 0 < end_s < MAX_DELAY_S]
    if not ends_s:
        raise ValueError("outages: must be given where no policy both waits and gives up; such as ['30s', '5m']")
    return [float(f"{length_s:.2g}") for length_s in np.geomspace(min(ends_s) / 10, 2 * max(ends_s), LENGTHS)]


def _rows(
    name: str,
    policy: Policy,
    lengths_s: NDArray[np.float64],
    n: int,
    fail_s: float,
    period_s: float | None,
    seed: int,
) -> Iterator[dict[str, object]]:
    expected = expected_share(policy, lengths_s, fail_s, period_s)
    # Whoever never gives up is never EXTINCT, and may try so often that nobody could follow.
    drawn_n = 0 if policy.max_retries is None and policy.budget_s is None else n
    for length_s, share, error in zip(lengths_s.tolist(), *(part.tolist() for part in expected), strict=True):
        drawn = caught(policy, length_s, drawn_n, seed, fail_s=fail_s, period_s=period_s)
        yield {
            "policy": name,
            "outage_s": length_s,
            "expected_share": share,
            "expected_error": error,
            **interval_columns("extinct_share", wilson(int(drawn.extinct.sum()), drawn_n), 1.0),
            "n": drawn_n,
            "attempts": float(drawn.attempts.mean()) if drawn_n else math.nan,
        }


def _curve(
    name: str, policy: Policy, lengths_s: Sequence[float], fail_s: float, period_s: float | None
) -> pd.DataFrame:
    import pandas as pd

    between_s = np.unique(np.append(np.geomspace(lengths_s[0], lengths_s[-1], POINTS), lengths_s))
    shares = expected_share(policy, between_s, fail_s, period_s).value
    return pd.DataFrame({"policy": name, "outage_s": between_s, "expected_share": shares})


def _horizons(
    named: Mapping[str, Policy], p_extinct: float, fail_s: float, period_s: float | None
) -> Iterator[dict[str, object]]:
    for name, policy in named.items():
        horizon = retry_horizon(policy)._asdict()
        yield {"policy": name, **horizon, "survives_s": longest_outage_s(policy, p_extinct, fail_s, period_s)}


def _verdict(table: pd.DataFrame, horizons: pd.DataFrame, p_extinct: float) -> str:
    ordered = horizons.sort_values("survives_s", ascending=False, kind="stable")
    told = [f"{row['policy']} {seconds_words(float(row['survives_s']))}" for _, row in ordered.iterrows()]
    listed = ", ".join(told if len(told) <= MOST_TOLD else [*told[: MOST_TOLD // 2], "…", *told[-MOST_TOLD // 2 :]])
    drawn = table[table["n"] > 0]
    inside = (drawn["extinct_share_low"] <= drawn["expected_share"] + drawn["expected_error"]) & (
        drawn["expected_share"] - drawn["expected_error"] <= drawn["extinct_share_high"]
    )
    return (
        f"The longest outage in which at most {p_extinct:.3g} of the events caught end EXTINCT: {listed}. Of "
        f"{len(drawn)} shares drawn, {int(inside.sum())} have the one on paper in their 95 % interval."
    )


def _notes(named: Mapping[str, Policy], n: int, fail_s: float, period_s: float | None) -> tuple[str, ...]:
    loose = [
        name for name, policy in named.items() if period_s is not None and under_tick(policy, period_s, fail_s) is None
    ]
    told = (
        f"{n:,} events drawn per cell, submitted evenly over the outage; policies and lengths share their luck, so "
        "that all shares may lie on the same side of what is expected. Wilson intervals, 95 %.",
        "Every attempt in the outage fails and none after it; no worker is ever short. Queueing, which is left out, "
        "makes retries later and so kills fewer.",
        f"An attempt takes {fail_s:g} s to fail; "
        + ("retries start when they are due." if period_s is None else f"a tick each {period_s:g} s releases retries."),
    )
    return (
        told if not loose else (*told, f"On paper a tick comes half a period late each time for: {', '.join(loose)}.")
    )
