"""A sweep in words, and as a table for people: which cells fail and why, and which is best and worst."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tem_sim.analysis.statistics import mean_interval
from tem_sim.checks.verdict import count
from tem_sim.scenario.seeds import SeedsUntil, seeds_text
from tem_sim.scenario.tree import steps_of
from tem_sim.scenario.vocabulary import full_path
from tem_sim.studies.replications import FALSE_SHARE, interval_text, unit_of

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.checks.thresholds import OverSeeds
    from tem_sim.sweeps.sweep import CellResult, Sweep

# So many cells are named; of more only the number is told.
MOST_NAMED = 3
# What a cell has where it sets nothing.
AS_IT_IS = "as in the file"


# --- names


def short_paths(paths: Sequence[str]) -> dict[str, str]:
    """Return each path's shortest end that `--set` takes for it: `base` for pipeline.backoff.base."""
    return {path: next(end for end in _ends(path) if _is_end_of(end, path)) for path in paths}


def _ends(path: str) -> Iterator[str]:
    steps = path.split(".")
    return (".".join(steps[-length:]) for length in range(1, len(steps) + 1))


def _is_end_of(end: str, path: str) -> bool:
    steps = steps_of(end)
    return end == path or (steps is not None and full_path(steps) == steps_of(path))


def cell_names(scenario: str, paths: Sequence[str], labels: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a name for each cell: what it sets, `base=1s, jitter=full`; the scenario's where it sets nothing."""
    short = short_paths(paths)
    names = [", ".join(f"{short[path]}={value}" for path, value in cell.items()) or scenario for cell in labels]
    # Two cells may set the same, one of them by `include`.
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names)]


# --- the verdict


def verdict(sweep: Sweep) -> str:
    """Say what was run, what is wrong in which cells, and where the metric that matters most is least and most."""
    parts = [_head(sweep), *_broken(sweep), *_thresholds(sweep), *_checks(sweep), *_extremes(sweep)]
    return " ".join(parts)


def _head(sweep: Sweep) -> str:
    runs = sum(len(cell.runs) for cell in sweep.cells)
    cells = count(len(sweep.cells), "cell")
    return f"{sweep.word} {sweep.name}: {cells}, {count(runs, 'run')}."


def _broken(sweep: Sweep) -> Iterator[str]:
    broken = [(cell, row) for cell in sweep.cells for row in cell.broken]
    if broken:
        cell, row = broken[0]
        were = "broke" if len(broken) == 1 else "broke, the first of them"
        yield f"{count(len(broken), 'run')} {were} {cell.name}, seed {row.seed}: {row.error}."


def _thresholds(sweep: Sweep) -> Iterator[str]:
    held = [cell for cell in sweep.cells if cell.thresholds]
    if not held:
        return
    for answer, how in (("false", "broken"), ("unknown", "not to be judged")):
        told = [f"{cell.name} ({_details(cell, answer)})" for cell in held if cell.unmet(answer)]
        if told:
            yield f"Thresholds are {how} in {len(told)} of {count(len(held), 'cell')}: {_listed(told)}."
    if not any(cell.unmet(answer) for cell in held for answer in ("false", "unknown")):
        yield f"{'All cells keep' if len(held) > 1 else 'It keeps'} to the thresholds."


def _details(cell: CellResult, answer: str) -> str:
    return ", ".join(f"{held.pooled.threshold.metric} {held.pooled.detail}" for held in cell.unmet(answer))


def _checks(sweep: Sweep) -> Iterator[str]:
    told = []
    for cell in sweep.cells:
        failing = cell.failing_checks()
        if failing:
            found = ", ".join(f"{name} in {runs} of {count(len(cell.runs), 'run')}" for name, runs in failing.items())
            told.append(f"{cell.name} ({found})")
    if told:
        yield f"Checks are not as they should be in {count(len(told), 'cell')}: {_listed(told)}."


def _listed(told: Sequence[str]) -> str:
    more = len(told) - MOST_NAMED
    return "; ".join(told[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _extremes(sweep: Sweep) -> Iterator[str]:
    """Say where the first metric is least and most, and how many cells surely differ from the least."""
    if not sweep.shown():
        return
    metric = sweep.shown()[0]
    means = sweep.table([metric]).dropna(subset=["mean"]).sort_values("mean", kind="stable")
    if len(means) == 1 or means.empty:
        yield from (f"{metric} is {span}." for span in _spans(metric, means))
        return
    spans = list(_spans(metric, means))
    least, most = str(means["name"].iloc[0]), str(means["name"].iloc[-1])
    text = f"{metric} is least with {least}, {spans[0]}, and most with {most}, {spans[-1]}"
    if min(len(cell.runs) for cell in sweep.cells) > 1:
        sure = int(sweep.compare(least, [metric])["significant"].sum())
        others = len(sweep.cells) - 1
        text += f"; {'all' if sure == others else f'{sure} of'} {count(others, 'other')} surely differ from the least"
    yield f"{text}."


def _spans(metric: str, means: pd.DataFrame) -> Iterator[str]:
    """Yield each row's mean with its interval and unit."""
    unit = unit_of(metric)
    for mean, low, high in means[["mean", "low", "high"]].to_numpy(dtype=float).tolist():
        text = interval_text(mean, low, high)
        yield text if unit in ("", "1") else f"{text} {unit}".replace(" 1/", "/")


# --- the table


def threshold_row(held: OverSeeds) -> tuple[object, ...]:
    """Return a threshold's columns."""
    pooled = held.pooled
    unmet = sum(one.verdict != "true" for one in held.by_seed.values())
    threshold = pooled.threshold
    return (
        *(threshold.metric, str(threshold), threshold.strict, pooled.verdict),
        *(pooled.value, pooled.n, pooled.missing, pooled.detail, unmet),
    )


def wide_table(sweep: Sweep, measures: Sequence[str]) -> pd.DataFrame:
    """Return a row per cell: what it sets, runs, verdict, and each metric with its interval as `…_low` and `…_high`."""
    import pandas as pd

    short = short_paths(sweep.paths)
    made = []
    for cell in sweep.cells:
        line: dict[str, object] = {short[path]: cell.labels.get(path, AS_IT_IS) for path in sweep.paths}
        line |= {"runs": len(cell.runs), "verdict": cell.word}
        for name in measures:
            values = [row.metrics.get(name, math.nan) for row in cell.runs]
            mean, low, high, _ = mean_interval(values)
            line |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        made.append(line)
    return pd.DataFrame(made)


def notes(sweep: Sweep) -> tuple[str, ...]:
    """Return how the sweep was made, and what its numbers rest on."""
    found = [
        f"{seeds_text(sweep.seeds)} per cell, the same for all, so that differences are taken in pairs.",
        "Means with Student's t intervals of 95 % over the seeds; a run without the metric is left out of its mean.",
    ]
    if len(sweep.cells) > 1:
        found.append(f"Surely: paired t tests, false discoveries held to {FALSE_SHARE:.0%} among the cells compared.")
    if any(cell.thresholds for cell in sweep.cells):
        found.append("Thresholds are judged over all seeds of a cell together; `thresholds()` has each.")
    if isinstance(sweep.seeds, SeedsUntil):
        found.append(
            f"Each cell stopped on its own when {sweep.seeds.until}, looked at after {sweep.seeds.min} seeds and each "
            f"{sweep.seeds.batch} more. Stopping when an interval looks narrow makes it a little too narrow."
        )
    return tuple(found)
