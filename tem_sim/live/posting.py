"""Many HTTP requests at the same time for little processor time: threads that keep their connections.

A client of asyncio takes some 1.8 ms of the processor for a request, this some 0.1 ms; and whoever plays the load of a
system shares the machine with it.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tem_sim.live.descriptors import has_news

# What goes wrong with a request that is not answered.
FAILURES = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request; `body` is JSON."""

    status: int
    body: Any


class Poster:
    """Posts JSON documents to one server, up to `connections` at the same time."""

    def __init__(self, host: str, port: int, headers: Mapping[str, str], *, connections: int, timeout_s: float) -> None:
        self._address = host, port
        self._headers = {"Content-Type": "application/json", **headers}
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(connections, "post")
        self._mine = threading.local()

    async def post(self, path: str, document: object, headers: Mapping[str, str] | None = None) -> Answer:
        """Post a document and return the answer, whatever its status; raises one of `FAILURES` where there is none."""
        asked = {**self._headers, **(headers or {})}
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._post, path, document, asked)

    def close(self) -> None:
        """Begin on nothing new; what is under way may come to its end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _post(self, path: str, document: object, headers: Mapping[str, str]) -> Answer:
        connection = self._connection()
        try:
            connection.request("POST", path, json.dumps(document), headers)
            answer = connection.getresponse()
            body = answer.read()
        except FAILURES:
            connection.close()
            raise
        return Answer(answer.status, _parsed(body))

    def _connection(self) -> http.client.HTTPConnection:
        """Return this thread's connection, a new one where the server has closed it since."""
        connection: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(*self._address, timeout=self._timeout_s)
            self._mine.connection = connection
        if connection.sock is not None and has_news(connection.sock.fileno()):
            connection.close()
        return connection


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
