"""What came of a sweep: its runs as rows, each cell's means and verdict, and the whole in words."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tem_sim.analysis.result import Result
from tem_sim.checks.thresholds import OverSeeds, over_seeds
from tem_sim.report.outcome import EXIT_CODES
from tem_sim.scenario.seeds import SeedsUntil
from tem_sim.scenario.thresholds import KINDS, Threshold, Thresholds
from tem_sim.studies.cells import Row
from tem_sim.studies.replications import Replications
from tem_sim.sweeps import words
from tem_sim.sweeps.results import CellRecord, SweepError, SweepRecord, reading
from tem_sim.sweeps.rows import RunRow, by_scenario
from tem_sim.sweeps.stopping import metric_by_seed, wanted

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.report.outcome import Word

# What is shown of each cell where nobody asks for more: the thresholds' metrics, then these, up to `MOST_SHOWN`.
SHOWN = ("amplification", "retry_peak_per_s", "drain_s", "latency_p95_s", "extinct_rate")
MOST_SHOWN = 5
# Of several, the word that matters most is the sweep's.
GRAVEST_FIRST: tuple[Word, ...] = ("BROKEN", "FAIL", "INCONCLUSIVE", "PASS")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CellResult:
    """One cell: what it sets, its runs by seed, and its thresholds over all seeds together."""

    number: int
    name: str
    labels: Mapping[str, str]
    runs: tuple[RunRow, ...]
    expected: frozenset[str]
    thresholds: tuple[OverSeeds, ...]

    @property
    def broken(self) -> tuple[RunRow, ...]:
        """The runs that broke."""
        return tuple(row for row in self.runs if row.error)

    def failing_checks(self) -> dict[str, int]:
        """Return the checks that are not as they should be, and in how many runs."""
        found: dict[str, int] = {}
        for row in self.runs:
            for name, answer in row.checks.items():
                if (answer != "false") if name in self.expected else (answer == "false"):
                    found[name] = found.get(name, 0) + 1
        return found

    def unmet(self, answer: str) -> list[OverSeeds]:
        """Return the strict thresholds with this answer over all seeds together."""
        return [held for held in self.thresholds if held.pooled.threshold.strict and held.pooled.verdict == answer]

    @property
    def word(self) -> Word:
        """The verdict: a run broke; a check is not as it should be, or a strict threshold is broken; or none of it.

        Thresholds count over all seeds together; a single seed may miss one.
        """
        if self.broken:
            return "BROKEN"
        if self.failing_checks() or self.unmet("false"):
            return "FAIL"
        nothing_judged = any(row.checks and set(row.checks.values()) == {"unknown"} for row in self.runs)
        return "INCONCLUSIVE" if self.unmet("unknown") or nothing_judged else "PASS"


@dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """What came of a sweep. `paths` are what the cells set, `seeds` how many were asked for.

    `rows` is tidy, a row per run; `table()` has the means of each cell, `compare()` their differences in pairs.
    """

    name: str
    paths: tuple[str, ...]
    seeds: int | tuple[int, ...] | SeedsUntil
    cells: tuple[CellResult, ...]

    @staticmethod
    def of(record: SweepRecord, known: Mapping[str, RunRow]) -> Sweep:
        """Put the runs that a sweep asks for in order, of all that are known."""
        names = words.cell_names(record.name, record.paths, [cell.labels for cell in record.cells])
        rows = by_scenario(known.values())
        cells = [
            _cell(record, number, name, rows.get(record.cells[number].scenario_key, ()))
            for number, name in enumerate(names)
        ]
        return Sweep(record.name, record.paths, record.seeds, tuple(cells))

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Sweep:
        """Read the sweep that a results file was last used for, as far as it has come; SweepError for other files."""
        file = Path(path)
        with reading(file) as results:
            record = results.sweep()
            if record is None:
                raise SweepError(f"{file}: was left before its sweep began; --resume begins it")
            return Sweep.of(record, results.known([cell.scenario_key for cell in record.cells], record.engine))

    # --- tables

    @cached_property
    def rows(self) -> pd.DataFrame:
        """A row per run, cell by cell and by seed.

        Columns: cell (from 0), what it sets by path (as written, empty where it is as in the file), seed, verdict, each
        metric, `check: NAME` and `threshold: METRIC EXPRESSION` (true, unknown or false), digest, seconds, error.
        """
        import pandas as pd

        return pd.DataFrame([self._plain(cell, row) for cell in self.cells for row in cell.runs])

    def _plain(self, cell: CellResult, row: RunRow) -> dict[str, object]:
        return {
            "cell": cell.number,
            **{path: cell.labels.get(path, "") for path in self.paths},
            "seed": row.seed,
            "verdict": row.verdict,
            **{name: row.metrics.get(name, math.nan) for name in self.measures},
            **{f"check: {name}": row.checks.get(name, "") for name in self._checks},
            **{f"threshold: {held.metric} {held.threshold}": held.verdict for held in row.thresholds},
            "digest": row.digest,
            "seconds": row.seconds,
            "error": row.error,
        }

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """The metrics, in display order."""
        return tuple(dict.fromkeys(name for cell in self.cells for row in cell.runs for name in row.metrics))

    @cached_property
    def _checks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for cell in self.cells for row in cell.runs for name in row.checks))

    @cached_property
    def replications(self) -> Replications:
        """The numbers alone, with the cells as variants under their names."""
        rows = [Row(cell.name, row.seed, row.metrics, row.error) for cell in self.cells for row in cell.runs]
        return Replications.of(rows)

    def table(self, measures: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the means: cell, name, what it sets by path, measure, mean, low, high, n, unit.

        Intervals are Student's t of 95 % over the seeds; `n` counts the runs in which the metric exists.
        """
        import pandas as pd

        means = self.replications.table(measures).rename(columns={"variant": "name"})
        labels = pd.DataFrame(
            [
                {"cell": cell.number, "name": cell.name} | {path: cell.labels.get(path, "") for path in self.paths}
                for cell in self.cells
            ]
        )
        return labels.merge(means, on="name")

    def compare(self, baseline: int | str = 0, measures: Sequence[str] | None = None) -> pd.DataFrame:
        """Return how every other cell differs from one, named by its number or name; see `Replications.compare`."""
        name = self.cells[baseline].name if isinstance(baseline, int) else baseline
        return self.replications.compare(name, measures=measures)

    def thresholds(self) -> pd.DataFrame:
        """Return each cell's thresholds over all seeds together.

        Columns: cell, name, metric, threshold, strict, verdict, value, n, missing, detail, and `seeds_unmet`, how many
        seeds by themselves do not keep to it.
        """
        import pandas as pd

        columns = [
            *("cell", "name", "metric", "threshold", "strict", "verdict"),
            *("value", "n", "missing", "detail", "seeds_unmet"),
        ]
        made = [(cell.number, cell.name, *words.threshold_row(held)) for cell in self.cells for held in cell.thresholds]
        return pd.DataFrame(made, columns=columns)

    # --- verdicts

    @property
    def word(self) -> Word:
        """The verdict in a word: the gravest of the cells'."""
        return min((cell.word for cell in self.cells), key=GRAVEST_FIRST.index)

    @property
    def exit_code(self) -> int:
        """The process's exit code: 0; 1 (a threshold or a check of some cell is broken); 3 (a run broke); 4 unknown."""
        return EXIT_CODES[self.word]

    @property
    def verdict(self) -> str:
        """The whole in a few sentences."""
        return words.verdict(self)

    def shown(self) -> tuple[str, ...]:
        """Return the metrics that matter here: those with thresholds or a stopping rule first, then the usual ones."""
        held = [held.pooled.threshold.metric for cell in self.cells for held in cell.thresholds]
        asked = [self.seeds.goal.metric] if isinstance(self.seeds, SeedsUntil) else []
        named = [name for name in (*asked, *held, *SHOWN) if KINDS[name].name != "distribution"]
        known = [name for name in dict.fromkeys(named) if name in self.measures]
        return tuple(known[: max(MOST_SHOWN, len(set(held)))])

    def result(self, measures: Sequence[str] | None = None) -> Result:
        """Return the sweep as an answer: the verdict, a row per cell with means and intervals, and how it was made."""
        return Result(
            title=f"Sweep of {self.name}",
            verdict=self.verdict,
            table=words.wide_table(self, measures or self.shown()),
            notes=words.notes(self),
        )

    def __repr__(self) -> str:
        return repr(self.result())

    def _repr_html_(self) -> str:
        return self.result()._repr_html_()


def _cell(record: SweepRecord, number: int, name: str, rows: Sequence[RunRow]) -> CellResult:
    cell = record.cells[number]
    done = {row.seed: row for row in rows}
    seeds = wanted(record.seeds, metric_by_seed(record.seeds, rows))
    runs = tuple(done[seed] for seed in seeds if seed in done)
    return CellResult(
        number=number,
        name=name,
        labels=cell.labels,
        runs=runs,
        expected=frozenset(_expected(cell)),
        thresholds=_over_seeds(cell, runs),
    )


def _expected(cell: CellRecord) -> Sequence[str]:
    expect = cell.resolved.get("expect")
    found = expect.get("violations") if isinstance(expect, dict) else None
    return [str(name) for name in found] if isinstance(found, list) else []


def _over_seeds(cell: CellRecord, runs: Sequence[RunRow]) -> tuple[OverSeeds, ...]:
    """Hold the runs that came to their end to the thresholds of their scenario."""
    thresholds: tuple[Threshold, ...] = Thresholds.model_validate(cell.resolved.get("thresholds", {})).listed()
    whole = [row.measured() for row in runs if not row.error]
    return tuple(over_seeds(thresholds, whole)) if whole else ()
