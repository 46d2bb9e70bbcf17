"""How the API describes itself: every code that a route answers with, with the shape of the answer."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tem_sim.live.api.models import KEY_PATTERN, Accepted, Answers, Batch, Event, Health, NewEvent, Page, Timeline
from tem_sim.live.api.problems import MEDIA_TYPE, Problem

_REF = "#/components/schemas/{model}"
# Those of bodies, which FastAPI does not find by itself; and of answers, whose examples it leaves every null out of.
_SENT: tuple[type[BaseModel], ...] = (Batch, NewEvent)
_ANSWERED: tuple[type[BaseModel], ...] = (Accepted, Answers, Event, Health, Page, Problem, Timeline)
_SAID = {
    200: "Done.",
    201: "It is new, and durable.",
    401: "No valid token.",
    403: "It is another user's.",
    404: "The caller has no such event.",
    408: "The body came too slowly.",
    409: "Not as things are: the key stands for another event, or the event is not EXTINCT.",
    413: "Too large.",
    422: "Not as the rules say; each error names the rule, the value and the remedy.",
    503: "Not now: the store is away, or too much is waiting or under way.",
}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "What kind of token is asked for."}},
    503: {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "In seconds."}},
}
_LOCATION = {"Location": {"schema": {"type": "string"}, "description": "Where to look at the event."}}


def answers(*codes: int, model: type[BaseModel] | None = None) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` for these codes: the successes are of `model`, or of what the route returns."""
    return {code: _success(code, model) if code < 400 else _refused(code) for code in codes}


def _success(code: int, model: type[BaseModel] | None) -> dict[str, Any]:
    said: dict[str, Any] = {"description": _SAID[code]}
    if model is not None:
        said["model"] = model
        # Only what takes in one event says where it is.
        if "event_id" in model.model_fields:
            said["headers"] = _LOCATION
    return said


def _refused(code: int) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model=Problem.__name__)}}}
    return {"description": _SAID[code], "content": content, "headers": _HEADERS.get(code, {})}


def body(model: type[BaseModel]) -> dict[str, Any]:
    """Describe a body that the route reads itself."""
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def key_header() -> dict[str, Any]:
    """Describe the header Idempotency-Key."""
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "What the client calls the event, the same each time it is sent. Each user has keys of its own.",
        "schema": {"type": "string", "pattern": KEY_PATTERN},
        "example": "order-17",
    }


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _, sent = models_json_schema([(model, "validation") for model in _SENT], ref_template=_REF)
        _, answered = models_json_schema([(model, "serialization") for model in _ANSWERED], ref_template=_REF)
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        # FastAPI's own shape of a 422 is not ours.
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schemas.update(sent["$defs"] | answered["$defs"])
        app.openapi_schema = made
    return app.openapi_schema
