"""The WebSocket gateway: from Redis to the users' sockets, and what they acknowledge to the store."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as listening
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tem_sim.live.config import HOST
from tem_sim.live.descriptors import allow_files
from tem_sim.live.gateway import protocol
from tem_sim.live.gateway.connection import Connection
from tem_sim.live.gateway.hub import Hub
from tem_sim.live.gateway.keeper import Keeper
from tem_sim.live.gateway.protocol import MAX_FRAME_BYTES, Ack, Close, Hello, RefusedError, parsed
from tem_sim.live.gateway.subscription import Subscription
from tem_sim.live.tokens import LEEWAY_S, BadToken, holder

if TYPE_CHECKING:
    from tem_sim.live.process import Process
    from tem_sim.pipeline.ports import Notification

HELLO_WITHIN_S = 5.0
# How long a client has to take leave; one that does not read never hears why it is closed.
CLOSE_WITHIN_S = 1.0
GAUGE_EVERY_S = 1.0
# How often to look for clients that do not keep up.
LOOK_EVERY_S = 0.5
# Files that are open besides sockets.
OTHER_FILES = 200


def serve(process: Process) -> None:
    """Be the gateway, until SIGTERM."""
    asyncio.run(_until_told(process))


async def _until_told(process: Process) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with Gateway(process).running():
        await told.wait()


class Gateway:
    """The users' sockets on one port, which answers `GET /status` too."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._config = process.config
        self._limits = process.config.limits
        self._users = process.config.scenario.users
        self._log = process.log
        self.hub = Hub(self._limits)
        self.keeper = Keeper(process, self.hub)
        self._subscribed = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        self._sent = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve while the block runs; whatever part breaks ends the block with its error."""
        allow_files(self._limits.sockets + OTHER_FILES)
        subscription = Subscription(self._config, self._log, self._received, self._resubscribed)
        async with self._listening() as server, asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(work)
                for work in (subscription.run(), self.keeper.run(), self._look_after(), self._gauge(), self._announce())
            ]
            try:
                yield
            finally:
                await self._leave(server)
                for task in tasks:
                    task.cancel()

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[Server]:
        port = self._config.ports.gateway
        async with listening(
            self._handle,
            HOST,
            port,
            process_request=self._answer,
            # No browser sends a token by itself, so no other site can use a user's. But without this, any page that is
            # open on this machine could take up the sockets. Programs have no origin.
            origins=[None, *_same_machine(self._config.api_url)],  # type: ignore[list-item]
            max_size=MAX_FRAME_BYTES,
            max_queue=4,
            # The messages are short, and there are many sockets: a window for each would be most of the memory.
            compression=None,
            open_timeout=HELLO_WITHIN_S,
            close_timeout=CLOSE_WITHIN_S,
            ping_interval=self._users.heartbeat_s,
            ping_timeout=self._users.heartbeat_s,
            server_header=None,
            logger=_quiet_logger(),
            backlog=1024,
        ) as server:
            yield server

    async def _leave(self, server: Server) -> None:
        """Tell the clients to come again, and write what they have acknowledged."""
        server.close(code=Close.GOING_AWAY, reason="the gateway stops")
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await server.wait_closed()
        for socket in list(server.connections):
            socket.transport.abort()
        await self.keeper.close(within_s=CLOSE_WITHIN_S)

    async def _announce(self) -> None:
        await self._subscribed.wait()
        self._process.is_ready()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        path = urlsplit(request.path).path
        if path == "/":
            return None
        if path != "/status":
            return connection.respond(404, "the users' sockets are at /, and what is connected at /status\n")
        response = connection.respond(200, json.dumps({"connected": self.hub.connected, "users": self.hub.users}))
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "application/json"
        return response

    # --- one socket

    async def _handle(self, socket: ServerConnection) -> None:
        user_id = None
        try:
            with self.hub.admitted():
                user_id, valid_s = await self._user_of(socket)
                connection = Connection(socket, user_id, self._limits.held_per_socket, self._users.heartbeat_s)
                with self.hub.joined(connection):
                    await self._talk(connection, valid_s)
        except RefusedError as refused:
            await self._refuse(socket, refused)
        except ConnectionClosed:
            pass
        finally:
            code, reason = _end_of(socket)
            self._log.note("disconnected", user_id=user_id, code=code, reason=reason)

    async def _user_of(self, socket: ServerConnection) -> tuple[int, float]:
        """Wait for the hello; return whose socket it is, and for how many seconds the token says so."""
        try:
            async with asyncio.timeout(HELLO_WITHIN_S):
                message = parsed(await socket.recv())
        except TimeoutError:
            raise RefusedError(Close.NO_HELLO, f"no hello within {HELLO_WITHIN_S:g} s") from None
        if not isinstance(message, Hello):
            raise RefusedError(Close.MALFORMED, "the first message must be a hello, with a token")
        try:
            who = holder(self._config.secret, message.token)
        except BadToken as error:
            raise RefusedError(Close.UNAUTHORIZED, str(error)) from error
        if who.user_id is None:
            raise RefusedError(Close.UNAUTHORIZED, "an operator's token names no user, whom notifications are for")
        return who.user_id, max(0.0, who.expires_at + LEEWAY_S - time.time())

    async def _talk(self, connection: Connection, valid_s: float) -> None:
        """Send what is for the user, and take acknowledgements, until the socket is closed or the token is over."""
        socket = connection.socket
        await socket.send(protocol.welcome(connection.user_id, self._users.heartbeat_s))
        self._log.note("connected", user_id=connection.user_id)
        self.keeper.replay([connection])
        writer = asyncio.create_task(self._write(connection))
        try:
            async with asyncio.timeout(valid_s):
                async for frame in socket:
                    self._take(connection, parsed(frame))
        except TimeoutError:
            raise RefusedError(Close.UNAUTHORIZED, "the token is no longer valid") from None
        finally:
            writer.cancel()
            self._sent += connection.sent

    async def _write(self, connection: Connection) -> None:
        with suppress(ConnectionClosed):
            await connection.write()

    def _take(self, connection: Connection, message: Hello | Ack) -> None:
        if not isinstance(message, Ack):
            raise RefusedError(Close.MALFORMED, "the hello was said before")
        # What was never sent here, or is acknowledged already since it was sent twice, needs no answer.
        if self.keeper.takes_acks and connection.acknowledge(message.event_id):
            self.keeper.acknowledged(message.event_id)
            if connection.hungry:
                self.keeper.replay([connection])

    async def _refuse(self, socket: ServerConnection, refused: RefusedError) -> None:
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await socket.send(protocol.error(refused))
                await socket.close(refused.code, refused.message)
        except ConnectionClosed:
            pass
        except TimeoutError:
            # Closing in good order waits for what was written before to be read, which may be never.
            socket.transport.abort()

    # --- all of them

    def _received(self, note: Notification) -> None:
        self.hub.deliver(note)

    def _resubscribed(self) -> None:
        """Send all what they may have missed while nobody listened for them."""
        self._log.note("resubscribed", connected=self.hub.connected)
        self.keeper.replay(self.hub)
        self._subscribed.set()

    async def _look_after(self) -> None:
        """Close the sockets of clients that do not keep up, and send again what is not acknowledged."""
        resend_after_s = self._users.resend_after_s
        every_s = LOOK_EVERY_S if resend_after_s is None else min(LOOK_EVERY_S, resend_after_s / 10)
        while True:
            await asyncio.sleep(every_s)
            for connection in self.hub:
                if connection.given_up:
                    continue
                if connection.stuck_for_s() > self._limits.slow_after_s:
                    self._close_slow(connection)
                elif resend_after_s is not None and (late := list(connection.overdue(resend_after_s))):
                    self.keeper.resend(connection, late)

    def _close_slow(self, connection: Connection) -> None:
        connection.given_up = True
        self._log.note("too_slow", user_id=connection.user_id, held=len(connection))
        refused = RefusedError(Close.TOO_SLOW, f"nothing read or acknowledged for {self._limits.slow_after_s:g} s")
        task = asyncio.create_task(self._refuse(connection.socket, refused))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _gauge(self) -> None:
        while True:
            held, sent = sum(map(len, self.hub)), self._sent + sum(connection.sent for connection in self.hub)
            who = {"connected": self.hub.connected, "users": self.hub.users}
            self._log.note("sockets", **who, held=held, sent=sent, acks_waiting=self.keeper.acks_waiting)
            await asyncio.sleep(GAUGE_EVERY_S)


def _end_of(socket: ServerConnection) -> tuple[int | None, str | None]:
    """Return the code and the reason by which a socket ended: the gateway's own, if it had one."""
    said = socket.protocol.close_sent
    if said is None or socket.protocol.close_rcvd_then_sent:
        return socket.close_code, socket.close_reason
    return said.code, said.reason


def _same_machine(url: str) -> list[str]:
    """Return the origins of the API's own pages, by number and by name."""
    parts = urlsplit(url)
    return [f"{parts.scheme}://{name}:{parts.port}" for name in (HOST, "localhost")]


def _quiet_logger() -> logging.Logger:
    """Return a logger for what strangers do to a port, which is no fault of the gateway."""
    logger = logging.getLogger("tem_sim.live.gateway.websockets")
    logger.setLevel(logging.CRITICAL)
    return logger
