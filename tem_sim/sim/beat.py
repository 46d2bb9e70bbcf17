"""The scheduler (Celery beat): the periodic tasks, each on its own grid of ticks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tem_sim.pipeline.polling import Polling
from tem_sim.pipeline.tasks import (
    Pipeline,
    relay_notifications,
    rescue_lost_events,
    retry_failed_events,
)
from tem_sim.sim.kernel import Node
from tem_sim.sim.task_run import run_task


@dataclass
class Beat:
    """One scheduler. A second one beside it is a fault, and one that real deployments have."""

    node: Node
    pipe: Pipeline
    retry_every_s: float
    rescue_every_s: float
    relay_every_s: float
    phase_s: float = 0.0
    retry_floor_s: float | None = None

    def start(self) -> None:
        """Start ticking, on the grid that the phase sets, whenever it is started."""
        self.node.revive()
        name = self.node.name
        retry = Polling(period_s=self.retry_every_s, floor_s=self.retry_floor_s)
        self._tick("retry", retry, lambda: retry_failed_events(self.pipe, actor=name))
        self._tick("rescue", Polling(period_s=self.rescue_every_s), lambda: rescue_lost_events(self.pipe, actor=name))
        if self.pipe.settings.outbox:
            self._tick("relay", Polling(period_s=self.relay_every_s), lambda: relay_notifications(self.pipe))

    def _tick(self, name: str, polling: Polling, task: Callable[[], int]) -> None:
        kernel, every_s, limit = self.node.kernel, polling.period_s, self.pipe.settings.requeue_limit

        def run() -> None:
            # The grid reaches back before the phase: a beat that starts between two of its points waits for the next.
            tick, wait_s = math.floor((kernel.now - self.phase_s) / every_s), every_s
            while True:
                if wait_s < every_s:
                    kernel.sleep(wait_s)
                else:
                    # A tick that overruns its period swallows the ticks it missed; none is fired late in a bunch.
                    tick = max(tick, math.floor((kernel.now - self.phase_s) / every_s)) + 1
                    kernel.sleep(max(0.0, self.phase_s + tick * every_s - kernel.now))
                wait_s = polling.next_wait_s(wait_s, run_task(kernel, task) or 0, limit)

        self.node.spawn(name, run)
