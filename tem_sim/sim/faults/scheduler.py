"""How the scheduler fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.scenario.faults.scheduler import BeatDoubled, BeatStopped
    from tem_sim.sim.faults.infliction import Infliction


def beat_stopped(at: Infliction, fault: BeatStopped) -> None:
    world = at.world

    def begin() -> str:
        world.hold_down(fault.target)
        return ""

    def end() -> int:
        world.let_up(fault.target)
        return 1

    at.window(begin, end)


def beat_doubled(at: Infliction, fault: BeatDoubled) -> None:
    world = at.world

    def begin() -> str:
        world.start_second_beat(fault.phase_s)
        return f"a second scheduler, {fault.phase_s:g} s out of phase"

    def end() -> int:
        world.stop_second_beat()
        return 1

    at.window(begin, end)
