"""A scenario in another unit of time: every duration times k, every rate divided by it, and the same run otherwise.

What is a duration is told by its name, `_s`, and a rate by `_per_s`; so a new setting is scaled without being listed
here. What is not scaled is: the latencies of the infrastructure, which are what they are however fast one's outages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import ValidationError

from tem_sim.scenario.base import Model
from tem_sim.scenario.broker import Broker
from tem_sim.scenario.models import Api, Scenario, Workers
from tem_sim.scenario.policy import ImportedBackoff, PresetBackoff
from tem_sim.scenario.store import NodeLatencies, Store
from tem_sim.scenario.thresholds import KINDS, Limit, Threshold, Thresholds, in_seconds
from tem_sim.scenario.users import Users

How = Literal["times", "over", "kept"]

# The latencies of the infrastructure, by the section that has them.
KEPT: Mapping[type[Model], tuple[str, ...]] = {
    Api: ("latency_s",),
    Broker: ("latency_s", "latency_each_s", "child_lost_after_s", "publish_gives_up_after_s", "reconnect_step_s"),
    NodeLatencies: ("statement_latency_s", "commit_latency_s", "connect_latency_s"),
    Store: ("latency_s", "statement_latency_s", "commit_latency_s", "connect_latency_s"),
    Users: ("latency_s", "pubsub_latency_s"),
    Workers: ("startup_s",),
}


class TimeScaleError(ValueError):
    """A scenario that cannot be scaled, or a factor that scales nothing."""


def scaled(scenario: Scenario, k: float) -> Scenario:
    """Return the scenario with its durations times k and its rates over k; TimeScaleError where that cannot be.

    The same luck then makes the same run, its times multiplied by k, but for the infrastructure's latencies (`KEPT`).
    Thresholds are scaled by the unit of their metric. A matrix is left out unless k is 1: it is for many runs, and this
    is one. What takes time in code of the user's own (`handler.call`) is beyond reach, and refused.
    """
    if not math.isfinite(k) or k <= 0:
        raise TimeScaleError(f"time scale: must be a finite number > 0, got {k!r}")
    if k == 1:
        return scenario
    if scenario.handler.call is not None:
        raise TimeScaleError(
            f"handler.call: {scenario.handler.call} takes its time in code of its own, which a time scale cannot "
            "reach; use handler.service_time, or a time scale of 1"
        )
    made = _model(scenario.model_copy(update={"matrix": None}), k)
    try:
        return Scenario.model_validate(made.resolved())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        # What follows is how to write the value, which nobody wrote.
        rule = first["msg"].partition(";")[0]
        raise TimeScaleError(f"time scale: {k:g} is too much for this scenario: {where} {rule}") from error


def how(model: type[Model], name: str) -> How:
    """Say what a time scale does to a field and, where it is `kept`, to all that is in it."""
    if name in KEPT.get(model, ()):
        return "kept"
    if model in (PresetBackoff, ImportedBackoff) and name == "scale":
        return "times"
    if name.endswith("_per_s"):
        return "over"
    return "times" if name.endswith("_s") else "kept"


def _model(model: Model, k: float) -> Model:
    if isinstance(model, Thresholds):
        return _thresholds(model, k)
    fields = type(model).model_fields
    return model.model_copy(update={name: _field(type(model), name, getattr(model, name), k) for name in fields})


def _field(model: type[Model], name: str, value: object, k: float) -> object:
    if name in KEPT.get(model, ()):
        return value
    factor = {"times": k, "over": 1 / k, "kept": None}[how(model, name)]
    return _value(value, k, factor)


def _value(value: object, k: float, factor: float | None) -> object:
    """Scale the models in a value, and its plain numbers where the field is a time or a rate."""
    if isinstance(value, Model):
        return _model(value, k)
    if isinstance(value, tuple):
        return tuple(_value(item, k, factor) for item in value)
    if isinstance(value, dict):
        return {key: _value(item, k, factor) for key, item in value.items()}
    if factor is None or isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return value * factor


def _thresholds(thresholds: Thresholds, k: float) -> Thresholds:
    limits = {name: value for name, value in thresholds if isinstance(value, tuple)}
    return thresholds.model_copy(
        update={name: tuple(_limit(name, limit, k) for limit in listed) for name, listed in limits.items()}
    )


def _limit(metric: str, limit: Limit, k: float) -> Limit:
    parsed = Threshold.parse(metric, limit.threshold)
    bound = parsed.bound * k ** _power(parsed)
    made = Threshold(metric, parsed.aggregate, parsed.comparison, bound, parsed.percent)
    return limit.model_copy(update={"threshold": str(made)})


def _power(threshold: Threshold) -> int:
    """Return the power of time in the unit of what is bounded: 1 for seconds, -1 for so many a second."""
    metric = threshold.metric
    power = -1 if metric.endswith("_per_s") else int(in_seconds(metric))
    # The rate of a total is per second of the run.
    return power - 1 if threshold.aggregate == "rate" and KINDS[metric].name == "total" else power
