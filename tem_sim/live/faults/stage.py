"""What faults act on: the system's processes, its users' clients, its load, and the time of the run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tem_sim.scenario.faults.log import FaultLog
from tem_sim.scenario.rules import more_beats, struck_nodes

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tem_sim.live.faults.edges import Edges
    from tem_sim.live.faults.timeline import Timeline
    from tem_sim.live.system import System
    from tem_sim.pipeline.ports import Random
    from tem_sim.scenario.models import Scenario
    from tem_sim.scenario.streams import Streams

Key = tuple[int, ...]
# What a fault makes of a submission with that number: `user_id`, `kind`, `payload`.
Change = Callable[[int, dict[str, Any]], dict[str, Any]]


class Clients(Protocol):
    """The users' sockets; users are named by their ids. All return at once."""

    def is_connected(self, user: int) -> bool:
        """Whether this user has a socket."""
        ...

    def drop(self, users: Sequence[int]) -> int:
        """Cut these users' sockets, who dial no more until `dial_again`; return how many there were."""
        ...

    def dial_again(self, users: Sequence[int], within_s: float) -> None:
        """Let them dial, each within that time."""
        ...

    def take_offline(self, users: Sequence[int], noticed: bool) -> int:
        """Take users off the network; their sockets are cut, or stay and are dead. Return how many there were."""
        ...

    def bring_online(self, users: Sequence[int], within_s: float) -> None:
        """Let them reach the network again."""
        ...

    def slow_down(self, users: Sequence[int], read_every_s: float | None) -> None:
        """Let these users read one notification in that time; None for none at all."""
        ...

    def speed_up(self, users: Sequence[int]) -> int:
        """Let them read all there is; return how many notifications had waited for them."""
        ...

    def lose_acks(self, key: Key, probability: float | None, luck: Random | None) -> int:
        """Lose acknowledgements, or with None no more; return how many of this key were lost."""
        ...

    def redial_within(self, within_s: float) -> None:
        """Within which time clients dial again once the gateway is back."""
        ...


class Load(Protocol):
    """The clients that submit events. All return at once."""

    def lose_answers(self, key: Key, probability: float | None, luck: Random | None) -> int:
        """Lose answers of the API, or with None no more; return how many of this key were lost."""
        ...

    def add(self, events: int) -> None:
        """Let so many events arrive now, besides what the scenario says."""
        ...

    def change(self, key: Key, share: float | None, change: Change | None) -> int:
        """Change a share of the events that arrive, or with None no more; return how many were of this key."""
        ...


class Struck(NamedTuple):
    """A node that a fault strikes, and the process of it that passes an edge just now, if that is why."""

    node: str
    pid: int | None = None


@dataclass
class Stage:
    """One live run as faults see it. Only the timeline's thread may touch it once the run has begun."""

    system: System
    scenario: Scenario
    streams: Streams
    clients: Clients
    load: Load
    timeline: Timeline
    edges: Edges
    log: FaultLog = field(default_factory=FaultLog)
    # Nodes that are on their way to a stop which was asked of them.
    leaving: set[str] = field(default_factory=set)
    # How many faults want each of the schedulers beside the first.
    more_beats: Counter[str] = field(default_factory=Counter)
    # How many faults that have struck at their time are to end at theirs.
    ending: int = 0
    _paused_until: dict[str, float] = field(default_factory=dict)

    @property
    def now(self) -> float:
        """Seconds since the run's beginning."""
        return self.timeline.now

    @property
    def is_healed(self) -> bool:
        """Whether all faults are over for good."""
        return not math.isinf(self.log.healed_s)

    def targets(self, target: str) -> list[str]:
        """Return the names of the nodes that a fault's target means."""
        return struck_nodes(target, self.scenario.workers.count, self.scenario.faults)

    def users(self, fraction: float, *luck: str | int) -> list[int]:
        """Return a share of the users, the same ones as in the simulator."""
        return self.scenario.users.some(fraction, self.streams, *luck)

    @cached_property
    def outside(self) -> Engine:
        """Connections to the store that are not those of any node."""
        from tem_sim.pipeline.store import make_engine

        config = self.system.config
        return make_engine(config.store_url, pre_ping=True, application=f"{config.name}/faults")

    def end_later(self, after_s: float, end: Callable[[], object]) -> None:
        """End a fault after a while; until then it is not quiet, however late the fault has struck."""
        self.ending += 1

        def do() -> None:
            try:
                end()
            finally:
                self.ending -= 1

        self.timeline.call_later(after_s, do)

    # --- nodes

    @staticmethod
    def children(struck: Struck) -> list[str]:
        """Return the processes that a node is.

        The scheduler sends its ticks from one and has its work done by `maintenance`; at an edge it is there.
        """
        if struck.pid is not None and struck.node.startswith("beat"):
            return ["maintenance", struck.node]
        return [struck.node]

    def alive(self, name: str) -> bool:
        """Whether a node's process runs."""
        child = self.system.children.get(name)
        return child is not None and child.state != "down"

    def kill(self, struck: Struck) -> None:
        """Kill a node as SIGKILL does."""
        for name in self.children(struck):
            self._paused_until.pop(name, None)
            self.system.kill(name)

    def start(self, struck: Struck) -> None:
        """Start a killed node again, as its supervisor would; one that runs, or is held down, stays as it is."""
        for name in self.children(struck):
            self.system.start_node(name)

    def pause(self, struck: Struck, for_s: float, resumed: Callable[[], object]) -> None:
        """Freeze a node; the last of several pauses decides when it goes on."""
        until = self.now + for_s
        for name in self.children(struck):
            self._paused_until[name] = max(until, self._paused_until.get(name, 0.0))
            self.system.pause(name)

        def go_on() -> None:
            for name in self.children(struck):
                self._resume(name)
            resumed()

        self.timeline.call_at(until, go_on)

    @property
    def is_paused(self) -> bool:
        """Whether any node is frozen."""
        return bool(self._paused_until)

    def _resume(self, name: str) -> None:
        if self.now >= self._paused_until.get(name, math.inf):
            del self._paused_until[name]
            self.system.resume(name)

    # --- healing

    def heal(self) -> None:
        """End all faults, whatever is left of them, and start every node again that is down or on its way there."""
        self.log.heal(self.now)
        self.wake_all()
        for name in list(self.leaving):
            self.system.kill(name)
        beats = more_beats(self.scenario.faults)
        for name in self.system.children:
            if name not in beats:
                self.system.start_node(name)

    def wake_all(self) -> None:
        """Let every node go on that is frozen."""
        for name in list(self._paused_until):
            self.system.resume(name)
        self._paused_until.clear()

    def close(self) -> None:
        """Let every node go on that is frozen, and every connection go."""
        self.wake_all()
        if "outside" in self.__dict__:
            self.outside.dispose()
