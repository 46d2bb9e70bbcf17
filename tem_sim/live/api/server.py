"""The Event API's process: uvicorn on the system's port."""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn
from prometheus_client import disable_created_metrics

from tem_sim.live.api.app import create_app
from tem_sim.live.config import HOST

if TYPE_CHECKING:
    from tem_sim.live.process import Process

# How long requests may take to come to their end after SIGTERM.
GRACE_S = 5
# Longer than clients keep a connection for: who closes first must be the client, or its next request meets the closing.
KEEP_ALIVE_S = 60


def serve(process: Process) -> None:
    """Be the API, until SIGTERM."""
    # The server hands the signal on when it has come to its end; and it may come before it listens to it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    make_server(process).run()


def make_server(process: Process) -> uvicorn.Server:
    """Return the server of a process's API."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    config = uvicorn.Config(
        create_app(process),
        host=HOST,
        port=process.config.ports.api,
        log_config=None,
        access_log=False,
        server_header=False,
        # Of connections, those that are idle included; of requests under way the application lets no more in than that.
        limit_concurrency=2 * process.config.limits.requests,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        lifespan="on",
    )
    return _Server(config, process)


class _Server(uvicorn.Server):
    """Tells the supervisor once it listens."""

    def __init__(self, config: uvicorn.Config, process: Process) -> None:
        super().__init__(config)
        self._process = process

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        self._process.warm_up()
        await super().startup(sockets)
        if self.started:
            self._process.is_ready()
