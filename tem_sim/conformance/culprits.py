"""Which assumption of the simulator is likely wrong where live runs fall outside: one at a time is changed, and seen.

Each change is simulated under the same seeds, so that what moves a metric is the change and not luck. The one that
brings the prediction nearest to the live runs is named, with how much of the gap it closes; one that would take other
metrics away from theirs is not believed. It is a suspicion: two wrong assumptions together, or one that is not listed
here, look like something else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tem_sim.conformance.prediction import predict
from tem_sim.scenario.loader import changed_by

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.scenario.models import Scenario
    from tem_sim.studies.progress import Progress

# A change that closes less of the gap than this is no culprit.
LEAST_SHARE = 0.2
NOBODY = "none of those tried"

Fragment = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Assumption:
    """Something that the simulator takes for granted, and how a scenario says otherwise; None where it cannot."""

    name: str
    change: str
    otherwise: Callable[[Scenario], Fragment | None]


def _times(section: str, key: str, factor: float) -> Callable[[Scenario], Fragment | None]:
    """Return the change that multiplies a setting, a duration or a distribution."""

    def otherwise(scenario: Scenario) -> Fragment | None:
        now = scenario.resolved()[section]
        value = now.get(key) if isinstance(now, Mapping) else None
        made = _scaled(value, factor)
        return None if made is None or made == value else {section: {key: made}}

    return otherwise


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value * factor
    if isinstance(value, list):
        return [one * factor for one in value]
    if isinstance(value, Mapping):
        return {key: one if key in ("kind", "cv", "alpha") else _scaled(one, factor) for key, one in value.items()}
    return None


def _set(section: str, key: str, value: Any) -> Callable[[Scenario], Fragment | None]:
    def otherwise(scenario: Scenario) -> Fragment | None:
        now = getattr(scenario.broker.behaviour, key, None) if section == "broker" else None
        return None if now == value else {section: {key: value}}

    return otherwise


def _longer_faults(factor: float) -> Callable[[Scenario], Fragment | None]:
    """Return the change that lets what is away be away for longer than it was meant to."""

    def otherwise(scenario: Scenario) -> Fragment | None:
        faults = [fault.resolved() for fault in scenario.faults]
        longer = [_longer(fault, factor) for fault in faults]
        return None if longer == faults else {"faults": longer}

    return otherwise


def _longer(fault: Mapping[str, Any], factor: float) -> Fragment:
    made = dict(fault)
    for key in ("for", "restart_after"):
        if isinstance(made.get(key), (int, float)):
            made[key] = made[key] * factor
    return made


def _all_periods(factor: float) -> Callable[[Scenario], Fragment | None]:
    def otherwise(scenario: Scenario) -> Fragment | None:
        beat = scenario.beat
        names = ("retry_every", "rescue_every", "relay_every")
        return {"beat": {name: getattr(beat, f"{name}_s") * factor for name in names}}

    return otherwise


ASSUMPTIONS: tuple[Assumption, ...] = (
    Assumption("service time", "half as long again", _times("handler", "service_time", 1.5)),
    Assumption("service time", "a third shorter", _times("handler", "service_time", 2 / 3)),
    Assumption("time of a refused call", "three times as long", _times("handler", "fail_time", 3.0)),
    Assumption("store latency", "4 times as long", _times("store", "latency", 4.0)),
    Assumption("store latency", "a quarter", _times("store", "latency", 0.25)),
    Assumption("broker latency", "10 times as long", _times("broker", "latency", 10.0)),
    Assumption("broker latency", "none", _times("broker", "latency", 0.0)),
    Assumption("wake-ups one by one", "10 times as long each", _times("broker", "latency_each", 10.0)),
    Assumption("worker start-up", "twice as long", _times("workers", "startup", 2.0)),
    Assumption("worker start-up", "half as long", _times("workers", "startup", 0.5)),
    Assumption("slots of a worker", "half as many", _times("workers", "concurrency", 0.5)),
    Assumption("scheduler", "ticks half as often", _all_periods(2.0)),
    Assumption("API latency", "10 times as long", _times("api", "latency", 10.0)),
    Assumption("notification latency", "10 times as long", _times("users", "latency", 10.0)),
    Assumption("notification latency", "none", _times("users", "latency", 0.0)),
    Assumption("connection loss", "workers reconnect", _set("broker", "on_connection_loss", "reconnect")),
    Assumption("connection loss", "workers exit", _set("broker", "on_connection_loss", "exit")),
    Assumption("connection loss", "workers go deaf", _set("broker", "on_connection_loss", "deaf")),
    Assumption("wake-ups of a dying worker", "all lost", _set("broker", "pop_loss", 1.0)),
    Assumption("wake-ups of a dying worker", "none lost", _set("broker", "pop_loss", 0.0)),
    Assumption("length of the faults", "a quarter longer", _longer_faults(1.25)),
)


def culprits(
    scenario: Scenario,
    table: pd.DataFrame,
    seeds: Sequence[int],
    *,
    assumptions: Sequence[Assumption] = ASSUMPTIONS,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return for each metric that is outside in the table of `conformance` which change is likely what it takes.

    It is the change that closes most of the gap, less what it does to metrics that are well as they are: how far it
    takes the worst of them away from its live runs, as a share of its interval. Columns: `metric`, `missing` (live
    median − simulated median), `culprit`, `change`, `moves` (the median over the seeds of what the change adds to the
    metric) and `share` of what is missing that it closes; `none of those tried` where none closes a fifth.
    """
    import pandas as pd

    columns = ["metric", "missing", "culprit", "change", "moves", "share"]
    outside = table.loc[table["verdict"] == "outside", "metric"].tolist()
    if not outside:
        return pd.DataFrame(columns=columns)
    tried = [(one, changed) for one in assumptions if (changed := _changed(scenario, one)) is not None]
    total, done = (len(tried) + 1) * len(seeds), 0

    def values(changed: Scenario) -> pd.DataFrame:
        nonlocal done
        rows = [one.course.metrics for one in predict(changed, seeds, jobs=jobs, progress=_quiet)]
        done += len(seeds)
        if progress is not None:
            progress(done, total)
        return pd.DataFrame(rows)

    base = values(scenario)
    moves = [(one, (values(changed) - base).median()) for one, changed in tried]
    by_metric = table.set_index("metric").assign(missing=lambda rows: rows["live"] - base.median())
    return pd.DataFrame([_named(name, by_metric, moves) for name in outside], columns=columns)


def _changed(scenario: Scenario, assumption: Assumption) -> Scenario | None:
    fragment = assumption.otherwise(scenario)
    if fragment is None:
        return None
    try:
        return changed_by(scenario, fragment)
    except ValueError:
        # No half slot, and no scenario without any: it is no assumption of this scenario.
        return None


def _named(
    metric: str, table: pd.DataFrame, moves: Sequence[tuple[Assumption, pd.Series[float]]]
) -> tuple[object, ...]:
    missing = float(table["missing"][metric])
    scored = [(_share(missing, moved[metric]), one, moved) for one, moved in moves if not math.isnan(moved[metric])]
    able = [found for found in scored if found[0] >= LEAST_SHARE]
    if not able:
        return metric, missing, NOBODY, "", math.nan, math.nan
    share, assumption, moved = max(able, key=lambda found: found[0] - _harm(table, found[2]))
    return metric, missing, assumption.name, assumption.change, float(moved[metric]), share


def _share(missing: float, moves: float) -> float:
    """Return how much of the gap a move closes: 1 for all of it, less again for too much, negative the wrong way."""
    return 1 - abs(missing - moves) / abs(missing) if missing and not math.isnan(missing) else 0.0


def _harm(table: pd.DataFrame, moved: pd.Series[float]) -> float:
    """Return how far a change takes what is inside from its live runs: the worst of it, in widths of its interval."""
    well = table[table["verdict"] == "inside"]
    gap = well["missing"].abs()
    further = ((well["missing"] - moved[well.index]).abs() - gap).clip(lower=0).fillna(0.0).to_numpy()
    width = (well["predicted_high"] - well["predicted_low"]).to_numpy()
    # Where nothing ever varies, anything at all is a whole width.
    shares = np.divide(further, width, out=(further > 0).astype(float), where=width > 0)
    return float(np.max(shares, initial=0.0))


def _quiet(done: int, total: int) -> None:
    pass
