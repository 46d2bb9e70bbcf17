"""What a live run looks at every second: its gauges, and whether there is anything left to do."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import select

from tem_sim.live.celery_app import WAKE
from tem_sim.live.process import SOCKET_TIMEOUT_S
from tem_sim.pipeline.failures import DATABASE_FAILURES
from tem_sim.pipeline.gauges import mitigation_gauges
from tem_sim.pipeline.ports import QUEUE
from tem_sim.pipeline.states import TERMINAL
from tem_sim.pipeline.tables import notification, processing_state

if TYPE_CHECKING:
    from tem_sim.live.clients import Clients
    from tem_sim.live.config import LiveConfig
    from tem_sim.live.system import System
    from tem_sim.pipeline.store import Store

_WAITING = (
    select(processing_state.c.event_id)
    .where(processing_state.c.status.not_in([str(state) for state in TERMINAL]))
    .limit(1)
)
_UNTOLD = select(notification.c.user_id).where(notification.c.acked_at.is_(None)).distinct()


class Look:
    """Looks at a system from outside. What cannot be asked at a moment has no sample then."""

    def __init__(self, system: System, store: Store, clients: Clients) -> None:
        self._config: LiveConfig = system.config
        self._system = system
        self._store = store
        self._clients = clients
        self._settings = system.config.scenario.settings()
        self._busy = {
            name: _Busy(self._config.log_file(name)) for name in system.children if name.startswith("worker-")
        }
        self._redis = Redis.from_url(
            self._config.redis_url, socket_timeout=SOCKET_TIMEOUT_S, socket_connect_timeout=SOCKET_TIMEOUT_S
        )

    def redis_version(self) -> str:
        """Return the version of the Redis in use."""
        return str(self._redis.info("server")["redis_version"])

    def gauges(self) -> list[tuple[float, str, float]]:
        """Return rows of the frame `samples`, dated by the machine's clock."""
        busy, now = self.workers_busy(), time.time()
        read = {"workers_busy": float(busy), "users_connected": float(self._clients.connected()), **self._queue()}
        with suppress(*DATABASE_FAILURES):
            read |= mitigation_gauges(self._store, self._settings, now)
        return [(now, name, value) for name, value in read.items()]

    def workers_busy(self) -> int:
        """Return how many slots of workers are inside a task."""
        down = {name for name in self._busy if self._system.children[name].state == "down"}
        counts = {name: busy.count() for name, busy in self._busy.items()}
        return sum(count for name, count in counts.items() if name not in down)

    def _queue(self) -> dict[str, float]:
        prefix = self._config.name
        asked = self._redis.pipeline(transaction=False)
        asked.llen(f"{prefix}:{QUEUE}")
        asked.hvals(f"{prefix}:unacked")
        try:
            ready, unacked = asked.execute()
        except (RedisError, OSError):
            return {}
        return {"broker_ready": float(ready), "broker_unacked": float(sum(map(_is_wakeup, unacked)))}

    def is_drained(self) -> bool:
        """Whether every event is terminal, every reachable user told, and every worker idle."""
        if self.workers_busy() or any(child.state == "paused" for child in self._system.children.values()):
            return False
        try:
            with self._store.begin() as connection:
                if connection.execute(_WAITING).first() is not None:
                    return False
                untold = [row.user_id for row in connection.execute(_UNTOLD)]
        except DATABASE_FAILURES:
            return False
        return not any(map(self._clients.reachable, untold))

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def _is_wakeup(unacked: bytes) -> bool:
    message = json.loads(unacked)[0]
    return bool(message.get("headers", {}).get("task") == WAKE)


class _Busy:
    """Which messages a worker is working on, by its log as far as it has been read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0
        self._pids: dict[str, int] = {}

    def count(self) -> int:
        for line in self._news():
            self._take(line)
        # Whoever was killed in the middle of a task never says that it is over.
        self._pids = {message: pid for message, pid in self._pids.items() if _lives(pid)}
        return len(self._pids)

    def _take(self, line: dict[str, Any]) -> None:
        if line["event"] == "message_started":
            self._pids[line["message"]] = line["pid"]
        elif line["event"] == "message_done":
            self._pids.pop(line["message"], None)

    def _news(self) -> list[dict[str, Any]]:
        if not self._file.exists():
            return []
        with self._file.open("rb") as stream:
            stream.seek(self._read)
            whole, newline, _ = stream.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        return _parsed(whole, lambda line: b'"message_' in line)


def _parsed(text: bytes, wanted: Callable[[bytes], bool]) -> list[dict[str, Any]]:
    found = []
    for line in text.split(b"\n"):
        if wanted(line):
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                # Torn, where its process was killed.
                continue
    return found


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Whoever adopts the orphans of a killed worker may never bury them: then they have a number for ever.
    try:
        return _is_at_work(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return not Path("/proc/self/stat").exists()


def _is_at_work(stat: str) -> bool:
    """Whether Linux says of a process that it is more than a number that nobody has asked for yet."""
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
