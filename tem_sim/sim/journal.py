"""What the task queue must remember to come back with the state of a moment ago."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tem_sim.sim.messages import Message


class Journal:
    """The deliveries that ended lately: as long as the longest that a restart undoes, and none where none does."""

    def __init__(self) -> None:
        self.remembers_s = 0.0
        self._ended: deque[Message] = deque()

    def ended(self, message: Message) -> None:
        """Remember a delivery that is over now."""
        if not self.remembers_s:
            return
        self._ended.append(message)
        while self._ended[0].ended_at < message.ended_at - self.remembers_s:
            self._ended.popleft()

    def forget(self) -> None:
        """Forget all; there is nothing to come back to."""
        self._ended.clear()

    def undo(
        self, ready: Iterable[Message], unacked: Iterable[Message], cut: float
    ) -> tuple[deque[Message], list[Message]]:
        """Return what was in the queue at `cut`, and what was unacknowledged then."""
        ended = [message for message in self._ended if message.ended_at > cut]
        self.forget()
        there = [message for message in (*unacked, *ended) if message.queued_at <= cut]
        undelivered = sorted(
            (message for message in there if message.delivered_at > cut), key=lambda message: message.delivered_at
        )
        queue = deque(message.again(message.queued_at, redelivered=False) for message in undelivered)
        queue.extend(message for message in ready if message.queued_at <= cut)
        return queue, [message for message in there if message.delivered_at <= cut]
