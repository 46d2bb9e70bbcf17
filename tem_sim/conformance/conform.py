"""Both sides of a scenario: simulated runs predict, live runs are held against it, and deviations get a suspect."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tem_sim.analysis.conformance import TARGET, Course, conformance, counted, overlay
from tem_sim.analysis.result import Result
from tem_sim.conformance.culprits import culprits
from tem_sim.conformance.prediction import Seen, predict, seen, simulated
from tem_sim.live.calibrate import SCALE, Calibration, like_live, time_scale_of
from tem_sim.live.run import check_live, run_live
from tem_sim.scenario.loader import changed_by, overlaid
from tem_sim.scenario.seeds import seed_list
from tem_sim.scenario.time_scale import scaled

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run
    from tem_sim.live.config import Pool
    from tem_sim.scenario.models import Scenario

RUNS, SEEDS = 5, 50
# Runs that are kept whole: a report shows at most eight.
KEPT_RUNS, KEPT_SIMULATED = 5, 3
# Seeds under which each assumption is tried.
TRIED_SEEDS = 10
HEADLINE = ("metric", "unit", "verdict", "predicted", "live", "inside", "same_luck", "culprit")

Word = Literal["CONFORMS", "DEVIATES", "INCONCLUSIVE"]
# Called with (what is done, how much of it, of how much).
Progress = Callable[[str, float, float], None]
# Called with each live run.
Lived = Callable[["Run"], None]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Conformance(Result):
    """How far the simulation of one scenario is from live runs of it.

    `scenario` is what was simulated: scaled, as live systems are, and calibrated. `values` are the live runs' metrics,
    `unsafe` the checks of safety that were broken (mode, seed, check, detail), of simulated runs too. `suspects` is
    the table of `culprits`, and `timelines` that of `overlay`. `runs` are kept whole, live ones first: of those the
    first `KEPT_RUNS`, and the simulated ones of the first `KEPT_SIMULATED` of their seeds. Besides the columns of
    `analysis.conformance.conformance` the table has `same_luck`: the median of what live runs have more than the
    simulated runs of the very same seeds, whose load, luck and faults they share.
    """

    scenario: Scenario
    store: str
    seeds: tuple[int, ...]
    live_seeds: tuple[int, ...]
    values: tuple[Mapping[str, float], ...]
    unsafe: tuple[tuple[str, int, str, str], ...]
    suspects: pd.DataFrame
    timelines: pd.DataFrame
    time_scale: float = 1.0
    at_least: int = TARGET
    runs: tuple[Run, ...] = field(default=(), repr=False)

    @property
    def inside(self) -> int:
        """How many metrics are where they were predicted."""
        return counted(self.table)["inside"]

    @property
    def word(self) -> Word:
        """The verdict: enough metrics are inside and nothing unsafe has happened; or not; or nobody can tell."""
        if self.unsafe:
            return "DEVIATES"
        if self.inside >= self.at_least:
            return "CONFORMS"
        return "INCONCLUSIVE" if self.inside + counted(self.table)["unknown"] >= self.at_least else "DEVIATES"


def conform(
    scenario: Scenario,
    *,
    runs: int = RUNS,
    seeds: int | Sequence[int] = SEEDS,
    calibration: Calibration | str | Path | None = None,
    time_scale: float = 1.0,
    store: str | None = None,
    redis: str = "own",
    pool: Pool = "prefork",
    at_least: int = TARGET,
    jobs: int | None = None,
    progress: Progress | None = None,
    lived: Lived | None = None,
) -> Conformance:
    """Simulate a scenario under many seeds, run it live under others, and say where the live runs fall.

    `seeds`: how many simulated runs (1, 2, …), or which; the `runs` live ones have the seeds that follow the largest,
    so that they are new draws of what is predicted. `calibration`: what a live run without faults measured, or a file
    of it; without, the infrastructure is what the scenario says. It is laid over the scenario after `time_scale` has
    been applied, so it must have been measured at the same. `store`, `redis`, `pool`: see `run_live`. `jobs`: processes
    of the simulator. `lived` is called with each live run as soon as it has ended, before the next one begins: they
    take minutes, and go with this call if it breaks, unless somebody keeps them (`document.keep`). A run that Ctrl-C
    ended early is among them (`status` "interrupted"); KeyboardInterrupt is raised after it. Raises as `check_conform`
    and `run_live` do.
    """
    sides = _sides(scenario, runs, seeds, calibration, time_scale, store=store, redis=redis, pool=pool)
    found = _live(sides.meant, sides.live_seeds, progress, lived, store=store, redis=redis, pool=pool)
    held = held_against(sides.model, sides.seeds, found, at_least=at_least, jobs=jobs, progress=progress)
    notes = () if calibration is not None else ("Not calibrated: the infrastructure is what the scenario says.",)
    return replace(held, time_scale=time_scale, notes=(*held.notes, *notes))


def check_conform(
    scenario: Scenario,
    *,
    runs: int = RUNS,
    seeds: int | Sequence[int] = SEEDS,
    calibration: Calibration | str | Path | None = None,
    time_scale: float = 1.0,
    store: str | None = None,
    redis: str = "own",
    pool: Pool = "prefork",
) -> None:
    """Raise what `conform` raises, before anything starts, for what it is given.

    `ScenarioError` for a fault that cannot be inflicted live and a calibration that does not fit, `OSError` for one
    that cannot be read, `StoreError` for a store that is none, `ValueError` for numbers and for a calibration that was
    measured at another time scale.
    """
    _sides(scenario, runs, seeds, calibration, time_scale, store=store, redis=redis, pool=pool)


def held_against(
    model: Scenario,
    seeds: Sequence[int],
    live: Sequence[Run],
    *,
    at_least: int = TARGET,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Conformance:
    """Return how live runs compare to what a scenario, as it is to be simulated, predicts under these seeds."""
    live_seeds = tuple(run.seed for run in live)
    predicted = predict(model, seeds, jobs=jobs, progress=_part(progress, "simulated runs"))
    twins = predict(model, live_seeds, jobs=jobs, progress=_part(progress, "the same luck, simulated"))
    lived = [seen(run) for run in live]
    table = conformance([one.course.metrics for one in predicted], [one.course.metrics for one in lived])
    table["same_luck"] = _differences(table["metric"], twins, lived)
    told = _part(progress, "assumptions tried")
    suspects = culprits(model, table, seeds[:TRIED_SEEDS], jobs=jobs, progress=told)
    unsafe = [*_unsafe("sim", predicted), *_unsafe("live", lived)]
    return Conformance(
        title=f"{model.name}: simulated and live",
        verdict=_sentence(table, len(seeds), len(live), unsafe),
        table=_with_suspects(table, suspects),
        notes=_notes(table, suspects, unsafe),
        headline=HEADLINE,
        scenario=model,
        store=live[0].store,
        seeds=tuple(seeds),
        live_seeds=live_seeds,
        values=tuple(one.course.metrics for one in lived),
        unsafe=tuple(unsafe),
        suspects=suspects,
        timelines=overlay(_courses(predicted), _courses(lived)),
        at_least=at_least,
        runs=(*live[:KEPT_RUNS], *(simulated(model, seed) for seed in live_seeds[:KEPT_SIMULATED])),
    )


def as_live(scenario: Scenario, calibration: Calibration | str | Path | None = None) -> Scenario:
    """Return a scenario for the simulator as a live system is, with what was measured of it, if anything was."""
    model = changed_by(scenario, like_live())
    if calibration is None:
        return model
    if isinstance(calibration, Calibration):
        return changed_by(model, calibration.fragment)
    return overlaid(model, calibration)


class _Sides(NamedTuple):
    """What is run live and what is simulated of one scenario, and under which seeds."""

    meant: Scenario
    model: Scenario
    seeds: tuple[int, ...]
    live_seeds: tuple[int, ...]


def _sides(
    scenario: Scenario,
    runs: int,
    seeds: int | Sequence[int],
    calibration: Calibration | str | Path | None,
    time_scale: float,
    **ground: Any,
) -> _Sides:
    if runs < 1:
        raise ValueError(f"runs: must be at least 1, got {runs}")
    listed = seed_list(seeds)
    meant = scaled(scenario, time_scale)
    _refuse_other_scale(calibration, time_scale)
    check_live(meant, **ground)
    live_seeds = tuple(max(listed) + number for number in range(1, runs + 1))
    return _Sides(meant, as_live(meant, calibration), listed, live_seeds)


def _refuse_other_scale(calibration: Calibration | str | Path | None, time_scale: float) -> None:
    if calibration is None:
        return
    told = calibration.about.get(SCALE) if isinstance(calibration, Calibration) else _scale_in(Path(calibration))
    if told is not None and abs(float(told) - time_scale) > 1e-9:
        raise ValueError(f"calibration: was measured at a time scale of {float(told):g}, and this is {time_scale:g}")


def _scale_in(file: Path) -> float | None:
    # Where it is not UTF-8, and what else is wrong with it, is told with its place once it is laid over the scenario.
    return time_scale_of(file.read_text(encoding="utf-8", errors="replace"))


def _live(
    scenario: Scenario, seeds: Sequence[int], progress: Progress | None, lived: Lived | None, **options: Any
) -> list[Run]:
    found: list[Run] = []
    for number, seed in enumerate(seeds, start=1):
        told = _part(progress, f"live run {number} of {len(seeds)}")
        found.append(run_live(scenario, seed, progress=told, **options))
        if lived is not None:
            lived(found[-1])
        if found[-1].status == "interrupted":
            raise KeyboardInterrupt
    return found


def _part(progress: Progress | None, what: str) -> Callable[[float, float], None]:
    return lambda done, total: None if progress is None else progress(what, done, total)


def _courses(found: Sequence[Seen]) -> list[Course]:
    return [one.course for one in found]


def _differences(metrics: Iterable[str], twins: Sequence[Seen], lived: Sequence[Seen]) -> list[float]:
    """Return the median, metric by metric, of what live runs have more than the simulated runs of the same seeds."""
    pairs = list(zip(twins, lived, strict=True))
    found = {name: [live.course.metrics[name] - twin.course.metrics[name] for twin, live in pairs] for name in metrics}
    known = {name: [one for one in values if not math.isnan(one)] for name, values in found.items()}
    return [median(values) if values else math.nan for values in known.values()]


def _unsafe(mode: str, found: Sequence[Seen]) -> list[tuple[str, int, str, str]]:
    return [(mode, one.course.seed, name, detail) for one in found for name, detail in one.broken]


def _with_suspects(table: pd.DataFrame, suspects: pd.DataFrame) -> pd.DataFrame:
    named = {
        row["metric"]: f"{row['culprit']} ({row['change']}: {row['share']:.0%})" if row["change"] else row["culprit"]
        for row in _rows(suspects)
    }
    return table.assign(culprit=[named.get(metric, "") for metric in table["metric"]])


# --- in words


def _sentence(table: pd.DataFrame, simulated_runs: int, runs: int, unsafe: Sequence[object]) -> str:
    counts = counted(table)
    unknown = f", {counts['unknown']} cannot be told" if counts["unknown"] else ""
    safety = f"{len(unsafe)} checks of safety are BROKEN" if unsafe else "every check of safety holds in all runs"
    return (
        f"{counts['inside']} of {len(table)} metrics of {runs} live runs are where {simulated_runs} simulated runs "
        f"predict them, {counts['outside']} are not{unknown}; {safety}."
    )


def _notes(table: pd.DataFrame, suspects: pd.DataFrame, unsafe: Sequence[tuple[str, int, str, str]]) -> tuple[str, ...]:
    coverage = float(table["coverage"].max())
    return (
        f"Predicted is the median of the simulated runs with the interval that holds one more run with a probability "
        f"of {coverage:.1%}; live is the median of the live runs with the least and the largest.",
        "A metric is inside where the live median is; `inside` counts the live runs that are. `same_luck` is what a "
        "live run has more than the simulated run of its own seed, which has the same load, luck and faults (median).",
        *(_suspicion(row) for row in _rows(suspects)),
        *(f"BROKEN in the {mode} run of seed {seed}: {name}: {detail}" for mode, seed, name, detail in unsafe[:5]),
    )


def _suspicion(row: Mapping[str, Any]) -> str:
    metric, missing = row["metric"], row["missing"]
    if not row["change"]:
        return f"{metric} is off by {missing:+.4g}, and no assumption that was tried explains it."
    return (
        f"{metric} is off by {missing:+.4g}; {row['culprit']}, {row['change']}, would move it by {row['moves']:+.4g}, "
        f"which is {row['share']:.0%} of that."
    )


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
