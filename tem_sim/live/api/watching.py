"""Around every request: no more at once than there is room for, a line in the log, and what Prometheus counts."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tem_sim.live.api.metrics import RequestMetrics
from tem_sim.live.api.problems import try_again
from tem_sim.live.logs import Log

# Asked above all when there is no room, and take none.
ALWAYS_ANSWERED = frozenset({"/healthz", "/metrics"})
# A client that went away before it was answered; nobody is told this code.
CLIENT_GONE = 499


@dataclass(slots=True)
class Facts:
    """What becomes known of a request while it is answered."""

    began: float = field(default_factory=time.perf_counter)
    event_ids: list[int] = field(default_factory=list)
    before_store_s: float | None = None
    status: int = CLIENT_GONE

    def reach_store(self) -> None:
        """Note that the request's first transaction begins now."""
        if self.before_store_s is None:
            self.before_store_s = round(time.perf_counter() - self.began, 6)


FACTS: ContextVar[Facts] = ContextVar("FACTS")


class Watching:
    """Refuses what is too much at once with 503, and logs `request` for each: what it was, its answer, how long.

    `before_store_s` is the time until its first transaction begins, null when there was none.
    """

    def __init__(self, app: ASGIApp, log: Log, metrics: RequestMetrics, at_once: int) -> None:
        self._app = app
        self._log = log
        self._metrics = metrics
        self._at_once = at_once
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        facts = Facts()
        FACTS.set(facts)
        takes_room = scope["path"] not in ALWAYS_ANSWERED
        self._open += takes_room

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                facts.status = message["status"]
            await send(message)

        try:
            with self._metrics.in_progress.track_inprogress():
                if takes_room and self._open > self._at_once:
                    rule = f"at most {self._at_once} requests are answered at once"
                    await try_again("request", rule, after_s=1).response()(scope, receive, noting)
                else:
                    await self._app(scope, receive, noting)
        except Exception:
            # The outermost part of the framework answers for it.
            facts.status = 500
            raise
        finally:
            self._open -= takes_room
            self._note(scope, facts)

    def _note(self, scope: MutableMapping[str, Any], facts: Facts) -> None:
        took_s = time.perf_counter() - facts.began
        # By what was asked for, not by how: else anybody could make as many series as he likes.
        unnamed = scope["path"] if facts.status < 300 else "unmatched"
        route = getattr(scope.get("route"), "path", unnamed)
        method = scope["method"] if scope["method"] in {"GET", "POST"} else "other"
        self._metrics.count(method, route, facts.status, took_s)
        self._log.note(
            "request",
            method=scope["method"],
            route=route,
            status=facts.status,
            took_s=round(took_s, 6),
            event_ids=facts.event_ids,
            before_store_s=facts.before_store_s,
        )
