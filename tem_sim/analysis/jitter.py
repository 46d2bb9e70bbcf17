"""What a jitter is worth: how many of n rows that fail together come back together, retry by retry, policy by policy.

Peaks are the most retries that start in any one bin of 100 ms, of 1 s, or at one tick. Jitters differ in mean delay,
none : equal : full = 1 : ¾ : ½, and whoever waits longer has it easier to spread. So every policy is looked at twice:
as configured, and *matched*: all its delays stretched by one factor, so that its mean delay is that of the reference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_sim.analysis.cohort import delays_of, retries_of
from tem_sim.analysis.columns import interval_words, mean_columns
from tem_sim.analysis.delay_fit import FIT_COLUMNS, FIT_NOTES, fit_row, fit_verdict, judged
from tem_sim.analysis.jitter_rows import Question, replicated, width_words
from tem_sim.analysis.lineup import jitters, retrying
from tem_sim.analysis.result import Result
from tem_sim.analysis.statistics import false_discoveries, paired
from tem_sim.scenario.seeds import DEFAULT_SEEDS, seed_list

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.analysis.bursts import Bursts
    from tem_sim.analysis.lineup import Policies
    from tem_sim.analysis.ticks import Tick
    from tem_sim.pipeline.backoff import Policy

WIDTHS_S = (0.1, 1.0)
CONFIGURED, MATCHED = "as configured", "matched"
# Above this many rows in all, fewer replications do: peaks of so many rows hardly differ from seed to seed.
ROWS = 3_000_000
LEAST_REPLICATIONS = 3
# More delays than this tell no more about their law.
FIT_ROWS = 200_000


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class JitterStudy(Result):
    """`table` has one row per policy and `means` (as configured, matched), with the peaks over all its retries.

    `by_retry`: the same per retry, with the time to spread. `fit`: the delays against theory. `compared`: differences
    from the reference in pairs. `rows`: every replication; retry 0 stands for all retries together. `bins`: the retries
    started per bin of `width_s` under the first seed.
    """

    by_retry: pd.DataFrame
    fit: pd.DataFrame
    compared: pd.DataFrame
    rows: pd.DataFrame
    bins: pd.DataFrame
    n: int
    width_s: float
    reference: str


def jitter_study(
    policies: Policies | None = None,
    n: int = 10_000,
    retries: int = 5,
    *,
    widths_s: Sequence[float] = WIDTHS_S,
    tick: Tick | None = None,
    fail_s: float = 0.0,
    seeds: int | Sequence[int] | None = None,
    reference: str | None = None,
) -> JitterStudy:
    """Return how n rows that fail together come back, under each policy; by default one per kind of jitter.

    `retries`: how many are looked at, as far as a policy makes them. `tick`: the scheduler that releases them; None
    starts each when it is due. `fail_s`: how long an attempt takes to fail. `seeds`: replications, ten unless n is
    large. `reference`: the policy whose mean delay the others are matched to, the first by default.
    """
    named = retrying(jitters(max_retries=retries) if policies is None else policies)
    reference = next(iter(named)) if reference is None else reference
    seeds = _replications(n) if seeds is None else seeds
    asked = Question(n, retries, tuple(sorted(widths_s)), tick, fail_s, seed_list(seeds))
    factors = stretches(named, retries, reference)
    return _put_together(named, asked, reference, factors)


def stretches(policies: Mapping[str, Policy], retries: int, reference: str) -> dict[str, float]:
    """Return the factor by which each policy's delays are to be stretched for the mean delay of the reference.

    The mean is over retries 1 to r, the most that all of them make. NaN for a policy that does not wait at all.
    """
    if reference not in policies:
        raise ValueError(f"reference: must be one of {', '.join(policies)}, got {reference!r}")
    common = min(retries_of(policy, retries) for policy in policies.values())
    means_s = {name: mean_delay_s(policy, common) for name, policy in policies.items()}
    # Waits of less than a microsecond are none, as far as the store can tell.
    return {name: means_s[reference] / mean_s if mean_s > 1e-6 else math.nan for name, mean_s in means_s.items()}


def mean_delay_s(policy: Policy, retries: int) -> float:
    """Return the mean of the delays before retries 1 to `retries`; 0 for none."""
    return sum(policy.mean_s(retry) for retry in range(1, retries + 1)) / max(1, retries)


def _replications(n: int) -> int:
    return max(LEAST_REPLICATIONS, min(DEFAULT_SEEDS, ROWS // max(1, n)))


# --- all of them


def _put_together(
    named: Mapping[str, Policy], asked: Question, reference: str, factors: Mapping[str, float]
) -> JitterStudy:
    import pandas as pd

    rows, bins = [], []
    for name, policy in named.items():
        for means, found, widest in _both_ways(policy, asked, factors[name]):
            rows += [{"policy": name, "means": means} | row for row in found]
            bins += [_bins_frame(name, means, retry, held) for retry, held in enumerate(widest, 1)]
    table = pd.DataFrame(rows)
    fit = judged(pd.DataFrame(list(_fitted(named, asked)), columns=FIT_COLUMNS))
    summary = _summary(table, named, asked, factors)
    return JitterStudy(
        title=f"{asked.n:,} rows that fail together, {asked.retries} retries",
        verdict=_verdict(summary, asked, reference),
        table=summary,
        notes=_notes(asked, reference, factors, fit),
        by_retry=_by_retry(table, named, asked, factors),
        fit=fit,
        compared=_compared(table, asked, reference),
        rows=table,
        bins=pd.concat(bins, ignore_index=True) if bins else pd.DataFrame(),
        n=asked.n,
        width_s=asked.widths_s[-1],
        reference=reference,
    )


def _both_ways(
    policy: Policy, asked: Question, factor: float
) -> Iterator[tuple[str, list[dict[str, float]], list[Bursts]]]:
    """Yield the numbers as configured and, where there is such a thing, matched."""
    configured = replicated(policy, asked, 1.0)
    yield CONFIGURED, *configured
    if not math.isnan(factor):
        yield MATCHED, *(configured if factor == 1 else replicated(policy, asked, factor))


def _bins_frame(name: str, means: str, retry: int, held: Bursts) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"policy": name, "means": means, "retry": retry, "t_s": held.t_s, "starts": held.counts})


def _fitted(named: Mapping[str, Policy], asked: Question) -> Iterator[tuple[object, ...]]:
    for name, policy in named.items():
        drawn = delays_of(policy, min(asked.n, FIT_ROWS), retries_of(policy, asked.retries), asked.seeds[0])
        for retry, delays_s in enumerate(drawn, 1):
            yield fit_row(name, policy, retry, delays_s)


def _summary(
    rows: pd.DataFrame, named: Mapping[str, Policy], asked: Question, factors: Mapping[str, float]
) -> pd.DataFrame:
    import pandas as pd

    made = []
    for (name, means), group in rows[rows["retry"] == 0].groupby(["policy", "means"], sort=False):
        factor, policy = (factors[str(name)] if means == MATCHED else 1.0), named[str(name)]
        retries = retries_of(policy, asked.retries)
        row: dict[str, object] = {"policy": name, "means": means, "stretch": factor, "retries": retries}
        row["mean_delay_s"] = mean_delay_s(policy, retries) * factor
        for column in asked.peaks:
            row |= mean_columns(column, group[column], most=asked.n * max(1, retries))
        made.append(row | {"peak_share": float(group[asked.headline].mean()) / asked.n, "seeds": len(group)})
    return pd.DataFrame(made)


def _by_retry(
    rows: pd.DataFrame, named: Mapping[str, Policy], asked: Question, factors: Mapping[str, float]
) -> pd.DataFrame:
    import pandas as pd

    made = []
    for (name, means, retry), group in rows[rows["retry"] > 0].groupby(["policy", "means", "retry"], sort=False):
        factor = factors[str(name)] if means == MATCHED else 1.0
        row: dict[str, object] = {"policy": name, "means": means, "retry": retry}
        row["mean_delay_s"] = named[str(name)].mean_s(int(str(retry))) * factor
        for column in asked.peaks:
            row |= mean_columns(column, group[column], most=asked.n)
        made.append(row | mean_columns("spread_s", group["spread_s"]))
    return pd.DataFrame(made)


def _compared(rows: pd.DataFrame, asked: Question, reference: str) -> pd.DataFrame:
    """Return each policy's peak against the reference's, seed by seed."""
    import pandas as pd

    peaks = rows[rows["retry"] == 0].pivot(index=["means", "policy"], columns="seed", values=asked.headline)
    made = [
        {"policy": name, "means": means, "reference": reference, "measure": asked.headline}
        | _paired(peaks.loc[(means, reference)], peaks.loc[(means, name)])
        for means, name in peaks.index
        if name != reference and (means, reference) in peaks.index
    ]
    table = pd.DataFrame(made)
    return table if table.empty else table.assign(significant=false_discoveries(table["p"].to_numpy(dtype=float)))


def _paired(before: pd.Series[float], after: pd.Series[float]) -> dict[str, float]:
    found = paired(before, after)._asdict()
    return {"reference_mean": found.pop("mean_a"), "policy_mean": found.pop("mean_b"), **found}


# --- in words


def _verdict(table: pd.DataFrame, asked: Question, reference: str) -> str:
    peak, wide = asked.headline, width_words(asked.widths_s[-1])
    configured, matched = (table[table["means"] == means].sort_values(peak) for means in (CONFIGURED, MATCHED))
    best, worst = configured.iloc[0], configured.iloc[-1]
    said = (
        f"Of {asked.n:,} rows that fail together, at most {interval_words(best, peak)} start a retry within {wide} "
        f"under {best['policy']}, and {interval_words(worst, peak)} under {worst['policy']}."
    )
    if len(table) < 3 or matched.empty:
        return said
    calm = matched.iloc[0]
    return (
        f"{said} With all mean delays as long as those of {reference}, {calm['policy']} spreads best: "
        f"{interval_words(calm, peak)}."
    )


def _notes(asked: Question, reference: str, factors: Mapping[str, float], fit: pd.DataFrame) -> tuple[str, ...]:
    still = [name for name, factor in factors.items() if math.isnan(factor)]
    release = "each retry starts when it is due" if asked.tick is None else f"retries are released by {asked.tick}"
    told = (
        f"{len(asked.seeds)} replications; policies share the named streams of a seed; 95 % t intervals.",
        f"Every attempt fails, {asked.fail_s:g} s after it started; no worker is ever short; {release}.",
        f"Matched: all delays (base, cap, width) times `stretch`, for the mean delay of {reference}.",
        "Time to spread: from the first 10 % of a retry's starts to the last 10 %.",
        fit_verdict(fit),
        *FIT_NOTES,
    )
    return told if not still else (*told, f"Not matched, since they do not wait at all: {', '.join(still)}.")
