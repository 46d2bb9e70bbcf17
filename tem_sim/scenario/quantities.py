"""Durations, rates, fractions and counts as people write them in YAML, and the one sentence said when they do not.

Every parser takes what YAML gave and returns a plain number in SI units, or raises `PydanticCustomError` (a
`ValueError`) that names the rule and the remedy; the reader of the file adds the value and its place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from tem_sim.foreign.imports import IMPORT_PATTERN
from tem_sim.pipeline.bounds import MAX_DELAY_S

T = TypeVar("T")

MAX_DURATION_S = MAX_DELAY_S
_PER_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

# durationpy also takes months, years and characters between the parts; a scenario does not.
DURATION_PATTERN = r"^[+]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(us|µs|μs|ms|s|m|h|d))+$"
SIGNED_PATTERN = DURATION_PATTERN.replace("[+]", "[+-]")
RATE_PATTERN = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*/\s*(s|m|min|h)$"
# A number that is not 0 has a digit that is not 0 before its exponent.
POSITIVE_DURATION_PATTERN = DURATION_PATTERN.replace("^", "^(?=.*[1-9])", 1)
POSITIVE_RATE_PATTERN = RATE_PATTERN.replace("^", "^(?=[0.]*[1-9])", 1)
PPM_PATTERN = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*ppm$"
_DURATION = re.compile(SIGNED_PATTERN)
_RATE = re.compile(RATE_PATTERN)
_PPM = re.compile(PPM_PATTERN)
# Which aggregates, and whether a duration, depends on the metric; the schema of an editor need not know.
THRESHOLD_PATTERN = (
    r"^\s*(avg|min|max|med|count|rate|value|p\([0-9.]+([eE][+-]?[0-9]+)?\))\s*(<=?|>=?|==|!=)\s*"
    r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+|us|µs|μs|ms|s|m|h|d)?[0-9.a-zµμ]*\s*$"
)

_BARE_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
_DURATION_REMEDY = "write a duration such as 250ms, 10s or 1h30m; a bare number is seconds"
_RATE_REMEDY = "write a rate such as 20/s, 5/m or 0.1/s; a bare number is per second"


def refused(rule: str, remedy: str) -> PydanticCustomError:
    """Return the error for a value that breaks a rule, with what to write instead."""
    return PydanticCustomError("quantity", "{rule}; {remedy}", {"rule": rule, "remedy": remedy})


def signed_duration_s(value: object) -> float:
    """Return a duration in seconds, of either sign, at most ten years, to the microsecond when written with a unit."""
    seconds = _written_duration_s(value) if isinstance(value, str) else _number(value)
    if seconds is None:
        raise refused("must be a duration", _DURATION_REMEDY)
    if not math.isfinite(seconds):
        raise refused("must be a finite duration", _DURATION_REMEDY)
    if abs(seconds) > MAX_DURATION_S:
        raise refused("must be at most ten years", _DURATION_REMEDY)
    return seconds


def duration_s(value: object) -> float:
    """Return a duration in seconds; must not be negative."""
    seconds = signed_duration_s(value)
    if seconds < 0:
        raise refused("must be >= 0", _DURATION_REMEDY)
    return seconds


def positive_duration_s(value: object) -> float:
    """Return a duration in seconds; must be above 0."""
    seconds = signed_duration_s(value)
    if seconds <= 0:
        raise refused("must be > 0", _DURATION_REMEDY)
    return seconds


def argument(parse: Callable[[object], float], name: str, value: object) -> float:
    """Parse a quantity that was given to a function rather than in a file; ValueError with its name and value."""
    try:
        # A number from a command line is text, and a number all the same.
        return parse(float(value) if isinstance(value, str) and _BARE_NUMBER.fullmatch(value) else value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}, got {value!r}") from None


def rate_per_s(value: object) -> float:
    """Return a rate per second; must be finite and not negative."""
    if isinstance(value, str):
        match = _RATE.fullmatch(value)
        per_s = float(value.partition("/")[0]) / _PER_S[match.group(4)] if match else None
    else:
        per_s = _number(value)
    if per_s is None:
        raise refused("must be a rate", _RATE_REMEDY)
    if not math.isfinite(per_s) or per_s < 0:
        raise refused("must be finite and >= 0", _RATE_REMEDY)
    return per_s


def positive_rate_per_s(value: object) -> float:
    """Return a rate per second; must be above 0."""
    per_s = rate_per_s(value)
    if per_s <= 0:
        raise refused("must be > 0", _RATE_REMEDY)
    return per_s


def fraction(value: object) -> float:
    """Return a probability or share between 0 and 1."""
    number = _number(value)
    if number is None or not 0 <= number <= 1:
        raise refused("must be between 0 and 1", "write a fraction such as 0.25")
    return number


def switch(value: object) -> bool:
    """Return a setting that is on or off; in YAML 1.2 yes, no, on and off are text."""
    if not isinstance(value, bool):
        raise refused("must be true or false", "write true to switch it on, false to switch it off")
    return value


def drift(value: object) -> float:
    """Return a clock's drift in seconds per second, within ±0.5; `50ppm` is 0.00005."""
    if isinstance(value, str) and _PPM.fullmatch(value):
        number: float | None = float(value.removesuffix("ppm")) * 1e-6
    else:
        number = _number(value)
    if number is None or not abs(number) <= 0.5:
        raise refused("must be between -0.5 and 0.5 s per s", "write a drift such as 50ppm or 0.001")
    return number


def number_above(least: float) -> Callable[[object], float]:
    """Return a parser of finite numbers strictly above `least`."""

    def parse(value: object) -> float:
        number = _number(value)
        if number is None or not math.isfinite(number) or number <= least:
            raise refused(f"must be a finite number > {least:g}", f"write one such as {least + 1:g}")
        return number

    return parse


def number_between(least: float, most: float) -> Callable[[object], float]:
    """Return a parser of numbers from `least` to `most`."""

    def parse(value: object) -> float:
        number = _number(value)
        if number is None or not least <= number <= most:
            raise refused(f"must be a number from {least:g} to {most:g}", f"write one such as {max(least, 1):g}")
        return number

    return parse


def number_of_at_least(least: float) -> Callable[[object], float]:
    """Return a parser of finite numbers of at least `least`."""

    def parse(value: object) -> float:
        number = _number(value)
        if number is None or not math.isfinite(number) or number < least:
            raise refused(f"must be a finite number >= {least:g}", f"write one such as {least + 1:g}")
        return number

    return parse


def whole(least: int, most: int = 2**63 - 1) -> Callable[[object], int]:
    """Return a parser of whole numbers between `least` and `most`; 1e4 counts as one."""
    rule = (
        f"must be a whole number >= {least}" if most == 2**63 - 1 else f"must be a whole number from {least} to {most}"
    )

    def parse(value: object) -> int:
        number = value if isinstance(value, int) else _number(value)
        if number is None or isinstance(value, bool) or not least <= number <= most or number != int(number):
            raise refused(rule, f"write one such as {max(least, min(4, most))}")
        return int(number)

    return parse


def _written_duration_s(text: str) -> float | None:
    import durationpy

    if not _DURATION.fullmatch(text):
        return None
    try:
        return float(durationpy.from_str(text).total_seconds())
    except durationpy.DurationError:
        return math.inf


def _number(value: object) -> float | None:
    """Return what YAML read as a number; None for anything else, `true` included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


@dataclass(frozen=True, slots=True)
class AlsoTakes:
    """Adds a shorthand's schema to a field's own, for what a validator spells out before the field sees it."""

    shorthand: str

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(core), SHORTHANDS[self.shorthand]]}


@dataclass(frozen=True, slots=True)
class OrOne:
    """Adds an item's schema to a list's, for a list of one that need not be written as one."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        return {"anyOf": [schema["items"], schema]}


@dataclass(frozen=True, slots=True)
class _Off:
    """Lets a nullable setting be written `off` in YAML, where an empty value is an error."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        values = [part for part in schema.get("anyOf", [schema]) if part != {"type": "null"}]
        return {"anyOf": [*values, {"const": "off"}]}


def _off(value: object) -> object:
    if value is False:
        raise refused("must not be false", "write off to switch it off")
    return None if value == "off" else value


DURATION_SCHEMA: JsonSchemaValue = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": DURATION_PATTERN}]
}
POSITIVE_DURATION_SCHEMA: JsonSchemaValue = {
    "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": POSITIVE_DURATION_PATTERN}]
}
SHORTHANDS: dict[str, JsonSchemaValue] = {
    "duration": DURATION_SCHEMA,
    "positive_duration": POSITIVE_DURATION_SCHEMA,
    "count": {"type": "integer", "minimum": 0},
    "threshold": {"type": "string", "pattern": THRESHOLD_PATTERN},
    "import_path": {"type": "string", "pattern": IMPORT_PATTERN},
    "jitter": {"enum": ["none", "full", "equal", "proportional", "decorrelated"]},
}


_SIGNED_SCHEMA: JsonSchemaValue = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": SIGNED_PATTERN}]}
_RATE_SCHEMA: JsonSchemaValue = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": RATE_PATTERN}]
}
_POSITIVE_RATE_SCHEMA: JsonSchemaValue = {
    "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": POSITIVE_RATE_PATTERN}]
}
_DRIFT_SCHEMA: JsonSchemaValue = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": PPM_PATTERN}]}

Duration = Annotated[float, BeforeValidator(duration_s), WithJsonSchema(DURATION_SCHEMA)]
PositiveDuration = Annotated[float, BeforeValidator(positive_duration_s), WithJsonSchema(POSITIVE_DURATION_SCHEMA)]
SignedDuration = Annotated[float, BeforeValidator(signed_duration_s), WithJsonSchema(_SIGNED_SCHEMA)]
Rate = Annotated[float, BeforeValidator(rate_per_s), WithJsonSchema(_RATE_SCHEMA)]
PositiveRate = Annotated[float, BeforeValidator(positive_rate_per_s), WithJsonSchema(_POSITIVE_RATE_SCHEMA)]
Fraction = Annotated[float, BeforeValidator(fraction), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})]
Drift = Annotated[float, BeforeValidator(drift), WithJsonSchema(_DRIFT_SCHEMA)]
Weight = Annotated[float, BeforeValidator(number_above(0)), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
Factor = Annotated[float, BeforeValidator(number_of_at_least(1)), WithJsonSchema({"type": "number", "minimum": 1})]
Power = Annotated[float, BeforeValidator(number_of_at_least(0)), WithJsonSchema({"type": "number", "minimum": 0})]
# A coefficient of variation, and the index of a power law's tail; past these bounds floats run out.
Spread = Annotated[
    float,
    BeforeValidator(number_between(0.001, 1000)),
    WithJsonSchema({"type": "number", "minimum": 0.001, "maximum": 1000}),
]
Tail = Annotated[
    float,
    BeforeValidator(number_between(0.1, 100)),
    WithJsonSchema({"type": "number", "minimum": 0.1, "maximum": 100}),
]
Count = Annotated[int, BeforeValidator(whole(0)), WithJsonSchema({"type": "integer", "minimum": 0})]
PositiveCount = Annotated[int, BeforeValidator(whole(1)), WithJsonSchema({"type": "integer", "minimum": 1})]

# Pydantic by itself would also take 1, "yes" and "off". In YAML 1.2 words are text, and the schema knows booleans only.
Switch = Annotated[bool, BeforeValidator(switch)]


def _not_empty(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise refused("must have at least one item", "write a list such as [1, 2]")
    return values


# A list of at least one; pydantic's own min_length also complains of a list whose items are all wrong.
Some = Annotated[tuple[T, ...], AfterValidator(_not_empty), Field(json_schema_extra={"minItems": 1})]

# A nullable setting: None in Python, `off` in YAML.
Off = Annotated[T | None, BeforeValidator(_off), _Off()]
