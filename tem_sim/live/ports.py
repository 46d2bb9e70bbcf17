"""The pipeline's ports to the real world: the machine's clock, Celery's queue, Redis's pub/sub."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from tem_sim.pipeline.ports import Notification, Unavailable

if TYPE_CHECKING:
    from redis import Redis

    from tem_sim.live.logs import Log

# Who sends wake-ups in this context: the actor, and which of the tasks (see the frame `wakeups`); of a request also the
# first of its events.
SENDER: ContextVar[tuple[str, str, int]] = ContextVar("SENDER")


class WallClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return seconds since the epoch, rounded to the microsecond."""
        return round(time.time(), 6)


class CeleryBroker:
    """Sends wake-ups through Celery, and logs who sent how many and what became of them."""

    def __init__(self, task: Any, log: Log) -> None:
        self._task = task
        self._log = log

    def connect(self) -> None:
        """Open the connection that the first wake-up would have to open; raise `Unavailable` when it cannot be."""
        try:
            with self._task.app.producer_pool.acquire(block=True) as producer:
                producer.connection.default_channel.client.ping()
        except (OperationalError, RedisError, OSError) as error:
            raise Unavailable(f"broker: {error}") from error

    def wake(self, count: int) -> None:
        """Send wake-ups; raise `Unavailable` when the broker cannot be reached. No countdown: what waits is a row."""
        began, sent = time.monotonic(), 0
        ids = []
        try:
            with self._task.app.producer_pool.acquire(block=True) as producer:
                for _ in range(count):
                    ids.append(self._task.apply_async(producer=producer, ignore_result=True).id)
                    sent += 1
        except (OperationalError, RedisError, OSError) as error:
            raise Unavailable(f"broker: {error}") from error
        finally:
            actor, task, first_id = SENDER.get()
            took_s = round(time.monotonic() - began, 6)
            about = {"actor": actor, "task": task, "first_id": first_id, "count": count, "lost": count - sent}
            self._log.note("wake", took_s=took_s, ids=ids, **about)


class RedisPublisher:
    """Publishes notifications on the system's channel."""

    def __init__(self, redis: Redis, channel: str, log: Log) -> None:
        self._redis = redis
        self._channel = channel
        self._log = log

    def publish(self, notifications: Sequence[Notification]) -> Sequence[int]:
        """Publish all in one round trip; return how many subscribers each reached, or raise `Unavailable`."""
        batch = self._redis.pipeline(transaction=False)
        for note in notifications:
            batch.publish(self._channel, encoded(note))
        try:
            receivers: list[int] = batch.execute()
        except (RedisError, OSError) as error:
            raise Unavailable(f"pub/sub: {error}") from error
        self._log.note("publish", event_ids=[note.event_id for note in notifications], receivers=receivers)
        return receivers


def encoded(note: Notification) -> str:
    """Return a notification as it goes over Redis."""
    return json.dumps([note.event_id, note.user_id, note.dedupe_key, note.created_at])


def decoded(text: str | bytes) -> Notification:
    """Return the notification that came over Redis; raises ValueError or TypeError for anything else."""
    return Notification(*json.loads(text))
