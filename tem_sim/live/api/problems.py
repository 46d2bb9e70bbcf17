"""What the API answers when it refuses: one shape for all, `application/problem+json` (RFC 9457).

Each error says where, the rule, the value and what to do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
_LONGEST_VALUE = 100
_REMEDIES = {"missing": "add it", "extra_forbidden": "leave it out"}
_OTHERWISE = "see /openapi.json"
# Where pydantic speaks of Python.
_RULES = {"model_type": "must be an object"}


class Broken(BaseModel):
    """One rule that a request breaks."""

    where: str = Field(description="The header, parameter or field.", examples=["body.kind"])
    rule: str = Field(description="What must hold.", examples=["String should have at least 1 character"])
    value: str | None = Field(description="What was there instead, as JSON, cut short; null for nothing.")
    remedy: str = Field(description="What to do about it.")


class Problem(BaseModel):
    """Why a request was refused."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Unprocessable Entity",
                    "status": 422,
                    "detail": "header Idempotency-Key: must be given once (got nothing); "
                    "send the same key each time you send this event",
                    "errors": [
                        {
                            "where": "header Idempotency-Key",
                            "rule": "must be given once",
                            "value": None,
                            "remedy": "send the same key each time you send this event",
                        }
                    ],
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="All errors in one text.")
    errors: list[Broken]
    retry_after_s: float | None = Field(None, description="As the header Retry-After, but not in whole seconds.")


class Refusal(Exception):
    """A request that is answered with a problem."""

    def __init__(
        self,
        status: int,
        errors: Sequence[Broken],
        headers: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.problem = Problem(
            title=HTTPStatus(status).phrase,
            status=status,
            detail="; ".join(map(_text, errors)),
            errors=list(errors),
            retry_after_s=retry_after_s,
        )
        self.headers = headers
        super().__init__(self.problem.detail)

    def response(self) -> Response:
        """Return the answer."""
        problem = self.problem
        return Response(problem.model_dump_json(), problem.status, headers=self.headers, media_type=MEDIA_TYPE)


def refusal(
    status: int, where: str, rule: str, value: object = None, *, remedy: str, headers: Mapping[str, str] | None = None
) -> Refusal:
    """Return the refusal of a request that breaks one rule."""
    return Refusal(status, [Broken(where=where, rule=rule, value=shown(value), remedy=remedy)], headers)


def try_again(where: str, rule: str, value: object = None, *, after_s: float) -> Refusal:
    """Return a 503, with a Retry-After of at least that long."""
    seconds = max(1, math.ceil(after_s))
    remedy = f"try again after {after_s:g} s, with the same idempotency keys"
    broken = Broken(where=where, rule=rule, value=shown(value), remedy=remedy)
    return Refusal(503, [broken], {"Retry-After": str(seconds)}, after_s)


def invalid(errors: Iterable[Mapping[str, Any]], within: str | None = None) -> Refusal:
    """Return the 422 for what pydantic found; `within` is where the whole is that it looked at, if it does not say."""
    broken = [
        Broken(
            where=".".join(str(part) for part in ((within, *error["loc"]) if within else error["loc"])),
            rule=_RULES.get(error["type"], error["msg"]),
            value=None if error["type"] == "missing" else shown(error["input"]),
            remedy=_REMEDIES.get(error["type"], _OTHERWISE),
        )
        for error in errors
    ]
    return Refusal(422, broken)


def shown(value: object) -> str | None:
    """Return a value as JSON of ASCII, cut short; None for None."""
    if value is None:
        return None
    text = json.dumps(value, default=repr)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _text(broken: Broken) -> str:
    return f"{broken.where}: {broken.rule} (got {broken.value or 'nothing'}); {broken.remedy}"
