"""The sending side of the task queue: what a client does when Redis refuses, hangs, or does not answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simpy.events import Timeout

from tem_sim.pipeline.ports import Unavailable

if TYPE_CHECKING:
    from tem_sim.pipeline.ports import Random
    from tem_sim.sim.broker import SimBroker

# How often a client looks whether the broker is back, over the time after which it gives up: the default retry policy
# of Celery tries four times in all.
TRIES = 4


@dataclass(eq=False)
class LostAnswers:
    """Answers to sends get lost with some probability, up to `tries` times in a row; counts how often they did."""

    probability: float
    tries: int
    luck: Random
    hits: int = 0


@dataclass(eq=False)
class Client:
    """The broker as those who send see it, pub/sub included."""

    queue: SimBroker
    gives_up_after_s: float = 0.0
    # While the broker is frozen: after how long without an answer the client gives up; None for never.
    socket_timeout_s: float | None = None
    hung: int = 0
    lost_answers: list[LostAnswers] = field(default_factory=list)

    def send(self, count: int) -> int:
        """Send wake-ups; return how many got lost on their way. Raises `Unavailable`, also for what was stored."""
        tries = 1
        while True:
            if not self.waits_for_answer():
                self.queue.on_thaw.append(lambda: self._store_late(count))
                raise Unavailable("broker: timed out")
            self._wait_while_refused()
            lost = self.queue.send(count)
            unheard = [fault for fault in self.lost_answers if fault.luck.random() < fault.probability]
            for fault in unheard:
                fault.hits += 1
            if not unheard:
                return lost
            if tries >= max(fault.tries for fault in unheard):
                raise Unavailable("broker: connection lost before the answer")
            tries += 1

    def waits_for_answer(self) -> bool:
        """Let the caller hang while the broker is frozen; return whether it is answered in the end."""
        kernel, timeout_s = self.queue.kernel, self.socket_timeout_s
        if self.queue.thawed is None:
            return True
        self.hung += 1
        timeout = None if timeout_s is None else Timeout(kernel.env, timeout_s)
        while (thawed := self.queue.thawed) is not None:
            kernel.wait(thawed if timeout is None else thawed | timeout)
            if timeout is not None and timeout.processed:
                return self.queue.thawed is None
        return True

    def _wait_while_refused(self) -> None:
        """Try again while the broker is down, as long as the client's patience lasts."""
        for _ in range(TRIES - 1):
            if self.queue.up or not self.gives_up_after_s:
                return
            self.queue.kernel.sleep(self.gives_up_after_s / (TRIES - 1))

    def _store_late(self, count: int) -> None:
        """What a client that gave up had sent is still in the socket, and is stored when the broker goes on."""
        if self.queue.up:
            self.queue.send(count)
