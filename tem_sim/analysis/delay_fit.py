"""Are the delays that were drawn those that the policy promises? Their ECDF against its law, retry by retry.

The distance is Kolmogorov's: the largest gap between the two curves, on either side of each step, so that it is right
where a law has steps of its own (whole seconds, a pile at the cap). Its p value is exact for laws without steps and too
large for those with (Noether 1963, "Note on the Kolmogorov statistic in the discrete case", Metrika 7), so that no law
is refused for its steps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tem_sim.analysis.cohort import delays_of, retries_of
from tem_sim.analysis.delay_law import DelayLaw, delay_law
from tem_sim.analysis.lineup import lineup
from tem_sim.analysis.result import Result
from tem_sim.analysis.statistics import false_discoveries

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tem_sim.analysis.lineup import Policies
    from tem_sim.pipeline.backoff import Policy


class Fit(NamedTuple):
    """The largest gap between the ECDF and the law, and how likely one as large is by chance."""

    distance: float
    p: float


def ks_fit(delays_s: NDArray[np.float64], law: DelayLaw) -> Fit:
    """Compare delays with a law; NaN of no delays."""
    from scipy.stats import kstwo

    n = len(delays_s)
    if not n:
        return Fit(math.nan, math.nan)
    values, upto = _ecdf(delays_s)
    before = np.concatenate(([0.0], upto[:-1]))
    distance = float(max(np.abs(upto - law.at(values)).max(), np.abs(before - law.below(values)).max()))
    return Fit(distance, float(kstwo.sf(distance, n)))


def delay_fit(policies: Policies, n: int = 10_000, retries: int | None = None, seed: int = 1) -> Result:
    """Draw the delays of n rows from each policy and hold them against its law.

    Table: policy, retry, law (exact, quadrature or none), n, mean_s and expected_mean_s, distance, p, and `refused`:
    whether the law is, with false discoveries among all rows held to 5 %. A sound policy is not refused.
    """
    import pandas as pd

    rows = [row for name, policy in lineup(policies).items() for row in fit_rows(name, policy, n, retries, seed)]
    table = judged(pd.DataFrame(rows, columns=FIT_COLUMNS))
    return Result(title="Delays against theory", verdict=fit_verdict(table), table=table, notes=FIT_NOTES)


FIT_COLUMNS = ["policy", "retry", "law", "n", "mean_s", "expected_mean_s", "distance", "p"]
FIT_NOTES = (
    "Distance: Kolmogorov's, of the delays' ECDF from the law. With steps in the law p is too large, never too small.",
    "Refused: false discoveries among all rows of the table held to 5 % (Benjamini and Hochberg).",
)


def fit_rows(
    name: str, policy: Policy, n: int, retries: int | None, seed: int, stretch: float = 1.0
) -> list[tuple[object, ...]]:
    """Return one row per retry, in the order of `FIT_COLUMNS`."""
    drawn = delays_of(policy, n, retries_of(policy, retries), seed, stretch=stretch)
    return [fit_row(name, policy, retry, delays_s, stretch) for retry, delays_s in enumerate(drawn, 1)]


def fit_row(
    name: str, policy: Policy, retry: int, delays_s: NDArray[np.float64], stretch: float = 1.0, *, told: bool = True
) -> tuple[object, ...]:
    """Return one row, of delays that were drawn before this retry; `told` is whether its law is to be asked for."""
    law = delay_law(policy, retry) if told else None
    kind = "none" if law is None else "exact" if law.exact else "quadrature"
    found = Fit(math.nan, math.nan) if law is None else ks_fit(delays_s, law.stretched(stretch))
    mean_s = float(delays_s.mean()) if len(delays_s) else math.nan
    return name, retry, kind, len(delays_s), mean_s, policy.mean_s(retry) * stretch, *found


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its column `refused`."""
    return table.assign(refused=false_discoveries(table["p"].to_numpy(dtype=float)))


def fit_verdict(table: pd.DataFrame) -> str:
    """Say in a sentence or two whether the delays are as promised."""
    tested, refused = int(table["p"].notna().sum()), table[table["refused"]]
    untold = len(table) - tested
    more = f" {untold} more have no law to be held against." if untold else ""
    if len(refused):
        worst = refused.sort_values("distance").iloc[-1]
        return (
            f"{len(refused)} of {tested} delays are NOT distributed as their policy promises; furthest off is retry "
            f"{worst['retry']} of {worst['policy']}, by {worst['distance']:.3g}.{more}"
        )
    if not tested:
        return f"Nothing to judge: none of {untold} delays has a law."
    furthest = float(table["distance"].max())
    return f"All {tested} delays are distributed as their policies promise; the largest gap is {furthest:.2g}.{more}"


def _ecdf(delays_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distinct delays, and the share of delays up to each."""
    ordered = np.sort(delays_s)
    last = np.append(ordered[1:] != ordered[:-1], True)
    return ordered[last], (np.flatnonzero(last) + 1) / len(ordered)
