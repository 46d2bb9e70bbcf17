"""Bearer tokens of the API and the gateway: who holds one, signed with the system's secret, for a while.

A token is a JWT signed with HS256, and with nothing else: which algorithm it names decides nothing. Whoever changes a
character of it, signs it with another secret, or made it for another purpose, holds no token.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import jwt

ALGORITHM = "HS256"
AUDIENCE = "tem-sim-live"
# How far the clock of whoever issued a token may be from that of whoever reads it.
LEEWAY_S = 5.0
VALID_S = 24 * 3600.0
# As for events: a number that JavaScript holds exactly.
MAX_USER_ID = 2**53 - 1
# Those issued here have about 200 characters; what is far longer is not worth a look.
MAX_LENGTH = 2000


class BadToken(Exception):
    """A token that proves nothing; the message says why."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who sent a request: a user, an operator, or both. An operator without a user id is nobody's user.

    A socket stays open for longer than a request takes: `expires_at` (epoch seconds) tells when it must be closed.
    """

    user_id: int | None
    operator: bool = False
    expires_at: float = field(default=math.inf, compare=False)

    def may_see(self, user_id: int) -> bool:
        """Return whether what belongs to this user may be shown to the holder."""
        return self.operator or user_id == self.user_id


def issue(secret: str, *, user_id: int | None, operator: bool = False, valid_s: float = VALID_S) -> str:
    """Return a token that says who its holder is, for so many seconds from now.

    Raises ValueError for a user id out of range, and for a token that would name neither a user nor an operator.
    """
    if not operator and user_id is None:
        raise ValueError("a token names a user, an operator, or both (got neither); give user_id or operator=True")
    if user_id is not None and not 1 <= user_id <= MAX_USER_ID:
        raise ValueError(f"user_id: must be from 1 to {MAX_USER_ID} (got {user_id})")
    now = time.time()
    claims: dict[str, object] = {"aud": AUDIENCE, "iat": int(now), "exp": now + valid_s, "op": operator}
    if user_id is not None:
        claims["sub"] = str(user_id)
    return jwt.encode(claims, secret, ALGORITHM)


def holder(secret: str, token: str) -> Holder:
    """Return who holds this token; raise `BadToken` for one that is forged, over, or not meant for this system."""
    if len(token) > MAX_LENGTH:
        raise BadToken(f"a token has at most {MAX_LENGTH} characters")
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            leeway=LEEWAY_S,
            options={"require": ["exp", "aud"]},
        )
    except jwt.ExpiredSignatureError as error:
        raise BadToken("the token is no longer valid") from error
    except jwt.InvalidAudienceError as error:
        raise BadToken("the token was made for something else") from error
    except jwt.PyJWTError as error:
        # Which part of it is wrong is nothing that a forger should learn.
        raise BadToken("not a token of this system") from error
    return _holder(claims.get("sub"), claims.get("op"), float(claims["exp"]))


def _holder(subject: object, operator: object, expires_at: float) -> Holder:
    user_id = int(subject) if isinstance(subject, str) and subject.isascii() and subject.isdecimal() else None
    named = user_id is not None and 1 <= user_id <= MAX_USER_ID
    if not isinstance(operator, bool) or not (named or (subject is None and operator)):
        raise BadToken("the token names neither a user nor an operator")
    return Holder(user_id, operator, expires_at)
