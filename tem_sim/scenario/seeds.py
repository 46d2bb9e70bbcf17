"""Which seeds a sweep runs a scenario under: how many, which, or as many as it takes to know a mean well enough."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from tem_sim.scenario.base import Broken, Model, broken_rules
from tem_sim.scenario.errors import did_you_mean
from tem_sim.scenario.quantities import Count, Some, refused, whole
from tem_sim.scenario.thresholds import KINDS

MAX_SEEDS = 100_000
# How many seeds a sweep or a study runs where nothing says so.
DEFAULT_SEEDS = 10
UNTIL_PATTERN = r"^\s*ci\(\s*[a-z0-9_]+\s*\)\s*<\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*%\s*$"
_UNTIL = re.compile(r"\s*ci\((.*?)\)\s*(\S*?)\s*([^\s%<>=]*)\s*(%?)\s*")


class UntilError(ValueError):
    """An expression that does not say when to stop."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True, slots=True)
class Until:
    """Stop when half the 95 % interval of a metric's mean is below this share of the mean."""

    metric: str
    share: float

    @classmethod
    def parse(cls, text: str) -> Until:
        """Return what `ci(METRIC) < N%` says; UntilError for anything else."""
        match = _UNTIL.fullmatch(text)
        if match is None or match[2] != "<" or match[4] != "%":
            raise UntilError("must be ci(METRIC) < N%; write for example ci(amplification) < 5%")
        known = [name for name, kind in KINDS.items() if kind.name != "distribution"]
        metric = match[1].strip()
        if metric not in known:
            raise UntilError(f"must be about a metric, one number per run: {', '.join(known)}", _meant(metric, known))
        return cls(metric, _share(match[3]))

    def __str__(self) -> str:
        return f"ci({self.metric}) < {self.share * 100:.6g}%"


def _meant(metric: str, known: list[str]) -> str:
    if metric in KINDS:
        return f"{metric} is a distribution: many values per run, and no mean of runs"
    return did_you_mean(metric, known)


def _share(text: str) -> float:
    try:
        percent = float(text)
    except ValueError:
        percent = 0.0
    if not 0 < percent <= 100:
        raise UntilError("the N of N% must be above 0 and at most 100")
    return percent / 100


class SeedsUntil(Model):
    """As many seeds as it takes: 1, 2, … until the mean of a metric is known well enough, or `max` are run.

    What is known is asked after the first `min` seeds and then after each further `batch`, for each cell of the matrix
    by itself.
    """

    min: Annotated[int, BeforeValidator(whole(2, MAX_SEEDS)), WithJsonSchema({"type": "integer", "minimum": 2})] = (
        Field(10, description="How many seeds are run in any case.")
    )
    max: Annotated[int, BeforeValidator(whole(2, MAX_SEEDS)), WithJsonSchema({"type": "integer", "minimum": 2})] = (
        Field(200, description="How many are run at most.")
    )
    batch: Annotated[int, BeforeValidator(whole(1, MAX_SEEDS)), WithJsonSchema({"type": "integer", "minimum": 1})] = (
        Field(10, description="How many more are run before the mean is looked at again.")
    )
    until: Annotated[str, WithJsonSchema({"type": "string", "pattern": UNTIL_PATTERN})] = Field(
        description="`ci(METRIC) < N%`: half the 95 % interval of the mean is below N % of the mean."
    )

    @field_validator("until")
    @classmethod
    def _parse(cls, text: str) -> str:
        """Refuse what says nothing; write the others in one way."""
        try:
            return str(Until.parse(text))
        except UntilError as error:
            raise broken_rules("seeds", [Broken((), error.message, text, error.hint)]) from None

    @model_validator(mode="after")
    def _in_order(self) -> SeedsUntil:
        if self.max < self.min:
            raise broken_rules("seeds", [Broken(("max",), f"must be at least min, which is {self.min}", self.max)])
        return self

    @property
    def goal(self) -> Until:
        """What is to be known, and how well."""
        return Until.parse(self.until)


def _distinct(value: object) -> object:
    """Refuse what is neither a number, a list nor a mapping in words of its own, and seeds that are given twice."""
    if isinstance(value, bool) or not isinstance(value, (int, float, list, tuple, dict, SeedsUntil)):
        raise refused("must be a number of seeds, a list of them, or min, max and until", "write for example 20")
    if isinstance(value, (int, float)):
        return whole(1, MAX_SEEDS)(value)
    if isinstance(value, dict):
        return SeedsUntil.model_validate(value)
    if isinstance(value, (list, tuple)):
        return _listed(value)
    return value


def _listed(seeds: list[object] | tuple[object, ...]) -> tuple[object, ...]:
    if len(seeds) > MAX_SEEDS:
        raise refused(f"must be at most {MAX_SEEDS} seeds", "list fewer")
    twice = [Broken((index,), "is given twice", seed) for index, seed in enumerate(seeds) if seed in seeds[:index]]
    if twice:
        raise broken_rules("seeds", twice)
    return tuple(seeds)


Seeds = Annotated[
    Annotated[int, WithJsonSchema({"type": "integer", "minimum": 1})] | Some[Count] | SeedsUntil,
    BeforeValidator(_distinct),
]


def first_seeds(seeds: int | tuple[int, ...] | SeedsUntil) -> tuple[int, ...]:
    """Return the seeds that are run in any case: those listed, or 1 to n."""
    if isinstance(seeds, tuple):
        return seeds
    return tuple(range(1, (seeds.min if isinstance(seeds, SeedsUntil) else seeds) + 1))


def seed_list(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return the seeds 1 to n, or the ones given; ValueError where there is none, or one twice."""
    listed = tuple(range(1, seeds + 1)) if isinstance(seeds, int) else tuple(seeds)
    if not listed:
        raise ValueError(f"seeds: must be at least one, got {seeds!r}")
    if len(set(listed)) < len(listed):
        raise ValueError(f"seeds: each counts once, got {list(listed)}")
    return listed


def seeds_text(seeds: int | tuple[int, ...] | SeedsUntil) -> str:
    """Say how many: `20 seeds`, `10 to 200 seeds`."""
    if isinstance(seeds, SeedsUntil):
        return f"{seeds.min} to {seeds.max} seeds"
    number = len(seeds) if isinstance(seeds, tuple) else seeds
    return f"{number} seed{'' if number == 1 else 's'}"
