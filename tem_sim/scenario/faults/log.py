"""What became of the faults of a run: an activation for each time that one struck, with its times as they happened."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.scenario.faults.kinds import Fault


@dataclass(slots=True)
class Activation:
    """One time that a fault struck."""

    fault_id: int
    kind: str
    target: str
    shade: str
    start_s: float = math.nan
    end_s: float = math.nan
    landed: int = 0
    detail: str = ""


@dataclass
class FaultLog:
    """All activations of a run, in the order in which they began."""

    activations: list[Activation] = field(default_factory=list)
    open: list[Callable[[], None]] = field(default_factory=list)
    # What ends faults that are at work, and is not done merely because the run is over.
    at_heal: list[Callable[[], None]] = field(default_factory=list)
    # When all of them were ended.
    healed_s: float = math.inf

    def begin(self, number: int, fault: Fault, target: str, now: float) -> Activation:
        """Log that a fault begins; the caller fills in how it ends."""
        activation = Activation(number, fault.kind, target, fault.shade, start_s=now)
        self.activations.append(activation)
        return activation

    def heal(self, now: float) -> None:
        """End whatever is at work, once and for all."""
        for stop in (*self.open, *self.at_heal):
            stop()
        self.healed_s = now

    def close(self, faults: tuple[Fault, ...], now: float) -> None:
        """End what is still open with the run, and add a row for each fault that never struck."""
        for stop in self.open:
            stop()
        for activation in self.activations:
            if math.isnan(activation.end_s):
                activation.end_s = now
            if activation.start_s <= self.healed_s:
                # A node that was to be started again later was started then.
                activation.end_s = min(activation.end_s, self.healed_s)
        struck = {activation.fault_id for activation in self.activations}
        for number, fault in enumerate(faults):
            if number not in struck:
                never = Activation(number, fault.kind, fault.target, fault.shade, detail="never reached")
                self.activations.append(never)
