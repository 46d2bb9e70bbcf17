"""What goes over the users' sockets, and what comes back: notifications, and acknowledgements that may be lost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from tem_sim.sim.users import Seen, SlowReader, User

if TYPE_CHECKING:
    from tem_sim.pipeline.ports import Notification, Random
    from tem_sim.sim.gateway import Gateway


class Sockets:
    """The sending side of a gateway, and the clients at the other end: what they saw, and what they answer."""

    def __init__(self, gateway: Gateway) -> None:
        self.seen: dict[int, Seen] = {}
        # With what probability, by whose luck, an acknowledgement gets lost: each fault at work.
        self.ack_losses: list[tuple[float, Random]] = []
        self.acks_lost = 0
        # Told of each notification when its user is first shown it.
        self.on_shown: list[Callable[[Notification], None]] = []
        self._gateway = gateway
        # What was sent and is known to be unanswered, until it is acknowledged or sent again.
        self._unanswered: set[int] = set()

    def forget(self) -> None:
        """Lose what a crash of the gateway takes with it."""
        self._unanswered.clear()

    def send(self, note: Notification) -> None:
        """Send to the user, if connected; one who reads slowly gets it when it is read."""
        user = self._gateway.users.get(note.user_id)
        if user is None or not user.connected:
            return
        if user.reader is not None:
            self._hold(user, user.reader, note)
        else:
            self._push(user, note)

    def _push(self, user: User, note: Notification) -> None:
        latency_s, again_s = self._latency_s(note), self._gateway.model.resend_after_s
        self._gateway.on_the_way += 1
        self._gateway.kernel.call_later(latency_s, partial(self._arrive, user, user.session, note))
        if again_s is not None and latency_s >= again_s:
            self._send_unless_acked(user, note)

    def _latency_s(self, note: Notification) -> float:
        return self._gateway.model.latency_s.quantile(self._gateway.streams.uniform("socket", note.event_id))

    def _hold(self, user: User, reader: SlowReader, note: Notification) -> None:
        """Keep what a slow client has not read yet, as far as there is room."""
        if len(reader.waiting) < reader.room:
            reader.waiting.append(note)
            reader.held += 1
            if reader.every_s is not None and not reader.reading:
                reader.reading = True
                self._gateway.after(user, reader.every_s, self._read_on)
            return
        reader.overflows += 1
        if reader.closes:
            user.disconnect()
            self._gateway.dial_again([user])
        else:
            reader.behind = True

    def _read_on(self, user: User) -> None:
        reader = user.reader
        if reader is None or reader.every_s is None:
            return
        if reader.waiting:
            self._push(user, reader.waiting.popleft())
            self._gateway.after(user, reader.every_s, self._read_on)
            return
        reader.reading = False
        if reader.behind:
            reader.behind = False
            self._gateway.replay_for([user.user_id])

    def _arrive(self, user: User, session: int, note: Notification) -> None:
        """The client has it: shows it unless it knows the key, and acknowledges."""
        self._gateway.on_the_way -= 1
        if user.session != session:
            return
        if user.half_open:
            self._send_unless_acked(user, note)
            return
        seen = self.seen.get(note.event_id)
        if seen is None:
            seen = self.seen[note.event_id] = Seen(user.user_id, note.dedupe_key, self._gateway.kernel.now)
            for told in self.on_shown:
                told(note)
        seen.received += 1
        if note.dedupe_key is None or seen.shown == 0:
            seen.shown += 1
        if note.dedupe_key is not None:
            self._acknowledge(user, note)

    def _acknowledge(self, user: User, note: Notification) -> None:
        # One loss must not spare another its draw, so that none moves another's luck.
        if self.ack_losses and sum(luck.random() < loss for loss, luck in self.ack_losses):
            self.acks_lost += 1
            self._send_unless_acked(user, note)
            return
        self._unanswered.discard(note.event_id)
        self._gateway.acknowledged(note.event_id)

    def _send_unless_acked(self, user: User, note: Notification) -> None:
        """Send it again on this socket after a while, unless its acknowledgement has come by then.

        A gateway has such a timer for everything that it sends; here only those run that will ring.
        """
        after_s, session = self._gateway.model.resend_after_s, user.session
        if after_s is None or note.dedupe_key is None:
            return
        self._unanswered.add(note.event_id)

        def again() -> None:
            if user.session == session and note.event_id in self._unanswered:
                self._unanswered.discard(note.event_id)
                self.send(note)

        self._gateway.kernel.call_later(after_s, lambda: self._gateway.node.when_awake(again))

    def speed_up(self, user: User) -> None:
        """Let a slow client read all that waits for it, and send it again what was dropped."""
        reader, user.reader = user.reader, None
        if reader is None:
            return
        for note in reader.waiting:
            self._push(user, note)
        if reader.behind:
            self._gateway.replay_for([user.user_id])
