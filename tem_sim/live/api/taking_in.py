"""Taking events in: whose they are, what their keys stand for, and one answer for each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from tem_sim.live.api import bodies
from tem_sim.live.api.models import KEY_PATTERN, BatchEvent, NewEvent
from tem_sim.live.api.problems import Refusal, invalid, refusal
from tem_sim.live.ports import SENDER
from tem_sim.live.tokens import Holder
from tem_sim.pipeline.lifecycle import Submission, Submitted
from tem_sim.pipeline.tasks import Pipeline, replay_event, submit_events

_SAME_KEY = "send the same key each time you send this event"
_KEY = re.compile(KEY_PATTERN.removesuffix("$") + r"\Z")
_E = TypeVar("_E", bound=NewEvent)


@dataclass(frozen=True, slots=True)
class Accountable:
    """A valid event and the user to whom it belongs."""

    user_id: int
    key: str
    event: NewEvent

    def submission(self, event_id: int) -> Submission:
        """Return it as the pipeline takes it."""
        return Submission(
            event_id, stored_key(self.user_id, self.key), self.user_id, self.event.kind, self.event.payload
        )


def stored_key(user_id: int, key: str) -> str:
    """Return a user's key as it is in the store: whatever others call theirs, they never meet it."""
    return f"{user_id}:{key}"


def header_key(given: Sequence[str]) -> str:
    """Return the Idempotency-Key of a request's headers of that name; refuse none, several and bad ones."""
    where = "header Idempotency-Key"
    if len(given) != 1:
        raise refusal(422, where, "must be given once", given or None, remedy=_SAME_KEY)
    if not _KEY.match(given[0]):
        rule = "must be 1 to 255 visible ASCII characters"
        raise refusal(422, where, rule, given[0], remedy="send a UUID, or what you call the event yourself")
    return given[0]


def single(document: object, key: str, holder: Holder, most_bytes: int) -> Accountable:
    """Return the event of a request; refuse what is no event, too large, or another's."""
    event = _valid(NewEvent, document, "body", most_bytes)
    return Accountable(_owner(event, holder, "body"), key, event)


def several(document: object, holder: Holder, most_events: int, most_bytes: int) -> list[Accountable | Refusal]:
    """Return the events of a batch, or for each what is wrong with it; refuse what is no batch."""
    events = document.get("events") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(events, list) or len(document) > 1:
        rule = 'must be {"events": [...]} and nothing else'
        raise refusal(422, "body", rule, document, remedy="put the events into a list of this name")
    if len(events) > most_events:
        rule = f"must be at most {most_events}"
        raise refusal(422, "body.events", rule, len(events), remedy="send them in several requests")
    return [_one_of(part, f"body.events.{place}", holder, most_bytes) for place, part in enumerate(events)]


def _one_of(document: object, where: str, holder: Holder, most_bytes: int) -> Accountable | Refusal:
    try:
        event = _valid(BatchEvent, document, where, most_bytes)
        return Accountable(_owner(event, holder, where), event.idempotency_key, event)
    except Refusal as why:
        return why


def _valid(model: type[_E], document: object, where: str, most_bytes: int) -> _E:
    bodies.check(document, where)
    try:
        event = model.model_validate(document)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_context=False), where) from None
    size = len(json.dumps(event.payload, ensure_ascii=False, separators=(",", ":")).encode())
    if size > most_bytes:
        rule = f"must have at most {most_bytes} bytes as JSON"
        raise refusal(413, f"{where}.payload", rule, size, remedy="keep the data elsewhere, and send where it is")
    return event


def _owner(event: NewEvent, holder: Holder, where: str) -> int:
    user_id = holder.user_id if event.user_id is None else event.user_id
    if user_id is None:
        rule = "an operator's event must say whose it is"
        raise refusal(422, f"{where}.user_id", rule, remedy="add the id of the user who is told of it")
    if not holder.may_see(user_id):
        rule = "must be the token's user, or left out"
        raise refusal(403, f"{where}.user_id", rule, user_id, remedy="leave it out, or use an operator's token")
    return user_id


def take_in(pipe: Pipeline, events: Sequence[Accountable], new_id: Callable[[], int], *, actor: str) -> list[Submitted]:
    """Make events durable and wake workers for those that are new."""
    submissions = [event.submission(new_id()) for event in events]
    with _sender(actor, submissions[0].event_id):
        return submit_events(pipe, submissions, actor=actor, another_id=new_id)


def replay(pipe: Pipeline, event_id: int, *, actor: str) -> bool:
    """Give an EXTINCT event a new life; return False when it is not EXTINCT."""
    with _sender(actor, event_id):
        return replay_event(pipe, event_id, actor=actor)


@contextmanager
def _sender(actor: str, first_id: int) -> Iterator[None]:
    """Say who sends the wake-ups of the block."""
    outer = SENDER.set((actor, "request", first_id))
    try:
        yield
    finally:
        SENDER.reset(outer)
