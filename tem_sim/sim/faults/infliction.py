"""How any fault is scheduled in the simulated world: in its window, at its time, at a rate, or at an edge."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tem_sim.scenario.faults.log import Activation
from tem_sim.sim.kernel import Node
from tem_sim.sim.ports import Strike

if TYPE_CHECKING:
    from tem_sim.sim.world import World


class Infliction:
    """One fault at work in one world; `part` is its number among the parts of a composite, which has the number."""

    def __init__(self, world: World, number: int, fault: Any, part: int | None = None) -> None:
        self.world = world
        self.number = number
        self.fault = fault
        self.part = part
        # What tells this fault's doing from another's.
        self.key = (number,) if part is None else (number, part)
        self.luck = world.streams.stream("fault", *self.key)

    def window(self, begin: Callable[[], str], end: Callable[[], int]) -> None:
        """Do `begin` at the fault's time and `end` when it is over; they say what happened and how often it landed."""
        kernel, fault = self.world.kernel, self.fault

        def start() -> None:
            if self.is_over:
                return
            activation = self.log(fault.target)
            activation.detail = begin()

            def stop() -> None:
                if math.isnan(activation.end_s):
                    activation.landed = end()
                    activation.end_s = kernel.now

            self.world.faults.open.append(stop)
            kernel.call_later(fault.for_s, stop)

        kernel.call_later(fault.at_s, start)

    def later(self, delay_s: float | None, action: Callable[[], object]) -> None:
        """Do what ends a strike after a delay (None: never), or when all faults are ended if that is sooner."""
        done = False

        def once() -> None:
            nonlocal done
            if not done:
                done = True
                action()

        if delay_s is not None:
            self.world.kernel.call_later(delay_s, once)
        self.world.faults.at_heal.append(once)

    def log(self, target: str) -> Activation:
        """Log that the fault strikes a target now."""
        return self.world.faults.begin(self.number, self.fault, target, self.world.kernel.now)

    def nodes(self) -> list[Node]:
        """Return the nodes that the fault's target means."""
        return [self.world.kernel.node(name) for name in self.world.targets(self.fault.target)]

    @property
    def is_over(self) -> bool:
        """Whether all faults have been ended, this one with them; a fault of its own kind must look before it acts."""
        return self.world.is_healed

    def strike(self, act: Callable[[Node], None]) -> None:
        """Strike the target nodes at the fault's time, at a random rate, or at a lifecycle edge."""
        kernel, fault = self.world.kernel, self.fault

        def strike(node: Node) -> None:
            if not self.is_over:
                act(node)

        if fault.edge is not None:
            names = frozenset(node.name for node in self.nodes())
            self.world.failpoints.arm(fault.edge, Strike(names, fault.nth, strike, fault.label))
        elif fault.rate_per_s is not None:
            self._strike_at_random(strike)
        else:
            kernel.call_later(fault.at_s, lambda: self._strike_all(strike))

    def _strike_all(self, act: Callable[[Node], None]) -> None:
        for node in self.nodes():
            act(node)

    def _strike_at_random(self, act: Callable[[Node], None]) -> None:
        kernel = self.world.kernel
        times_s = self.fault.random_times(self.luck, self.world.scenario.horizon_s)

        def next_strike() -> None:
            at_s = next(times_s, None)
            if at_s is not None:
                kernel.call_later(at_s - kernel.now, strike)

        def strike() -> None:
            nodes = self.nodes()
            node = nodes[int(self.luck.random() * len(nodes))]
            if node.alive:
                act(node)
            next_strike()

        next_strike()
