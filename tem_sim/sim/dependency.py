"""The downstream that the handler calls: service times, luck, outages, and a capacity that retries can exhaust.

Where the handler is the user's own function, it is called once the downstream has answered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from tem_sim.scenario.downstream import AWAY, QUEUE_FULL, Outage, Overload, Refused, Servers

if TYPE_CHECKING:
    from tem_sim.pipeline.ports import ClaimedEvent
    from tem_sim.scenario.handler import Decision, HandlerModel
    from tem_sim.scenario.streams import Streams
    from tem_sim.sim.kernel import Kernel


class Dependency:
    """The handler of the simulated pipeline: calls the downstream as the scenario's handler model says."""

    def __init__(
        self,
        kernel: Kernel,
        model: HandlerModel,
        streams: Streams,
        crash: Callable[[], None],
        own: Callable[[ClaimedEvent], None] | None = None,
    ) -> None:
        self.kernel = kernel
        self.model = model
        self.outages = 0
        self.busy = 0
        self.calls = 0
        self.refused_in_outage = 0
        # When each attempt's side effect really happened, keyed by (event_id, attempt_no).
        self.effects: dict[tuple[int, int], float] = {}
        # When each call began whose attempt was never finished, because its worker died or the run ended.
        self.abandoned: dict[tuple[int, int], float] = {}
        self._begun: defaultdict[str, list[tuple[int, int, float]]] = defaultdict(list)
        self.servers = Servers(model.capacity) if model.capacity is not None else None
        self._uniform = streams.uniform
        # What faults do to a call before it is made; each is told the event and the time that the call would take.
        self.before_call: list[Callable[[ClaimedEvent, float], None]] = []
        # What faults make of how a call would have gone; each is told the event's id and the attempt's number.
        self.changes: list[Callable[[tuple[int, int], Decision], Decision]] = []
        self._crash = crash
        self._own = own

    @property
    def in_flight(self) -> int:
        """Calls that the downstream is busy with, abandoned ones included."""
        return self.servers.in_flight(self.kernel.now) if self.servers is not None else self.busy

    def handle(self, event: ClaimedEvent) -> None:
        """Do one attempt under simulated time; raise what the downstream answers when it does not succeed."""
        self.kernel.checkpoint()
        caller = self.kernel.current
        assert caller is not None
        self._begun[caller.name].append((event.event_id, event.attempt_no, self.kernel.now))
        self.calls += 1
        self.busy += 1
        watch = self.kernel.watch
        if watch is not None:
            watch.note("handle", event_id=event.event_id)
        try:
            if self.outages:
                self._refuse_in_outage()
            self._call(event)
        finally:
            self.busy -= 1
            if watch is not None and not caller.dead:
                watch.note("handled", event_id=event.event_id)

    def settled(self, caller: str) -> None:
        """Forget the calls of a batch that its worker has brought to its end."""
        self._begun.pop(caller, None)

    def abandon(self, caller: str) -> None:
        """Keep the calls of a batch whose worker died: nobody else will ever say that they were made."""
        for event_id, attempt_no, began_at in self._begun.pop(caller, ()):
            self.abandoned[event_id, attempt_no] = began_at

    def _refuse_in_outage(self) -> None:
        self.refused_in_outage += 1
        self.kernel.sleep(self.model.fail_time_s)
        raise Outage(AWAY)

    def _call(self, event: ClaimedEvent) -> None:
        key = event.event_id, event.attempt_no
        decision = self.model.decide(
            event.kind, event.attempt_no, self._uniform("service", *key), self._uniform("luck", *key)
        )
        for change in self.changes:
            decision = change(key, decision)
        for act in self.before_call:
            act(event, decision.service_s)
        if decision.kills:
            self.kernel.work(decision.service_s)
            self._crash()
        if self.servers is None:
            service_s = self.kernel.stretched(decision.service_s)
            self._note_effect(key, decision.error, self.kernel.now + service_s)
            self.kernel.sleep(service_s)
        else:
            self._queue_up(self.servers, key, decision.error, decision.service_s)
        if decision.error is not None:
            raise Refused(decision.error)
        if self._own is not None:
            self._own(event)
            self.effects[key] = self.kernel.now
        if decision.late_error is not None:
            raise Refused(decision.late_error)

    def _queue_up(self, servers: Servers, key: tuple[int, int], error: str | None, service_s: float) -> None:
        kernel = self.kernel
        done_at = servers.admit(kernel.now, service_s)
        if done_at is None:
            kernel.sleep(self.model.fail_time_s)
            raise Overload(QUEUE_FULL)
        self._note_effect(key, error, done_at)
        timeout_s = servers.capacity.timeout_s
        if done_at - kernel.now > timeout_s:
            kernel.sleep(timeout_s)
            raise Overload(servers.too_late)
        kernel.sleep(done_at - kernel.now)

    def _note_effect(self, key: tuple[int, int], error: str | None, at_s: float) -> None:
        """Note the side effect as soon as the call is made: it happens even if the caller dies or stops waiting.

        What the user's own function does is done when it returns; nobody can tell when before that.
        """
        if error is None and self._own is None:
            self.effects[key] = at_s
