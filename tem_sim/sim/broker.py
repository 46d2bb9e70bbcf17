"""The task queue on Redis, as Celery uses it: at least once, prefetch, acks early or late, a visibility timeout."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from simpy.events import Event

from tem_sim.pipeline.ports import Random, Unavailable
from tem_sim.pipeline.tasks import Pipeline
from tem_sim.sim.consumer import Consumer
from tem_sim.sim.journal import Journal
from tem_sim.sim.kernel import Kernel
from tem_sim.sim.messages import DeliveryLog, Message

# A fault that meddles with messages on their way: takes the delays after which copies of one arrive, and returns them.
Route = Callable[[Message, list[float]], list[float]]


@dataclass(eq=False)
class Room:
    """A limit to the queue's length, and what happens beyond it; counts how often it did."""

    limit: int
    drops_oldest: bool
    hits: int = 0


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
        eta_limit: int | None = None,
        reconnect_step_s: float = 0.0,
    ) -> None:
        self.kernel = kernel
        self.up = True
        self.stops = 0
        # With what probability, by whose luck, a message gets lost on its way: the usual one, and each fault at work.
        self.losses: list[tuple[float, Random]] = [(loss, luck)] if loss else []
        self.routes: list[Route] = []
        self.rooms: list[Room] = []
        self.sent = 0
        self.accepted = 0
        self.lost_on_the_way = 0
        # Rows of the frame `wakeups`, noted by those who send.
        self.wakeups: list[tuple[float, str, str, int, int, int]] = []
        self.log = DeliveryLog()
        self.ready: deque[Message] = deque()
        self.journal = Journal()
        # Frozen: nothing is taken in, handed out or answered; `thawed` fires when that is over.
        self.freezes = 0
        self.thawed: Event | None = None
        self.on_thaw: list[Callable[[], None]] = []
        # Whether pool children die of poison messages; until all faults are ended.
        self.poison_kills = True
        self._eta_limit = eta_limit
        self._reconnect_step_s = reconnect_step_s
        self._visibility_timeout_s = visibility_timeout_s
        self._sweep_every_s = sweep_every_s
        self._consumers: list[Consumer] = []
        self._orphans: list[Message] = []
        self._copies = 0
        # How often everything was lost: what was on its way by then is lost, too.
        self._wipes = 0
        kernel.call_later(sweep_every_s, self._sweep)

    @property
    def unacked(self) -> int:
        """The number of messages delivered or orphaned, and not acknowledged."""
        return len(self._orphans) + sum(len(consumer.unacked) for consumer in self._consumers)

    # --- consumers

    def connect(self, name: str, prefetch: int) -> Consumer:
        """Open a consumer."""
        consumer = Consumer(self, name, prefetch, self._eta_limit)
        consumer.connected, consumer.lost_at = self.up, self.kernel.now
        self._consumers.append(consumer)
        self.dispatch()
        return consumer

    def reaches(self, consumer: Consumer) -> bool:
        """Whether what is sent now comes to this consumer at once."""
        return self.up and not self.freezes and consumer.connected

    def abandon(self, consumer: Consumer) -> None:
        """Forget a consumer whose worker died. Redis notices nothing: its messages wait for the visibility timeout."""
        self._orphans += consumer.disconnect()
        self._consumers.remove(consumer)

    def lose_popped(self, consumer: Consumer) -> bool:
        """Lose the message that this worker has taken off the queue and not yet written to the unacknowledged ones.

        It is the next one of the queue, or, if all have been handed out, the last that the worker got. Return whether
        there was any; a worker that is not being served takes none.
        """
        if not self.up or self.freezes or consumer.deaf:
            return False
        if self.ready:
            message = self.ready.popleft()
            self.log.delivered(message, consumer.name, self.kernel.now)
        elif consumer.unacked:
            message = consumer.unacked.pop(next(reversed(consumer.unacked)))
        else:
            return False
        self.log.settled(message, "lost", self.kernel.now)
        return True

    # --- what is sent

    def send(self, count: int, task: Callable[[Pipeline, str], int] | None = None) -> int:
        """Put messages in the queue, less those that get lost on the way; return the number lost.

        They are wake-ups, or ask for another task.
        """
        if not self.up:
            raise Unavailable("broker: connection refused")
        lost = 0
        for _ in range(count):
            self.sent += 1
            # One loss must not spare another its draw, so that none moves another's luck.
            if sum(luck.random() < loss for loss, luck in self.losses):
                lost += 1
                continue
            self._refuse_when_full()
            self._accept(Message(self.sent, self.sent, self.kernel.now, task=task))
        self.lost_on_the_way += lost
        self.dispatch()
        return lost

    def _accept(self, message: Message) -> None:
        """Let a message in, and as many copies of it, as late, as the faults at work make of it."""
        self.accepted += 1
        if not self.routes:
            self._enqueue(message)
            return
        delays_s = [0.0]
        for route in self.routes:
            delays_s = route(message, delays_s)
        for copy, delay_s in enumerate(delays_s):
            arriving = message
            if copy:
                self._copies += 1
                arriving = message.again(self.kernel.now, redelivered=False)
                arriving.tag = -self._copies
            self._enqueue_later(arriving, delay_s)

    def _enqueue_later(self, message: Message, delay_s: float) -> None:
        if delay_s <= 0:
            self._enqueue(message)
            return
        wipes = self._wipes

        def arrive() -> None:
            if wipes == self._wipes:
                message.queued_at = self.kernel.now
                self._enqueue(message)
                self.dispatch()

        self.kernel.call_later(delay_s, arrive)

    def _enqueue(self, message: Message) -> None:
        self.ready.append(message)
        for room in self.rooms:
            if room.drops_oldest:
                self.dispatch()
                while len(self.ready) > room.limit:
                    self.ready.popleft()
                    room.hits += 1

    def _refuse_when_full(self) -> None:
        for room in self.rooms:
            if not room.drops_oldest:
                self.dispatch()
                if len(self.ready) >= room.limit:
                    room.hits += 1
                    raise Unavailable("broker: out of memory, command not allowed")

    # --- what is handed out

    def dispatch(self) -> None:
        """Hand ready messages to consumers with room, those with the fewest first."""
        while self.up and self.ready and not self.freezes:
            open_ = [consumer for consumer in self._consumers if consumer.has_room]
            if not open_:
                return
            min(open_, key=lambda consumer: consumer.held).deliver(self.ready.popleft())

    def ended(self, message: Message, fate: str) -> None:
        """Note that a delivery is over: acknowledged, returned or lost."""
        message.ended_at = self.kernel.now
        self.log.settled(message, fate, self.kernel.now)
        self.journal.ended(message)

    def give_back(self, messages: list[Message], luck: Random | None = None) -> None:
        """Return messages to the head of the queue, marked as redelivered; with luck in an order by chance."""
        back = sorted(messages, key=lambda message: message.number, reverse=True)
        if luck is not None:
            back = [message for _, _, message in sorted((luck.random(), place, m) for place, m in enumerate(back))]
        for message in back:
            self.ready.appendleft(message.again(self.kernel.now))

    # --- faults of the whole broker

    def stop(
        self,
        *,
        keep_messages: bool,
        keep_unacked: bool = False,
        undo_s: float = 0.0,
        luck: Random | None = None,
    ) -> int:
        """Go down: consumers are cut off, messages stay on disk or vanish; return how many were lost.

        Of kept messages the unacknowledged return to the head of the queue, with luck in an order by chance, or stay
        unacknowledged. `undo_s` is how much of the last writes is not on the disk; it must be remembered.
        """
        self.up = False
        self.stops += 1
        unacked = list(self._orphans)
        self._orphans.clear()
        for consumer in self._consumers:
            unacked += consumer.disconnect()
        lost = 0
        if not keep_messages:
            lost = self._wipe(unacked)
        else:
            if undo_s:
                unacked = self._undo(unacked, self.kernel.now - undo_s)
            if keep_unacked:
                self._orphans += unacked
            else:
                self._return(unacked, luck)
        for consumer in self._consumers:
            if consumer.on_connection_loss is not None:
                consumer.on_connection_loss()
        return lost

    def start(self) -> None:
        """Come up again, unless it was stopped once more meanwhile; the workers reconnect, each in its time."""
        self.stops -= 1
        if self.stops:
            return
        self.up = True
        for consumer in self._consumers:
            consumer.dial(self._reconnect_step_s)
        self.dispatch()

    def freeze(self) -> None:
        """Stop answering, as a stopped process does: connections stay open, and nothing comes through."""
        self.freezes += 1
        if self.thawed is None:
            self.thawed = Event(self.kernel.env)

    def thaw(self) -> None:
        """Go on where it stood, unless something else has frozen it, too."""
        self.freezes -= 1
        if self.freezes or self.thawed is None:
            return
        self.thawed.succeed()
        self.thawed = None
        late, self.on_thaw = self.on_thaw, []
        for action in late:
            action()
        self.dispatch()

    def _wipe(self, unacked: list[Message]) -> int:
        for message in unacked:
            self.log.settled(message, "lost", self.kernel.now)
        lost = len(self.ready) + len(unacked)
        self.ready.clear()
        self.journal.forget()
        self._wipes += 1
        return lost

    def _return(self, unacked: list[Message], luck: Random | None = None) -> None:
        for message in unacked:
            self.ended(message, "returned")
        self.give_back(unacked, luck)

    def _undo(self, unacked: list[Message], cut: float) -> list[Message]:
        """Put the queue back to what it was at `cut`; return what was unacknowledged then."""
        for message in unacked:
            if message.queued_at > cut or message.delivered_at > cut:
                self.log.settled(message, "lost" if message.queued_at > cut else "returned", self.kernel.now)
        self.ready, unacked = self.journal.undo(self.ready, unacked, cut)
        return unacked

    def _sweep(self) -> None:
        """Redeliver what has been unacknowledged for the visibility timeout, even while its first run goes on."""
        self.kernel.call_later(self._sweep_every_s, self._sweep)
        if not self.up or self.freezes:
            return
        due = self.kernel.now - self._visibility_timeout_s
        late = [message for message in self._orphans if message.delivered_at <= due]
        self._orphans = [message for message in self._orphans if message.delivered_at > due]
        for consumer in self._consumers:
            overdue = [message for message in consumer.unacked.values() if message.delivered_at <= due]
            for message in overdue:
                del consumer.unacked[message.tag]
            late += overdue
        self._return(late)
        self.dispatch()
