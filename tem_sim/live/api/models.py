"""What goes in and out of the API, as its OpenAPI description has it. Instants are seconds since the epoch."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from tem_sim.live.api.problems import Problem
from tem_sim.live.ids import MAX_ID
from tem_sim.live.tokens import MAX_USER_ID
from tem_sim.pipeline.states import Cause, State

MAX_KEY_LENGTH = 255
KEY_PATTERN = rf"^[\x21-\x7e]{{1,{MAX_KEY_LENGTH}}}$"
_EVENT: dict[str, JsonValue] = {"kind": "normal", "payload": {"order": 17, "total": "12.50"}}


class Phase(StrEnum):
    """Where an event stands, for people: its state, but RETRY where it is QUEUED after a failure."""

    QUEUED = "QUEUED"
    RETRY = "RETRY"
    PROCESSING = "PROCESSING"
    PROCESSED = "PROCESSED"
    FAILED = "FAILED"
    EXTINCT = "EXTINCT"

    @staticmethod
    def of(status: str, retry_count: int) -> Phase:
        """Return the phase of a row."""
        return Phase.RETRY if status == State.QUEUED and retry_count else Phase(status)


class NewEvent(BaseModel):
    """An event to be taken in."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [_EVENT]})

    kind: str = Field(min_length=1, max_length=100, description="What kind of event it is: the handler goes by it.")
    # Any, since it is JSON already, and to look through it again would gain nothing.
    payload: Any = Field(description="Any JSON; no NUL characters in it, no number beyond double precision.")
    user_id: int | None = Field(
        None, ge=1, le=MAX_USER_ID, description="Whose event it is: the token's user when left out."
    )


class BatchEvent(NewEvent):
    """An event of a batch, with its own key."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"idempotency_key": "order-17", **_EVENT}]})

    idempotency_key: str = Field(
        pattern=KEY_PATTERN, description="As the header Idempotency-Key of an event that is sent alone."
    )


class Accepted(BaseModel):
    """An event that is durable."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"event_id": 253711417868288, "created": True}]})

    event_id: int = Field(ge=1, le=MAX_ID)
    created: bool = Field(description="Whether this request made it; false when one with the same key did before.")


class Batch(BaseModel):
    """Events to be taken in, each with its own key."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"events": [{"idempotency_key": "order-17", **_EVENT}]}]}
    )

    events: list[BatchEvent]


class Answer(BaseModel):
    """What became of one event of a batch: `event_id` and `created` when it is durable, else the problem."""

    status: int = Field(description="What it would have been answered with if it were sent alone.")
    event_id: int | None = None
    created: bool | None = None
    problem: Problem | None = None


class Answers(BaseModel):
    """What became of the events of a batch, in their order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"events": [{"status": 201, "event_id": 253711417868288, "created": True, "problem": None}]},
            ]
        }
    )

    events: list[Answer]


_STANDING: dict[str, JsonValue] = {
    "event_id": 253711417868288,
    "user_id": 7,
    "kind": "normal",
    "created_at": 1795525370.738769,
    "status": "RETRY",
    "retry_count": 1,
    "crash_count": 0,
    "replay_count": 0,
    "attempt_no": 1,
    "last_error": "Outage: the downstream is away",
    "next_retry_at": None,
    "finished_at": None,
}
_SUBMITTED: dict[str, JsonValue] = {
    "at": 1795525370.738769,
    "before": None,
    "after": "QUEUED",
    "cause": "submit",
    "actor": "api",
    "attempt_no": 0,
    "retry_count": 0,
}


class Event(BaseModel):
    """Where an event stands."""

    model_config = ConfigDict(json_schema_extra={"examples": [_STANDING]})

    event_id: int
    user_id: int
    kind: str
    created_at: float
    status: Phase
    retry_count: int = Field(description="Retries since the submit, or the last replay.")
    crash_count: int = Field(description="Workers that died with it.")
    replay_count: int
    attempt_no: int = Field(description="How often a worker has claimed it.")
    last_error: str | None
    next_retry_at: float | None
    finished_at: float | None


class Transition(BaseModel):
    """One move of an event."""

    at: float
    before: State | None
    after: State
    cause: Cause
    actor: str = Field(examples=["worker-1/0"])
    attempt_no: int
    retry_count: int


class Attempt(BaseModel):
    """One attempt to handle an event, as it ended; an attempt can end twice when its worker came back too late."""

    attempt_no: int
    worker: str
    started_at: float | None
    finished_at: float
    outcome: str = Field(examples=["ok", "error", "lost", "superseded", "expired", "released"])
    error: str | None
    delay_s: float | None = Field(description="How long until the retry that it led to, in seconds.")


class Notification(BaseModel):
    """What the user is told of it, from the transaction in which it was PROCESSED."""

    created_at: float
    published_at: float | None
    acked_at: float | None


class Timeline(Event):
    """An event with all that happened to it, in order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_STANDING,
                    "status": "QUEUED",
                    "payload": _EVENT["payload"],
                    "transitions": [_SUBMITTED],
                    "attempts": [],
                    "notification": None,
                }
            ]
        }
    )

    payload: Any
    transitions: list[Transition]
    attempts: list[Attempt]
    notification: Notification | None


class Page(BaseModel):
    """Some events, in the order of their ids, which is that of their submission within a second or so."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"events": [_STANDING], "next": None}]})

    events: list[Event]
    next: int | None = Field(description="What to give as `after` for the next page; null at the end.")


class Part(BaseModel):
    """Whether something that the API needs can be reached."""

    ok: bool
    detail: str = Field(examples=["0.4 ms", "ConnectionError: Connection refused"])


class Health(BaseModel):
    """Whether the API can do its work."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ok": True, "parts": {"store": {"ok": True, "detail": "0.4 ms"}}}]}
    )

    ok: bool
    parts: dict[str, Part]
