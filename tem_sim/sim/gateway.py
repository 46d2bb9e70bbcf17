"""From pub/sub to the user: the WebSocket gateway holds the sockets and sends again what is not answered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from simpy.events import Event

from tem_sim.pipeline import outbox
from tem_sim.pipeline.ports import Notification
from tem_sim.sim.task_run import DATABASE_FAILURES
from tem_sim.sim.users import Seen, SlowReader, User

if TYPE_CHECKING:
    from tem_sim.pipeline.ports import Random
    from tem_sim.pipeline.store import Store
    from tem_sim.scenario.streams import Streams
    from tem_sim.scenario.users import Users
    from tem_sim.sim.kernel import Kernel, Node
    from tem_sim.sim.pubsub import PubSub

# Acknowledgements gather this long, so that a burst of them is one transaction.
ACK_FLUSH_S = 0.1
# How long it waits before it asks a store again that has failed it.
STORE_RETRY_S = 1.0
# After a disconnect that a fault caused, the clients dial again within U(0, this), so that they do not come as a herd.
RECONNECT_WITHIN_S = 1.0
# A statement takes so many bind values and no more: 32 766 on SQLite.
USERS_PER_QUERY = 5_000


@dataclass
class Gateway:
    """Holds the users' sockets, forwards what is published, and sends again what a user has not acknowledged."""

    kernel: Kernel
    node: Node
    store: Store
    pubsub: PubSub
    model: Users
    streams: Streams
    seen: dict[int, Seen] = field(default_factory=dict)
    users: dict[int, User] = field(default_factory=dict)
    # Messages between Redis, the gateway and the users' clients at this moment.
    on_the_way: int = 0
    # Within which time the users dial when it is open the next time.
    redial_within_s: float = RECONNECT_WITHIN_S
    # With what probability, by whose luck, an acknowledgement gets lost: each fault at work.
    ack_losses: list[tuple[float, Random]] = field(default_factory=list)
    acks_lost: int = 0
    misdelivered: int = 0
    # Told of each notification when its user is first shown it.
    on_shown: list[Callable[[Notification], None]] = field(default_factory=list)
    _acks: list[int] = field(default_factory=list)
    # What was sent and is known to be unanswered, until it is acknowledged or sent again.
    _unanswered: set[int] = field(default_factory=set)
    _to_replay: list[int] = field(default_factory=list)
    _news: Event | None = None

    def start(self) -> None:
        """Subscribe, let the users connect, and start the gateway's threads."""
        for user_id in range(1, self.model.count + 1):
            user = self.users[user_id] = User(user_id)
            user.comes_back = self.model.session_s is not None
            if self.streams.uniform("user-online", user_id) < self.model.connected:
                user.comes_back = True
                self._connect(user)
            elif user.comes_back:
                self._schedule_return(user)
        self._open()

    def _open(self) -> None:
        self.pubsub.subscriber = self if self.pubsub.up else None
        self.node.spawn("store", self._keep_store)

    def close(self) -> None:
        """Crash: every socket drops, the subscription and the unwritten acknowledgements are gone."""
        self.node.kill()
        self.pubsub.subscriber = None
        self._acks.clear()
        self._to_replay.clear()
        self._unanswered.clear()
        # Those who are away keep their plan to come back.
        self.disconnect(user for user in self.users.values() if user.connected)

    def reopen(self) -> None:
        """Come back after a crash; the clients that lost or did not get their connection dial again on their own."""
        self.node.revive()
        self._open()
        within_s, self.redial_within_s = self.redial_within_s, RECONNECT_WITHIN_S
        self.dial_again(self.users.values(), within_s)

    def resubscribe(self) -> None:
        """Subscribe again after Redis was away, and send the connected users what may have been missed."""
        if self.node.alive:
            self.pubsub.subscriber = self
            self.replay_for(user.user_id for user in self.users.values() if user.connected)

    def disconnect(self, users: Iterable[User]) -> None:
        """Drop these users' sockets; what is on its way to them is lost."""
        for user in users:
            user.disconnect()

    def drop(self, fraction: float) -> list[User]:
        """Drop the sockets of a share of the connected users, the same ones for every policy; return them."""
        dropped = [user for user in self.some_users(fraction, "fault-drop") if user.connected]
        self.disconnect(dropped)
        return dropped

    def some_users(self, fraction: float, *luck: str | int) -> list[User]:
        """Return a share of all users, by a luck that goes by the user alone."""
        return [u for u in self.users.values() if self.streams.uniform(*luck, u.user_id) < fraction]

    def dial_again(self, users: Iterable[User], within_s: float = RECONNECT_WITHIN_S) -> None:
        """Let those of these users who want a connection and have none dial, each after its own short while."""
        for user in users:
            if user.wants and not user.connected and not user.offline:
                wait_s = within_s * self.streams.uniform("redial", user.user_id, user.session)
                user.dialing = True
                self._after(user, wait_s, self._connect)

    # --- what faults do to users

    def take_offline(self, users: Sequence[User], *, noticed: bool) -> None:
        """Take these users off the network; with their sockets, or so that the gateway believes in them still."""
        for user in users:
            user.offline += 1
            if not user.connected:
                continue
            if noticed:
                user.disconnect()
            elif not user.half_open:
                user.half_open = True
                self._await_pong(user)

    def bring_online(self, users: Iterable[User], within_s: float = RECONNECT_WITHIN_S) -> None:
        """Let these users reach the network again; a dead socket stays what it is until it is found out."""
        back = list(users)
        for user in back:
            user.offline -= 1
        self.dial_again(back, within_s)

    def speed_up(self, user: User) -> None:
        """Let a slow client read all that waits for it, and send it again what was dropped."""
        reader, user.reader = user.reader, None
        if reader is None:
            return
        for note in reader.waiting:
            self._push(user, note)
        if reader.behind:
            self.replay_for([user.user_id])

    def _await_pong(self, user: User) -> None:
        """Find a dead socket out: the next ping stays unanswered, and the one after it closes the socket."""
        every_s = self.model.heartbeat_s
        if every_s is not None:
            pings = math.floor((self.kernel.now - user.since_s) / every_s) + 2
            self._after(user, max(0.0, user.since_s + pings * every_s - self.kernel.now), self._give_up)

    def _give_up(self, user: User) -> None:
        if self.node.paused:
            self.node.when_awake(lambda: self._after(user, 0.0, self._give_up))
        elif user.half_open:
            user.disconnect()
            self.dial_again([user])

    # --- sessions

    def _connect(self, user: User) -> None:
        """Dial: a dead gateway refuses, a frozen one answers when it wakes."""
        user.wants, user.dialing = True, False
        if user.offline:
            return
        if self.node.paused:
            self.node.when_awake(lambda: self._after(user, 0.0, self._connect))
        elif self.node.alive:
            self._welcome(user)

    def _welcome(self, user: User) -> None:
        user.connect(self.kernel.now)
        self.replay_for([user.user_id])
        if self.model.session_s is not None:
            stay_s = self.model.session_s.quantile(self.streams.uniform("session", user.user_id, user.session))
            self._after(user, stay_s, self._leave)

    def _leave(self, user: User) -> None:
        user.wants = False
        self.disconnect([user])
        self._schedule_return(user)

    def _schedule_return(self, user: User) -> None:
        away_s = self.model.away_s.quantile(self.streams.uniform("away", user.user_id, user.session))
        self._after(user, away_s, self._connect)

    def _after(self, user: User, delay_s: float, then: object) -> None:
        """Act on a user later, unless something else has changed its connection by then."""
        session = user.session

        def act() -> None:
            if user.session == session:
                then(user)  # type: ignore[operator]

        self.kernel.call_later(delay_s, act)

    # --- delivery

    def arrive(self, notifications: Sequence[Notification]) -> None:
        """Get what Redis pushes; a frozen gateway takes it from the socket when it wakes."""
        self.on_the_way -= 1
        self.node.when_awake(lambda: self._receive(notifications))

    def _receive(self, notifications: Sequence[Notification]) -> None:
        """Send it to those who are connected."""
        if self.node.alive and self.pubsub.subscriber is self:
            for note in notifications:
                user = self.users.get(note.user_id)
                if user is not None and user.misrouted:
                    # It came to an instance that has no socket of this user's, and there it ends.
                    self.misdelivered += 1
                else:
                    self._send(note)

    def _send(self, note: Notification) -> None:
        user = self.users.get(note.user_id)
        if user is None or not user.connected:
            return
        if user.reader is not None:
            self._hold(user, user.reader, note)
        else:
            self._push(user, note)

    def _push(self, user: User, note: Notification) -> None:
        latency_s, again_s = self._latency_s(note), self.model.resend_after_s
        self.on_the_way += 1
        self.kernel.call_later(latency_s, partial(self._arrive, user, user.session, note))
        if again_s is not None and latency_s >= again_s:
            self._send_unless_acked(user, note)

    def _latency_s(self, note: Notification) -> float:
        return self.model.latency_s.quantile(self.streams.uniform("socket", note.event_id))

    def _hold(self, user: User, reader: SlowReader, note: Notification) -> None:
        """Keep what a slow client has not read yet, as far as there is room."""
        if len(reader.waiting) < reader.room:
            reader.waiting.append(note)
            reader.held += 1
            if reader.every_s is not None and not reader.reading:
                reader.reading = True
                self._after(user, reader.every_s, self._read_on)
            return
        reader.overflows += 1
        if reader.closes:
            user.disconnect()
            self.dial_again([user])
        else:
            reader.behind = True

    def _read_on(self, user: User) -> None:
        reader = user.reader
        if reader is None or reader.every_s is None:
            return
        if reader.waiting:
            self._push(user, reader.waiting.popleft())
            self._after(user, reader.every_s, self._read_on)
            return
        reader.reading = False
        if reader.behind:
            reader.behind = False
            self.replay_for([user.user_id])

    def _arrive(self, user: User, session: int, note: Notification) -> None:
        """The client has it: shows it unless it knows the key, and acknowledges."""
        self.on_the_way -= 1
        if user.session != session:
            return
        if user.half_open:
            self._send_unless_acked(user, note)
            return
        seen = self.seen.get(note.event_id)
        if seen is None:
            seen = self.seen[note.event_id] = Seen(user.user_id, note.dedupe_key, self.kernel.now)
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
        self._acks.append(note.event_id)
        self._tell()

    def _send_unless_acked(self, user: User, note: Notification) -> None:
        """Send it again on this socket after a while, unless its acknowledgement has come by then.

        A gateway has such a timer for everything that it sends; here only those run that will ring.
        """
        after_s, session = self.model.resend_after_s, user.session
        if after_s is None or note.dedupe_key is None:
            return
        self._unanswered.add(note.event_id)

        def again() -> None:
            if user.session == session and note.event_id in self._unanswered:
                self._unanswered.discard(note.event_id)
                self._send(note)

        self.kernel.call_later(after_s, lambda: self.node.when_awake(again))

    # --- the gateway's own work on the store

    def replay_for(self, user_ids: Iterable[int]) -> None:
        """Send these users what they have not acknowledged, as far as they are connected by then."""
        self._to_replay += user_ids
        self._tell()

    def _tell(self) -> None:
        if self._news is not None and not self._news.triggered:
            self._news.succeed()

    def _keep_store(self) -> None:
        """Write acknowledgements and read what is to be sent again, whenever there is any."""
        while True:
            if not self._acks and not self._to_replay:
                self._news = Event(self.kernel.env)
                self.kernel.wait(self._news)
            self.kernel.sleep(ACK_FLUSH_S)
            try:
                self._write_acks()
                self._send_again()
            except DATABASE_FAILURES:
                # Nothing is forgotten before it is done; the store may be back in a moment.
                self.kernel.sleep(STORE_RETRY_S)

    def _write_acks(self) -> None:
        acked = list(self._acks)
        outbox.acknowledge(self.store, acked, now=self.node.clock.now())
        del self._acks[: len(acked)]

    def _send_again(self) -> None:
        count = len(self._to_replay)
        users = sorted(set(self._to_replay))
        for start in range(0, len(users), USERS_PER_QUERY):
            for note in outbox.unacknowledged(self.store, users[start : start + USERS_PER_QUERY]):
                self._send(note)
        del self._to_replay[:count]
