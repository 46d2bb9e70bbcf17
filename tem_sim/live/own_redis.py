"""A Redis of the system's own: `redis-server` from the PATH, on loopback, in the system's folder, with a password."""

from __future__ import annotations

import shutil
from pathlib import Path

from tem_sim.live.config import HOST


class NoRedisError(Exception):
    """There is no `redis-server` to start."""


_CONFIG = """\
bind {host}
port {port}
protected-mode yes
requirepass {password}
dir {folder}
save ""
appendonly {appendonly}
appendfsync everysec
auto-aof-rewrite-percentage 0
daemonize no
loglevel warning
"""


def redis_server() -> str:
    """Return where the server's program is; raise `NoRedisError`, with what to do about it, where there is none."""
    found = shutil.which("redis-server")
    if found is None:
        raise NoRedisError(
            "redis-server is not on PATH; install it (Debian and Ubuntu: apt install redis-server, macOS: "
            "brew install redis), or name a Redis that runs: --redis redis://host:6379/0"
        )
    return found


class OwnRedis:
    """The files of one Redis server, and how to start it.

    With `durable` what it is told goes to an append-only file before it is answered, and what is written is the
    kernel's: SIGKILL loses nothing of it. But while a sync of the file goes on, Redis puts its writes off, for up to
    2 s; a SIGKILL then loses them.
    """

    def __init__(self, folder: Path, port: int, password: str, *, durable: bool) -> None:
        found = redis_server()
        self._data = folder / "redis"
        self._data.mkdir(parents=True, exist_ok=True)
        self.url = f"redis://:{password}@{HOST}:{port}/0"
        file = folder / "redis.conf"
        file.touch(mode=0o600)
        about = {"host": HOST, "port": port, "password": password, "folder": self._data}
        file.write_text(_CONFIG.format(**about, appendonly="yes" if durable else "no"), encoding="utf-8")
        self.command = [found, str(file)]

    def forget(self) -> None:
        """Remove what it has kept: it comes back empty when it is started again. Only while it is down."""
        shutil.rmtree(self._data)
        self._data.mkdir()
