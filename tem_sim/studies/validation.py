"""Does the simulator do what theory says a queue with retries does? The real lifecycle, on its store, held to it.

A grid of slots × load × jitter, each with every latency at 0, so that the pipeline is M/M/c with failures and retries.
What is left besides is the scheduler's tick, which the prediction allows for. Under a high load the mean of a run that
one can wait for is off by 10 % by chance alone; so each run is compared with the ideal queue under the same luck, whose
mean is known exactly (a control variate; Law 2015, "Simulation Modeling and Analysis", 11.4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tem_sim.analysis.result import Result
from tem_sim.analysis.retry_theory import attempts_per_event
from tem_sim.analysis.statistics import mean_interval, z_against
from tem_sim.scenario.models import Scenario
from tem_sim.studies.cells import Cell, Row, run_cells
from tem_sim.studies.ideal_queue import attempts_as_logged, furthest_apart_s, ideal_queue
from tem_sim.studies.steady_state import MEASURES, form_of, measured, predicted, warm_up_s, window_of

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tem_sim.frames import Run
    from tem_sim.studies.progress import Progress

SERVERS = (1, 8, 16)
LOADS = (0.5, 0.8, 0.9)
JITTERS = ("none", "full", "decorrelated")
SERVICE_S = 0.1
BASE_S = 0.5
FAILURE = 0.5
MAX_RETRIES = 3
# Ticks of the scheduler per attempt: each then releases a sixth of a retry on average.
TICKS = 3
MAX_Z = 3.0
# The simulator's times are whole microseconds, the ideal's are not.
SAME_S = 1.5e-6
# Where hardly a row ever waits, those that do are few; such points get so many times the events.
RARE, MORE = 0.1, 4
# More than any run lasts.
NEVER_S = 1e6


class Point(NamedTuple):
    """One point of the grid."""

    servers: int
    load: float
    jitter: str

    def __str__(self) -> str:
        return f"c={self.servers} ρ={self.load:g} {self.jitter}"


class Plan(NamedTuple):
    """Where is measured, over how many events after the warm-up and how many seeds, and how near it must come."""

    points: tuple[Point, ...]
    events: int
    seeds: int
    max_error: float


FULL = Plan(tuple(Point(c, load, jitter) for c in SERVERS for load in LOADS for jitter in JITTERS), 1200, 10, 0.02)
# Small enough for CI; what so few events cannot tell to 2 % need only be right to 5 %.
QUICK = Plan((Point(1, 0.8, "decorrelated"), Point(8, 0.8, "none"), Point(16, 0.8, "full")), 150, 4, 0.05)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Validation(Result):
    """The answer, whether it is a good one (`passed`), and its table summed up per measure."""

    summary: pd.DataFrame
    passed: bool


def validate_model(plan: Plan = FULL, *, jobs: int | None = None, progress: Progress | None = None) -> Validation:
    """Run the grid and hold every measure against its form.

    Table: servers, load, jitter, measure, predicted, simulated with its 95 % t interval (low, high), error (relative),
    z, plain and plain_z (without the control variate), variance_reduction, n, ok. `passed` is False when any |z| is 3
    or more, any error too large, a run broke, or an attempt is not where the ideal queue has it.

    Of so many numbers one or the other is off by chance. A point at which one is gets as many replications again and
    is judged over all of them: what is really off is then further off.
    """
    scenarios = {str(point): scenario_at(point, plan.events) for point in plan.points}
    rows = run_cells(_cells(plan, scenarios, 0, plan.points), measure, jobs=jobs, progress=progress)
    first = judged(plan, scenarios, rows)
    doubted = _doubted(plan, first)
    if not doubted:
        return first
    rows += run_cells(_cells(plan, scenarios, plan.seeds, doubted), measure, jobs=jobs, progress=progress)
    return judged(plan, scenarios, rows, first)


def _cells(plan: Plan, scenarios: Mapping[str, Scenario], after: int, points: Sequence[Point]) -> list[Cell]:
    """Return the next runs of some points; no two points share their luck, lest one seed counts against all."""
    return [
        Cell(str(point), scenarios[str(point)], 1000 * (plan.points.index(point) + 1) + after + seed)
        for point in points
        for seed in range(1, plan.seeds + 1)
    ]


def _doubted(plan: Plan, first: Validation) -> list[Point]:
    """Return the points with a number that is off."""
    off = set(first.table.loc[~first.table["ok"], ["servers", "load", "jitter"]].itertuples(index=False, name=None))
    return [point for point in plan.points if tuple(point) in off]


def scenario_at(point: Point, events: int) -> Scenario:
    """Return the scenario of a point, in which the pipeline is M/M/c with retries: one row per task, no latency."""
    arrival_per_s = point.load * point.servers / SERVICE_S / attempts_per_event(FAILURE, MAX_RETRIES)
    form = form_of(_scenario(point, arrival_per_s, until_s=1.0))
    wanted = events if form.attempts.wait_probability >= RARE else MORE * events
    return _scenario(point, arrival_per_s, until_s=warm_up_s(form) + wanted / arrival_per_s)


def _scenario(point: Point, arrival_per_s: float, until_s: float) -> Scenario:
    tick_s = round(SERVICE_S / (TICKS * point.load * point.servers), 6)
    return Scenario.model_validate(
        {
            "scenario": str(point),
            "horizon": 2 * until_s + 1000,
            "arrivals": {"kind": "poisson", "rate": arrival_per_s, "until": until_s},
            "api": {"latency": 0},
            "store": {"latency": 0},
            "broker": {"latency": 0, "sweep_every": NEVER_S},
            "pipeline": {
                "backoff": {"base": BASE_S, "jitter": point.jitter, "max_retries": MAX_RETRIES},
                # A wake-up per row and a row per wake-up: no slot is idle while a row waits.
                "batch_size": 1,
                "settle_every": 1,
                "requeue_limit": "off",
                "lease": "off",
                "sweep_after": "off",
                "outbox": False,
            },
            "workers": {"count": 1, "concurrency": point.servers, "startup": 0},
            "beat": {"retry_every": tick_s, "rescue_every": NEVER_S},
            "handler": {"service_time": {"kind": "exponential", "mean": SERVICE_S}, "failure_rate": FAILURE},
            "users": {"count": 1, "connected": 0, "pubsub_latency": 0},
        }
    )


def measure(run: Run) -> dict[str, float]:
    """Return every measure of a run, the same of the ideal queue (`ideal …`), and how far both are apart in time."""
    scenario, seed = run.scenario, run.seed
    window = window_of(scenario)
    seen = attempts_as_logged(run)
    ideal = measured(ideal_queue(scenario, seed), form_of(scenario, polled=False), window)
    polled = ideal_queue(scenario, seed, tick_s=scenario.beat.retry_every_s)
    return {
        **measured(seen, form_of(scenario), window),
        **{f"ideal {name}": value for name, value in ideal.items()},
        "apart_s": furthest_apart_s(seen, polled),
        "attempts": float(len(seen)),
    }


# --- the verdict


def judged(
    plan: Plan, scenarios: Mapping[str, Scenario], rows: Sequence[Row], first: Validation | None = None
) -> Validation:
    """Return what rows of `measure` come to; `first` is what they came to before doubted points were run again."""
    import pandas as pd

    good, broken = [row for row in rows if not row.error], [row for row in rows if row.error]
    of_points = [
        _compared(point, scenarios[str(point)], [row for row in good if row.variant == str(point)])
        for point in plan.points
    ]
    table = pd.concat(of_points, ignore_index=True)
    table["ok"] = (table["z"].abs() < MAX_Z) & (table["error"].abs() < plan.max_error)
    apart_s = max((row.values["apart_s"] for row in good), default=math.inf)
    passed = bool(table["ok"].all()) and apart_s < SAME_S and not broken
    told = _agreement(plan, table) if passed else _disagreement(table, apart_s, broken)
    return Validation(
        title="The simulator against theory: M/M/c with failures and retries",
        verdict=f"{told} {_apart(apart_s, sum(row.values['attempts'] for row in good))}",
        table=table,
        notes=(*_notes(plan, table), *([] if first is None else [_once_off(first.table)])),
        summary=_summary(table),
        passed=passed,
    )


def _compared(point: Point, scenario: Scenario, rows: Sequence[Row]) -> pd.DataFrame:
    import pandas as pd

    expected, unpolled = predicted(form_of(scenario)), predicted(form_of(scenario, polled=False))
    lines = []
    for name in MEASURES:
        plain = np.array([row.values[name] for row in rows])
        ideal = np.array([row.values[f"ideal {name}"] for row in rows])
        lines.append({**point._asdict(), "measure": name, **_line(plain, ideal, expected[name], unpolled[name])})
    return pd.DataFrame(lines)


def _line(plain: NDArray[np.float64], ideal: NDArray[np.float64], expected: float, unpolled: float) -> dict[str, float]:
    """Return one row's numbers: what was simulated, less the ideal queue's luck, against what is expected.

    Where every run agrees with its ideal exactly the difference has no scatter to judge by, and z is the plain mean's.
    """
    apart = plain - ideal
    estimate, plain_z = mean_interval(unpolled + apart), z_against(plain, expected)
    return {
        "predicted": expected,
        "simulated": estimate.estimate,
        "low": estimate.low,
        "high": estimate.high,
        "error": estimate.estimate / expected - 1,
        "z": z_against(apart, expected - unpolled) if np.any(apart) else plain_z,
        "plain": mean_interval(plain).estimate,
        "plain_z": plain_z,
        "variance_reduction": float(np.var(plain) / np.var(apart)) if np.any(apart) else math.inf,
        "n": estimate.n,
    }


def _agreement(plan: Plan, table: pd.DataFrame) -> str:
    worst, furthest = _largest(table, "error"), _largest(table, "z")
    return (
        f"The simulator agrees with theory: of {len(table)} numbers at {len(plan.points)} points none is off by "
        f"|z| ≥ {MAX_Z:g} ({_by_chance(table)} would be by chance) or by {plan.max_error:.0%}. The largest error is "
        f"{worst['error']:+.2%} ({_place(worst)}), the largest |z| {abs(furthest['z']):.2f} ({_place(furthest)})."
    )


def _disagreement(table: pd.DataFrame, apart_s: float, broken: Sequence[Row]) -> str:
    said, wrong = ["The simulator does NOT agree with theory:"], table[~table["ok"]]
    if broken:
        first = broken[0]
        said.append(f"{len(broken)} runs broke, the first ({first.variant}, seed {first.seed}) with {first.error}.")
    if not apart_s < SAME_S:
        said.append("attempts are not where the ideal queue has them.")
    if len(wrong):
        worst = _largest(wrong, "z")
        said.append(
            f"{len(wrong)} of {len(table)} numbers are off, where {_by_chance(table)} would be by chance; the furthest "
            f"is {_place(worst)}: {worst['simulated']:.4g} for {worst['predicted']:.4g}, z {worst['z']:+.2f}."
        )
    return " ".join(said)


def _apart(apart_s: float, attempts: float) -> str:
    if math.isinf(apart_s):
        return "Attempts were made that the ideal queue does not have, or it has some that were not."
    return (
        f"Of {attempts:,.0f} attempts none was queued, begun or ended more than {apart_s * 1e6:.2g} µs from where an "
        "ideal queue with the same luck and the scheduler's ticks has it."
    )


def _largest(table: pd.DataFrame, column: str) -> pd.Series[Any]:
    return table.iloc[int(table[column].abs().fillna(math.inf).to_numpy().argmax())]


def _place(row: pd.Series[Any]) -> str:
    return f"{row['measure']} at {Point(row['servers'], row['load'], row['jitter'])}"


def _by_chance(table: pd.DataFrame) -> str:
    """Return how many of so many independent, true numbers lie outside |z| < 3."""
    return f"{len(table) * math.erfc(MAX_Z / math.sqrt(2)):.1f}"


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per measure: over how many points, the worst error and z, and how many are wrong."""
    import pandas as pd

    lines = [
        {
            "measure": name,
            "points": len(rows),
            "largest_error": rows["error"].abs().max(),
            "largest_z": rows["z"].abs().max(),
            "largest_plain_z": rows["plain_z"].abs().max(),
            "median_variance_reduction": rows["variance_reduction"].median(),
            "wrong": int((~rows["ok"]).sum()),
        }
        for name, rows in table.groupby("measure", sort=False)
    ]
    return pd.DataFrame(lines)


def _notes(plan: Plan, table: pd.DataFrame) -> tuple[str, ...]:
    return (
        f"At each point {plan.seeds} replications of {plan.events:,} events, {MORE} times as many where all slots are "
        f"busy less than {RARE:.0%} of the time; no two points share a seed.",
        f"Poisson arrivals, exponential service with mean {SERVICE_S:g} s; an attempt fails with probability "
        f"{FAILURE:g}; base {BASE_S:g} s, {MAX_RETRIES} retries. One worker with c slots, one row per task, no latency "
        "anywhere, no lease, no sweep.",
        f"The scheduler ticks {TICKS} times per attempt; what is predicted has half a period added to each delay.",
        "Cut off as warm-up: four relaxation times of the queue or the longest chain of delays, if that is longer. "
        "Measured until arrivals stop. Every run drained, so nothing is censored.",
        "simulated: the mean of the form without ticks, plus the mean difference to an ideal queue with the same luck "
        "(control variate with coefficient 1). plain: the mean without it. z: the t statistic of that difference as a "
        "normal deviate; where every run agrees with its ideal exactly (attempts, EXTINCT), that of the plain mean.",
        f"Of {len(table)} independent numbers {_by_chance(table)} would lie outside |z| < {MAX_Z:g} by chance; a point "
        "with a number that is off is run as often again and judged over all its runs. plain_z is not judged: a mean "
        "over a few rare waits is skewed, and its t statistic too.",
    )


def _once_off(table: pd.DataFrame) -> str:
    off = [f"{_place(row)} (z {row['z']:+.2f}, {row['error']:+.2%})" for _, row in table[~table["ok"]].iterrows()]
    return f"Off at first, and run again: {'; '.join(off)}."
