"""A few variants side by side: the means of some measures, and how surely each variant differs from the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_sim.analysis.metrics import metrics
from tem_sim.analysis.result import Result
from tem_sim.scenario.seeds import DEFAULT_SEEDS
from tem_sim.scenario.variants import variants_of
from tem_sim.studies.replications import Replications, interval_text, replicate, unit_of

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.scenario.models import Scenario
    from tem_sim.studies.cells import Measure
    from tem_sim.studies.progress import Progress

# Less is better in each of these.
MEASURES = ("retry_peak_per_s", "drain_s", "latency_p95_s", "extinct_rate", "amplification")
# What `jitter:` of a scenario's policy takes without further settings.
JITTERS = ("none", "proportional", "equal", "full", "decorrelated")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Comparison(Result):
    """Each variant against the first, as `Replications.compare` tells it, all measures in one table.

    `rows` are the runs; `rows.table()` has the means with their intervals, `rows.compare(a, b)` any other two.
    """

    rows: Replications


def compare(
    variants: Mapping[str, Scenario],
    seeds: int | Sequence[int] = DEFAULT_SEEDS,
    *,
    measures: Sequence[str] = MEASURES,
    measure: Measure = metrics,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Run variants under the same seeds and compare each with the first, in pairs.

    `measures` are names of what `measure` returns; less must be better in each for the verdict to make sense.
    """
    if len(variants) < 2:
        raise ValueError(f"variants: needs two or more to compare, got {list(variants)}")
    rows = replicate(variants, seeds, measure=measure, jobs=jobs, progress=progress)
    first = next(iter(variants))
    table = rows.compare(first, measures=measures)
    return Comparison(
        title=f"{', '.join(rows.variants[1:])} against {first}",
        verdict=verdict(rows, table, measures),
        table=table,
        notes=_notes(rows),
        rows=rows,
    )


def compare_jitters(
    scenario: Scenario,
    jitters: Sequence[str] = JITTERS,
    seeds: int | Sequence[int] = DEFAULT_SEEDS,
    *,
    measures: Sequence[str] = MEASURES,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare the scenario's policy under several jitters with the first of them."""
    variants = variants_of(scenario, "pipeline.backoff.jitter", jitters)
    return compare(variants, seeds, measures=measures, jobs=jobs, progress=progress)


def verdict(rows: Replications, table: pd.DataFrame, measures: Sequence[str]) -> str:
    """Say of each measure which variant has least of it, and whether that is surely less than the first has."""
    means = rows.table(measures).pivot(index="variant", columns="measure", values="mean")
    return " ".join(_sentence(rows, table[table["measure"] == name], means[name], name) for name in measures)


def _sentence(rows: Replications, table: pd.DataFrame, means: pd.Series[float], name: str) -> str:
    first = rows.variants[0]
    what = f"{name}{f' ({unit_of(name)})' if unit_of(name) not in ('', '1') else ''}"
    known = means.loc[list(rows.variants)].dropna()
    if known.empty:
        return f"No run has a {name}."
    if known.idxmin() == first:
        return f"Least {what}: {first}, {known[first]:,.4g}."
    least = table[table["variant"] == known.idxmin()].iloc[0]
    apart = interval_text(least["difference"], least["low"], least["high"])
    sure = "" if least["significant"] else ", which luck alone may make"
    return f"Least {what}: {least['variant']}, {least['variant_mean']:,.4g}, {apart} from {first}{sure}."


def _notes(rows: Replications) -> tuple[str, ...]:
    notes = [
        f"{rows.rows['seed'].nunique()} seeds, the same for all variants; differences are taken seed by seed, with "
        f"intervals of {rows.level:.0%} (paired t).",
        "significant: at most 5 % false discoveries over the table. variance_reduction: how many times as many "
        "independent runs the same interval would take.",
        "n: the pairs in which both runs have the measure; a time to drain is missing where the backlog never drained.",
        "Runs start empty and are whole: no warm-up is cut, and they end as the scenario says.",
    ]
    return (*notes, *rows.broken_notes())
