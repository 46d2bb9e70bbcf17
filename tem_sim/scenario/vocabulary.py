"""Which keys a scenario knows at a place: read off the models, for did-you-mean and for paths that are cut short."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import get_args, get_origin

from tem_sim.scenario.base import SELECTORS, Model
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.tree import Step

# Keys of the file that the loader consumes before the models see it.
FILE_KEYS = ("extends", "vars")


def known_keys(loc: tuple[Step, ...]) -> tuple[str, ...]:
    """Return the keys allowed where an error's location ends; it is as pydantic gives it, union tags included."""
    models = _models_at(loc[:-1])
    keys = {field.alias or name: None for model in models for name, field in model.model_fields.items()}
    return (*keys, *FILE_KEYS) if models == [Scenario] else tuple(keys)


def full_path(path: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the path whose end this is, `backoff.base` for one; itself when it is whole, or the end of several."""
    if path[0] in known_keys((path[0],)):
        return path
    whole = [found for found in _paths() if found[-1] == path[0]]
    return (*whole[0], *path[1:]) if len(whole) == 1 else path


@cache
def _paths() -> tuple[tuple[str, ...], ...]:
    """Return the path of every key that is not within a list or under a name of the user's."""
    return tuple(dict.fromkeys(_paths_under((), (Scenario,))))


def _paths_under(path: tuple[str, ...], models: tuple[type[Model], ...]) -> Iterator[tuple[str, ...]]:
    for model in models:
        for name, field in model.model_fields.items():
            if name in SELECTORS or field.alias in SELECTORS:
                continue
            here = (*path, field.alias or name)
            yield here
            yield from _paths_under(here, tuple(_sections_in(field.annotation)))


def known_kinds(loc: tuple[Step, ...]) -> tuple[str, ...]:
    """Return the kinds that the mapping at an error's location may be of."""
    return tuple(tag for model in _models_at(loc) if (tag := tag_of(model)) is not None)


def _models_at(loc: tuple[Step, ...]) -> list[type[Model]]:
    models: list[type[Model]] = [Scenario]
    for step in loc:
        if not isinstance(step, int):
            models = _under(models, step)
    return models


def _under(models: list[type[Model]], step: str) -> list[type[Model]]:
    tagged = [model for model in models if tag_of(model) == step]
    if len(models) > 1 and tagged:
        return tagged
    fields = [field for model in models for name, field in model.model_fields.items() if (field.alias or name) == step]
    # A step that is no field is a name the user chose, such as a kind of event; the models under it are found already.
    return [model for field in fields for model in models_in(field.annotation)] or models


def tag_of(model: type[Model]) -> str | None:
    """Return what pydantic writes into a location for a member of a union."""
    fields = model.model_fields
    if "preset" in fields:
        return "backoff:preset"
    if "import_path" in fields:
        return "backoff:import"
    if "growth" in fields:
        return f"backoff:{fields['growth'].default}"
    selectors = [key for key in ("kind", "strategy") if key in fields]
    return str(fields[selectors[0]].default) if selectors else None


def models_in(annotation: object) -> list[type[Model]]:
    """Return the models that a field may hold, unions and lists taken apart."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def _sections_in(annotation: object) -> list[type[Model]]:
    """Return the models that a field holds itself, and not in a list or a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return [annotation]
    if get_origin(annotation) in (tuple, list, dict):
        return []
    return [model for part in get_args(annotation) for model in _sections_in(part)]
