"""The JSON Schema of scenario files, for editors: what the models know, and what the loader adds to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pydantic.json_schema import GenerateJsonSchema

from tem_sim.scenario.base import Model
from tem_sim.scenario.models import Scenario

if TYPE_CHECKING:
    from pydantic import JsonValue
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_-]*\}$"}
_VARIABLE_REF: dict[str, JsonValue] = {"$ref": "#/$defs/Variable"}


def json_schema() -> dict[str, JsonValue]:
    """Return the schema (draft 2020-12) that every valid scenario file fulfils.

    It checks one file by itself. What ties settings together, a base that `extends` names, and values behind
    variables are the loader's to check.
    """
    schema = cast("dict[str, JsonValue]", Scenario.model_json_schema(by_alias=True, schema_generator=_Generator))
    definitions = cast("dict[str, dict[str, JsonValue]]", schema.pop("$defs"))
    for definition in (schema, *definitions.values()):
        _finish(definition, definitions)
    for name in ("PresetBackoff", "ImportedBackoff"):
        _finish_own_limits(cast("dict[str, dict[str, JsonValue]]", definitions[name]["properties"]))
    definitions["Variable"] = {"description": "The value of a variable under vars.", **_VARIABLE}
    _add_file_keys(schema)
    return {"$schema": DIALECT, **schema, "title": "tem-sim scenario", "$defs": cast("JsonValue", definitions)}


class _Generator(GenerateJsonSchema):
    """Writes defaults as the files do: `off` for None, and the sections under their YAML keys."""

    def encode_default(self, dft: object) -> object:
        if dft is None:
            return "off"
        return dft.resolved() if isinstance(dft, Model) else super().encode_default(dft)

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Leave out `discriminator`, which is OpenAPI's; to JSON Schema the members' constants say the same."""
        union = super().tagged_union_schema(schema)
        union.pop("discriminator", None)
        return union


def _finish(definition: dict[str, JsonValue], definitions: dict[str, dict[str, JsonValue]]) -> None:
    """Let variables stand for values, demand the key that selects a union's member, and drop what None would be."""
    properties = definition.get("properties")
    if not isinstance(properties, dict):
        return
    required = [*_selecting(properties), *cast("list[JsonValue]", definition.get("required", []))]
    if required:
        definition["required"] = required
    for key, prop in properties.items():
        if isinstance(prop, dict):
            # Pydantic leaves out a description that only repeats the section's own.
            section = definitions.get(str(prop.get("$ref", "")).removeprefix("#/$defs/"), {})
            properties[key] = _property({"description": section["description"], **prop} if section else prop)


def _selecting(properties: dict[str, JsonValue]) -> list[JsonValue]:
    """Return the key that tells a union's member from the others; a backoff without a growth is exponential."""
    constants = {key: prop["const"] for key, prop in properties.items() if isinstance(prop, dict) and "const" in prop}
    return [key for key, value in constants.items() if key in ("kind", "growth") and value != "exponential"]


def _property(prop: dict[str, JsonValue]) -> dict[str, JsonValue]:
    prop = {key: value for key, value in prop.items() if key != "title"}
    choices = prop.get("anyOf")
    if isinstance(choices, list):
        prop["anyOf"] = [choice for choice in choices if choice != {"type": "null"}]
        if prop.get("default") == "off" and {"const": "off"} not in choices:
            del prop["default"]
    if "const" in prop:
        return prop
    about: dict[str, JsonValue] = {key: prop.pop(key) for key in ("description", "default") if key in prop}
    return {**about, "anyOf": [*_choices(prop), _VARIABLE_REF]}


def _choices(prop: dict[str, JsonValue]) -> list[JsonValue]:
    """Return what a property may be, as a list without a nested anyOf; a part of a list may be a variable too."""
    for key in ("items", "additionalProperties"):
        if isinstance(prop.get(key), dict):
            prop[key] = {"anyOf": [prop[key], _VARIABLE_REF]}
    if set(prop) == {"anyOf"}:
        return cast("list[JsonValue]", prop["anyOf"])
    return [cast("JsonValue", prop)]


def _finish_own_limits(properties: dict[str, dict[str, JsonValue]]) -> None:
    """List the presets, and leave out the limits' defaults: when left out, a limit is the preset's own."""
    from tem_sim.pipeline.presets import PRESETS

    for prop in properties.values():
        prop.pop("default", None)
    if "preset" in properties:
        about = properties["preset"]["description"]
        properties["preset"] = {"description": about, "enum": list(PRESETS)}


def _add_file_keys(schema: dict[str, JsonValue]) -> None:
    """Add `extends` and `vars`; what a file with a base leaves out, its base may have."""
    properties = cast("dict[str, JsonValue]", schema["properties"])
    properties["extends"] = {
        "description": "A scenario file that this one changes: mappings merge, lists replace.",
        "type": "string",
    }
    properties["vars"] = {
        "description": "Values by name, each used somewhere as a whole value: ${name}, in quotes inside braces.",
        "type": "object",
    }
    required = schema.pop("required")
    schema["anyOf"] = [{"required": ["extends"]}, {"required": required}]
