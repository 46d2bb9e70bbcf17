"""How any fault is scheduled in a live run: in its window, at its time, at a rate, or at an edge."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tem_sim.live.faults.stage import Stage, Struck

if TYPE_CHECKING:
    from tem_sim.scenario.faults.log import Activation


class Infliction:
    """One fault at work in one run; `part` is its number among the parts of a composite, which has the number."""

    def __init__(self, stage: Stage, number: int, fault: Any, part: int | None = None) -> None:
        self.stage = stage
        self.number = number
        self.fault = fault
        self.part = part
        # What tells this fault's doing, and its luck, from another's; as in the simulator.
        self.key = (number,) if part is None else (number, part)
        self.luck = stage.streams.stream("fault", *self.key)

    def window(self, begin: Callable[[], str], end: Callable[[], int]) -> None:
        """Do `begin` at the fault's time and `end` when it is over; they say what happened and how often it landed."""
        stage, fault = self.stage, self.fault

        def start() -> None:
            if stage.is_healed:
                return
            activation = self.log(fault.target)
            if not self._try(activation, lambda: setattr(activation, "detail", begin())):
                activation.end_s = stage.now
                return

            def stop() -> None:
                if math.isnan(activation.end_s):
                    self._try(activation, lambda: setattr(activation, "landed", end()))
                    activation.end_s = stage.now

            stage.log.open.append(stop)
            stage.end_later(fault.for_s, stop)

        stage.timeline.call_at(fault.at_s, start)

    def _try(self, activation: Activation, act: Callable[[], object]) -> bool:
        """Act; what fails is told in the log, and leaves a fault that never landed."""
        try:
            act()
        except Exception as error:
            activation.landed, activation.detail = 0, f"failed: {type(error).__name__}: {error}"
            self.stage.system.log.note("fault_failed", number=self.number, error=activation.detail)
            return False
        return True

    def log(self, target: str) -> Activation:
        """Log that the fault strikes a target now."""
        return self.stage.log.begin(self.number, self.fault, target, self.stage.now)

    def nodes(self) -> list[str]:
        """Return the nodes that the fault's target means."""
        return self.stage.targets(self.fault.target)

    def strike(self, act: Callable[[Struck, Activation], None]) -> None:
        """Strike the target nodes at the fault's time, at a random rate, or at a lifecycle edge.

        A node that is down is spared. `act` fills in the activation.
        """
        stage, fault = self.stage, self.fault

        def strike(struck: Struck) -> None:
            if not stage.is_healed and stage.alive(stage.children(struck)[0]):
                activation = self.log(struck.node)
                if not self._try(activation, lambda: act(struck, activation)):
                    activation.end_s = stage.now

        if fault.edge is not None:
            stage.edges.arm(fault.edge, frozenset(self.nodes()), fault.nth, strike)
        elif fault.rate_per_s is not None:
            self._strike_at_random(strike)
        else:
            for node in self.nodes():
                stage.timeline.call_at(fault.at_s, partial(strike, Struck(node)))

    def _strike_at_random(self, strike: Callable[[Struck], None]) -> None:
        timeline = self.stage.timeline
        times_s = self.fault.random_times(self.luck, self.stage.scenario.horizon_s)

        def next_strike() -> None:
            at_s = next(times_s, None)
            if at_s is not None:
                timeline.call_at(at_s, one_of_them)

        def one_of_them() -> None:
            nodes = self.nodes()
            strike(Struck(nodes[int(self.luck.random() * len(nodes))]))
            next_strike()

        next_strike()
