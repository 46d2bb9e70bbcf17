"""How clocks go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tem_sim.sim.kernel import Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from tem_sim.scenario.faults.clock import ClockFrozen, ClockResolution, ClockSkew, ClockStep, LeapSecond
    from tem_sim.sim.clock import NodeClock
    from tem_sim.sim.faults.infliction import Infliction


def clock_skew(at: Infliction, fault: ClockSkew) -> None:
    drift = f", drifting {fault.drift * 1e6:+g} ppm" if fault.drift else ""
    _while_it_lasts(at, f"{fault.skew_s:+g} s{drift}", lambda clock: clock.skew(fault.skew_s, fault.drift, by=at.key))


def clock_frozen(at: Infliction, fault: ClockFrozen) -> None:
    _while_it_lasts(at, "stands still", lambda clock: clock.freeze(by=at.key))


def clock_resolution(at: Infliction, fault: ClockResolution) -> None:
    told = f"multiples of {fault.resolution_s:g} s"
    _while_it_lasts(at, told, lambda clock: clock.coarsen(fault.resolution_s, by=at.key))


def _while_it_lasts(at: Infliction, told: str, act: Callable[[NodeClock], None]) -> None:
    """Do something to the clocks of the target nodes, dead ones too, and take it back in the end."""

    def begin() -> str:
        for node in at.nodes():
            act(node.clock)
        return told

    def end() -> int:
        for node in at.nodes():
            node.clock.correct(by=at.key)
        return len(at.nodes())

    at.window(begin, end)


def clock_step(at: Infliction, fault: ClockStep) -> None:
    kernel = at.world.kernel

    def step(node: Node) -> None:
        # A clock that this fault has set wrong already is spared: else steps at a rate would add up without bound.
        if node.clock.is_touched(by=at.key):
            return
        activation = at.log(node.name)
        activation.landed, activation.detail = 1, f"{fault.step_s:+g} s"
        node.clock.skew(fault.step_s, by=at.key)

        def set_right() -> None:
            node.clock.correct(by=at.key)
            activation.end_s = kernel.now

        if fault.corrected_after_s is not None:
            kernel.call_later(fault.corrected_after_s, set_right)

    at.strike(step)


def leap_second(at: Infliction, fault: LeapSecond) -> None:
    """Set all clocks back by the leap, the targets' little by little; afterwards they agree again, and stay so."""

    def begin() -> str:
        smearing = {node.name for node in at.nodes()}
        since_s = at.world.kernel.now

        def smeared(true_s: float) -> float:
            return -fault.leap_s * min(1.0, (true_s - since_s) / fault.for_s)

        def stepped(true_s: float) -> float:
            return -fault.leap_s if true_s >= since_s + fault.for_s / 2 else 0.0

        nodes = at.world.kernel.nodes.values()
        for node in nodes:
            node.clock.bend(smeared if node.name in smearing else stepped, by=at.key)
        return f"{fault.leap_s:+g} s, smeared by {len(smearing)} of {len(nodes)} clocks"

    at.window(begin, lambda: len(at.nodes()))
