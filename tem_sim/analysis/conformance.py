"""How far a prediction is off: simulated runs say where a metric of one more run falls, live runs fall there or not.

The metrics were chosen before anything was measured, and are not chosen anew after it. Each exists in a storm, in a run
with killed workers and in one whose broker restarts, so that all three are held to the same. Left out are what only
some of them have (`scheduler_lag_p95_s` takes 20 retries that were due, and killed workers make none), what is the
load's and not the system's (`events`), and second names of what is in (`attempts` is events · amplification).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.backlog import Steps, backlog
from tem_sim.analysis.metrics import METRICS
from tem_sim.analysis.prediction import Predicted, prediction_interval, rank_of
from tem_sim.analysis.statistics import LEVEL

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.analysis.history import Array
    from tem_sim.frames import Run

# What is compared, and why it is.
COMPARED: dict[str, str] = {
    "processed": "does as much get done",
    "amplification": "is the dependency asked as often",
    "retry_peak_per_s": "is the worst second as bad",
    "storm_factor": "do retries bunch as much",
    "drain_s": "is the trouble over as soon",
    "recovery_s": "and for good",
    "latency_p50_s": "what most events wait",
    "latency_p95_s": "what some wait",
    "latency_p99_s": "what the unlucky wait",
    "delivery_p95_s": "when users are told, outbox, pub/sub and gateway included",
    "queue_age_peak_s": "how long a row waits for a worker: wake-ups, lost ones included",
    "duplicate_effects": "what a crash at the wrong moment does twice",
}
TARGET = 9
# Where more of the simulated runs than this have no value, what is left is the luckier part of them.
MAX_MISSING = 0.05
VERDICTS = ("inside", "outside", "unknown")
BIN_S = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What of a run is compared: its metrics, when its attempts began, and its backlog; a few kilobytes, not frames."""

    seed: int
    metrics: dict[str, float]
    attempts_s: Array
    backlog: Steps
    end_s: float


def course_of(run: Run) -> Course:
    """Return what of a run is compared."""
    started_s = run.attempts["started_s"].dropna().to_numpy()
    return Course(run.seed, compared(run), np.sort(started_s), backlog(run), run.end_s)


def compared(run: Run) -> dict[str, float]:
    """Return the compared metrics of a run; NaN where one does not exist."""
    return {name: float(METRICS[name].of(run)) for name in COMPARED}


def conformance(
    simulated: Sequence[Mapping[str, float]], live: Sequence[Mapping[str, float]], level: float = LEVEL
) -> pd.DataFrame:
    """Return a row per compared metric: where one more run was predicted to fall, and where the live ones fell.

    Columns: `metric`, `unit`, `verdict`, `predicted` (the simulated median) with `predicted_low` and `predicted_high`,
    `live` (the median) with `live_low` and `live_high` (least and largest), `inside` of `runs` live runs, `off` (how
    far the live median is outside, in the metric's unit; 0 inside), `coverage` of the interval and `n` simulated runs.

    A metric is inside where the median of the live runs is; it is unknown where a live run has no value, or more than
    5 % of the simulated ones have none. A median scatters less than one run: it misses an interval of 95 % only where
    the prediction is shifted by a good part of its width, and a single run inside proves little.
    """
    import pandas as pd

    rows = [
        (name, METRICS[name].unit, *_row(_column(simulated, name), _column(live, name), level)) for name in COMPARED
    ]
    columns = ["metric", "unit", "verdict", "predicted", "predicted_low", "predicted_high"]
    columns += ["live", "live_low", "live_high", "inside", "runs", "off", "coverage", "n"]
    return pd.DataFrame(rows, columns=columns)


def _column(runs: Sequence[Mapping[str, float]], name: str) -> Array:
    return np.array([run[name] for run in runs], dtype=np.float64)


def _row(simulated: Array, live: Array, level: float) -> tuple[object, ...]:
    found = prediction_interval(simulated, level)
    known = live[~np.isnan(live)]
    middle = float(np.median(known)) if len(known) else math.nan
    ends = (float(known.min()), float(known.max())) if len(known) else (math.nan, math.nan)
    verdict = verdict_of(found, live)
    off = _off(found, middle) if verdict != "unknown" else math.nan
    return (
        *(verdict, found.median, found.low, found.high, middle, *ends),
        *(sum(found.holds(value) for value in known), len(live), off, found.coverage, found.n),
    )


def verdict_of(predicted: Predicted, live: Array) -> str:
    """Say whether the median of the live values is where it was predicted: inside, outside, or unknown."""
    few = predicted.missing > MAX_MISSING * (predicted.n + predicted.missing)
    if predicted.n < 2 or few or not len(live) or bool(np.isnan(live).any()):
        return "unknown"
    return "inside" if predicted.holds(float(np.median(live))) else "outside"


def _off(predicted: Predicted, value: float) -> float:
    """Return how far a value is above the interval, or, negative, below it."""
    return max(0.0, value - predicted.high) + min(0.0, value - predicted.low)


def counted(table: pd.DataFrame) -> dict[str, int]:
    """Return how many metrics have each verdict."""
    return {verdict: int((table["verdict"] == verdict).sum()) for verdict in VERDICTS}


# --- over time


def overlay(simulated: Sequence[Course], live: Sequence[Course], bin_s: float = BIN_S) -> pd.DataFrame:
    """Return both timelines, long: `what` ("attempts_per_s" or "backlog"), `t_s`, simulated `low`, `median` and `high`.

    A column `live-SEED` for each live run follows. A bin of attempts is [t_s, t_s + bin_s); the backlog is what holds
    at t_s. The bounds are those of `prediction_interval` at each time by itself: of 100 times some 5 are outside also
    where the model is right, and a run that is shifted is outside wherever it is steep. A run that has ended goes on
    with what it ended with. Runs until the last live one ends, or the last simulated one where there is none.
    """
    import pandas as pd

    runs = live or simulated
    if not runs:
        raise ValueError("overlay: must have at least one run")
    grid = np.round(np.arange(math.floor(max(run.end_s for run in runs) / bin_s) + 1) * bin_s, 6)
    parts = []
    for what, of in (("attempts_per_s", _rates), ("backlog", _levels)):
        made = {"what": what, "t_s": grid, **_band(np.array([of(run, grid, bin_s) for run in simulated]), len(grid))}
        lines = {f"live-{run.seed}": of(run, grid, bin_s) for run in live}
        parts.append(pd.DataFrame({**made, **lines}))
    return pd.concat(parts, ignore_index=True)


def _band(values: Array, length: int) -> dict[str, Array]:
    if not len(values):
        return {name: np.full(length, np.nan) for name in ("low", "median", "high")}
    ordered, rank = np.sort(values, axis=0), rank_of(len(values))
    return {"low": ordered[rank - 1], "median": np.median(ordered, axis=0), "high": ordered[len(values) - rank]}


def _rates(run: Course, grid: Array, bin_s: float) -> Array:
    edges_s = np.append(grid, grid[-1] + bin_s)
    places = np.searchsorted(run.attempts_s, edges_s, side="left")
    return np.asarray(np.diff(places) / bin_s)


def _levels(run: Course, grid: Array, bin_s: float) -> Array:
    place = np.searchsorted(run.backlog.at_s, grid, side="right")
    return np.asarray(np.append(0, run.backlog.level)[place], dtype=np.float64)
