"""The task queue on Redis, as Celery uses it: at least once, prefetch, acks early or late, a visibility timeout."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from simpy.events import Event

from tem_sim.pipeline.ports import Random, Unavailable
from tem_sim.sim.kernel import Kernel


@dataclass(slots=True, eq=False)
class Message:
    """One wake-up in the queue."""

    number: int
    delivered_at: float = 0.0
    redelivered: bool = False


class Consumer:
    """A worker's subscription: holds up to `prefetch` unacknowledged messages, handed to its slots in order.

    `held` is the worker's own count of what it has not acknowledged, `unacked` the broker's: after a visibility timeout
    the broker has taken a message back, and the worker that is still busy with it has no more room than before.
    """

    def __init__(self, broker: SimBroker, name: str, prefetch: int) -> None:
        self.broker = broker
        self.name = name
        self.prefetch = prefetch
        self.connected = True
        self.held = 0
        self.unacked: dict[int, Message] = {}
        self._reserved: deque[Message] = deque()
        self._idle: deque[Event] = deque()

    @property
    def has_room(self) -> bool:
        """Whether the broker may hand this consumer another message."""
        return self.connected and self.held < self.prefetch

    def take(self) -> Message:
        """Wait for a message; called by a sim thread of the worker."""
        kernel = self.broker.kernel
        if self._reserved:
            kernel.checkpoint()
            return self._reserved.popleft()
        waiting = Event(kernel.env)
        self._idle.append(waiting)
        message: Message = kernel.wait(waiting)
        return message

    def ack(self, message: Message) -> None:
        """Acknowledge a message; one that the broker has meanwhile taken back is acknowledged in vain."""
        self.broker.kernel.checkpoint()
        self.held -= 1
        self.unacked.pop(message.number, None)
        self.broker.dispatch()

    def deliver(self, message: Message) -> None:
        """Take a message from the broker: to an idle slot if there is one."""
        message.delivered_at = self.broker.kernel.now
        self.held += 1
        self.unacked[message.number] = message
        if self._idle:
            self._idle.popleft().succeed(message)
        else:
            self._reserved.append(message)

    def disconnect(self) -> list[Message]:
        """Lose the connection: what was reserved but not started is forgotten; return what stood unacknowledged."""
        unacked = list(self.unacked.values())
        self.unacked.clear()
        self.held -= len(self._reserved)
        self._reserved.clear()
        return unacked


class SimBroker:
    """One queue. Restarts, losses and refusals are switched on it by the faults."""

    def __init__(
        self,
        kernel: Kernel,
        *,
        visibility_timeout_s: float,
        sweep_every_s: float,
        loss: float,
        luck: Random,
    ) -> None:
        self.kernel = kernel
        self.up = True
        self.stops = 0
        # With what probability, by whose luck, a message gets lost on its way: the usual one, and each fault at work.
        self.losses: list[tuple[float, Random]] = [(loss, luck)] if loss else []
        self.sent = 0
        self.lost_on_the_way = 0
        # Rows of the frame `wakeups`, noted by those who send.
        self.wakeups: list[tuple[float, str, str, int, int, int]] = []
        self.ready: deque[Message] = deque()
        self._visibility_timeout_s = visibility_timeout_s
        self._sweep_every_s = sweep_every_s
        self._consumers: list[Consumer] = []
        self._orphans: list[Message] = []
        kernel.call_later(sweep_every_s, self._sweep)

    @property
    def unacked(self) -> int:
        """The number of messages delivered or orphaned, and not acknowledged."""
        return len(self._orphans) + sum(len(consumer.unacked) for consumer in self._consumers)

    def connect(self, name: str, prefetch: int) -> Consumer:
        """Open a consumer."""
        consumer = Consumer(self, name, prefetch)
        consumer.connected = self.up
        self._consumers.append(consumer)
        self.dispatch()
        return consumer

    def abandon(self, consumer: Consumer) -> None:
        """Forget a consumer whose worker died. Redis notices nothing: its messages wait for the visibility timeout."""
        consumer.connected = False
        self._orphans += consumer.disconnect()
        self._consumers.remove(consumer)

    def send(self, count: int) -> int:
        """Put messages in the queue, less those that get lost on the way; return the number lost."""
        if not self.up:
            raise Unavailable("broker: connection refused")
        lost = 0
        for _ in range(count):
            self.sent += 1
            # One loss must not spare another its draw, so that none moves another's luck.
            if sum(luck.random() < loss for loss, luck in self.losses):
                lost += 1
                continue
            self.ready.append(Message(self.sent))
        self.lost_on_the_way += lost
        self.dispatch()
        return lost

    def dispatch(self) -> None:
        """Hand ready messages to consumers with room, those with the fewest first."""
        while self.up and self.ready:
            open_ = [consumer for consumer in self._consumers if consumer.has_room]
            if not open_:
                return
            min(open_, key=lambda consumer: consumer.held).deliver(self.ready.popleft())

    def stop(self, *, keep_messages: bool) -> int:
        """Go down: consumers are cut off, messages stay on disk or vanish; return how many were lost."""
        self.up = False
        self.stops += 1
        returned = list(self._orphans)
        self._orphans.clear()
        for consumer in self._consumers:
            consumer.connected = False
            returned += consumer.disconnect()
        if not keep_messages:
            lost = len(self.ready) + len(returned)
            self.ready.clear()
            return lost
        self._give_back(returned)
        return 0

    def start(self) -> None:
        """Come up again, unless it was stopped once more meanwhile; the workers reconnect."""
        self.stops -= 1
        if self.stops:
            return
        self.up = True
        for consumer in self._consumers:
            consumer.connected = True
        self.dispatch()

    def _give_back(self, messages: list[Message]) -> None:
        """Return unacknowledged messages to the head of the queue."""
        for message in sorted(messages, key=lambda message: message.number, reverse=True):
            message.redelivered = True
            self.ready.appendleft(message)

    def _sweep(self) -> None:
        """Redeliver what has been unacknowledged for the visibility timeout, even while its first run goes on."""
        self.kernel.call_later(self._sweep_every_s, self._sweep)
        if not self.up:
            return
        due = self.kernel.now - self._visibility_timeout_s
        late = [message for message in self._orphans if message.delivered_at <= due]
        self._orphans = [message for message in self._orphans if message.delivered_at > due]
        for consumer in self._consumers:
            late += [message for message in consumer.unacked.values() if message.delivered_at <= due]
            for message in late:
                consumer.unacked.pop(message.number, None)
        self._give_back([Message(message.number) for message in late])
        self.dispatch()
