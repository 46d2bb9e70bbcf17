"""From pub/sub to the user: the WebSocket gateway holds the sockets and sends again what is not answered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simpy.events import Event

from tem_sim.pipeline import outbox
from tem_sim.pipeline.failures import DATABASE_FAILURES
from tem_sim.pipeline.ports import Notification
from tem_sim.sim.sockets import Sockets
from tem_sim.sim.users import User

if TYPE_CHECKING:
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
    users: dict[int, User] = field(default_factory=dict)
    # Messages between Redis, the gateway and the users' clients at this moment.
    on_the_way: int = 0
    # Within which time the users dial when it is open the next time.
    redial_within_s: float = RECONNECT_WITHIN_S
    # What was pushed to an instance that has no socket of its user's.
    misdelivered: int = 0
    sockets: Sockets = field(init=False)
    _acks: list[int] = field(default_factory=list)
    _to_replay: list[int] = field(default_factory=list)
    _news: Event | None = None

    def __post_init__(self) -> None:
        self.sockets = Sockets(self)

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
        self.sockets.forget()
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
        return [self.users[user] for user in self.model.some(fraction, self.streams, *luck)]

    def dial_again(self, users: Iterable[User], within_s: float = RECONNECT_WITHIN_S) -> None:
        """Let those of these users who want a connection and have none dial, each after its own short while."""
        for user in users:
            if user.wants and not user.connected and not user.offline:
                wait_s = within_s * self.streams.uniform("redial", user.user_id, user.session)
                user.dialing = True
                self.after(user, wait_s, self._connect)

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

    def _await_pong(self, user: User) -> None:
        """Find a dead socket out: the next ping stays unanswered, and the one after it closes the socket."""
        every_s = self.model.heartbeat_s
        if every_s is not None:
            pings = math.floor((self.kernel.now - user.since_s) / every_s) + 2
            self.after(user, max(0.0, user.since_s + pings * every_s - self.kernel.now), self._give_up)

    def _give_up(self, user: User) -> None:
        if self.node.paused:
            self.node.when_awake(lambda: self.after(user, 0.0, self._give_up))
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
            self.node.when_awake(lambda: self.after(user, 0.0, self._connect))
        elif self.node.alive:
            self._welcome(user)

    def _welcome(self, user: User) -> None:
        user.connect(self.kernel.now)
        self.replay_for([user.user_id])
        if self.model.session_s is not None:
            stay_s = self.model.session_s.quantile(self.streams.uniform("session", user.user_id, user.session))
            self.after(user, stay_s, self._leave)

    def _leave(self, user: User) -> None:
        user.wants = False
        self.disconnect([user])
        self._schedule_return(user)

    def _schedule_return(self, user: User) -> None:
        away_s = self.model.away_s.quantile(self.streams.uniform("away", user.user_id, user.session))
        self.after(user, away_s, self._connect)

    def after(self, user: User, delay_s: float, then: Callable[[User], None]) -> None:
        """Act on a user later, unless something else has changed its connection by then."""
        session = user.session

        def act() -> None:
            if user.session == session:
                then(user)

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
                    self.misdelivered += 1
                else:
                    self.sockets.send(note)

    # --- the gateway's own work on the store

    def acknowledged(self, event_id: int) -> None:
        """Take a user's acknowledgement, to be written with others."""
        self._acks.append(event_id)
        self._tell()

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
                self.sockets.send(note)
        del self._to_replay[:count]
