"""The scheduler (Celery beat): the periodic tasks, each on its own grid of ticks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tem_sim.pipeline.tasks import (
    Pipeline,
    relay_notifications,
    rescue_lost_events,
    retry_failed_events,
)
from tem_sim.sim.kernel import Node


@dataclass
class Beat:
    """One scheduler. A second one beside it is a fault, and one that real deployments have."""

    node: Node
    pipe: Pipeline
    retry_every_s: float
    rescue_every_s: float
    relay_every_s: float
    phase_s: float = 0.0

    def start(self) -> None:
        """Start ticking, on the grid that the phase sets, whenever it is started."""
        self.node.revive()
        name = self.node.name
        self._tick("retry", self.retry_every_s, lambda: retry_failed_events(self.pipe, actor=name))
        self._tick("rescue", self.rescue_every_s, lambda: rescue_lost_events(self.pipe, actor=name))
        if self.pipe.settings.outbox:
            self._tick("relay", self.relay_every_s, lambda: relay_notifications(self.pipe))

    def _tick(self, name: str, every_s: float, task: Callable[[], object]) -> None:
        kernel = self.node.kernel

        def run() -> None:
            # The grid reaches back before the phase: a beat that starts between two of its points waits for the next.
            tick = math.floor((kernel.now - self.phase_s) / every_s)
            while True:
                # A tick that overruns its period swallows the ticks it missed; none is fired late in a bunch.
                tick = max(tick, math.floor((kernel.now - self.phase_s) / every_s)) + 1
                kernel.sleep(max(0.0, self.phase_s + tick * every_s - kernel.now))
                task()

        self.node.spawn(name, run)
