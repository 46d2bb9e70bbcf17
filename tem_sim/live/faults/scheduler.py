"""How the scheduler is stopped, and doubled."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.live.faults.infliction import Infliction
    from tem_sim.scenario.faults.scheduler import BeatDoubled, BeatStopped


def beat_stopped(at: Infliction, fault: BeatStopped) -> None:
    down = ExitStack()

    def begin() -> str:
        down.enter_context(at.stage.system.held_down(fault.target))
        return ""

    def end() -> int:
        down.close()
        return 1

    at.window(begin, end)


def beat_doubled(at: Infliction, fault: BeatDoubled) -> None:
    stage = at.stage

    def begin() -> str:
        for name in fault.names:
            stage.more_beats[name] += 1
            if name not in stage.system.children:
                stage.system.add_node(name)
            stage.system.start_node(name)
        return "a second scheduler" if fault.more == 1 else f"{fault.more} more schedulers"

    def end() -> int:
        # One that was still on its way up has sent nothing.
        ticking = sum(stage.system.children[name].state == "up" for name in fault.names)
        for name in fault.names:
            stage.more_beats[name] -= 1
            if not stage.more_beats[name]:
                stage.system.kill(name)
        return ticking

    at.window(begin, end)
