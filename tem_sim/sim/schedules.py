"""A turnstile: threads that are about to send a statement wait, and a strategy lets one of them take its next step.

Statements take no time here. Simulated time moves only when nobody waits at the turnstile, so who comes when is the
strategy's choice alone. What it chose is data: the steps at which it left the default, by which a thread goes on as
long as it can and is followed by the one that has waited longest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from simpy.events import Event, EventPriority

from tem_sim.scenario.schedules import (
    BoundedSchedule,
    PctSchedule,
    RandomSchedule,
    ReplaySchedule,
    Schedule,
    WalkSchedule,
)
from tem_sim.scenario.streams import Stream, Streams
from tem_sim.sim.kernel import Kernel, SimThread
from tem_sim.sim.pace import Way

# After everything else that is due at an instant; SimPy's own events have 0 and 1.
_LAST = EventPriority(2)


class Strategy(Protocol):
    """Who goes on."""

    def choose(self, step: int, ready: Sequence[str], default: str) -> str:
        """Return which of the threads that could go on does, in step `step`, counted from 1."""
        ...


class Default:
    """Each thread as long as it can go on."""

    def choose(self, step: int, ready: Sequence[str], default: str) -> str:
        """See `Strategy.choose`."""
        return default


class Deviating:
    """The default but at some steps; a deviation to a thread that cannot go on there is none."""

    def __init__(self, deviations: Mapping[int, str]) -> None:
        self.deviations = dict(deviations)

    def choose(self, step: int, ready: Sequence[str], default: str) -> str:
        """See `Strategy.choose`."""
        wanted = self.deviations.get(step, default)
        return wanted if wanted in ready else default


class Walk:
    """Any of them, all equally likely."""

    def __init__(self, luck: Stream) -> None:
        self._luck = luck

    def choose(self, step: int, ready: Sequence[str], default: str) -> str:
        """See `Strategy.choose`."""
        return ready[int(self._luck.random() * len(ready))]


class Pct:
    """The one of the highest priority; at a few steps, drawn beforehand, the one that would go on gets the lowest."""

    def __init__(self, luck: Stream, changes: int, within: int) -> None:
        self._luck = luck
        self._changes = _some_steps(luck, changes, within)
        self._priorities: dict[str, float] = {}
        self._lowest = 0.0

    def choose(self, step: int, ready: Sequence[str], default: str) -> str:
        """See `Strategy.choose`."""
        for name in ready:
            if name not in self._priorities:
                self._priorities[name] = self._luck.random()
        first = max(ready, key=self._priorities.__getitem__)
        if step in self._changes:
            self._lowest -= 1.0
            self._priorities[first] = self._lowest
            first = max(ready, key=self._priorities.__getitem__)
        return first


class Bounded:
    """The default, but for at most a few of the steps at which there is a choice, drawn beforehand."""

    def __init__(self, luck: Stream, deviations: int, within: int) -> None:
        self._luck = luck
        self._chosen = _some_steps(luck, int(luck.random() * (deviations + 1)), within)
        self._choices = 0

    def choose(self, step: int, ready: Sequence[str], default: str) -> str:
        """See `Strategy.choose`."""
        others = [name for name in ready if name != default]
        self._choices += bool(others)
        if not others or self._choices not in self._chosen:
            return default
        return others[int(self._luck.random() * len(others))]


def _some_steps(luck: Stream, count: int, within: int) -> frozenset[int]:
    return frozenset(1 + int(luck.random() * within) for _ in range(count))


def strategy_of(model: Schedule, streams: Streams) -> Strategy | None:
    """Return a scenario's strategy, with luck of its own; None for latencies, which need no turnstile."""
    luck = streams.stream("schedule")
    match model:
        case RandomSchedule():
            return None
        case WalkSchedule():
            return Walk(luck)
        case PctSchedule():
            return Pct(luck, model.changes, model.within)
        case BoundedSchedule():
            return Bounded(luck, model.deviations, model.within)
        case ReplaySchedule():
            return Deviating(model.deviations)


class Turnstile:
    """A `Pace`: whoever is about to connect, send a statement or commit waits here until it is chosen."""

    def __init__(self, kernel: Kernel, strategy: Strategy) -> None:
        self.kernel = kernel
        self.strategy = strategy
        # Faults may make statements slow here as well; without one they take no time.
        self.stretched_by: list[Callable[[str, float], float]] = []
        # The schedule so far: at which steps another thread went on than the default, and which.
        self.deviations: dict[int, str] = {}
        self.step = 0
        self._waiting: dict[SimThread, Event] = {}
        self._last: SimThread | None = None
        self._called = False

    def restart(self, strategy: Strategy) -> None:
        """Begin another schedule; nobody may be waiting."""
        self.strategy, self.deviations = strategy, {}
        self.step, self._last = 0, None

    def pause(self, thread: SimThread, way: Way) -> None:
        """Wait to be chosen; see `Pace.pause`."""
        latency_s = 0.0
        for stretch in self.stretched_by:
            latency_s = stretch(thread.node.name, latency_s)
        if latency_s:
            self.kernel.work(latency_s)
        self.again(thread)

    def again(self, thread: SimThread) -> None:
        """Wait to be chosen for another try; see `Pace.again`."""
        turn = self._waiting[thread] = Event(self.kernel.env)
        self._call()
        try:
            self.kernel.wait(turn)
        finally:
            self._waiting.pop(thread, None)

    def _call(self) -> None:
        """Choose as soon as nothing else is due at this instant."""
        if self._called:
            return
        self._called = True
        call = Event(self.kernel.env)
        call._ok, call._value = True, None
        call.callbacks.append(self._choose)
        self.kernel.env.schedule(call, priority=_LAST)

    def _choose(self, _: Event) -> None:
        self._called = False
        ready = self._ready()
        if not ready:
            return
        default = self._last if self._last in ready else ready[0]
        self.step += 1
        by_name = {thread.name: thread for thread in ready}
        chosen = by_name[self.strategy.choose(self.step, list(by_name), default.name)]
        if chosen is not default:
            self.deviations[self.step] = chosen.name
        self._last = chosen
        self._waiting.pop(chosen).succeed()
        if self._waiting:
            self._call()

    def _ready(self) -> list[SimThread]:
        """Return who could go on, the one that has waited longest first; the frozen come again when they wake."""
        ready = []
        for thread in list(self._waiting):
            if thread.dead:
                del self._waiting[thread]
            elif thread.node.paused:
                thread.node.when_awake(self._call)
            else:
                ready.append(thread)
        return ready
