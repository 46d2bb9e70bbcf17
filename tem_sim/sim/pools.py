"""The connection pools of the nodes: at most so many connections, and a queue of those who wait for one."""

from __future__ import annotations

from dataclasses import dataclass, field

from simpy.events import Event
from sqlalchemy import Connection
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tem_sim.sim.breakage import Told
from tem_sim.sim.kernel import Kernel, SimThread

# What SQLAlchemy's own pool says, whose place this one takes; `3o7r` is the page on it.
_TIMEOUT = "QueuePool limit of size {} overflow 0 reached, connection timed out, timeout {:.2f}"


@dataclass(slots=True)
class Resting:
    """A connection that nobody uses, and, if the server has closed it meanwhile, what its next use is answered with."""

    connection: Connection
    cut: Told | None = None


@dataclass(eq=False, slots=True)
class NodePool:
    """The connections of one node: those at rest, who uses one, and who waits for one. `taken` are places gone."""

    kernel: Kernel
    size: int
    timeout_s: float
    idle: list[Resting] = field(default_factory=list)
    taken: int = 0
    # In the order of coming; a thread uses one connection at a time.
    _users: dict[SimThread, None] = field(default_factory=dict)
    _waiting: dict[SimThread, Event] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether no place is free."""
        return len(self._users) >= self.size - self.taken

    def take(self, thread: SimThread) -> None:
        """Take a place; wait for one no longer than the timeout, and raise what SQLAlchemy's pool would."""
        if not self.is_full:
            self._users[thread] = None
            return
        turn = self._waiting[thread] = Event(self.kernel.env)
        self.kernel.call_later(self.timeout_s, lambda: self._give_up(thread, turn))
        if self.kernel.wait(turn) == "timeout":
            raise PoolTimeout(_TIMEOUT.format(self.size, self.timeout_s), code="3o7r")

    def _give_up(self, thread: SimThread, turn: Event) -> None:
        if not turn.triggered:
            self._waiting.pop(thread, None)
            turn.succeed("timeout")

    def give(self, thread: SimThread) -> None:
        """Give back what a thread has, or no longer waits for; whoever has waited longest has the place."""
        self._users.pop(thread, None)
        self._waiting.pop(thread, None)
        self._serve()

    def take_away(self, places: int) -> None:
        """Let the pool have fewer places, or more again; those in use stay in use."""
        self.taken += places
        self._serve()

    def _serve(self) -> None:
        while self._waiting and not self.is_full:
            thread, turn = next(iter(self._waiting.items()))
            del self._waiting[thread]
            self._users[thread] = None
            turn.succeed("turn")
