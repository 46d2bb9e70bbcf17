"""The users of a scenario on real sockets: who is connected and when, what holds each up, and what each of them saw."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tem_sim.collect import Delivery
from tem_sim.live.client import Client, Seen
from tem_sim.live.descriptors import allow_files
from tem_sim.live.tokens import issue

if TYPE_CHECKING:
    from tem_sim.live.config import LiveConfig
    from tem_sim.live.logs import Log
    from tem_sim.pipeline.ports import Random
    from tem_sim.scenario.streams import Streams

# After the loss of a connection, clients dial again within U(0, this), so that they do not come as a herd; the same as
# in the simulator.
RECONNECT_WITHIN_S = 1.0
# Handshakes at the same time, while all connect at the start: each is some work for both ends.
DIALLING = 32
OPEN_TIMEOUT_S = 10.0
# How often a client that does not read looks whether its socket is still there.
LOOK_EVERY_S = 0.1
# Files that are open besides their sockets.
OTHER_FILES = 256


class Clients:
    """All users. The sockets belong to one event loop; what faults call may be called from any other thread."""

    def __init__(self, config: LiveConfig, streams: Streams, log: Log) -> None:
        self._config = config
        self._model = config.scenario.users
        self._streams = streams
        self._log = log
        self._clients = {number: Client(number) for number in range(1, self._model.count + 1)}
        self._seen: dict[int, Seen] = {}
        self._ack_losses: dict[object, tuple[float, Random]] = {}
        self._acks_lost: Counter[object] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._begun = asyncio.Event()

    # --- the run

    async def connect(self) -> None:
        """Connect those who are online at the start; their sessions begin with `begin`."""
        allow_files(self._model.count + OTHER_FILES)
        self._loop = asyncio.get_running_loop()
        dialling = asyncio.Semaphore(DIALLING)
        online = [client for client in self._clients.values() if self._starts_online(client)]
        first = [self._first_connection(client, dialling) for client in online]
        sockets = await asyncio.gather(*first)
        for client, socket in zip(online, sockets, strict=True):
            self._tasks.append(asyncio.create_task(self._live(client, socket)))

    def _starts_online(self, client: Client) -> bool:
        client.wants = self._streams.uniform("user-online", client.user_id) < self._model.connected
        client.comes_back = client.wants or self._model.session_s is not None
        return client.wants

    async def _first_connection(self, client: Client, dialling: asyncio.Semaphore) -> ClientConnection | None:
        async with dialling:
            return await self._dial(client)

    def begin(self) -> None:
        """Let sessions and times away run, from now on; those who are away come when it is time."""
        for client in self._clients.values():
            if client.comes_back and not client.wants:
                self._tasks.append(asyncio.create_task(self._live(client, None)))
        self._begun.set()

    async def close(self) -> None:
        """Hang up, all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self._clients.values():
            client.abort()

    # --- what they saw

    def deliveries(self) -> list[Delivery]:
        """Return what each user was shown, by event id; times are seconds since the epoch."""
        return [
            Delivery(event_id, seen.user_id, seen.key or "", seen.first_s, seen.shown, seen.received)
            for event_id, seen in self._seen.items()
        ]

    def connected(self) -> int:
        """Return how many users are connected."""
        return sum(client.socket is not None for client in self._clients.values())

    def is_connected(self, user_id: int) -> bool:
        """Return whether this user is connected."""
        return self._clients[user_id].socket is not None

    def reachable(self, user_id: int) -> bool:
        """Return whether this user is connected, or will be some time."""
        return user_id in self._clients and self._clients[user_id].comes_back

    # --- one user

    async def _live(self, client: Client, socket: ClientConnection | None) -> None:
        """Be connected, be away, dial again after a loss: for as long as the run takes."""
        await self._begun.wait()
        if not client.wants:
            await self._stay_away(client)
        while True:
            socket = socket or await self._connect(client)
            left = await self._stay(client, socket)
            socket = None
            if left:
                await self._stay_away(client)
            else:
                await asyncio.sleep(client.wait_s(self._streams, RECONNECT_WITHIN_S))

    async def _stay_away(self, client: Client) -> None:
        client.wants = False
        await asyncio.sleep(self._model.away_s.quantile(self._streams.uniform("away", client.user_id, client.session)))
        client.wants = True

    async def _connect(self, client: Client) -> ClientConnection:
        """Dial until somebody answers; a user who may not, or cannot, waits."""
        while True:
            if not client.may_dial.is_set():
                await client.may_dial.wait()
                # Those who may again are many, and all at the same moment.
                await asyncio.sleep(client.wait_s(self._streams, RECONNECT_WITHIN_S))
            socket = await self._dial(client)
            if socket is not None:
                return socket
            await asyncio.sleep(client.wait_s(self._streams, RECONNECT_WITHIN_S))

    async def _dial(self, client: Client) -> ClientConnection | None:
        """Dial once; return the socket on which the gateway has said welcome, None where it has not."""
        client.tries += 1
        if client.token is None:
            client.token = issue(self._config.secret, user_id=client.user_id)
        try:
            socket = await connect(
                self._config.gateway_url,
                compression=None,
                proxy=None,
                # The gateway pings; a client that did as well would only find out the same.
                ping_interval=None,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=1.0,
            )
        except (OSError, WebSocketException):
            return None
        if not await self._is_welcome(client, socket) or not client.may_dial.is_set():
            socket.transport.abort()
            return None
        client.connect(socket)
        return socket

    async def _is_welcome(self, client: Client, socket: ClientConnection) -> bool:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await socket.send(json.dumps({"type": "hello", "token": client.token}))
                answer = json.loads(await socket.recv())
        except (OSError, WebSocketException, ValueError):
            return False
        return bool(answer.get("type") == "welcome")

    async def _stay(self, client: Client, socket: ClientConnection) -> bool:
        """Read until the socket is gone; return whether the user has left by choice."""
        stay_s = None
        if self._model.session_s is not None:
            uniform = self._streams.uniform("session", client.user_id, client.session)
            stay_s = self._model.session_s.quantile(uniform)
        try:
            async with asyncio.timeout(stay_s):
                await self._read(client, socket)
        except TimeoutError:
            socket.transport.abort()
            return True
        except ConnectionClosed:
            return False
        finally:
            client.disconnect(socket)
        return False

    async def _read(self, client: Client, socket: ClientConnection) -> None:
        while True:
            if not client.reads.is_set():
                await self._wait_deaf(client, socket)
            if client.read_every_s is not None:
                await asyncio.sleep(client.read_every_s)
            text = await client.receive(socket)
            message = {} if text is None else json.loads(text)
            if client.reads.is_set() and message.get("type") == "notification":
                await self._take(client, socket, message)

    async def _wait_deaf(self, client: Client, socket: ClientConnection) -> None:
        """Read nothing until there is a reason to; raise what reading would once the other end has hung up."""
        while not client.reads.is_set():
            if not client.is_open():
                client.abort()
                await socket.wait_closed()
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def _take(self, client: Client, socket: ClientConnection, message: dict[str, Any]) -> None:
        """Show a notification, unless its key is known already, and acknowledge it."""
        event_id, key = int(message["event_id"]), message["dedupe_key"]
        seen = self._seen.get(event_id)
        if seen is None:
            seen = self._seen[event_id] = Seen(client.user_id, key, round(time.time(), 6))
        seen.received += 1
        if key is None or not seen.shown:
            seen.shown += 1
        if key is not None and not self._loses_ack():
            await socket.send(json.dumps({"type": "ack", "event_id": event_id}))

    def _loses_ack(self) -> bool:
        # One loss must not spare another its draw, so that none moves another's luck.
        hit = [key for key, (loss, luck) in list(self._ack_losses.items()) if luck.random() < loss]
        for key in hit:
            self._acks_lost[key] += 1
        return bool(hit)

    # --- what faults do, from their own thread

    def drop(self, users: Sequence[int]) -> int:
        """Abort these users' sockets; they do not dial before `dial_again`. Return how many were connected."""
        return self._on_all(users, Client.drop)

    def dial_again(self, users: Iterable[int], within_s: float = RECONNECT_WITHIN_S) -> None:
        """Let these users dial, each after its own short while."""
        self._on_all(users, lambda client: client.let_dial(within_s))

    def take_offline(self, users: Sequence[int], noticed: bool) -> int:
        """Take these users off the network; with their sockets, or so that the gateway believes in them still.

        Return how many were connected. May be done several times, and each is undone by one `bring_online`.
        """
        return self._on_all(users, Client.go_offline if noticed else Client.go_dark)

    def bring_online(self, users: Iterable[int], within_s: float = RECONNECT_WITHIN_S) -> None:
        """Let these users reach the network again; a dead socket stays what it is until the gateway closes it."""
        self._on_all(users, lambda client: client.go_online(within_s))

    def slow_down(self, users: Iterable[int], read_every_s: float | None) -> None:
        """Let these users read one message every so often; None for none at all."""
        self._on_all(users, lambda client: client.slow_down(read_every_s))

    def speed_up(self, users: Iterable[int]) -> int:
        """Let these users read as they used to; return how many messages are known to have waited for them."""
        return self._on_all(users, Client.speed_up)

    def lose_acks(self, key: object, probability: float | None, luck: Random | None) -> int:
        """Lose acknowledgements with this probability from now on; None ends it and returns how many were."""
        if probability is not None and luck is not None:
            self._ack_losses[key] = probability, luck
            return 0
        self._ack_losses.pop(key, None)
        return self._acks_lost.pop(key, 0)

    def redial_within(self, within_s: float) -> None:
        """Let those who are connected now dial again within this time after they have lost their sockets."""
        self._on_all(list(self._clients), lambda client: client.redial_later(within_s))

    def _on_all(self, users: Iterable[int], act: Callable[[Client], int]) -> int:
        """Do something with these users in the loop that their sockets belong to; return the sum of what it returns."""
        clients = [self._clients[user] for user in users]
        loop = self._loop
        assert loop is not None

        async def act_on_all() -> int:
            return sum(act(client) for client in clients)

        return asyncio.run_coroutine_threadsafe(act_on_all(), loop).result()
