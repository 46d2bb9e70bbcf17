"""The routes of events: taking them in, showing them, giving them a new life."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from tem_sim.live.api import bodies, reading, taking_in
from tem_sim.live.api.callers import Caller
from tem_sim.live.api.described import answers, body, key_header
from tem_sim.live.api.models import Accepted, Answer, Answers, Batch, Event, NewEvent, Page, Phase, Timeline
from tem_sim.live.api.problems import Refusal, refusal
from tem_sim.live.api.service import Service, Serving
from tem_sim.live.api.taking_in import Accountable
from tem_sim.live.api.watching import FACTS
from tem_sim.live.ids import MAX_ID
from tem_sim.live.tokens import Holder
from tem_sim.pipeline.lifecycle import Submitted

MAX_PAGE = 500
# A body may be larger than what of it is kept: its names, and JSON that is not written tightly.
AROUND_PAYLOAD_BYTES = 8 * 1024
BATCH_IN_PAYLOADS = 64

router = APIRouter(tags=["events"])
EventId = Annotated[int, Path(ge=1, le=MAX_ID, description="The event's id.")]


@router.post(
    "/events",
    status_code=201,
    responses=answers(201, 200, 401, 403, 408, 409, 413, 422, 503, model=Accepted),
    openapi_extra={**body(NewEvent), "parameters": [key_header()]},
)
async def submit(request: Request, serving: Serving, caller: Caller) -> Response:
    """Take an event in. Sent again with the same key, it is the same event; what 201 and 200 say is durable."""
    key = taking_in.header_key(request.headers.getlist("idempotency-key"))
    most = serving.limits.payload_bytes
    document = bodies.parse(await bodies.read(request, most + AROUND_PAYLOAD_BYTES))
    event = taking_in.single(document, key, caller, most)
    (submitted,) = await _take_in(serving, [event])
    if not submitted.same:
        raise _used_before(key)
    accepted = Accepted(event_id=submitted.event_id, created=submitted.created)
    location = {"Location": f"/events/{submitted.event_id}"}
    return JSONResponse(accepted.model_dump(), _code(submitted), headers=location)


@router.post(
    "/events/batch",
    responses=answers(200, 401, 408, 413, 422, 503, model=Answers),
    openapi_extra=body(Batch),
)
async def submit_batch(request: Request, serving: Serving, caller: Caller) -> Response:
    """Take many events in at once. Each is answered for itself, in their order: one that is refused harms no other."""
    limits = serving.limits
    sent = await bodies.read(request, limits.payload_bytes * BATCH_IN_PAYLOADS)
    # Millions of small parts take a while to look through; others are answered meanwhile.
    events = await asyncio.to_thread(_events_of_batch, sent, caller, limits.batch, limits.payload_bytes)
    valid = [event for event in events if isinstance(event, Accountable)]
    submitted = iter(await _take_in(serving, valid) if valid else [])
    said = [_refused(event) if isinstance(event, Refusal) else _answer(event, next(submitted)) for event in events]
    return JSONResponse(Answers(events=said).model_dump())


def _events_of_batch(sent: bytes, caller: Holder, most: int, most_bytes: int) -> list[Accountable | Refusal]:
    return taking_in.several(bodies.parse(sent), caller, most, most_bytes)


async def _take_in(serving: Service, events: list[Accountable]) -> list[Submitted]:
    submitted = await serving.calls(taking_in.take_in, serving.pipe, events, serving.new_id, actor=serving.name)
    FACTS.get().event_ids += [one.event_id for one in submitted if one.same]
    return submitted


def _code(submitted: Submitted) -> int:
    return HTTPStatus.CREATED if submitted.created else HTTPStatus.OK


def _used_before(key: str) -> Refusal:
    rule = "a key stands for one event: it was used before with another kind or payload"
    return refusal(409, "idempotency key", rule, key, remedy="send the event under a key of its own")


def _answer(event: Accountable, submitted: Submitted) -> Answer:
    if not submitted.same:
        return _refused(_used_before(event.key))
    return Answer(status=_code(submitted), event_id=submitted.event_id, created=submitted.created)


def _refused(why: Refusal) -> Answer:
    return Answer(status=why.problem.status, problem=why.problem)


@router.get("/events", responses=answers(200, 401, 422, 503), response_model=Page)
async def show_page(
    serving: Serving,
    caller: Caller,
    status: Annotated[
        Phase | None, Query(description="Only those that stand there; RETRY is QUEUED after a failure.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many at most.")] = 50,
    after: Annotated[int, Query(ge=0, le=MAX_ID, description="The `next` of the page before.")] = 0,
) -> Page:
    """Show events: a user's own, or all to an operator. Going on with `next` shows all that were there at the start."""
    return await serving.calls(reading.page, serving.reader, caller, status, after=after, limit=limit)


@router.get("/events/{event_id}", responses=answers(200, 401, 404, 422, 503), response_model=Timeline)
async def show(serving: Serving, caller: Caller, event_id: EventId) -> Timeline:
    """Show an event and all that happened to it. Another user's event is not found."""
    return await _seen(serving, caller, event_id)


@router.post("/events/{event_id}/replay", responses=answers(200, 401, 404, 409, 422, 503), response_model=Event)
async def replay(serving: Serving, caller: Caller, event_id: EventId) -> Any:
    """Give an EXTINCT event a new life, with all its retries; show where it stands now."""
    before = await _seen(serving, caller, event_id)
    if not await serving.calls(taking_in.replay, serving.pipe, event_id, actor=serving.name):
        remedy = "nothing: the pipeline has it, or is done with it"
        raise refusal(409, "event", "must be EXTINCT to be replayed", before.status, remedy=remedy)
    return await _seen(serving, caller, event_id)


async def _seen(serving: Service, caller: Holder, event_id: int) -> Timeline:
    found = await serving.calls(reading.timeline, serving.reader, caller, event_id)
    if found is None:
        raise refusal(404, "event", "must be one of yours", event_id, remedy="look at GET /events")
    FACTS.get().event_ids.append(event_id)
    return found
