"""Death and pauses of nodes: what a killed thread can no longer do, and what a frozen one does not notice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from simpy.events import Event

from tem_sim.sim.kernel import MAX_THROWS, Kernel, SimulationError

Log = list[object]


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def sleeper(kernel: Kernel, log: Log, name: str, *delays_s: float) -> Callable[[], None]:
    def body() -> None:
        for delay_s in delays_s:
            kernel.sleep(delay_s)
            log.append((name, kernel.now))

    return body


# --- death


def test_a_killed_thread_never_goes_on(kernel: Kernel) -> None:
    log: Log = []
    kernel.node("n").spawn("a", sleeper(kernel, log, "a", 1.0, 1.0, 1.0))
    kernel.call_later(1.5, kernel.node("n").kill)
    kernel.run(10)
    assert log == [("a", 1.0)]


def test_a_thread_that_was_killed_before_its_first_step_never_runs(kernel: Kernel) -> None:
    log: Log = []
    kernel.node("n").spawn("a", lambda: log.append("ran"))
    kernel.node("n").kill()
    kernel.run(1)
    assert log == []


def test_a_thread_that_dies_by_its_own_hand_does_not_return(kernel: Kernel) -> None:
    log: Log = []

    def body() -> None:
        kernel.sleep(1.0)
        kernel.die()
        log.append("back from the dead")

    kernel.node("n").spawn("a", body)
    kernel.node("n").spawn("b", sleeper(kernel, log, "b", 5.0))
    kernel.run(10)
    assert log == []
    assert not kernel.node("n").alive


def test_a_thread_that_kills_another_node_goes_on_and_the_other_does_not(kernel: Kernel) -> None:
    log: Log = []

    def killer() -> None:
        kernel.sleep(1.0)
        kernel.node("victim").kill()
        log.append("killed")
        kernel.sleep(1.0)
        log.append("went on")

    kernel.node("killer").spawn("a", killer)
    kernel.node("victim").spawn("a", sleeper(kernel, log, "victim", 1.5))
    kernel.run(10)
    assert log == ["killed", "went on"]


def test_killing_twice_is_killing_once(kernel: Kernel) -> None:
    deaths: Log = []
    node = kernel.node("n")
    node.on_death.append(lambda: deaths.append(kernel.now))
    node.spawn("a", sleeper(kernel, [], "a", 9.0))
    kernel.call_later(1.0, node.kill)
    kernel.call_later(2.0, node.kill)
    kernel.run(10)
    assert deaths == [1.0]


def test_no_except_and_no_finally_of_a_killed_thread_reaches_the_world(kernel: Kernel) -> None:
    """The blocks run, since Python has no other way to free a stack, but every port throws them out."""
    outside: Log = []

    def body() -> None:
        try:
            kernel.sleep(5.0)
        except BaseException:
            kernel.sleep(0)
            outside.append("except slept")
        finally:
            try:
                kernel.checkpoint()
                outside.append("finally passed a checkpoint")
            finally:
                kernel.wait(Event(kernel.env).succeed())
                outside.append("finally waited")

    kernel.node("n").spawn("a", body)
    kernel.call_later(1.0, kernel.node("n").kill)
    assert kernel.run(10) == "horizon"
    assert outside == []


def test_a_thread_killed_in_its_finally_is_dead_all_the_same(kernel: Kernel) -> None:
    log: Log = []

    def body() -> None:
        try:
            kernel.sleep(1.0)
        finally:
            kernel.sleep(5.0)
            log.append("cleaned up")

    kernel.node("n").spawn("a", body)
    kernel.call_later(3.0, kernel.node("n").kill)
    kernel.run(10)
    assert log == []


def test_an_error_raised_by_the_unwinding_of_a_dead_thread_is_nobodys_failure(kernel: Kernel) -> None:
    def body() -> None:
        try:
            kernel.sleep(5.0)
        finally:
            raise OSError("while cleaning up")

    kernel.node("n").spawn("a", body)
    kernel.call_later(1.0, kernel.node("n").kill)
    assert kernel.run(10) == "horizon"


@pytest.mark.parametrize("how", ["from outside", "by itself"])
def test_code_that_swallows_every_exit_is_thrown_out_a_few_times_and_then_left_behind(
    kernel: Kernel, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tries: Log = []
    log: Log = []

    def stubborn() -> None:
        while True:
            try:
                kernel.sleep(1.0)
                if how == "by itself" and kernel.now >= 1.0:
                    kernel.die()
            except BaseException:
                tries.append(kernel.now)

    kernel.node("n").spawn("a", stubborn)
    kernel.node("other").spawn("b", sleeper(kernel, log, "b", 8.0))
    if how == "from outside":
        kernel.call_later(1.5, kernel.node("n").kill)
    assert kernel.run(10) == "horizon"
    assert log == [("b", 8.0)]
    assert MAX_THROWS <= len(tries) <= 4 * MAX_THROWS
    kernel.close()
    assert capsys.readouterr().err == ""


def test_a_node_that_is_killed_while_frozen_stays_dead(kernel: Kernel) -> None:
    log: Log = []
    node = kernel.node("n")
    node.spawn("a", sleeper(kernel, log, "a", 2.0))
    kernel.call_later(1.0, lambda: node.pause(5.0))
    kernel.call_later(3.0, node.kill)
    kernel.run(10)
    assert log == []
    assert not node.paused


def test_a_revived_node_runs_new_threads_and_no_old_ones(kernel: Kernel) -> None:
    log: Log = []
    node = kernel.node("n")
    node.spawn("old", sleeper(kernel, log, "old", 2.0))
    kernel.call_later(1.0, node.kill)

    def again() -> None:
        node.revive()
        node.spawn("new", sleeper(kernel, log, "new", 2.0))

    kernel.call_later(1.0, again)
    kernel.run(10)
    assert log == [("new", 3.0)]


def test_nothing_can_be_started_on_a_dead_node(kernel: Kernel) -> None:
    kernel.node("n").kill()
    with pytest.raises(SimulationError, match="n is dead"):
        kernel.node("n").spawn("a", lambda: None)


# --- pauses


def test_timers_that_fire_during_a_pause_are_delivered_after_it_in_their_order(kernel: Kernel) -> None:
    log: Log = []
    node = kernel.node("n")
    for name, delay_s in [("late", 3.0), ("early", 2.0), ("later", 6.0)]:
        node.spawn(name, sleeper(kernel, log, name, delay_s))
    kernel.node("other").spawn("free", sleeper(kernel, log, "free", 2.5))
    kernel.call_later(1.0, lambda: node.pause(4.0))
    kernel.run(10)
    assert log == [("free", 2.5), ("early", 5.0), ("late", 5.0), ("later", 6.0)]


def test_of_overlapping_pauses_the_latest_end_counts(kernel: Kernel) -> None:
    log: Log = []
    node = kernel.node("n")
    node.spawn("a", sleeper(kernel, log, "a", 1.5))
    kernel.call_later(1.0, lambda: node.pause(5.0))
    kernel.call_later(2.0, lambda: node.pause(1.0))
    kernel.call_later(3.0, lambda: node.pause(5.0))
    kernel.run(20)
    assert log == [("a", 8.0)]


def test_a_frozen_node_wakes_with_its_old_reading_of_the_clock(kernel: Kernel) -> None:
    readings: Log = []
    node = kernel.node("n")

    def body() -> None:
        kernel.sleep(1.0)
        before = node.clock.now()
        kernel.sleep(0.5)
        readings.append((before, node.clock.now()))

    node.spawn("a", body)
    kernel.call_later(1.2, lambda: node.pause(60.0))
    kernel.run(100)
    assert readings == [(1.0, 61.2)]


def test_a_node_that_freezes_while_it_wakes_keeps_the_rest_for_later(kernel: Kernel) -> None:
    log: Log = []
    node = kernel.node("n")

    def freezes_again() -> None:
        kernel.sleep(2.0)
        log.append(("first", kernel.now))
        node.pause(3.0)

    node.spawn("first", freezes_again)
    node.spawn("second", sleeper(kernel, log, "second", 2.5))
    kernel.call_later(1.0, lambda: node.pause(4.0))
    kernel.run(20)
    assert log == [("first", 5.0), ("second", 8.0)]


def test_a_dead_node_cannot_be_frozen(kernel: Kernel) -> None:
    node = kernel.node("n")
    node.kill()
    node.pause(5.0)
    assert not node.paused
