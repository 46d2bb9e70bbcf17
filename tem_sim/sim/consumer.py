"""A worker's subscription to the task queue: what it holds, what its slots take, and how it loses its connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from simpy.events import Event

from tem_sim.sim.messages import Message

if TYPE_CHECKING:
    from tem_sim.sim.broker import SimBroker


# Of Celery's worker (kombu's `ensure_connection`).
LONGEST_WAIT_S = 30.0


class Consumer:
    """Holds up to `prefetch` unacknowledged messages, handed to the worker's slots in order.

    `held` is the worker's own count of what it has not acknowledged, `unacked` the broker's: after a visibility timeout
    the broker has taken a message back, and the worker that is still busy with it has no more room than before. What
    must not begin yet takes none of that room, as with Celery: up to `eta_limit` such messages wait with the worker.
    """

    def __init__(self, broker: SimBroker, name: str, prefetch: int, eta_limit: int | None = None) -> None:
        self.broker = broker
        self.name = name
        self.prefetch = prefetch
        self.eta_limit = eta_limit
        self.connected = True
        # Since when it is not.
        self.lost_at = 0.0
        # Connected and never served: the broker does not hand it anything.
        self.deaf = False
        self.held = 0
        self.unacked: dict[int, Message] = {}
        self.on_connection_loss: Callable[[], None] | None = None
        self._waiting = 0
        self._connection = 0
        self._reserved: deque[Message] = deque()
        self._idle: deque[Event] = deque()

    @property
    def has_room(self) -> bool:
        """Whether the broker may hand this consumer another message."""
        if not self.connected or self.deaf or self.held >= self.prefetch:
            return False
        return self.eta_limit is None or self._waiting < self.eta_limit

    def take(self) -> Message:
        """Wait for a message; called by a sim thread of the worker."""
        kernel = self.broker.kernel
        if self._reserved:
            kernel.checkpoint()
            message = self._reserved.popleft()
        else:
            waiting = Event(kernel.env)
            self._idle.append(waiting)
            message = kernel.wait(waiting)
        self.broker.log.started(message, kernel.now)
        return message

    def ack(self, message: Message) -> None:
        """Acknowledge a message; one that the broker has meanwhile taken back is acknowledged in vain."""
        self.broker.kernel.checkpoint()
        self.held -= 1
        self._settle(message, "acked")
        self.broker.dispatch()

    def drop(self, message: Message, *, requeue: bool) -> None:
        """Be done with a message whose task was killed: it goes back to the queue, or is acknowledged and lost."""
        self.held -= 1
        settled = self._settle(message, "returned" if requeue else "lost")
        if settled is not None and requeue:
            self.broker.give_back([settled])
        self.broker.dispatch()

    def _settle(self, message: Message, fate: str) -> Message | None:
        settled = self.unacked.pop(message.tag, None)
        if settled is not None:
            self.broker.ended(settled, fate)
        return settled

    def deliver(self, message: Message) -> None:
        """Take a message from the broker: to an idle slot if there is one, later if it must not begin yet."""
        kernel = self.broker.kernel
        message.delivered_at = kernel.now
        self.unacked[message.tag] = message
        self.broker.log.delivered(message, self.name, kernel.now)
        if message.eta <= kernel.now:
            self._reserve(message)
            return
        self._waiting += 1
        connection = self._connection

        def due() -> None:
            # A worker forgets what waited when it loses its connection, but not what the broker has taken back.
            if connection == self._connection:
                self._waiting -= 1
                self._reserve(message)

        kernel.call_later(message.eta - kernel.now, due)

    def _reserve(self, message: Message) -> None:
        self.held += 1
        if self._idle:
            self._idle.popleft().succeed(message)
        else:
            self._reserved.append(message)

    def hand_back(self, in_hand: Collection[Message]) -> None:
        """Give all back that nobody has in hand, and be served no more: what a worker does that is asked to end."""
        self.deaf = True
        self._connection += 1
        self._waiting = 0
        self.held -= len(self._reserved)
        self._reserved.clear()
        back = [message for message in self.unacked.values() if message not in in_hand]
        for message in back:
            self._settle(message, "returned")
        self.broker.give_back(back)
        self.broker.dispatch()

    def dial(self, step_s: float) -> None:
        """Connect again: at once, or at the next of the times at which a client dials that waits ever longer."""
        if self.connected:
            return
        kernel, connection = self.broker.kernel, self._connection
        if not step_s:
            self.connected = True
            return
        at, wait_s = self.lost_at, step_s
        while at < kernel.now:
            at += wait_s
            wait_s = min(wait_s + step_s, LONGEST_WAIT_S)

        def connect() -> None:
            if self.broker.up and connection == self._connection:
                self.connected = True
                self.broker.dispatch()

        kernel.call_later(at - kernel.now, connect)

    def disconnect(self) -> list[Message]:
        """Lose the connection: what was reserved but not started is forgotten; return what stood unacknowledged."""
        if self.connected:
            self.lost_at = self.broker.kernel.now
        self.connected = False
        self._connection += 1
        self._waiting = 0
        unacked = list(self.unacked.values())
        self.unacked.clear()
        self.held -= len(self._reserved)
        self._reserved.clear()
        return unacked
