"""How a live system's status looks: a table on a terminal, else a line for each change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tem_sim.pipeline.states import Cause
from tem_sim.report.numbers import duration, plain

if TYPE_CHECKING:
    from tem_sim.live.api.standing import Standing
    from tem_sim.live.child import NodeState
    from tem_sim.live.status import Status

_STYLES = {"up": "green", "starting": "yellow", "paused": "yellow", "down": "red"}
_AWAY = "does not answer"


def screen(status: Status) -> Group:
    """Return what the store, Redis and the gateway hold, and the table of nodes: last, since it may be long."""
    return Group("", _facts(status), "", _nodes(status.nodes))


def _nodes(nodes: list[NodeState]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name, side in (("node", "left"), ("state", "left"), ("pid", "right"), ("restarts", "right"), ("for", "right")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]  # The literal types are lost in the tuple.
    for node in nodes:
        state = Text(node.state, style=_STYLES[node.state])
        pid = "" if node.pid is None else str(node.pid)
        table.add_row(node.name, state, pid, str(node.restarts), duration(int(node.for_s)))
    return table


def _facts(status: Status) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, fact in holdings(status).items():
        table.add_row(name, Text(fact, style="red" if fact == _AWAY else ""))
    return table


def holdings(status: Status) -> dict[str, str]:
    """Return what the store, the queues and the gateway hold, in words."""
    found = dict.fromkeys(("events", "waiting", "outbox", "queues", "users"), _AWAY)
    if status.standing is not None:
        found |= _of_store(status.standing)
    if status.queues is not None:
        found["queues"] = _pairs(status.queues)
    if status.sockets is not None:
        found["users"] = f"connected {plain(status.sockets.users)}, sockets {plain(status.sockets.connected)}"
    return found


def _of_store(standing: Standing) -> dict[str, str]:
    ages = {"queued": standing.queued_age_s, "due": standing.due_age_s}
    oldest = ", ".join(f"oldest {name} {duration(round(age_s, 1))}" for name, age_s in ages.items())
    waiting = _pairs({"unpublished": standing.unpublished, "unacknowledged": standing.unacknowledged})
    expired = standing.causes[Cause.RESCUE] + standing.causes[Cause.CRASHED]
    leases = _pairs({"leases overdue": standing.overdue_leases, "expired": expired})
    return {"events": _pairs(standing.phases()), "waiting": f"{oldest}, {leases}", "outbox": waiting}


def _pairs(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {plain(count)}" for name, count in counts.items())


class Changes:
    """Turns what a system is at, time after time, into lines of what is otherwise than at the time before."""

    def __init__(self, counts_every_s: float) -> None:
        self._every_s = counts_every_s
        self._nodes: dict[str, NodeState] = {}
        self._told: dict[str, str] = {}
        self._told_at = -counts_every_s

    def since(self, status: Status, now_s: float) -> Iterator[str]:
        """Yield the lines; those that hold counts, which may change at any time, only every so often."""
        for node in status.nodes:
            before = self._nodes.get(node.name)
            if before is None or (before.state, before.pid) != (node.state, node.pid):
                yield _of_node(node)
            self._nodes[node.name] = node
        if now_s - self._told_at < self._every_s:
            return
        found = holdings(status)
        changed = {name: fact for name, fact in found.items() if self._told.get(name) != fact}
        if changed:
            self._told, self._told_at = found, now_s
            yield "; ".join(f"{name}: {fact}" for name, fact in changed.items())


def _of_node(node: NodeState) -> str:
    if node.pid is None:
        return f"{node.name} {node.state}"
    restarts = f", restart {node.restarts}" if node.restarts else ""
    return f"{node.name} {node.state} (pid {node.pid}{restarts})"
