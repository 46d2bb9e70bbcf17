"""Celery workers: a node with a consumer and a pool of slots, each of which runs one task at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from tem_sim.pipeline.tasks import Pipeline, process_events_batch
from tem_sim.sim.broker import Consumer, SimBroker
from tem_sim.sim.dependency import Dependency
from tem_sim.sim.kernel import Node
from tem_sim.sim.task_run import run_task


@dataclass
class Worker:
    """One worker process group. `busy` counts the slots that are inside a task."""

    node: Node
    broker: SimBroker
    pipe: Pipeline
    dependency: Dependency
    concurrency: int
    prefetch: int
    startup_s: float
    ack_early: bool
    busy: int = 0
    _consumer: Consumer | None = field(default=None, repr=False)

    def start(self) -> None:
        """Boot: the slots listen once the start-up time is over."""
        self.node.revive()
        self.node.on_death[:] = [self._die]
        self.node.spawn("boot", self._boot)

    def _boot(self) -> None:
        self.node.kernel.sleep(self.startup_s)
        self._consumer = self.broker.connect(self.node.name, self.concurrency * self.prefetch)
        for slot in range(self.concurrency):
            self.node.spawn(str(slot), partial(self._serve, f"{self.node.name}/{slot}"))

    def _die(self) -> None:
        self.busy = 0
        for slot in range(self.concurrency):
            self.dependency.abandon(f"{self.node.name}/{slot}")
        if self._consumer is not None:
            self.broker.abandon(self._consumer)
            self._consumer = None

    def _serve(self, name: str) -> None:
        """Take wake-ups one after the other, for ever; the name is what stands as the lease's owner."""
        consumer = self._consumer
        assert consumer is not None
        while True:
            message = consumer.take()
            if self.ack_early:
                consumer.ack(message)
            self.busy += 1
            run_task(self.node.kernel, lambda: process_events_batch(self.pipe, worker=name))
            self.dependency.settled(name)
            self.busy -= 1
            if not self.ack_early:
                consumer.ack(message)
