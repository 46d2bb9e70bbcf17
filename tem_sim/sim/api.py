"""The Event API and its clients: requests arrive when the scenario says, and are repeated until they are answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tem_sim.pipeline.failures import DATABASE_FAILURES
from tem_sim.pipeline.lifecycle import Submission
from tem_sim.pipeline.shedding import Overloaded
from tem_sim.pipeline.tasks import Pipeline, submit_events
from tem_sim.scenario.load import CLIENT_RETRY_S, DOUBLE_SUBMIT_S, Load
from tem_sim.sim.kernel import Node

if TYPE_CHECKING:
    import numpy as np

    from tem_sim.pipeline.ports import Random
    from tem_sim.scenario.models import Scenario
    from tem_sim.scenario.streams import Streams


@dataclass(slots=True)
class Request:
    """One POST: the numbers of the arrivals in it, and how often the client has sent it."""

    numbers: Sequence[int]
    tries: int = 0


@dataclass
class Api:
    """One API node, and the load on it."""

    node: Node
    pipe: Pipeline
    scenario: Scenario
    streams: Streams
    arrivals: np.ndarray
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    refused: int = 0
    # What faults at work make of what arrives, by its time; and with what probability, by whose luck, answers get lost.
    changes: list[Callable[[Submission, float], Submission]] = field(default_factory=list)
    answer_losses: list[tuple[float, Random]] = field(default_factory=list)
    answers_lost: int = 0
    # By the database, and so answered with 503.
    failed: int = 0
    # What clients sent in each second of the run, every repetition counted.
    sent_per_s: Counter[int] = field(default_factory=Counter)
    # When events arrived that faults have added to the load; they are numbered after all of the scenario's own.
    added_s: list[float] = field(default_factory=list)
    _given_up: set[int] = field(default_factory=set)
    _sent: int = 0
    _open: list[Request] = field(default_factory=list)
    _to_send: int = 0
    _load: Load = field(init=False)

    def __post_init__(self) -> None:
        self._load = Load(self.scenario, self.streams)

    @property
    def idle(self) -> bool:
        """Whether every arrival has been sent, and answered or given up."""
        return self._sent >= len(self.arrivals) and not self._open and not self._to_send

    def submissions(self, stored: Collection[int]) -> dict[str, int]:
        """Count what came of the arrivals; `stored` holds the ids of the events that the store has.

        A client that gave up without an answer may have been served all the same: what is stored was accepted.
        """
        return {
            "submissions_offered": self._sent + len(self.added_s),
            "submissions_accepted": len(stored),
            "submissions_rejected": sum(number not in stored for number in self._given_up),
            "submissions_repeated": self.duplicates,
            "submissions_refused": self.refused,
        }

    def begin_load(self) -> None:
        """Let the clients send what the scenario says, whether or not anybody answers."""
        if len(self.arrivals):
            self.node.kernel.call_later(float(self.arrivals[0]), self._arrive)

    def start(self) -> None:
        """Begin to listen."""
        self.node.revive()
        self.node.on_death[:] = [self._die]

    def _arrive(self) -> None:
        """Send what arrives at this instant, in requests of at most `api.batch` events, and wait for the next."""
        first, arrivals = self._sent, self.arrivals
        last = int(arrivals.searchsorted(arrivals[first], side="right"))
        self._sent = last
        self._send_batches(first + 1, last)
        if last < len(arrivals):
            kernel = self.node.kernel
            kernel.call_later(max(0.0, float(arrivals[last]) - kernel.now), self._arrive)

    def _send_batches(self, first: int, last: int) -> None:
        """Send the events with these numbers, the last included."""
        for numbers in self._load.requests(first, last):
            self._send(Request(numbers))

    def add(self, events: int) -> None:
        """Let clients send so many events now, besides what the scenario says."""
        first = len(self.arrivals) + len(self.added_s) + 1
        self.added_s += [self.node.kernel.now] * events
        self._send_batches(first, first + events - 1)

    def _arrived_s(self, number: int) -> float:
        own = len(self.arrivals)
        return float(self.arrivals[number - 1]) if number <= own else self.added_s[number - own - 1]

    def _submission(self, number: int) -> Submission:
        """Describe the nth arrival: who it is for and of what kind depends on its number and the seed alone."""
        load = self._load
        about = load.key(number), load.user_id(number), load.kind(number)
        submission = Submission(number, *about, {"pad": load.pad()})
        for change in self.changes:
            submission = change(submission, self._arrived_s(number))
        return submission

    def _send(self, request: Request) -> None:
        request.tries += 1
        self.sent_per_s[int(self.node.kernel.now)] += len(request.numbers)
        self._open.append(request)
        if self.node.alive:
            self.node.spawn(f"request-{request.numbers[0]}", lambda: self._answer(request))
        else:
            self._fail(request)

    def _answer(self, request: Request) -> None:
        self.node.kernel.sleep(self.scenario.api.latency_s)
        # Made only now: of a burst, all at once would take more memory than the events do later.
        submissions = [self._submission(number) for number in request.numbers]
        self._note("task")
        try:
            answers = submit_events(self.pipe, submissions, actor=self.node.name)
        except Overloaded as refusal:
            self.refused += len(submissions)
            self._fail(request, self._load.again_after_s(request.numbers[0], request.tries, refusal.retry_after_s))
            return
        except DATABASE_FAILURES:
            # The server answers 503. Whether the transaction was committed, nobody knows; the key makes it safe to ask.
            self._note("task_failed")
            self.failed += len(submissions)
            self._fail(request)
            return
        created = sum(answer.created for answer in answers)
        self._note("task_done", created)
        self.accepted += created
        self.duplicates += len(answers) - created
        if self._loses_answer():
            self.answers_lost += 1
            self._fail(request)
            return
        self._open.remove(request)
        twice = self._load.sent_twice(request.numbers) if request.tries == 1 else []
        if twice:
            self._send_later(DOUBLE_SUBMIT_S, Request(twice, tries=1))

    def _note(self, kind: str, created: int = -1) -> None:
        """Tell whoever watches how a request goes, and of how many new events its answer speaks."""
        if self.node.kernel.watch is not None:
            self.node.kernel.watch.note(kind, rows=created)

    def _loses_answer(self) -> bool:
        # One loss must not spare another its draw, so that none moves another's luck.
        return bool(self.answer_losses) and sum(luck.random() < loss for loss, luck in self.answer_losses) > 0

    def _die(self) -> None:
        """Leave every open request unanswered; its client sends it again under the same key."""
        for request in list(self._open):
            self._fail(request)

    def _fail(self, request: Request, again_after_s: float = CLIENT_RETRY_S) -> None:
        self._open.remove(request)
        if request.tries > self.scenario.api.retries:
            self.rejected += len(request.numbers)
            self._given_up.update(request.numbers)
            return
        self._send_later(again_after_s, request)

    def _send_later(self, delay_s: float, request: Request) -> None:
        def send() -> None:
            self._to_send -= 1
            self._send(request)

        self._to_send += 1
        self.node.kernel.call_later(delay_s, send)
