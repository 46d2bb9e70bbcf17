"""What goes over a user's socket: JSON documents, one per text frame, and the codes with which a socket is closed."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tem_sim.pipeline.ports import Notification

# Both messages that a client may send are short: a token, or a number.
MAX_FRAME_BYTES = 4096


class Close(IntEnum):
    """Why the gateway closes a socket. Below 4000 they are WebSocket's own."""

    GOING_AWAY = 1001
    TOO_BIG = 1009
    TOO_SLOW = 1013
    MALFORMED = 4400
    UNAUTHORIZED = 4401
    NO_HELLO = 4408
    TOO_MANY = 4429


class RefusedError(Exception):
    """What a client did is answered with an error, and its socket is closed."""

    def __init__(self, code: Close, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Hello(_Message):
    """The first message of a client: whose socket it is."""

    type: Literal["hello"]
    token: str


class Ack(_Message):
    """The client has shown this notification."""

    type: Literal["ack"]
    event_id: int


_FROM_CLIENT: TypeAdapter[Hello | Ack] = TypeAdapter(Annotated[Hello | Ack, Field(discriminator="type")])


def parsed(frame: str | bytes) -> Hello | Ack:
    """Return what a client's frame says; raise `RefusedError` for anything that is no message of this protocol."""
    if isinstance(frame, bytes):
        raise RefusedError(Close.MALFORMED, "binary frames mean nothing here: send JSON as text")
    try:
        return _FROM_CLIENT.validate_json(frame)
    except ValidationError as error:
        # Nothing of what was sent is said back: a token may be in it.
        raise RefusedError(
            Close.MALFORMED, 'send {"type":"hello","token":"..."} first, then {"type":"ack","event_id":1} and no more'
        ) from error


def welcome(user_id: int, heartbeat_s: float | None) -> str:
    """Return the answer to a hello; `heartbeat_s` (None: never) is the longest silence to expect from the gateway."""
    return json.dumps({"type": "welcome", "user_id": user_id, "heartbeat_s": heartbeat_s})


def told(note: Notification) -> str:
    """Return a notification as its user gets it; `dedupe_key` is null where nobody can say whether it came before."""
    about = {"event_id": note.event_id, "dedupe_key": note.dedupe_key, "created_at": note.created_at}
    return json.dumps({"type": "notification", "user_id": note.user_id, **about})


def heartbeat() -> str:
    """Return what is said when there is nothing to say: a page in a browser does not see the pings of WebSocket."""
    return '{"type": "heartbeat"}'


def error(refused: RefusedError) -> str:
    """Return the last message before a socket is closed for something that its client did."""
    return json.dumps({"type": "error", "code": int(refused.code), "message": refused.message})
