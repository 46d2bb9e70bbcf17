"""The scheduler (Celery beat): the periodic tasks, each on its own grid of ticks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from tem_sim.pipeline.polling import Polling
from tem_sim.pipeline.tasks import (
    Pipeline,
    relay_notifications,
    rescue_lost_events,
    retry_failed_events,
)
from tem_sim.sim.kernel import Node
from tem_sim.sim.task_run import run_task

# What a tick is worth that waits for its worker in the scheduler's queue: after this it is dropped, as live ones are.
TICK_EXPIRES_S = 5.0
# How often such a tick looks whether its worker is back.
LOOK_EVERY_S = 0.02

# A periodic task, run with a process's own view of the pipeline under that process's name.
Task: TypeAlias = Callable[[Pipeline, str], int]


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late a tick does its work, drawn anew for each, and whether the next may begin meanwhile."""

    draw_s: Callable[[], float]
    overlap: bool


@dataclass
class Beat:
    """One scheduler. A second one beside it is a fault, and one that real deployments have.

    `late` are the faults that make its ticks late, `routed` those that send its tasks elsewhere instead of running
    them, by the hand that does so. `fires_missed_since_s` is set for the next start only: since when it was away.
    """

    node: Node
    pipe: Pipeline
    retry_every_s: float
    rescue_every_s: float
    relay_every_s: float
    phase_s: float = 0.0
    retry_floor_s: float | None = None
    late: dict[object, Lateness] = field(default_factory=dict)
    routed: dict[object, Callable[[Task], None]] = field(default_factory=dict)
    fires_missed_since_s: float | None = None
    # Whether a tick can be sent at present, and whether one that is sent reaches who does its work.
    is_sent: Callable[[], bool] = lambda: True
    gets_through: Callable[[], bool] = lambda: True
    _ticks: int = 0

    def start(self) -> None:
        """Start ticking, on the grid that the phase sets, whenever it is started."""
        self.node.revive()
        retry = Polling(period_s=self.retry_every_s, floor_s=self.retry_floor_s)
        self._tick("retry", retry, lambda pipe, actor: retry_failed_events(pipe, actor=actor))
        rescue = Polling(period_s=self.rescue_every_s)
        self._tick("rescue", rescue, lambda pipe, actor: rescue_lost_events(pipe, actor=actor))
        if self.pipe.settings.outbox:
            self._tick("relay", Polling(period_s=self.relay_every_s), lambda pipe, actor: relay_notifications(pipe))
        self.fires_missed_since_s = None

    def _tick(self, name: str, polling: Polling, task: Task) -> None:
        kernel, every_s, limit = self.node.kernel, polling.period_s, self.pipe.settings.requeue_limit
        for _ in range(self._missed(every_s)):
            self._beside(name, lambda: self._run(task))

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
                wait_s = polling.next_wait_s(wait_s, self._fire(name, task), limit)

        self.node.spawn(name, run)

    def _missed(self, every_s: float) -> int:
        """Return how many ticks of a period were missed, where those are made up for."""
        if self.fires_missed_since_s is None:
            return 0
        ticks = (
            math.floor((at_s - self.phase_s) / every_s) for at_s in (self.node.kernel.now, self.fires_missed_since_s)
        )
        return next(ticks) - next(ticks)

    def _fire(self, name: str, task: Task) -> int:
        """Do what a tick is for, or see to it that it will be done; return how many rows that has moved by now."""
        if not self._is_taken():
            return 0
        for send in self.routed.values():
            send(task)
            return 0
        if not self.late:
            return self._run(task)
        late_s = sum(lateness.draw_s() for lateness in self.late.values())
        if any(lateness.overlap for lateness in self.late.values()):
            self._beside(name, lambda: self._run_late(late_s, task))
            return 0
        return self._run_late(late_s, task)

    def _is_taken(self) -> bool:
        """Wait, as a message in a queue does, for who does the work; return whether anybody came for it in time."""
        kernel = self.node.kernel
        until = kernel.now + TICK_EXPIRES_S
        while self.is_sent() and not self.gets_through():
            if kernel.now >= until:
                return False
            kernel.sleep(LOOK_EVERY_S)
        return self.is_sent()

    def _beside(self, name: str, tick: Callable[[], int]) -> None:
        """Let a tick run beside others, in a thread with a name of its own."""
        self._ticks += 1
        self.node.spawn(f"{name}.{self._ticks}", tick)

    def _run_late(self, late_s: float, task: Task) -> int:
        self.node.kernel.sleep(late_s)
        return self._run(task)

    def _run(self, task: Task) -> int:
        return run_task(self.node.kernel, lambda: task(self.pipe, self.node.name)) or 0
