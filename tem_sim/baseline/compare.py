"""Two runs, two scenarios or two sweeps side by side: every metric, in pairs by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.equivalence import fieller
from tem_sim.analysis.metrics import METRICS, metrics
from tem_sim.analysis.result import Result
from tem_sim.baseline.seen import rounded
from tem_sim.checks.verdict import count
from tem_sim.studies.cells import Row
from tem_sim.studies.replications import FALSE_SHARE, Replications, interval_text, replicate

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario
    from tem_sim.studies.progress import Progress
    from tem_sim.sweeps.sweep import Sweep

A, B = "a", "b"
# What the verdict names at most.
_SHOWN = 3


class CompareError(Exception):
    """Two things that cannot be compared; the message says why and what to do."""


def kind_of(path: Path) -> str:
    """Return what is at a path: `run`, `scenario` or `sweep`; CompareError for anything else."""
    if path.is_dir():
        return "run"
    if path.suffix in (".yaml", ".yml"):
        return "scenario"
    if path.is_file() and path.read_bytes()[:15] == b"SQLite format 3":
        return "sweep"
    raise CompareError(f"{path}: is no run's folder, no scenario (.yaml) and no results file of a sweep")


def compare_runs(a: Run, b: Run) -> Result:
    """Compare two runs: one pair, from which no interval can be had."""
    rows = Replications.of([Row(A, a.seed, _measure(a)), Row(B, a.seed, _measure(b))])
    notes = ["One pair of runs: how much of a difference is luck cannot be told; compare scenarios for intervals."]
    if a.seed != b.seed:
        notes.append(f"Their seeds differ ({a.seed} and {b.seed}), and so does their luck.")
    elif a.digest == b.digest:
        notes.append("They have the same digest: every transition is the same.")
    return _result(f"{b.name} (seed {b.seed}) against {a.name} (seed {a.seed})", [("", rows)], notes)


def compare_scenarios(
    a: Scenario,
    b: Scenario,
    seeds: int | Sequence[int],
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run two scenarios under the same seeds and compare them in pairs."""
    rows = replicate({A: a, B: b}, seeds, measure=_measure, jobs=jobs, progress=progress)
    notes = [f"{count(len(rows.rows) // 2, 'seed')}, the same for both: they share their luck."]
    return _result(f"{b.name} against {a.name}", [("", rows)], notes)


def compare_sweeps(a: Sweep, b: Sweep) -> Result:
    """Compare two sweeps, cell by cell of the same name and seed by seed; CompareError where they share no cell."""
    theirs = {cell.name: cell for cell in b.cells}
    shared = [(cell, theirs[cell.name]) for cell in a.cells if cell.name in theirs]
    if len(a.cells) == len(b.cells) == 1:
        shared = [(a.cells[0], b.cells[0])]
    if not shared:
        raise CompareError(f"{a.name} and {b.name} have no cell in common")
    parts = [
        (
            ours.name if len(shared) > 1 else "",
            Replications.of(
                [Row(A, row.seed, _rounded(row.metrics), row.error) for row in ours.runs]
                + [Row(B, row.seed, _rounded(row.metrics), row.error) for row in other.runs]
            ),
        )
        for ours, other in shared
    ]
    alone = len(a.cells) + len(b.cells) - 2 * len(shared)
    notes = [f"{count(alone, 'cell')} of one sweep only are left out."] if alone else []
    return _result(f"{b.name} against {a.name}", parts, notes)


def _measure(run: Run) -> dict[str, float]:
    return _rounded(metrics(run))


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Leave out the last digits: differences of 1e-16 that are the same in each pair would be sure ones."""
    return {name: rounded(value) for name, value in values.items()}


def _result(title: str, parts: Sequence[tuple[str, Replications]], notes: Sequence[str]) -> Result:
    import pandas as pd

    from tem_sim.analysis.statistics import false_discoveries

    several = len(parts) > 1
    table = pd.concat([_table(name, rows, several) for name, rows in parts], ignore_index=True)
    # All cells are one table of tests.
    table["significant"] = false_discoveries(table["p"].to_numpy(dtype=float), FALSE_SHARE)
    broken = sum(len(rows.broken) for _, rows in parts)
    return Result(title=title, verdict=_verdict(table), table=table, notes=(*notes, *_notes(table, broken)))


def _table(cell: str, rows: Replications, several: bool) -> pd.DataFrame:
    if not rows.measures or len(rows.variants) < 2:
        raise CompareError(f"{cell or 'one of the two'}: has no run that came to its end")
    found = rows.compare(A, B)
    found = found[found["n"] > 0].drop(columns=["baseline", "variant"])
    names = {"baseline_mean": A, "variant_mean": B, "low": "difference_low", "high": "difference_high"}
    shares = [_share(rows, str(name)) for name in found["measure"]]
    found = found.rename(columns=names)
    for column, values in zip(("percent", "percent_low", "percent_high"), zip(*shares, strict=True), strict=True):
        found[column] = np.array(values) * 100
    columns = ["measure", A, B, "difference", "difference_low", "difference_high", "percent", "percent_low"]
    found = found[[*columns, "percent_high", "p", "significant", "n", "variance_reduction", "unit"]]
    if several:
        found.insert(0, "cell", cell)
    return found


def _share(rows: Replications, measure: str) -> tuple[float, float, float]:
    """Return b / a − 1 with its interval, NaN where a is 0 or not surely anything else."""
    before, now = rows.values(A, measure).align(rows.values(B, measure), join="inner")
    known = before.notna() & now.notna()
    mean_a, mean_b = float(before[known].mean()), float(now[known].mean())
    low, high = fieller(before.to_numpy(), now.to_numpy())
    return (mean_b / mean_a - 1 if mean_a else math.nan), low, high


def _verdict(table: pd.DataFrame) -> str:
    differ = table[table["difference"] != 0]
    if differ.empty:
        return f"Nothing differs in {count(len(table), 'metric')}."
    if bool((table["n"] < 2).all()):
        return f"{len(differ)} of {count(len(table), 'metric')} differ, in one pair of runs: {_listed(differ)}."
    sure = differ[differ["significant"]]
    if sure.empty:
        return f"Nothing differs by more than luck may make, in {count(len(table), 'metric')}."
    gain = float(differ["variance_reduction"].replace(math.inf, math.nan).median())
    saved = f" Without pairs it would take {gain:,.3g} times as many runs (median)." if gain > 1.5 else ""
    return f"{len(sure)} of {count(len(table), 'metric')} surely differ: {_listed(sure)}.{saved}"


def _listed(rows: pd.DataFrame) -> str:
    """Name the first few in the order of the metrics, totals last: a total says little that its quotient does not."""
    whole = [name for name, metric in METRICS.items() if metric.unit == "1" and name != "amplification"]
    order = rows.assign(last=rows["measure"].isin(whole)).sort_values("last", kind="stable")
    told = []
    for row in order.head(_SHOWN).to_dict("records"):
        cell = f"{row['cell']}: " if "cell" in row else ""
        share = f"{interval_text(row['percent'], row['percent_low'], row['percent_high'])} %"
        by = share if not math.isnan(row["percent"]) else f"{row['difference']:+,.4g}"
        told.append(f"{cell}{row['measure']} {row[A]:,.4g} → {row[B]:,.4g} ({by})")
    more = f", and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return ", ".join(told) + more


def _notes(table: pd.DataFrame, broken: int) -> list[str]:
    notes = []
    if bool((table["n"] > 1).any()):
        notes += [
            "Differences are b − a, seed by seed, with paired t intervals of 95 %; percent is of a (Fieller).",
            "significant: at most 5 % false discoveries over the table. variance_reduction: how many times as many "
            "independent runs the same interval would take.",
        ]
    if broken:
        notes.append(f"{count(broken, 'run')} broke and are left out.")
    return notes
