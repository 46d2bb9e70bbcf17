"""The retry policy as a scenario writes it: a growth, a jitter and limits, a preset by name, or the user's own code."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from tem_sim.foreign.imports import ForeignError
from tem_sim.pipeline import growth as growths
from tem_sim.pipeline import jitter as jitters
from tem_sim.pipeline.backoff import Backoff, Policy
from tem_sim.pipeline.scaled import Scaled
from tem_sim.scenario.base import Broken, Model, broken_rules
from tem_sim.scenario.errors import did_you_mean
from tem_sim.scenario.quantities import (
    SHORTHANDS,
    AlsoTakes,
    Count,
    Duration,
    Factor,
    Fraction,
    Off,
    PositiveDuration,
    Power,
    Some,
    Switch,
    Weight,
    positive_duration_s,
    whole,
)

SCALE = "What its own delays and its own limits of time are multiplied by; those given here are not."

# --- jitters


class NoJitter(Model):
    """Every retry waits exactly as long as the growth says: what failed together retries together."""

    kind: Literal["none"] = "none"

    def jitter(self) -> jitters.Jitter:
        return jitters.NoJitter()


class FullJitter(Model):
    """U(0, v): the widest spread, and half the wait."""

    kind: Literal["full"] = "full"

    def jitter(self) -> jitters.Jitter:
        return jitters.Full()


class EqualJitter(Model):
    """v/2 + U(0, v/2)."""

    kind: Literal["equal"] = "equal"

    def jitter(self) -> jitters.Jitter:
        return jitters.Equal()


class AdditiveJitter(Model):
    """v + U(0, width): the original system's formula."""

    kind: Literal["additive"] = "additive"
    width_s: Duration = Field(alias="width", description="The most that chance adds to a wait.")

    def jitter(self) -> jitters.Jitter:
        return jitters.Additive(self.width_s)


class ProportionalJitter(Model):
    """v ± fraction·v."""

    kind: Literal["proportional"] = "proportional"
    fraction: Fraction = Field(0.1, description="The share of the wait by which chance lengthens or shortens it.")

    def jitter(self) -> jitters.Jitter:
        return jitters.Proportional(self.fraction)


class DecorrelatedJitter(Model):
    """U(base, factor·previous): grows from the event's own last delay; the growth's later values play no part."""

    kind: Literal["decorrelated"] = "decorrelated"
    factor: Factor = Field(3.0, description="How many times the previous delay the next one may be.")

    def jitter(self) -> jitters.Jitter:
        return jitters.Decorrelated(self.factor)


def _jitter_by_name(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


Jitter = Annotated[
    Annotated[
        NoJitter | FullJitter | EqualJitter | AdditiveJitter | ProportionalJitter | DecorrelatedJitter,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_jitter_by_name),
    AlsoTakes("jitter"),
]

# --- backoffs


class Growing(Model):
    """What every growth is combined with: a jitter, a cap and the limits."""

    jitter: Jitter = Field(NoJitter(), description="How chance spreads the waits, so that retries do not come in step.")
    cap_s: Off[PositiveDuration] = Field(
        None, alias="cap", description="The longest wait before jitter; `off` for none."
    )
    cap_after_jitter: Switch = Field(
        False, description="Clip the jittered wait instead; piles up on the cap what would have passed it."
    )
    max_retries: Off[Count] = Field(5, description="Retries after the first attempt; `off` to retry for ever.")
    budget_s: Off[PositiveDuration] = Field(
        None,
        alias="budget",
        description="Time from the submit, or the last replay, within which a retry must start; `off` for none.",
    )

    @abstractmethod
    def growth_value(self) -> growths.Growth:
        """Return the deterministic part."""

    def policy(self) -> Policy:
        """Return the pipeline's policy value."""
        return Backoff(
            self.growth_value(),
            self.jitter.jitter(),
            cap_s=self.cap_s,
            max_retries=self.max_retries,
            budget_s=self.budget_s,
            cap_after_jitter=self.cap_after_jitter,
        )

    @model_validator(mode="after")
    def _makes_a_policy(self) -> Growing:
        first_s = self.growth_value().value_s(1)
        if self.cap_s is not None and self.cap_s < first_s:
            raise broken_rules(
                "backoff", [Broken(("cap",), f"must be at least the first wait ({first_s:g} s)", self.cap_s)]
            )
        try:
            self.policy()
        except ValueError as error:
            raise broken_rules("backoff", [Broken((), str(error), None)]) from None
        return self


class FixedBackoff(Growing):
    """base, base, base."""

    growth: Literal["fixed"] = "fixed"
    base_s: Duration = Field(10.0, alias="base", description="Every wait; 0s retries at once.")

    def growth_value(self) -> growths.Growth:
        return growths.Fixed(self.base_s)


class LinearBackoff(Growing):
    """base + step·(k−1)."""

    growth: Literal["linear"] = "linear"
    base_s: Duration = Field(10.0, alias="base", description="The first wait.")
    step_s: Duration | None = Field(
        None, alias="step", description="What each retry adds; when left out, as much as the base."
    )

    def growth_value(self) -> growths.Growth:
        return growths.Linear(self.base_s, self.step_s)


class ExponentialBackoff(Growing):
    """base·factor^(k−1): 10, 20, 40 s by default."""

    growth: Literal["exponential"] = "exponential"
    base_s: PositiveDuration = Field(10.0, alias="base", description="The first wait.")
    factor: Factor = Field(2.0, description="How many times longer each wait is than the one before.")

    def growth_value(self) -> growths.Growth:
        return growths.Exponential(self.base_s, self.factor)


class PolynomialBackoff(Growing):
    """base·k^power."""

    growth: Literal["polynomial"] = "polynomial"
    base_s: PositiveDuration = Field(10.0, alias="base", description="The first wait.")
    power: Power = Field(2.0, description="The power of the retry number.")

    def growth_value(self) -> growths.Growth:
        return growths.Polynomial(self.base_s, self.power)


class FibonacciBackoff(Growing):
    """base·F(k), F = 1, 1, 2, 3, 5 and so on."""

    growth: Literal["fibonacci"] = "fibonacci"
    base_s: PositiveDuration = Field(10.0, alias="base", description="The first and second wait.")

    def growth_value(self) -> growths.Growth:
        return growths.Fibonacci(self.base_s)


class ExplicitBackoff(Growing):
    """The listed waits, the last one repeated."""

    growth: Literal["explicit"] = "explicit"
    delays_s: Some[Duration] = Field(
        alias="delays", description="The waits before retry 1, 2 and so on; the last is repeated."
    )

    def growth_value(self) -> growths.Growth:
        return growths.Explicit(self.delays_s)


def _known_preset(name: str) -> str:
    from tem_sim.pipeline.presets import PRESETS

    if name not in PRESETS:
        hint = did_you_mean(name, PRESETS)
        raise broken_rules("preset", [Broken((), "must be a known preset; `tem-sim policies` lists them", name, hint)])
    return name


@dataclasses.dataclass(frozen=True, slots=True)
class _OrOff:
    """Takes a quantity, or `off`, kept apart from a limit that is left to the preset."""

    parse: Callable[[object], float]
    shorthand: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [SHORTHANDS[self.shorthand], {"const": "off"}]}

    def _read(self, value: object) -> float | Literal["off"] | None:
        if value is None or value == "off":
            return value
        return self.parse(value)


class PresetBackoff(Model):
    """Another system's policy, with its own defaults unless a limit is given here."""

    preset: Annotated[str, AfterValidator(_known_preset)] = Field(
        description="The policy's name, as `tem-sim policies` lists it."
    )
    max_retries: Annotated[int | Literal["off"] | None, _OrOff(whole(0), "count")] = Field(
        None, description="Retries after the first attempt, `off` to retry for ever; the preset's own when left out."
    )
    budget_s: Annotated[float | Literal["off"] | None, _OrOff(positive_duration_s, "positive_duration")] = Field(
        None,
        alias="budget",
        description="Time from the submit, or the last replay, within which a retry must start, `off` for no limit; "
        "the preset's own when left out.",
    )
    cap_s: Annotated[float | Literal["off"] | None, _OrOff(positive_duration_s, "positive_duration")] = Field(
        None, alias="cap", description="The longest wait, for presets that have one; the preset's own when left out."
    )
    scale: Weight = Field(1.0, description=SCALE)

    limits: ClassVar[tuple[str, ...]] = ("max_retries", "budget_s", "cap_s")

    def policy(self) -> Policy:
        """Return the preset's policy with the limits given here."""
        from tem_sim.pipeline.presets import preset_policy

        return _scaled(preset_policy(self.preset, **_given(self, self.limits)), self.scale)

    @model_validator(mode="after")
    def _makes_a_policy(self) -> PresetBackoff:
        from tem_sim.pipeline.presets import PRESETS

        fields = {field.name for field in dataclasses.fields(PRESETS[self.preset].policy)}
        if self.cap_s is not None and "cap_s" not in fields:
            rule = f"the preset {self.preset} has no cap of that kind; leave it out"
            raise broken_rules("backoff", [Broken(("cap",), rule, self.cap_s)])
        try:
            self.policy()
        except ValueError as error:
            raise broken_rules("backoff", [Broken((), str(error), None)]) from None
        return self


class ImportedBackoff(Model):
    """A policy of the user's own code: a policy value, a function of the retry number, or what makes one of these."""

    import_path: Annotated[str, WithJsonSchema(SHORTHANDS["import_path"])] = Field(
        alias="import", description="Where it is: module:name, such as my_pkg.backoff:policy."
    )
    args: dict[str, JsonValue] = Field(
        default_factory=dict, description="What a function or class that makes the policy is called with, by name."
    )
    max_retries: Annotated[int | Literal["off"] | None, _OrOff(whole(0), "count")] = Field(
        None,
        description="Retries after the first attempt, `off` to retry for ever; the policy's own, or 5, by default.",
    )
    budget_s: Annotated[float | Literal["off"] | None, _OrOff(positive_duration_s, "positive_duration")] = Field(
        None,
        alias="budget",
        description="Time from the submit, or the last replay, within which a retry must start, `off` for no limit; "
        "the policy's own when left out.",
    )
    scale: Weight = Field(1.0, description=SCALE)

    def policy(self) -> Policy:
        """Return the policy, imported and tried out; ForeignError when it cannot be used."""
        from tem_sim.foreign.imports import imported
        from tem_sim.foreign.policies import policy_from

        limits = _given(self, ("max_retries", "budget_s"))
        return _scaled(policy_from(imported(self.import_path), self.import_path, args=self.args, **limits), self.scale)

    @model_validator(mode="after")
    def _makes_a_policy(self) -> ImportedBackoff:
        try:
            self.policy()
        except ForeignError as error:
            hint = did_you_mean(error.word, error.known) if error.word else _preset_meant(self.import_path)
            raise broken_rules("backoff", [Broken(("import",), str(error), self.import_path, hint)]) from None
        return self


def _given(model: PresetBackoff | ImportedBackoff, limits: Sequence[str]) -> dict[str, Any]:
    """Return the limits that are given, None for `off`, in the policy's own unit of time."""
    given = {name: getattr(model, name) for name in limits if getattr(model, name) is not None}
    return {
        name: None if value == "off" else value / model.scale if name.endswith("_s") else value
        for name, value in given.items()
    }


def _scaled(policy: Policy, scale: float) -> Policy:
    return policy if scale == 1 else Scaled(policy, scale)


def _preset_meant(path: str) -> str:
    from tem_sim.pipeline.presets import PRESETS

    return f"did you mean {{preset: {path}}}?" if path in PRESETS else ""


def _by_path(value: object) -> object:
    return {"import": value} if isinstance(value, str) else value


def backoff_tag(value: object) -> str:
    """Return which of the backoff models a mapping is meant for; an unknown growth gets a tag that none has."""
    if isinstance(value, Model):
        models: dict[type[Model], str] = {PresetBackoff: "preset", ImportedBackoff: "import"}
        return f"backoff:{models.get(type(value), getattr(value, 'growth', ''))}"
    if not isinstance(value, Mapping):
        return "backoff:exponential"
    for selector in ("preset", "import"):
        if selector in value:
            return f"backoff:{selector}"
    return f"backoff:{value.get('growth', 'exponential')}"


_AnyBackoff = Annotated[
    Annotated[FixedBackoff, Tag("backoff:fixed")]
    | Annotated[LinearBackoff, Tag("backoff:linear")]
    | Annotated[ExponentialBackoff, Tag("backoff:exponential")]
    | Annotated[PolynomialBackoff, Tag("backoff:polynomial")]
    | Annotated[FibonacciBackoff, Tag("backoff:fibonacci")]
    | Annotated[ExplicitBackoff, Tag("backoff:explicit")]
    | Annotated[PresetBackoff, Tag("backoff:preset")]
    | Annotated[ImportedBackoff, Tag("backoff:import")],
    Discriminator(backoff_tag),
]
BackoffModel = Annotated[_AnyBackoff, BeforeValidator(_by_path), AlsoTakes("import_path")]
