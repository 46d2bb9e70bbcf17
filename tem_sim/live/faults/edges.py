"""The supervisor's end of the failpoints: counts who passes an edge, and strikes at the nth."""

from __future__ import annotations

import hmac
import json
import socketserver
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_sim.live.config import HOST
from tem_sim.live.failpoints import edge_key, port_file
from tem_sim.live.faults.stage import Struck

if TYPE_CHECKING:
    from tem_sim.live.config import LiveConfig
    from tem_sim.live.faults.timeline import Timeline


@dataclass
class _Waiting:
    """A fault that waits at an edge for one of these nodes, and what it does to the nth that passes."""

    nodes: frozenset[str]
    nth: int
    act: Callable[[Struck], None]
    passed: int = 0


class Edges:
    """All faults that lie in wait, and the port on which processes ask whether one strikes them."""

    def __init__(self, config: LiveConfig, timeline: Timeline) -> None:
        self._config = config
        self._timeline = timeline
        self._waiting: defaultdict[str, list[_Waiting]] = defaultdict(list)
        self._server: socketserver.ThreadingTCPServer | None = None

    def arm(self, edge: str, nodes: frozenset[str], nth: int, act: Callable[[Struck], None]) -> None:
        """Let a fault strike at the nth passing of an edge, counted over these nodes."""
        self._waiting[edge].append(_Waiting(nodes, nth, act))

    def open(self) -> None:
        """Begin to answer, if any fault lies in wait."""
        if not self._waiting:
            return
        edges = self

        class Asked(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                question = json.loads(self.rfile.readline())
                if hmac.compare_digest(str(question["key"]).encode(), edge_key(edges._config).encode()):
                    armed = edges._asked(str(question["edge"]), Struck(str(question["node"]), int(question["pid"])))
                    self.wfile.write(json.dumps({"armed": armed}).encode() + b"\n")

        self._server = _Server((HOST, 0), Asked)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="edges", daemon=True).start()
        file = port_file(self._config)
        written = file.with_suffix(".new")
        written.write_text(str(self._server.server_address[1]), encoding="utf-8")
        # At once and whole: processes may look at any moment.
        written.replace(file)

    def close(self) -> None:
        """Answer nobody any more; who passes goes on."""
        if self._server is not None:
            port_file(self._config).unlink(missing_ok=True)
            self._server.shutdown()
            self._server.server_close()

    def _asked(self, edge: str, struck: Struck) -> bool:
        """Count a passing, do what is to be done at it, and return whether anything still waits at this edge."""
        return self._timeline.ask(lambda: self._pass(edge, struck), otherwise=False)

    def _pass(self, edge: str, struck: Struck) -> bool:
        for waiting in self._waiting[edge]:
            if struck.node in waiting.nodes:
                waiting.passed += 1
                if waiting.passed == waiting.nth:
                    waiting.act(struck)
        return any(waiting.passed < waiting.nth for waiting in self._waiting[edge])


class _Server(socketserver.ThreadingTCPServer):
    """One thread per question; one that is cut off, as by a strike, is no news."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Let it be: who asked is dead, or no process of the system."""
