"""The messages of the task queue, and the log of their deliveries."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tem_sim.frames import FATES
from tem_sim.pipeline.tasks import Pipeline


@dataclass(slots=True, eq=False)
class Message:
    """One wake-up in the queue, or one copy of it.

    `tag` tells copies apart that a fault has made; what is delivered again keeps it, as on Redis. `eta` is the time
    before which a worker does not begin on it. `poison` kills each pool child that takes it. `task` is what the worker
    does for it, with its own pipeline and under its own name; None for what wake-ups ask for, a batch of events.
    """

    number: int
    tag: int
    queued_at: float = 0.0
    delivered_at: float = math.inf
    ended_at: float = math.inf
    redelivered: bool = False
    eta: float = 0.0
    poison: bool = False
    task: Callable[[Pipeline, str], int] | None = None
    row: int = -1

    def again(self, now: float, *, redelivered: bool = True) -> Message:
        """Return the message as it stands in the queue once more: the one delivered may be in somebody's hands yet."""
        return Message(
            self.number,
            self.tag,
            now,
            redelivered=redelivered or self.redelivered,
            eta=self.eta,
            poison=self.poison,
            task=self.task,
        )


class DeliveryLog:
    """The rows of the frame `messages`: one for each time that a message was handed to a worker."""

    def __init__(self) -> None:
        self._workers: dict[str, int] = {}
        self._worker = array("i")
        self._number = array("q")
        self._redelivered = array("b")
        self._delivered_s = array("d")
        self._started_s = array("d")
        self._finished_s = array("d")
        self._settled_s = array("d")
        self._fate = array("b")

    def delivered(self, message: Message, worker: str, now: float) -> None:
        """Begin the row of a delivery."""
        message.row = len(self._number)
        self._number.append(message.number)
        self._worker.append(self._workers.setdefault(worker, len(self._workers)))
        self._redelivered.append(message.redelivered)
        self._delivered_s.append(now)
        for unknown in (self._started_s, self._finished_s, self._settled_s):
            unknown.append(math.nan)
        self._fate.append(0)

    def started(self, message: Message, now: float) -> None:
        """Note that a slot of the worker has begun on it."""
        self._started_s[message.row] = now

    def finished(self, message: Message, now: float) -> None:
        """Note that its task came to its end."""
        self._finished_s[message.row] = now

    def settled(self, message: Message, fate: str, now: float) -> None:
        """Note what became of the delivery."""
        self._settled_s[message.row] = now
        self._fate[message.row] = FATES.index(fate)

    def columns(self) -> dict[str, Any]:
        """Return the columns of the frame `messages`."""
        workers = list(self._workers)
        return {
            "delivered_s": self._delivered_s,
            "message": self._number,
            "worker": [workers[code] for code in self._worker],
            "redelivered": self._redelivered,
            "started_s": self._started_s,
            "finished_s": self._finished_s,
            "settled_s": self._settled_s,
            "fate": [FATES[code] for code in self._fate],
        }
