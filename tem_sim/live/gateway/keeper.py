"""The gateway's own work on the store: acknowledgements written, and what is owed read, away from the event loop.

One piece of work at a time, so that what is read has seen every acknowledgement written before it. Nothing is forgotten
before it is done: a store that fails is asked again in a moment, and the sockets know nothing of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from tem_sim.pipeline import outbox

if TYPE_CHECKING:
    from tem_sim.live.gateway.connection import Connection
    from tem_sim.live.gateway.hub import Hub
    from tem_sim.live.process import Process

# The simulator's gateway has the same three: acknowledgements gather, so that a burst of them is one transaction.
ACK_FLUSH_S = 0.1
STORE_RETRY_S = 1.0
USERS_PER_QUERY = 200
IDS_PER_QUERY = 1_000
# What more is acknowledged while the store is away is not taken: it is sent again, and acknowledged again.
MAX_ACKS_WAITING = 200_000

_T = TypeVar("_T")


class Keeper:
    """Writes acknowledgements and reads what is to be sent again, whenever there is any."""

    def __init__(self, process: Process, hub: Hub) -> None:
        self._process = process
        self._hub = hub
        self._per_user = 2 * process.config.limits.held_per_socket
        self._acks: set[int] = set()
        self._to_replay: set[Connection] = set()
        self._being_read: set[Connection] = set()
        self._to_resend: dict[Connection, list[int]] = {}
        self._news = asyncio.Event()
        # A thread of its own: a store that hangs must not take those that others need.
        self._thread = ThreadPoolExecutor(1, "store")

    @property
    def acks_waiting(self) -> int:
        """How many acknowledgements are not written yet."""
        return len(self._acks)

    @property
    def replays_waiting(self) -> int:
        """How many sockets have not got yet what their users had missed."""
        return len(self._to_replay | self._being_read)

    @property
    def takes_acks(self) -> bool:
        """Whether there is room for more of them."""
        return len(self._acks) < MAX_ACKS_WAITING

    def acknowledged(self, event_id: int) -> None:
        """Take a user's acknowledgement, to be written with others."""
        self._acks.add(event_id)
        self._news.set()

    def replay(self, connections: Iterable[Connection]) -> None:
        """Send to these what their users have not acknowledged, as far as they are connected by then."""
        self._to_replay.update(connections)
        self._news.set()

    def resend(self, connection: Connection, event_ids: list[int]) -> None:
        """Send these on the same socket again, unless the store says by now that the user has them."""
        self._to_resend[connection] = event_ids
        self._news.set()

    async def run(self) -> None:
        """Do the work, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(ACK_FLUSH_S)
            try:
                await self.write_acks()
                await self._replay()
                await self._resend()
            except SQLAlchemyError as error:
                self._process.log.note("store_failed", error=f"{type(error).__name__}: {error}"[:500])
                await asyncio.sleep(STORE_RETRY_S)
                self._news.set()

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def write_acks(self) -> None:
        """Write all acknowledgements that have come until now."""
        store = self._process.store
        for ids in _pieces(sorted(self._acks), IDS_PER_QUERY):
            await self._in_thread(lambda ids=ids: outbox.acknowledge(store, ids, now=round(time.time(), 6)))  # type: ignore[misc]
            self._acks.difference_update(ids)
            self._process.log.note("acked", event_ids=ids)

    async def _replay(self) -> None:
        while self._to_replay:
            of_users = self._hub.of_users(self._to_replay)
            piece = dict(islice(of_users.items(), USERS_PER_QUERY))
            taken = {connection for mine in piece.values() for connection in mine}
            if not taken:
                self._to_replay.clear()
                return
            self._to_replay -= taken
            self._being_read = taken
            for connection in taken:
                # What does not fit while the store is read sets it again.
                connection.behind = False
            try:
                await self._feed(piece)
            except BaseException:
                self._to_replay |= taken
                raise
            finally:
                self._being_read = set()

    async def _feed(self, piece: dict[int, list[Connection]]) -> None:
        store, began = self._process.store, time.monotonic()
        notes = await self._in_thread(lambda: outbox.first_unacknowledged(store, list(piece), self._per_user))
        found = dict.fromkeys(piece, 0)
        for note in notes:
            found[note.user_id] += 1
            # It may have been sent and acknowledged while the store was read.
            if note.event_id not in self._acks:
                for connection in piece[note.user_id]:
                    connection.offer(note)
        for user_id, connections in piece.items():
            for connection in connections:
                connection.behind |= found[user_id] >= self._per_user
        took_s = round(time.monotonic() - began, 6)
        self._process.log.note("replayed", users=len(piece), notifications=len(notes), took_s=took_s)

    async def _resend(self) -> None:
        while self._to_resend:
            connection, event_ids = next(iter(self._to_resend.items()))
            if connection in self._hub:
                still = await self._still_owed(event_ids)
                connection.send_again(i for i in event_ids if i in still)
                connection.forget(i for i in event_ids if i not in still)
                self._process.log.note("resent", user_id=connection.user_id, event_ids=sorted(still))
            del self._to_resend[connection]

    async def _still_owed(self, event_ids: Sequence[int]) -> set[int]:
        store = self._process.store
        return await self._in_thread(lambda: outbox.still_unacknowledged(store, event_ids)) - self._acks

    async def close(self, within_s: float) -> None:
        """Write what has been acknowledged; give up on a store that does not take it in time."""
        try:
            async with asyncio.timeout(within_s):
                await self.write_acks()
        except (TimeoutError, SQLAlchemyError) as error:
            self._process.log.note("acks_lost", count=len(self._acks), error=type(error).__name__)
        self._thread.shutdown(wait=False, cancel_futures=True)


def _pieces(items: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (items[start : start + size] for start in range(0, len(items), size))
