"""The pipeline's ports as one simulated node sees them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from tem_sim.pipeline.ports import Unavailable
from tem_sim.sim.kernel import Kernel, Node
from tem_sim.sim.publishing import Client
from tem_sim.sim.watch import doing


@dataclass(frozen=True, slots=True)
class NodeBroker:
    """The way to the queue: each send takes a round trip of the calling thread.

    Wake-ups of one send go together, or one after the other, where each further one takes `each_s`.
    """

    kernel: Kernel
    client: Client
    latency_s: float
    each_s: float = 0.0

    def wake(self, count: int) -> None:
        """Send wake-ups, and note who sent how many and what became of them; see `pipeline.ports.Broker`."""
        self.kernel.sleep(self.latency_s)
        accepted = self.client.queue.accepted
        try:
            lost = self._send(count)
        except Unavailable:
            # Some may have been stored before the refusal, or all of them without an answer.
            self._note(count, max(0, count - (self.client.queue.accepted - accepted)))
            raise
        self._note(count, lost)

    def _send(self, count: int) -> int:
        if not self.each_s:
            return self.client.send(count)
        lost = self.client.send(1)
        for _ in range(count - 1):
            self.kernel.sleep(self.each_s)
            lost += self.client.send(1)
        return lost

    def _note(self, count: int, lost: int) -> None:
        thread = self.kernel.current
        assert thread is not None
        if self.kernel.watch is not None:
            self.kernel.watch.note("wake", rows=count)
        # A request bears the number of its first event, `api/request-17`; of the scheduler's ticks those do that run
        # beside others, `beat/retry.3`.
        task, _, first_id = thread.name.rpartition("/")[2].partition(".")[0].partition("-")
        # A worker's slots are nothing but a number.
        task = "batch" if task.isdigit() else task
        sender = thread.node.clock.now(), thread.node.name, task, int(first_id or 0)
        self.client.queue.wakeups.append((*sender, count, lost))


@dataclass(slots=True)
class Strike:
    """What a fault does to the nodes it targets at the nth passing of an edge."""

    nodes: frozenset[str]
    nth: int
    act: Callable[[Node], None]
    # Of the edges between statements: those of this function of the pipeline only.
    label: str | None = None
    passed: int = 0

    def passes(self, node: Node, label: str) -> bool:
        """Count a passing, if the node is one of the targets, and return whether it is the one to strike at."""
        if node.name not in self.nodes or self.label not in (None, label):
            return False
        self.passed += 1
        return self.passed == self.nth


class SimFailpoints:
    """The named edges of the tasks, at which faults lie in wait."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._armed: defaultdict[str, list[Strike]] = defaultdict(list)

    def arm(self, edge: str, strike: Strike) -> None:
        """Let a fault strike at an edge."""
        self._armed[edge].append(strike)

    def reach(self, edge: str) -> None:
        """Pass an edge; see `pipeline.ports.Failpoints`."""
        if not self._armed or edge not in self._armed:
            return
        thread = self.kernel.current
        if thread is None or thread.dead:
            return
        label = doing()
        struck = [strike for strike in self._armed[edge] if strike.passes(thread.node, label)]
        for strike in struck:
            strike.act(thread.node)
        if struck:
            # Lets a kill or a pause of this very node take hold here, between two steps of its code.
            self.kernel.sleep(0)
