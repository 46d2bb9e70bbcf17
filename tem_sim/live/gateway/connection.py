"""One user's socket: what the gateway holds for it, which is bounded, and whether its client keeps up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from websockets.asyncio.server import ServerConnection

from tem_sim.live.gateway import protocol
from tem_sim.pipeline.ports import Notification

# What is sent twice may be acknowledged twice; beyond that a client may be wrong so often.
SPARE_ACKS = 100


@dataclass(slots=True)
class Held:
    """A notification on its way to one socket: waiting to be written (`sent_at` None), or not acknowledged yet.

    One that waits to be written again `was_sent` all the same, and may be acknowledged.
    """

    note: Notification
    sent_at: float | None = None
    was_sent: bool = False


class Connection:
    """A user's socket after its hello.

    It holds `room` notifications at most, those that wait to be written and those that wait for an acknowledgement
    together. What does not fit stays in the outbox; the socket is `behind` then, and fed from there once it has room.
    """

    def __init__(self, socket: ServerConnection, user_id: int, room: int, heartbeat_s: float | None) -> None:
        self.socket = socket
        self.user_id = user_id
        self.behind = False
        # Whether it is being closed.
        self.given_up = False
        self.sent = 0
        self._acks = 0
        self._room = room
        self._heartbeat_s = heartbeat_s
        # By event id, those sent longest ago first; what cannot be acknowledged goes by numbers below 0.
        self._held: dict[int, Held] = {}
        self._queue: deque[int] = deque()
        self._unkeyed = count(-1, -1)
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._writing = False
        self._moved_at = self._loop.time()

    # --- towards the client

    def __len__(self) -> int:
        """Return how many notifications are held for it."""
        return len(self._held)

    @property
    def full(self) -> bool:
        """Whether there is no room for another notification."""
        return len(self._held) >= self._room

    @property
    def hungry(self) -> bool:
        """Whether the outbox has something for it and there is room enough to be worth a look."""
        return self.behind and 2 * len(self._held) <= self._room

    def offer(self, note: Notification) -> bool:
        """Take a notification to be sent, if there is room; what is on its way already is not taken twice."""
        key = next(self._unkeyed) if note.dedupe_key is None else note.event_id
        if key in self._held:
            return True
        if self.full:
            self.behind = True
            return False
        self._has_moved()
        self._held[key] = Held(note)
        self._enqueue(key)
        return True

    def _enqueue(self, key: int) -> None:
        self._queue.append(key)
        self._news.set()

    async def write(self) -> None:
        """Send what is taken, as fast as the client reads, and a sign of life where nothing is; until cancelled."""
        while True:
            while self._queue:
                await self._write(self._queue.popleft())
            self._news.clear()
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await self._news.wait()
            except TimeoutError:
                await self._send(protocol.heartbeat())

    async def _write(self, key: int) -> None:
        held = self._held.get(key)
        if held is None:
            return
        held.sent_at, held.was_sent = self._loop.time(), True
        if held.note.dedupe_key is None:
            del self._held[key]
        self.sent += 1
        await self._send(protocol.told(held.note))

    async def _send(self, text: str) -> None:
        self._has_moved()
        self._writing = True
        await self.socket.send(text)
        self._writing = False
        self._has_moved()

    # --- from the client

    def acknowledge(self, event_id: int) -> bool:
        """Let go of a notification that the client has; return False for what is not held after being sent here.

        Raises `RefusedError` for a client that does nothing but acknowledge.
        """
        self._acks += 1
        if self._acks > self.sent + SPARE_ACKS:
            raise protocol.RefusedError(protocol.Close.MALFORMED, "more acknowledgements than notifications")
        held = self._held.get(event_id)
        if held is None or not held.was_sent:
            return False
        self._release(event_id)
        return True

    def _release(self, event_id: int) -> None:
        del self._held[event_id]
        self._has_moved()

    def _has_moved(self) -> None:
        # Nothing that happens to a full one is progress but an acknowledgement: then it is not full any more.
        if not self.full:
            self._moved_at = self._loop.time()

    def stuck_for_s(self) -> float:
        """Return for how long the client has not read, or has acknowledged none of all that there is room for."""
        return self._loop.time() - self._moved_at if self._writing or self.full else 0.0

    # --- sending again

    def overdue(self, after_s: float) -> Iterator[int]:
        """Yield the event ids of what was sent so long ago and is not acknowledged."""
        before = self._loop.time() - after_s
        for event_id, held in self._held.items():
            if held.sent_at is not None:
                if held.sent_at > before:
                    return
                yield event_id

    def send_again(self, event_ids: Iterable[int]) -> None:
        """Send again what is still held of these."""
        for event_id in event_ids:
            held = self._held.pop(event_id, None)
            if held is not None:
                self._held[event_id] = Held(held.note, was_sent=held.was_sent)
                self._enqueue(event_id)

    def forget(self, event_ids: Iterable[int]) -> None:
        """Let go of what the user has acknowledged on another socket."""
        for event_id in event_ids:
            if event_id in self._held:
                self._release(event_id)
