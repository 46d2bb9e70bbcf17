"""The named edges of the tasks, at which faults lie in wait, in the processes of a live system.

A process that passes an edge at which a fault waits for its node asks the supervisor, who counts over all processes and
does what is to be done while the process waits: what is killed there has done nothing beyond the edge.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from tem_sim.live.config import HOST
from tem_sim.pipeline.ports import EDGES, NoFailpoints
from tem_sim.scenario.rules import struck_nodes

if TYPE_CHECKING:
    from tem_sim.live.config import LiveConfig
    from tem_sim.pipeline.ports import Failpoints
    from tem_sim.scenario.models import Scenario

CONNECT_TIMEOUT_S = 2.0


def port_file(config: LiveConfig) -> Path:
    """Return the file that names the port on which the supervisor is asked."""
    return config.folder / "edges.port"


def edge_key(config: LiveConfig) -> str:
    """Return what proves that who asks is a process of the system."""
    return hmac.new(config.secret.encode(), b"edges", hashlib.sha256).hexdigest()


def armed_edges(scenario: Scenario) -> dict[str, frozenset[str]]:
    """Return the edges at which faults of the scenario lie in wait, and for which nodes."""
    armed: dict[str, frozenset[str]] = {}
    for fault in scenario.faults:
        edge = getattr(fault, "edge", None)
        if edge in EDGES:
            nodes = struck_nodes(fault.target, scenario.workers.count, scenario.faults)
            armed[edge] = armed.get(edge, frozenset()) | frozenset(nodes)
    return armed


def failpoints(config: LiveConfig) -> Failpoints:
    """Return a process's failpoints: none where no fault of the scenario waits at an edge."""
    armed = armed_edges(config.scenario)
    return LiveFailpoints(config, armed) if armed else NoFailpoints()


class LiveFailpoints:
    """Asks the supervisor at each passing of an armed edge, until it is told that nothing waits there any more."""

    def __init__(self, config: LiveConfig, armed: dict[str, frozenset[str]]) -> None:
        self._config = config
        self._armed = dict(armed)

    def reach(self, edge: str) -> None:
        """Pass an edge; see `pipeline.ports.Failpoints`."""
        nodes = self._armed.get(edge)
        if nodes is None:
            return
        # It brings the Celery client with it, which the supervisor has no use for.
        from tem_sim.live.ports import SENDER

        node = SENDER.get()[0].partition("/")[0]
        if node in nodes and not self._ask(edge, node):
            self._armed.pop(edge, None)

    def _ask(self, edge: str, node: str) -> bool:
        """Ask what happens here, and wait; return whether to ask again next time."""
        file = port_file(self._config)
        if not file.exists():
            # No run has begun.
            return True
        question = {"key": edge_key(self._config), "edge": edge, "node": node, "pid": os.getpid()}
        try:
            with socket.create_connection((HOST, int(file.read_text())), timeout=CONNECT_TIMEOUT_S) as connection:
                connection.settimeout(None)
                connection.sendall(json.dumps(question).encode() + b"\n")
                with connection.makefile("rb") as stream:
                    answer = json.loads(stream.readline() or b'{"armed": false}')
        except OSError:
            return False
        return bool(answer["armed"])
