"""Who calls: the holder of the bearer token, or 401."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from tem_sim.live.api.problems import Refusal, refusal
from tem_sim.live.api.service import Serving
from tem_sim.live.tokens import BadToken, Holder, holder

REALM = 'Bearer realm="tem-sim"'
_WHERE = "header Authorization"
_REMEDY = "send Authorization: Bearer TOKEN, with a token of this system"
_bearer = HTTPBearer(
    auto_error=False, scheme_name="bearer", bearerFormat="JWT", description="A token of a user or an operator."
)


async def _caller(
    serving: Serving, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Holder:
    if credentials is None:
        raise _unauthorized("must be a bearer token", REALM)
    try:
        return holder(serving.config.secret, credentials.credentials)
    except BadToken as bad:
        raise _unauthorized(str(bad), f'{REALM}, error="invalid_token", error_description="{bad}"') from None


def _unauthorized(rule: str, challenge: str) -> Refusal:
    # What was sent instead is not shown: it may be a secret of some other place.
    return refusal(401, _WHERE, rule, remedy=_REMEDY, headers={"WWW-Authenticate": challenge})


Caller = Annotated[Holder, Depends(_caller)]
