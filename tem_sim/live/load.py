"""The load of a scenario on a real Event API: each event is posted at its time, and again until it is answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tem_sim.live.config import HOST
from tem_sim.live.posting import FAILURES, Answer, Poster
from tem_sim.live.tokens import issue
from tem_sim.scenario.arrivals import arrival_times
from tem_sim.scenario.load import CLIENT_RETRY_S, DOUBLE_SUBMIT_S, Load

if TYPE_CHECKING:
    from tem_sim.live.config import LiveConfig
    from tem_sim.live.logs import Log
    from tem_sim.pipeline.ports import Random
    from tem_sim.scenario.streams import Streams

# How long a client waits for its answer; an API that is frozen says nothing at all.
ANSWER_TIMEOUT_S = 30.0
CONNECTIONS = 64

# What becomes of an event that arrives while a fault is at work: given its number and what is posted, which has
# `user_id`, `kind` and `payload`.
Change = Callable[[int, dict[str, Any]], dict[str, Any]]


@dataclass(slots=True)
class _Request:
    """One POST: the numbers of the arrivals in it, and how often the client has sent it."""

    numbers: Sequence[int]
    tries: int = 0


class _Fault:
    """A fault that changes a share of what arrives."""

    def __init__(self, key: tuple[int, ...], share: float, change: Change) -> None:
        self.key = key
        self.share = share
        self.change = change
        self.struck = 0


class LoadGenerator:
    """Posts a scenario's events. `begin` belongs to an event loop; what faults call may be called from any thread."""

    def __init__(self, config: LiveConfig, streams: Streams, log: Log) -> None:
        self._config = config
        self._log = log
        self._load = Load(config.scenario, streams)
        self._streams = streams
        self._arrivals = arrival_times(config.scenario, streams)
        self._retries = config.scenario.api.retries
        self._pad = self._load.pad()
        self._added = 0
        self._sent = 0
        self._repeated = 0
        self._refused = 0
        self._given_up: set[int] = set()
        self._sent_per_s: Counter[int] = Counter()
        self._faults: dict[tuple[int, ...], _Fault] = {}
        self._changed: dict[int, dict[str, Any]] = {}
        self._answer_losses: dict[object, tuple[float, Random]] = {}
        self._answers_lost: Counter[object] = Counter()
        self._requests: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._start = 0.0

    @property
    def idle(self) -> bool:
        """Whether every arrival has been sent, and answered or given up."""
        return self._sent >= len(self._arrivals) and not self._requests

    def begin(self) -> asyncio.Task[None]:
        """Let the run begin now, in this loop; return the task that posts everything, until it is cancelled."""
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._http = self._poster()
        return asyncio.create_task(self._run(self._loop))

    async def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        first = 0
        try:
            while first < len(self._arrivals):
                at_s = float(self._arrivals[first])
                last = int(self._arrivals.searchsorted(at_s, side="right"))
                await asyncio.sleep(max(0.0, self._start + at_s - loop.time()))
                self._sent = last
                self._send(first + 1, last)
                first = last
            # Faults may add to it, and double clicks are still to come.
            await asyncio.Event().wait()
        finally:
            for request in self._requests:
                request.cancel()
            self._http.close()

    def _poster(self) -> Poster:
        token = issue(self._config.secret, user_id=None, operator=True)
        headers = {"Authorization": f"Bearer {token}"}
        port = self._config.ports.api
        return Poster(HOST, port, headers, connections=CONNECTIONS, timeout_s=ANSWER_TIMEOUT_S)

    def submissions(self, stored: Collection[int]) -> dict[str, int]:
        """Count what came of the arrivals; `stored` holds the numbers of those that the store has."""
        return {
            "submissions_offered": self._sent + self._added,
            "submissions_accepted": len(stored),
            "submissions_rejected": sum(number not in stored for number in self._given_up),
            "submissions_repeated": self._repeated,
            "submissions_refused": self._refused,
        }

    def sent_per_s(self) -> list[tuple[int, int]]:
        """Return for each second of the run how many events were sent in it, every repetition counted."""
        return sorted(self._sent_per_s.items())

    # --- what faults do

    def add(self, events: int) -> None:
        """Post so many events now, besides what the scenario says; they are numbered after all of its own."""
        first = len(self._arrivals) + self._added + 1
        self._added += events
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._send, first, first + events - 1)

    def change(self, key: tuple[int, ...], share: float | None, change: Change | None) -> int:
        """Change this share of what arrives from now on; None ends it and returns how many events it has struck."""
        if share is not None and change is not None:
            self._faults[key] = _Fault(key, share, change)
            return 0
        fault = self._faults.pop(key, None)
        return 0 if fault is None else fault.struck

    def lose_answers(self, key: object, probability: float | None, luck: Random | None) -> int:
        """Throw answers away with this probability from now on; None ends it and returns how many were."""
        if probability is not None and luck is not None:
            self._answer_losses[key] = probability, luck
            return 0
        self._answer_losses.pop(key, None)
        return self._answers_lost.pop(key, 0)

    # --- requests

    def _send(self, first: int, last: int) -> None:
        for numbers in self._load.requests(first, last):
            self._begin(_Request(numbers))

    def _begin(self, request: _Request, after_s: float = 0.0) -> None:
        task = asyncio.create_task(self._post_until_answered(request, after_s))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _post_until_answered(self, request: _Request, after_s: float) -> None:
        """Send a request, and again for as long as its client's patience lasts."""
        again_after_s: float | None = after_s
        while again_after_s is not None:
            await asyncio.sleep(again_after_s)
            request.tries += 1
            again_after_s = await self._post(request)
            if again_after_s is not None and request.tries > self._retries:
                self._given_up.update(request.numbers)
                return

    async def _post(self, request: _Request) -> float | None:
        """Send a request once; return after how long to send it again, None for never."""
        assert self._loop is not None
        self._sent_per_s[int(self._loop.time() - self._start)] += len(request.numbers)
        began = self._loop.time()
        try:
            answer = await self._ask(request)
        except FAILURES as error:
            self._note(request, began, error=f"{type(error).__name__}: {error}")
            return CLIENT_RETRY_S
        self._note(request, began, status=answer.status)
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            return self._told_to_wait(request, answer)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            # What the API does not take it will not take the next time.
            self._given_up.update(request.numbers)
            about = {"first": request.numbers[0], "status": answer.status}
            self._log.note("refused", **about, answer=str(answer.body)[:500])
            return None
        self._repeated += self._take(request, answer)
        if self._loses_answer():
            return CLIENT_RETRY_S
        twice = self._load.sent_twice(request.numbers) if request.tries == 1 else []
        if twice:
            self._begin(_Request(twice, tries=1), DOUBLE_SUBMIT_S)
        return None

    async def _ask(self, request: _Request) -> Answer:
        numbers = request.numbers
        posted = [self._submission(number, is_new=request.tries == 1) for number in numbers]
        if len(numbers) == 1:
            return await self._http.post("/events", posted[0], {"Idempotency-Key": self._load.key(numbers[0])})
        events = [{"idempotency_key": self._load.key(n), **one} for n, one in zip(numbers, posted, strict=True)]
        return await self._http.post("/events/batch", {"events": events})

    def _submission(self, number: int, *, is_new: bool) -> dict[str, Any]:
        """Describe an arrival, each time the same: faults that began after it was first sent leave it as it is."""
        if number in self._changed:
            return self._changed[number]
        payload = {"number": number, "pad": self._pad}
        made: dict[str, Any] = {
            "user_id": self._load.user_id(number),
            "kind": self._load.kind(number),
            "payload": payload,
        }
        for fault in list(self._faults.values()) if is_new else ():
            if self._streams.uniform("fault-event", *fault.key, number) < fault.share:
                fault.struck += 1
                made = self._changed[number] = fault.change(number, made)
        return made

    def _take(self, request: _Request, answer: Answer) -> int:
        """Return how many events of a request were known already; those of a batch may be refused one by one."""
        answers = answer.body.get("events", [answer.body])
        refused = [n for n, one in zip(request.numbers, answers, strict=True) if one.get("problem") is not None]
        if refused:
            self._given_up.update(refused)
            self._log.note("refused", numbers=refused, answer=str(answer.body)[:500])
        return sum(one["created"] is False for one in answers)

    def _told_to_wait(self, request: _Request, answer: Answer) -> float:
        """Wait as long as the API says that sheds load; where its store is away nobody knows how long that takes."""
        after_s = _shed_for_s(answer)
        if after_s is None:
            return CLIENT_RETRY_S
        self._refused += len(request.numbers)
        return self._load.again_after_s(request.numbers[0], request.tries, after_s)

    def _loses_answer(self) -> bool:
        # One loss must not spare another its draw, so that none moves another's luck.
        hit = [key for key, (loss, luck) in list(self._answer_losses.items()) if luck.random() < loss]
        for key in hit:
            self._answers_lost[key] += 1
        return bool(hit)

    def _note(self, request: _Request, began: float, **how: Any) -> None:
        assert self._loop is not None
        took_s = round(self._loop.time() - began, 6)
        self._log.note(
            "posted", first=request.numbers[0], events=len(request.numbers), tries=request.tries, took_s=took_s, **how
        )


def _shed_for_s(answer: Answer) -> float | None:
    """Return when to try again where too many events wait; None where the API cannot do otherwise than refuse."""
    try:
        told = answer.body
        # Retry-After itself has whole seconds only, which may be long ones in a scenario that is scaled.
        return float(told["retry_after_s"]) if told["errors"][0]["where"] == "overload" else None
    except (KeyError, TypeError, IndexError):
        return None
