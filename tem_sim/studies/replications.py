"""Variants × seeds: every variant meets the same luck, so that what differs between two rows of a seed is the variant.

The seeds' named streams are shared (common random numbers): arrivals, service times and jitter draws of a seed are the
same whatever the settings. Differences are therefore taken in pairs, seed by seed, and need far fewer runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING

from tem_sim.analysis.metrics import METRICS, metrics
from tem_sim.analysis.statistics import LEVEL, false_discoveries, mean_interval, paired
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.seeds import DEFAULT_SEEDS, seed_list
from tem_sim.studies.cells import Measure, Row, cells_of, run_cells

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.studies.progress import Progress

# The share of false alarms that is put up with among the differences that are called significant.
FALSE_SHARE = 0.05


def replicate(
    scenarios: Scenario | Mapping[str, Scenario],
    seeds: int | Sequence[int] = DEFAULT_SEEDS,
    *,
    measure: Measure = metrics,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Replications:
    """Run each scenario under each seed and measure every run.

    `seeds`: how many (1, 2, …), or which. `measure` turns a run into named numbers; by default every metric. `jobs`:
    processes, None for one per core, 1 for this one alone; the rows are identical. `progress` is told (done, total).
    A run that breaks is a row with its `error` and no numbers; `StudyError` when all do.
    """
    variants = {scenarios.name: scenarios} if isinstance(scenarios, Scenario) else dict(scenarios)
    if not variants:
        raise ValueError("scenarios: must be at least one")
    rows = run_cells(cells_of(variants, seed_list(seeds)), measure, jobs=jobs, progress=progress)
    return Replications.of(rows)


@dataclass(frozen=True, eq=False, repr=False)
class Replications:
    """The rows of a study: one per variant and seed, with the columns `variant`, `seed`, each measure, and `error`.

    `error` is empty for a run that came to its end. `level` is that of all intervals.
    """

    rows: pd.DataFrame
    level: float = LEVEL

    @staticmethod
    def of(rows: Sequence[Row], level: float = LEVEL) -> Replications:
        """Put rows together; a measure that a run does not have is NaN."""
        import pandas as pd

        named = list(dict.fromkeys(name for row in rows for name in row.values))
        made = [
            {"variant": row.variant, "seed": row.seed}
            | {name: row.values.get(name, math.nan) for name in named}
            | {"error": row.error}
            for row in rows
        ]
        return Replications(pd.DataFrame(made, columns=["variant", "seed", *named, "error"]), level)

    @property
    def measures(self) -> tuple[str, ...]:
        """What was measured, in the order of the columns."""
        return tuple(self.rows.columns[2:-1])

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants in the order in which they were given."""
        return tuple(dict.fromkeys(self.rows["variant"]))

    @property
    def broken(self) -> pd.DataFrame:
        """The runs that broke: variant, seed, error."""
        return self.rows.loc[self.rows["error"] != "", ["variant", "seed", "error"]]

    def broken_notes(self) -> tuple[str, ...]:
        """Return the sentence that a study owes its reader when runs broke, and nothing when none did."""
        if self.broken.empty:
            return ()
        return (f"{len(self.broken)} of {len(self.rows)} runs broke and are left out: see `rows.broken`.",)

    def values(self, variant: str, measure: str) -> pd.Series[float]:
        """Return one measure of one variant, indexed by seed; KeyError for a name that is not there."""
        if variant not in self.variants or measure not in self.measures:
            known = self.measures if variant in self.variants else self.variants
            raise KeyError(f"{variant}, {measure}: known are {', '.join(known)}")
        found: pd.Series[float] = self._wide[measure].loc[variant]
        return found

    @cached_property
    def _wide(self) -> pd.DataFrame:
        return self.rows.set_index(["variant", "seed"])

    def table(self, measures: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the means: variant, measure, mean, low, high, n, unit; t intervals over the seeds.

        `n` counts the runs in which the measure exists: a drain time does not where the backlog never drained, and
        the mean is then over the luckier rest.
        """
        import pandas as pd

        columns = ["variant", "measure", "mean", "low", "high", "n", "unit"]
        made = [
            (variant, name, *mean_interval(self.values(variant, name).to_numpy(), self.level), unit_of(name))
            for variant in self.variants
            for name in measures or self.measures
        ]
        return pd.DataFrame(made, columns=columns)

    def compare(self, baseline: str, variant: str | None = None, measures: Sequence[str] | None = None) -> pd.DataFrame:
        """Return how a variant, or every other one, differs from the baseline, seed by seed.

        Columns: baseline, variant, measure, baseline_mean, variant_mean, difference (variant − baseline) with its
        interval `low` and `high`, p of the paired t test, `significant` (false discoveries among all rows of the
        table held to 5 %), n pairs, variance_reduction (how many times as many independent runs the same interval
        would take), unit.
        """
        import pandas as pd

        others = [name for name in self.variants if name != baseline] if variant is None else [variant]
        made = [self._row(baseline, other, name) for other in others for name in measures or self.measures]
        table = pd.DataFrame(made, columns=[*_COMPARED, "unit"])
        table["significant"] = false_discoveries(table["p"].to_numpy(dtype=float), FALSE_SHARE)
        return table[[*_COMPARED[:-2], "significant", *_COMPARED[-2:], "unit"]]

    def _row(self, baseline: str, variant: str, measure: str) -> tuple[object, ...]:
        before, after = self.values(baseline, measure).align(self.values(variant, measure))
        found = paired(before.to_numpy(), after.to_numpy(), self.level)
        return baseline, variant, measure, *found, unit_of(measure)

    def __repr__(self) -> str:
        return f"{self._head()}\n{self._shown().to_string()}"

    def _repr_html_(self) -> str:
        return f"<div>{escape(self._head())}{self._shown().to_html(border=0)}</div>"

    def _head(self) -> str:
        seeds = self.rows["seed"].nunique()
        head = f"{len(self.variants)} variants × {seeds} seeds: mean [{self.level:.0%} interval]"
        if self.broken.empty:
            return head
        first = self.broken.iloc[0]
        told = f"{first['variant']}, seed {first['seed']}: {first['error']}"
        return f"{head}. {len(self.broken)} of {len(self.rows)} runs BROKE and are left out; the first is {told}"

    def _shown(self) -> pd.DataFrame:
        """Return the means as text, a row per measure and a column per variant."""
        table = self.table()
        bounds = table[["mean", "low", "high"]].to_numpy(dtype=float)
        table["text"] = [interval_text(*of) for of in bounds]
        names = [f"{name} ({unit_of(name)})" if unit_of(name) not in ("", "1") else name for name in self.measures]
        shown = table.pivot(index="measure", columns="variant", values="text")
        shown = shown.loc[list(self.measures), list(self.variants)].set_axis(names)
        return shown.rename_axis(index=None, columns=None)


# The fields of `paired`, under the names that they have in a table of variants.
_COMPARED = (
    *("baseline", "variant", "measure", "baseline_mean", "variant_mean", "difference"),
    *("low", "high", "p", "n", "variance_reduction"),
)


def unit_of(measure: str) -> str:
    """Return a measure's unit: a metric's own, or what the name ends in."""
    if measure in METRICS:
        return METRICS[measure].unit
    return "1/s" if measure.endswith("_per_s") else "s" if measure.endswith("_s") else ""


def interval_text(mean: float, low: float, high: float) -> str:
    """Write an estimate with its interval, or without one where there is none."""
    if math.isnan(mean):
        return "–"
    return f"{mean:,.4g}" if math.isnan(low) else f"{mean:,.4g} [{low:,.4g}, {high:,.4g}]"
