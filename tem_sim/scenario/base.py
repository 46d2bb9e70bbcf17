"""What all parts of a scenario share: frozen, closed to unknown keys, and written out under their YAML keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

# The keys that say which of several models a mapping is; written first, as people write them.
SELECTORS = ("kind", "growth", "preset", "import", "strategy")


class Model(BaseModel):
    """A frozen part of a scenario. Python writes either the attribute (`horizon_s`) or the YAML key (`horizon`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    def resolved(self) -> dict[str, JsonValue]:
        """Return every setting, defaults filled in, as plain JSON under its YAML key; it loads again to an equal value.

        Durations are seconds. None is left out where it is the default, and written `off` where it is not.
        """
        plain: dict[str, JsonValue] = {}
        fields = type(self).model_fields
        for name in sorted(fields, key=lambda name: name not in SELECTORS):
            field, value = fields[name], getattr(self, name)
            if value is not None:
                plain[field.alias or name] = _plain(value)
            elif field.default is not None:
                plain[field.alias or name] = "off"
        return plain


class Broken(NamedTuple):
    """One broken rule: where (keys and indices from the model that reports it), what, and the value in question.

    `place` is (file, line, column, text of the line) where the mistake is in another file than the scenario's.
    """

    loc: tuple[str | int, ...]
    message: str
    value: object
    hint: str = ""
    place: tuple[str, int, int, str] | None = None


def broken_rules(title: str, rules: Sequence[Broken]) -> ValidationError:
    """Return the error that reports all of these at once; raise it in a validator."""
    lines = [
        InitErrorDetails(
            type=PydanticCustomError("rule", "{rule}", {"rule": rule.message, "hint": rule.hint, "place": rule.place}),
            loc=rule.loc,
            input=rule.value,
        )
        for rule in rules
    ]
    return ValidationError.from_exception_data(title, lines)


def _plain(value: object) -> JsonValue:
    if isinstance(value, Model):
        return value.resolved()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bool, int, float)):
        return value
    raise TypeError(f"a scenario holds no {type(value).__name__}")
