"""The gateway's subscription to the channel of notifications, taken up again whenever Redis is back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tem_sim.live.ports import decoded
from tem_sim.live.process import SOCKET_TIMEOUT_S

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub

    from tem_sim.live.config import LiveConfig
    from tem_sim.live.logs import Log
    from tem_sim.pipeline.ports import Notification

AGAIN_AFTER_S = 0.2
# A Redis that is frozen, or behind a network that is gone, says nothing: it is asked, and left after so long a silence.
ASK_EVERY_S = 1.0
SILENT_S = 4.0
# After so many messages in a row the sockets have their turn.
TURN = 50


class Subscription:
    """Hands on what is published. `subscribed` is called each time from which on nothing is missed."""

    def __init__(
        self, config: LiveConfig, log: Log, received: Callable[[Notification], None], subscribed: Callable[[], None]
    ) -> None:
        self._config = config
        self._log = log
        self._received = received
        self._subscribed = subscribed

    async def run(self) -> None:
        """Listen, until cancelled."""
        while True:
            try:
                await self._listen()
            except (RedisError, OSError, TimeoutError) as error:
                self._log.note("unsubscribed", error=f"{type(error).__name__}: {error}"[:500])
            await asyncio.sleep(AGAIN_AFTER_S)

    async def _listen(self) -> None:
        # The client must not come back on its own: what was published meanwhile would be missed without a word.
        client = Redis.from_url(
            self._config.redis_url,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        async with client, client.pubsub() as pubsub:
            await pubsub.subscribe(self._config.channel)
            await self._take_all(pubsub)

    async def _take_all(self, pubsub: PubSub) -> None:
        loop = asyncio.get_running_loop()
        heard_at, in_a_row = loop.time(), 0
        while True:
            message = await pubsub.get_message(timeout=ASK_EVERY_S)
            if message is not None:
                heard_at, in_a_row = loop.time(), in_a_row + 1
                self._take(message)
                if in_a_row % TURN == 0:
                    await asyncio.sleep(0)
                continue
            if loop.time() - heard_at > SILENT_S:
                raise TimeoutError(f"Redis has said nothing for {SILENT_S:g} s")
            await pubsub.ping()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._subscribed()
        elif message["type"] == "message":
            try:
                note = decoded(message["data"])
                self._received(note)
            except (ValueError, TypeError) as error:
                self._log.note("unreadable", error=str(error)[:500])
            else:
                self._log.note("received", event_ids=[note.event_id])
