"""Bodies of requests: read up to a limit and within a time, and taken for JSON only where every store can keep it."""

from __future__ import annotations

import asyncio
import json
import math
from typing import NoReturn

from starlette.requests import Request

from tem_sim.live.api.problems import refusal

# A body that takes longer comes from somebody who holds a place and does not use it.
ARRIVES_WITHIN_S = 10.0
MAX_DEPTH = 32
_AS_JSON = "send one JSON document, in UTF-8"


async def read(request: Request, at_most: int) -> bytes:
    """Return a request's body; refuse one that is larger or slower, without reading the rest of it."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > at_most):
        raise _too_large(at_most, int(declared[:18]))
    body = bytearray()
    try:
        async with asyncio.timeout(ARRIVES_WITHIN_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > at_most:
                    raise _too_large(at_most, len(body))
    except TimeoutError:
        raise refusal(
            *(408, "body", f"must be here within {ARRIVES_WITHIN_S:g} s"),
            remedy="send it faster, or less",
            headers={"Connection": "close"},
        ) from None
    return bytes(body)


def _too_large(at_most: int, size: int) -> Exception:
    return refusal(
        *(413, "body", f"must have at most {at_most} bytes", size),
        remedy="send less at once",
        # What else its client has sent of it is not read.
        headers={"Connection": "close"},
    )


def parse(body: bytes) -> object:
    """Return the JSON document in a body; refuse what is none or ambiguous, and numbers beyond double precision."""
    try:
        return json.loads(
            body.decode(), parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_no_name_twice
        )
    except RecursionError:
        raise refusal(422, "body", f"must be nested at most {MAX_DEPTH} deep", remedy="flatten it") from None
    except ValueError as error:
        raise refusal(422, "body", "must be JSON", str(error), remedy=_AS_JSON) from None


def _no_constant(name: str) -> NoReturn:
    raise refusal(422, "body", "numbers must be finite", name, remedy="send null, or a text")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise refusal(422, "body", "numbers must fit double precision", digits, remedy="send it as a text")
    return number


def _no_name_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise refusal(422, "body", "names in an object must differ", twice, remedy="leave one of them out")
    return document


def check(document: object, where: str) -> None:
    """Refuse a document that is nested too deep, or has texts that not every store can keep."""
    level = [document]
    for _ in range(MAX_DEPTH + 1):
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below += value
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                _check_text(value, where)
        if not below:
            return
        level = below
    raise refusal(422, where, f"must be nested at most {MAX_DEPTH} deep", remedy="flatten it")


def _check_text(text: str, where: str) -> None:
    if "\0" in text:
        raise refusal(422, where, "texts must be without NUL characters", text, remedy="leave them out")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise refusal(
                422, where, "texts must be Unicode: no half of a surrogate pair alone", text, remedy="send both halves"
            ) from None
