"""Thresholds in k6's grammar, as data: what is asked of which metric, `max<3`, `p(95)<1m30s`, `count==0`.

The section's fields are the one list of what a run can be held to. Each says what kind of metric it is, and the kind
which aggregates make sense of it. What the numbers are is no business of a scenario: those who look at runs know.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from tem_sim.scenario.base import Broken, Model, broken_rules
from tem_sim.scenario.errors import did_you_mean
from tem_sim.scenario.quantities import SHORTHANDS, AlsoTakes, OrOne, Some, Switch, refused, signed_duration_s

Aggregate = Literal["avg", "min", "max", "med", "p", "count", "rate", "value"]
Comparison = Literal["<", "<=", ">", ">=", "==", "!="]

COMPARE: dict[Comparison, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_PARTS = re.compile(r"\s*([^<>=!]*?)\s*([<>=!]+)\s*(.*?)\s*", re.DOTALL)
_PERCENTILE = re.compile(r"p\((.*)\)")
# What other tools call them.
_OTHER_NAMES = {
    "mean": "avg",
    "average": "avg",
    "median": "med",
    "sum": "count",
    "total": "count",
    "=": "==",
    "===": "==",
    "=<": "<=",
    "=>": ">=",
    "<>": "!=",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """What a metric is, and so what can be asked of it; `parts` are the metrics that a quotient divides."""

    name: Literal["total", "quotient", "number", "distribution"]
    aggregates: tuple[Aggregate, ...]
    parts: tuple[str, str] | None = None


_SPREAD: tuple[Aggregate, ...] = ("avg", "min", "max", "med", "p")
TOTAL = Kind("total", ("value", "count", "rate", *_SPREAD))
NUMBER = Kind("number", ("value", *_SPREAD))
DISTRIBUTION = Kind("distribution", _SPREAD)


def quotient(over: str, under: str) -> Kind:
    """Return the kind of a metric that is one total over another."""
    return Kind("quotient", ("value", "rate", *_SPREAD), (over, under))


class ThresholdError(ValueError):
    """An expression that is no threshold of its metric."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True, slots=True)
class Threshold:
    """One expression: an aggregate of a metric, held to a bound. `percent` is the N of p(N)."""

    metric: str
    aggregate: Aggregate
    comparison: Comparison
    bound: float
    percent: float | None = None
    strict: bool = True

    @classmethod
    def parse(cls, metric: str, text: str, *, strict: bool = True) -> Threshold:
        """Return what `text` says of a metric; ThresholdError for anything else. Blanks may part the parts."""
        match = _PARTS.fullmatch(text)
        if match is None or not match[1]:
            raise ThresholdError("must be an aggregate, a comparison and a bound; write for example max<3")
        aggregate, percent = _aggregate(metric, match[1])
        comparison = _one_of(match[2], get_args(Comparison), "compare with")
        bound = _bound(metric, aggregate, match[3])
        return cls(metric, aggregate, comparison, bound, percent, strict)

    @property
    def asked(self) -> str:
        """The aggregate as it is written: `max`, `p(95)`."""
        return f"p({_written(self.percent)})" if self.percent is not None else self.aggregate

    def __str__(self) -> str:
        """The expression as it parses again, without blanks and with the bound as a plain number."""
        return f"{self.asked}{self.comparison}{_written(self.bound)}"

    def holds(self, value: float) -> bool:
        """Tell whether a value of the aggregate keeps to the bound; NaN keeps to none."""
        return not math.isnan(value) and COMPARE[self.comparison](value, self.bound)


def in_seconds(metric: str) -> bool:
    """Tell whether a metric is a time: names end in their unit."""
    return metric.endswith("_s") and not metric.endswith("_per_s")


def _aggregate(metric: str, text: str) -> tuple[Aggregate, float | None]:
    known = KINDS[metric].aggregates
    names = [f"{name}(N)" if name == "p" else name for name in known]
    percentile = _PERCENTILE.fullmatch(text)
    if percentile is not None:
        return "p", _percent(percentile[1])
    if re.fullmatch(r"p[0-9.]+", text):
        raise ThresholdError(f"must begin with {', '.join(names)}", f"did you mean p({text[1:]})?")
    if text not in get_args(Aggregate) or text == "p":
        raise ThresholdError(f"must begin with {', '.join(names)}", _meant(text, (*names, "p")))
    found: Aggregate = next(name for name in get_args(Aggregate) if name == text)
    if found not in known:
        raise ThresholdError(f"{metric} is a {KINDS[metric].name} and has no {found}, but {', '.join(names)}")
    return found, None


def _percent(text: str) -> float:
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not 0 < number < 100:
        raise ThresholdError("the N of p(N) must be between 0 and 100; write p(95), or min and max for the ends")
    return number


def _one_of(text: str, known: tuple[Comparison, ...], what: str) -> Comparison:
    for name in known:
        if name == text:
            return name
    raise ThresholdError(f"must {what} {' '.join(known)}", _meant(text, known))


def _meant(text: str, known: tuple[str, ...]) -> str:
    other = _OTHER_NAMES.get(text)
    return f"did you mean {other}?" if other in known else did_you_mean(text, known)


def _bound(metric: str, aggregate: Aggregate, text: str) -> float:
    """Return the bound as a plain number; a duration where the aggregate is a time."""
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    if not in_seconds(metric) or aggregate == "rate":
        raise ThresholdError("the bound must be a finite number; write for example max<3")
    try:
        return signed_duration_s(text)
    except ValueError as error:
        raise ThresholdError(f"the bound {error}") from None


def _written(number: float | None) -> str:
    """Write a number so that it reads back the same."""
    assert number is not None
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


# --- the section of a scenario


class Limit(Model):
    """One threshold in the long form."""

    threshold: Annotated[str, WithJsonSchema(SHORTHANDS["threshold"])] = Field(
        description="The expression, such as p(95)<90s."
    )
    strict: Switch | None = Field(
        None, description="Whether breaking it fails the run, or is only warned of; as for the section when left out."
    )


def _spelled_out(value: object) -> object:
    if not isinstance(value, (str, dict, Limit)):
        raise refused("must be a threshold", "write for example max<3")
    return {"threshold": value} if isinstance(value, str) else value


def _listed(value: object) -> object:
    return value if isinstance(value, (list, tuple)) else [value]


_Limits = Annotated[
    Some[Annotated[Limit, BeforeValidator(_spelled_out), AlsoTakes("threshold")]], BeforeValidator(_listed), OrOne()
]
_Total = Annotated[
    _Limits | None, TOTAL, Field(description="A total: value, count, rate; or avg, min, max, med, p(N) over seeds.")
]
_Number = Annotated[
    _Limits | None, NUMBER, Field(description="One number per run: value; or avg, min, max, med, p(N) over seeds.")
]
_Quotient = Annotated[
    _Limits | None, Field(description="A quotient: value, rate; or avg, min, max, med, p(N) over seeds.")
]
_Distribution = Annotated[
    _Limits | None, DISTRIBUTION, Field(description="Many values per run: avg, min, max, med, p(N) over all of them.")
]


class Thresholds(Model):
    """What a run is held to, by metric: `amplification: max<3`, or a list of such expressions."""

    strict: Switch = Field(True, description="Whether a broken threshold fails the run, or is only warned of.")
    # Metrics: one number per run.
    events: _Total = None
    attempts: _Total = None
    retries: _Total = None
    processed: _Total = None
    extinct: _Total = None
    in_flight: _Total = None
    amplification: Annotated[_Quotient, quotient("attempts", "events")] = None
    retry_peak_per_s: _Number = None
    storm_factor: _Number = None
    index_of_dispersion: _Number = None
    drain_s: _Number = None
    recovery_s: _Number = None
    latency_p50_s: _Number = None
    latency_p95_s: _Number = None
    latency_p99_s: _Number = None
    latency_p999_s: _Number = None
    delivery_p95_s: _Number = None
    extinct_rate: Annotated[_Quotient, quotient("extinct", "events")] = None
    lost_events: _Total = None
    rejected_submissions: _Total = None
    queue_age_peak_s: _Number = None
    scheduler_lag_p95_s: _Number = None
    full_tick_share: _Number = None
    statements_per_event: _Number = None
    stuck_rows: _Total = None
    duplicate_effects: _Total = None
    lost_notifications: _Total = None
    duplicate_notifications: _Total = None
    wasted_attempts: _Total = None
    wasted_worker_s: _Total = None
    # Distributions: one number per event, retry or second.
    latency_s: _Distribution = None
    delivery_s: _Distribution = None
    attempts_per_event: _Distribution = None
    retry_delay_s: _Distribution = None
    retries_per_s: _Distribution = None

    @field_validator("*")
    @classmethod
    def _parse(cls, value: object, info: ValidationInfo) -> object:
        """Refuse expressions that say nothing of their metric; write the others in one way."""
        metric = info.field_name
        if metric is None or not isinstance(value, tuple):
            return value
        broken: list[Broken] = []
        limits: list[Limit] = []
        for index, limit in enumerate(value):
            try:
                text = str(Threshold.parse(metric, limit.threshold))
                limits.append(limit.model_copy(update={"threshold": text}))
            except ThresholdError as error:
                broken.append(Broken((index, "threshold"), error.message, limit.threshold, error.hint))
        if broken:
            raise broken_rules("thresholds", broken)
        return tuple(limits)

    def listed(self) -> tuple[Threshold, ...]:
        """Return every threshold, in the order of the fields."""
        return tuple(
            Threshold.parse(metric, limit.threshold, strict=self.strict if limit.strict is None else limit.strict)
            for metric in KINDS
            for limit in getattr(self, metric) or ()
        )


KINDS: dict[str, Kind] = {
    name: kind for name, field in Thresholds.model_fields.items() for kind in field.metadata if isinstance(kind, Kind)
}
