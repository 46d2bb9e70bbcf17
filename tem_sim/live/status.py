"""What a live system is at, looked at from outside: its processes, its store, its queues, its users' sockets."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.request import ProxyHandler, build_opener

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from tem_sim.live.api.standing import Standing, Standings
from tem_sim.live.celery_app import MAINTENANCE
from tem_sim.live.config import HOST
from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.ports import QUEUE
from tem_sim.pipeline.store import Store, make_engine

if TYPE_CHECKING:
    from tem_sim.live.child import NodeState
    from tem_sim.live.config import LiveConfig
    from tem_sim.live.system import System

# Whoever does not answer in this time is as good as away: the table must go on.
PATIENCE_S = 0.5
# Loopback is never reached through a proxy.
_opener = build_opener(ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Sockets:
    """How many sockets are open, and of how many users."""

    connected: int
    users: int


@dataclass(frozen=True, slots=True)
class Status:
    """The system at a moment; what could not be asked, since it is away, is None."""

    nodes: list[NodeState]
    standing: Standing | None
    queues: dict[str, int] | None
    sockets: Sockets | None


class Watcher:
    """Looks at a system as often as it is asked to, and never waits long for any part of it."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._config = system.config
        self._store = _reader(system.config)
        self._standings = Standings(self._store, time.time)
        self._redis = Redis.from_url(
            self._config.redis_url, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S
        )

    def look(self) -> Status:
        """Return what the system is at."""
        return Status(self._system.nodes(), self._standing(), self._queues(), self._sockets())

    def close(self) -> None:
        """Close the connections."""
        self._store.close()
        self._redis.close()

    def _standing(self) -> Standing | None:
        try:
            return self._standings()
        except SQLAlchemyError:
            return None

    def _queues(self) -> dict[str, int] | None:
        names = (QUEUE, MAINTENANCE)
        asked = self._redis.pipeline(transaction=False)
        for name in names:
            asked.llen(f"{self._config.name}:{name}")
        try:
            return dict(zip(names, asked.execute(), strict=True))
        except (RedisError, OSError):
            return None

    def _sockets(self) -> Sockets | None:
        try:
            url = f"http://{HOST}:{self._config.ports.gateway}/status"
            with _opener.open(url, timeout=PATIENCE_S) as answer:
                found = json.load(answer)
            return Sockets(found["connected"], found["users"])
        except (OSError, HTTPException, ValueError, KeyError):
            return None


def _reader(config: LiveConfig) -> Store:
    # Each look is of one snapshot, and on SQLite it never takes the lock of the file's only writer.
    level = IsolationLevel.SNAPSHOT
    return Store(make_engine(config.store_url, isolation=level, pre_ping=True, application=f"{config.name}/status"))
