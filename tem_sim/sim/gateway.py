"""From pub/sub to the user: the WebSocket gateway, its users, and what each of them saw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simpy.events import Event

from tem_sim.pipeline import outbox
from tem_sim.pipeline.ports import Notification, Unavailable
from tem_sim.sim.task_run import DATABASE_FAILURES

if TYPE_CHECKING:
    from tem_sim.pipeline.store import Store
    from tem_sim.scenario.models import Users
    from tem_sim.scenario.streams import Streams
    from tem_sim.sim.kernel import Kernel, Node
    from tem_sim.sim.publishing import Client

# Acknowledgements gather this long, so that a burst of them is one transaction.
ACK_FLUSH_S = 0.1
# How long it waits before it asks a store again that has failed it.
STORE_RETRY_S = 1.0
# After a disconnect that a fault caused, the clients dial again within U(0, this), so that they do not come as a herd.
RECONNECT_WITHIN_S = 1.0
# A statement takes so many bind values and no more: 32 766 on SQLite.
USERS_PER_QUERY = 5_000


class PubSub:
    """Redis pub/sub: who is not subscribed at that moment never hears of it, and the publisher sees no error."""

    def __init__(self, kernel: Kernel, latency_s: float, client: Client) -> None:
        self.kernel = kernel
        self.client = client
        self.latency_s = latency_s
        self.up = True
        self.subscriber: Gateway | None = None
        self.unheard = 0

    def publish(self, notifications: Sequence[Notification]) -> list[int]:
        """Publish for the calling sim thread and return the number of subscribers each one reached."""
        self.kernel.sleep(self.latency_s)
        if self.kernel.watch is not None:
            told = " ".join(str(note.event_id) for note in notifications)
            self.kernel.watch.note("publish", rows=len(notifications), sql=told)
        if not self.client.waits_for_answer():
            raise Unavailable("redis: timed out")
        if not self.up:
            raise Unavailable("redis: connection refused")
        gateway = self.subscriber
        if gateway is None:
            self.unheard += len(notifications)
            return [0] * len(notifications)
        gateway.on_the_way += 1
        self.kernel.call_later(self.latency_s, lambda: gateway.arrive(notifications))
        return [1] * len(notifications)


@dataclass(slots=True)
class Seen:
    """What one user's client knows of one notification."""

    user_id: int
    key: str | None
    first_s: float
    shown: int = 0
    received: int = 0


@dataclass(slots=True)
class User:
    """One user's client: connected or not; a new session for each connection.

    `wants` to be connected unless away by choice; `comes_back` some time, if not now.
    """

    user_id: int
    connected: bool = False
    session: int = 0
    comes_back: bool = True
    wants: bool = False


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
    _acks: list[int] = field(default_factory=list)
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
        # Those who are away keep their plan to come back.
        self.disconnect(user for user in self.users.values() if user.connected)

    def reopen(self) -> None:
        """Come back after a crash; the clients that lost or did not get their connection dial again on their own."""
        self.node.revive()
        self._open()
        self._dial_again(self.users.values())

    def resubscribe(self) -> None:
        """Subscribe again after Redis was away, and send the connected users what may have been missed."""
        if self.node.alive:
            self.pubsub.subscriber = self
            self._replay_for(user.user_id for user in self.users.values() if user.connected)

    def disconnect(self, users: Iterable[User]) -> None:
        """Drop these users' sockets; what is on its way to them is lost."""
        for user in users:
            user.connected = False
            user.session += 1

    def drop(self, fraction: float) -> list[User]:
        """Drop the sockets of a share of the connected users, the same ones for every policy; return them."""
        dropped = [
            user
            for user in self.users.values()
            if user.connected and self.streams.uniform("fault-drop", user.user_id) < fraction
        ]
        self.disconnect(dropped)
        return dropped

    def let_back(self, users: Iterable[User]) -> None:
        """Let dropped users dial again, each after its own short while."""
        self._dial_again(users)

    def _dial_again(self, users: Iterable[User]) -> None:
        for user in users:
            if user.wants and not user.connected:
                wait_s = RECONNECT_WITHIN_S * self.streams.uniform("redial", user.user_id, user.session)
                self._after(user, wait_s, self._connect)

    # --- sessions

    def _connect(self, user: User) -> None:
        """Dial: a dead gateway refuses, a frozen one answers when it wakes."""
        user.wants = True
        if self.node.paused:
            self.node.when_awake(lambda: self._after(user, 0.0, self._connect))
        elif self.node.alive:
            self._welcome(user)

    def _welcome(self, user: User) -> None:
        user.connected = True
        user.session += 1
        self._replay_for([user.user_id])
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
                self._send(note)

    def _send(self, note: Notification) -> None:
        user = self.users.get(note.user_id)
        if user is None or not user.connected:
            return
        session = user.session
        latency_s = self.model.latency_s.quantile(self.streams.uniform("socket", note.event_id))
        self.on_the_way += 1
        self.kernel.call_later(latency_s, lambda: self._arrive(user, session, note))

    def _arrive(self, user: User, session: int, note: Notification) -> None:
        """The client has it: shows it unless it knows the key, and acknowledges."""
        self.on_the_way -= 1
        if user.session != session:
            return
        seen = self.seen.get(note.event_id)
        if seen is None:
            seen = self.seen[note.event_id] = Seen(user.user_id, note.dedupe_key, self.kernel.now)
        seen.received += 1
        if note.dedupe_key is None or seen.shown == 0:
            seen.shown += 1
        if note.dedupe_key is not None:
            self._acks.append(note.event_id)
            self._tell()

    # --- the gateway's own work on the store

    def _replay_for(self, user_ids: Iterable[int]) -> None:
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
