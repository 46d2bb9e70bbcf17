"""How clocks go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.scenario.faults.clock import ClockSkew
    from tem_sim.sim.faults.infliction import Infliction


def clock_skew(at: Infliction, fault: ClockSkew) -> None:
    def begin() -> str:
        for node in at.nodes():
            node.clock.skew(fault.skew_s, fault.drift, by=at.number)
        drift = f", drifting {fault.drift * 1e6:+g} ppm" if fault.drift else ""
        return f"{fault.skew_s:+g} s{drift}"

    def end() -> int:
        for node in at.nodes():
            node.clock.correct(by=at.number)
        return len(at.nodes())

    at.window(begin, end)
