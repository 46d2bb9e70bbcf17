"""How the scheduler fails."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tem_sim.pipeline.ports import Unavailable
from tem_sim.sim.beat import Lateness, Task

if TYPE_CHECKING:
    from tem_sim.scenario.faults.scheduler import BeatDoubled, BeatLate, BeatMisrouted, BeatStopped
    from tem_sim.sim.faults.infliction import Infliction


def beat_stopped(at: Infliction, fault: BeatStopped) -> None:
    world = at.world

    def begin() -> str:
        world.hold_down(fault.target)
        return ""

    def end() -> int:
        if fault.missed == "fired":
            world.beats[fault.target].fires_missed_since_s = fault.at_s
        world.let_up(fault.target)
        return 1

    at.window(begin, end)


def beat_doubled(at: Infliction, fault: BeatDoubled) -> None:
    world = at.world

    def begin() -> str:
        for number, name in enumerate(fault.names, start=1):
            world.start_beat(name, number * fault.phase_s)
        if fault.more == 1:
            return f"a second scheduler, {fault.phase_s:g} s out of phase"
        return f"{fault.more} more schedulers, each {fault.phase_s:g} s behind the one before"

    def end() -> int:
        for name in fault.names:
            world.stop_beat(name)
        return fault.more

    at.window(begin, end)


def beat_late(at: Infliction, fault: BeatLate) -> None:
    beat = at.world.beats[fault.target]
    ticks = 0

    def draw_s() -> float:
        nonlocal ticks
        ticks += 1
        return fault.by.quantile(at.luck.random())

    def begin() -> str:
        beat.late[at.key] = Lateness(draw_s, fault.overlap)
        return f"ticks late by {fault.by.mean_s:g} s on average"

    def end() -> int:
        beat.late.pop(at.key)
        return ticks

    at.window(begin, end)


def beat_misrouted(at: Infliction, fault: BeatMisrouted) -> None:
    beat, queue = at.world.beats[fault.target], at.world.broker
    ticks = 0

    def send(task: Task) -> None:
        nonlocal ticks
        ticks += 1
        # Nobody hears of it when the broker is down; the next tick comes soon.
        with suppress(Unavailable):
            queue.send(1, task)

    def begin() -> str:
        beat.routed[at.key] = send
        return "its tasks go to the processing queue"

    def end() -> int:
        beat.routed.pop(at.key)
        return ticks

    at.window(begin, end)
