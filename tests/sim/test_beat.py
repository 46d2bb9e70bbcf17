"""The scheduler's grid of ticks: period, phase, restarts, and ticks that were missed."""

from __future__ import annotations

import pytest
from sim_worlds import burst, world

from tem_sim.sim import beat as beat_module
from tem_sim.sim.beat import Beat
from tem_sim.sim.kernel import Kernel
from tem_sim.sim.world import World


class Ticks:
    """A beat whose retry task only notes when it ran, and how long it took."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, phase_s: float = 0.0, every_s: float = 2.0) -> None:
        self.world: World = world(arrivals=burst(1), beat={"retry_every": every_s, "phase": phase_s})
        self.kernel: Kernel = self.world.kernel
        self.beat: Beat = self.world.beats["beat"]
        self.at: list[float] = []
        self.takes_s = 0.0
        self.moves: list[int] = []
        monkeypatch.setattr(beat_module, "retry_failed_events", self._tick)

    def _tick(self, pipe: object, *, actor: str) -> int:
        self.at.append(round(self.kernel.now, 6))
        if self.takes_s:
            self.kernel.sleep(self.takes_s)
        return self.moves.pop(0) if self.moves else 0

    def run(self, until_s: float) -> list[float]:
        self.kernel.run(until_s)
        self.world.close()
        return self.at


def test_ticks_come_on_a_grid_of_whole_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks(monkeypatch)
    ticks.beat.start()
    assert ticks.run(9.0) == [2.0, 4.0, 6.0, 8.0]


def test_a_phase_shifts_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks(monkeypatch, phase_s=0.3)
    ticks.beat.start()
    assert ticks.run(9.0) == [0.3, 2.3, 4.3, 6.3, 8.3]


def test_a_phase_longer_than_the_period_delays_no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks(monkeypatch, phase_s=5.0)
    ticks.beat.start()
    assert ticks.run(6.0) == [1.0, 3.0, 5.0]


def test_a_tick_that_takes_time_does_not_shift_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks(monkeypatch)
    ticks.takes_s = 1.5
    ticks.beat.start()
    assert ticks.run(9.0) == [2.0, 4.0, 6.0, 8.0]


def test_a_tick_that_overruns_its_period_swallows_the_ticks_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks(monkeypatch)
    ticks.takes_s = 5.0
    ticks.beat.start()
    assert ticks.run(20.0) == [2.0, 8.0, 14.0, 20.0]


def test_full_ticks_bring_the_next_ones_nearer_and_then_the_grid_holds_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks(monkeypatch)
    ticks.beat.retry_floor_s = 0.5
    ticks.moves = [500, 500, 500, 499]
    ticks.beat.start()
    assert ticks.run(9.0) == [2.0, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0]


def test_a_frozen_scheduler_ticks_once_when_it_wakes_and_then_on_its_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks(monkeypatch)
    ticks.beat.start()
    ticks.kernel.call_later(3.0, lambda: ticks.beat.node.pause(6.5))
    assert ticks.run(13.0) == [2.0, 9.5, 10.0, 12.0]


def test_a_restarted_scheduler_goes_on_with_the_same_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks(monkeypatch)
    ticks.beat.start()
    ticks.kernel.call_later(3.0, ticks.beat.node.kill)
    ticks.kernel.call_later(6.7, ticks.beat.start)
    assert ticks.run(11.0) == [2.0, 8.0, 10.0]


def test_without_an_outbox_there_is_nothing_to_relay() -> None:
    with_outbox, without = world(), world(pipeline={"outbox": False})
    for each in (with_outbox, without):
        each.beats["beat"].start()
    assert [len(each.beats["beat"].node.threads) for each in (with_outbox, without)] == [3, 2]
    with_outbox.close()
    without.close()
