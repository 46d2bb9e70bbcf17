"""Policy × number of rows: the peak of the retries for 100 rows that fail together and for a million.

A policy without jitter peaks at all of them whatever their number; what jitter leaves is a share that no longer falls
once there are many rows per bin, because a bin's share of the delays does not depend on how many share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tem_sim.analysis.bursts import Bursts, bursts
from tem_sim.analysis.cohort import storm_of
from tem_sim.analysis.columns import mean_columns
from tem_sim.analysis.jitter_rows import width_words
from tem_sim.analysis.lineup import jitters, retrying
from tem_sim.analysis.result import Result
from tem_sim.scenario.seeds import seed_list

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.analysis.cohort import Cohort
    from tem_sim.analysis.lineup import Policies
    from tem_sim.pipeline.backoff import Policy

NUMBERS = (100, 1_000, 10_000, 100_000)
REPLICATIONS = 5


def peak_by_n(
    policies: Policies | None = None,
    ns: Sequence[int] = NUMBERS,
    retries: int = 5,
    *,
    width_s: float = 1.0,
    fail_s: float = 0.0,
    seeds: int | Sequence[int] = REPLICATIONS,
) -> Result:
    """Return the most retries that start within `width_s`, over all retries, for each policy and number of rows.

    Table: policy, n, peak (mean and t interval over the seeds), peak_share of n, above 1 where several retries of
    a row fall into one bin.
    """
    import pandas as pd

    named = retrying(jitters(max_retries=retries) if policies is None else policies)
    sizes, listed = sorted({int(n) for n in ns}), seed_list(seeds)
    rows = []
    for name, policy in named.items():
        peaks = [_peaks(storm_of(policy, sizes[-1], retries, seed, fail_s=fail_s), sizes, width_s) for seed in listed]
        for column, n in enumerate(sizes):
            found = [of_seed[column] for of_seed in peaks]
            share = sum(found) / len(found) / n
            rows.append({"policy": name, "n": n, **mean_columns("peak", found), "peak_share": share})
    table = pd.DataFrame(rows)
    return Result(
        title=f"Most retries within {width_words(width_s)}, by policy and number of rows",
        verdict=_verdict(table, named, sizes[-1], width_s),
        table=table,
        notes=(
            f"{len(listed)} replications; policies share the streams of a seed, and fewer rows are the first of more.",
            f"Every attempt fails, {fail_s:g} s after it started; retries start when they are due; {retries} retries.",
        ),
    )


def _peaks(cohort: Cohort, sizes: Sequence[int], width_s: float) -> list[int]:
    found = []
    for n in sizes:
        part = cohort.first(n)
        each = [bursts(part.of_retry(retry), width_s) for retry in range(1, part.retries + 1)]
        found.append(Bursts.merged(each).peak if each else 0)
    return found


def _verdict(table: pd.DataFrame, named: Mapping[str, Policy], most: int, width_s: float) -> str:
    largest = table[table["n"] == most].sort_values("peak_share")
    best, worst = largest.iloc[0], largest.iloc[-1]
    return (
        f"Of {most:,} rows, {best['peak_share']:.1%} come back within the same {width_words(width_s)} under "
        f"{best['policy']}, the calmest of {len(named)}; under {worst['policy']} it is {worst['peak_share']:.0%}."
    )
