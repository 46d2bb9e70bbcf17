"""Sim threads: order, waiting, death, pauses, clocks and failures."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable

import pytest
from greenlet import GreenletExit, greenlet
from simpy.events import Event
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError, OperationalError

from tem_sim.sim.kernel import Kernel, SimulationError

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


# --- order


def test_threads_wake_in_the_order_of_their_times_and_at_ties_in_the_order_of_asking(kernel: Kernel) -> None:
    log: Log = []
    node = kernel.node("n")
    node.spawn("a", sleeper(kernel, log, "a", 2.0, 1.0))
    node.spawn("b", sleeper(kernel, log, "b", 1.0, 2.0))
    node.spawn("c", sleeper(kernel, log, "c", 3.0))
    assert kernel.run(10) == "horizon"
    # At 3 s: c asked at 0, b at 1, a at 2.
    assert log == [("b", 1.0), ("a", 2.0), ("c", 3.0), ("b", 3.0), ("a", 3.0)]


def test_sleeping_for_no_time_lets_those_who_are_due_go_first(kernel: Kernel) -> None:
    log: Log = []
    node = kernel.node("n")

    def polite() -> None:
        log.append("polite before")
        kernel.sleep(0)
        log.append("polite after")

    node.spawn("polite", polite)
    node.spawn("other", lambda: log.append("other"))
    kernel.run(1)
    assert log == ["polite before", "other", "polite after"]
    assert kernel.now == 0


def test_nothing_after_the_horizon_happens_and_what_is_due_at_it_does(kernel: Kernel) -> None:
    log: Log = []
    kernel.node("n").spawn("a", sleeper(kernel, log, "a", 5.0, 0.001))
    kernel.run(5.0)
    assert log == [("a", 5.0)]


def test_a_run_of_many_threads_repeats_itself_exactly() -> None:
    def run() -> Log:
        kernel, log = Kernel(), list[object]()
        for n in range(20):
            kernel.node(f"n{n % 3}").spawn(str(n), sleeper(kernel, log, str(n), *[0.1 * (n * k % 7) for k in range(9)]))
        kernel.call_later(0.4, lambda: kernel.node("n1").pause(0.3))
        kernel.call_later(1.0, kernel.node("n2").kill)
        kernel.run(100)
        kernel.close()
        return log

    first = run()
    assert len(first) > 100
    assert first == run()


# --- waiting


def test_wait_returns_the_value_of_the_event(kernel: Kernel) -> None:
    event, got = Event(kernel.env), list[object]()
    kernel.node("n").spawn("a", lambda: got.append(kernel.wait(event)))
    kernel.call_later(1.0, lambda: event.succeed("news"))
    kernel.run(2)
    assert got == ["news"]


def test_wait_raises_the_very_exception_that_the_event_failed_with(kernel: Kernel) -> None:
    event, got = Event(kernel.env), list[object]()
    error = LookupError("gone")

    def body() -> None:
        try:
            kernel.wait(event)
        except LookupError as caught:
            got.append(caught)

    kernel.node("n").spawn("a", body)
    kernel.call_later(1.0, lambda: event.fail(error))
    kernel.run(2)
    assert got == [error]


def test_waiting_for_an_event_that_is_past_returns_at_once(kernel: Kernel) -> None:
    event = Event(kernel.env).succeed(7)
    log: Log = []

    def body() -> None:
        kernel.sleep(1.0)
        log.append((kernel.wait(event), kernel.now))

    kernel.node("n").spawn("a", body)
    kernel.run(2)
    assert log == [(7, 1.0)]


def test_a_failed_event_that_only_the_dead_and_the_frozen_wait_for_does_not_break_the_run(kernel: Kernel) -> None:
    event, log = Event(kernel.env), list[object]()

    def body() -> None:
        try:
            kernel.wait(event)
        except LookupError:
            log.append(kernel.now)

    kernel.node("dead").spawn("a", body)
    kernel.node("frozen").spawn("a", body)
    kernel.call_later(0.5, kernel.node("dead").kill)
    kernel.call_later(0.5, lambda: kernel.node("frozen").pause(2.0))
    kernel.call_later(1.0, lambda: event.fail(LookupError("gone")))
    assert kernel.run(5) == "horizon"
    assert log == [2.5]


def test_only_a_sim_thread_can_wait_or_die(kernel: Kernel) -> None:
    for call in (lambda: kernel.sleep(1), lambda: kernel.wait(Event(kernel.env)), kernel.die):
        with pytest.raises(SimulationError, match="runs in the hub"):
            call()


# --- clocks


def test_a_skewed_clock_is_off_and_true_time_is_not(kernel: Kernel) -> None:
    clock, other = kernel.node("n").clock, kernel.node("m").clock
    kernel.call_later(10.0, lambda: clock.skew(-30.0))
    kernel.run(10.0)
    assert (clock.now(), other.now(), kernel.now) == (-20.0, 10.0, 10.0)


def test_a_drifting_clock_runs_away_from_the_moment_the_drift_begins(kernel: Kernel) -> None:
    clock = kernel.node("n").clock
    kernel.call_later(10.0, lambda: clock.skew(1.0, 0.01))
    kernel.call_later(60.0, lambda: None)
    kernel.run(60.0)
    assert clock.now() == pytest.approx(60.0 + 1.0 + 0.01 * 50.0, abs=1e-6)


def test_skews_by_different_hands_add_up_and_end_apart(kernel: Kernel) -> None:
    clock = kernel.node("n").clock
    clock.skew(5.0, by=1)
    clock.skew(-2.0, by=2)
    assert clock.now() == 3.0
    clock.correct(by=1)
    assert clock.now() == -2.0
    clock.correct(by=2)
    clock.correct(by=2)
    assert clock.now() == 0.0


def test_clocks_read_whole_microseconds(kernel: Kernel) -> None:
    kernel.call_later(1 / 3, lambda: None)
    kernel.run(1.0)
    assert kernel.node("n").clock.now() == 0.333333


# --- failures


def test_an_escaping_exception_stops_the_run_and_is_the_cause_of_its_error(kernel: Kernel) -> None:
    def body() -> None:
        kernel.sleep(1.25)
        raise KeyError("what")

    log: Log = []
    kernel.node("n").spawn("thread", body)
    kernel.node("n").spawn("other", sleeper(kernel, log, "other", 2.0))
    with pytest.raises(SimulationError, match=r"n/thread broke at 1\.250000 s: KeyError: 'what'") as caught:
        kernel.run(10)
    assert isinstance(caught.value.__cause__, KeyError)
    assert log == []


def test_errors_of_sqlalchemy_escape_whole(kernel: Kernel) -> None:
    """SimPy would rebuild them as `type(e)(*e.args)`, a TypeError without a cause."""
    engine = create_engine("sqlite://")

    def body() -> None:
        with engine.begin() as connection:
            connection.execute(text("SELECT * FROM nowhere"))

    kernel.node("n").spawn("thread", body)
    with pytest.raises(SimulationError, match="OperationalError") as caught:
        kernel.run(10)
    cause = caught.value.__cause__
    assert isinstance(cause, OperationalError)
    assert "no such table" in str(cause.orig)


def test_an_error_of_sqlalchemy_passed_through_an_event_stays_what_it_is(kernel: Kernel) -> None:
    error, got = IntegrityError("INSERT", {}, Exception("duplicate")), list[object]()
    event = Event(kernel.env)

    def body() -> None:
        try:
            kernel.wait(event)
        except IntegrityError as caught:
            got.append(caught)

    kernel.node("n").spawn("a", body)
    kernel.call_later(1.0, lambda: event.fail(error))
    kernel.run(2)
    assert got == [error]


def test_even_an_exit_that_escapes_is_a_failure_and_leaves_the_caller_alive(kernel: Kernel) -> None:
    def body() -> None:
        raise SystemExit(3)

    kernel.node("n").spawn("thread", body)
    with pytest.raises(SimulationError, match="SystemExit"):
        kernel.run(10)


def test_the_first_of_several_failures_is_the_one_reported(kernel: Kernel) -> None:
    def fail(name: str) -> Callable[[], None]:
        def body() -> None:
            raise ValueError(name)

        return body

    kernel.node("n").spawn("a", fail("first"))
    kernel.node("n").spawn("b", fail("second"))
    with pytest.raises(SimulationError, match=r"n/a .*first"):
        kernel.run(10)


# --- ends


def test_the_first_reason_to_stop_stands(kernel: Kernel) -> None:
    kernel.call_later(1.0, lambda: kernel.stop("drained"))
    kernel.call_later(1.0, lambda: kernel.stop("interrupted"))
    assert kernel.run(10) == "drained"
    assert kernel.now == 1.0


def test_closing_frees_every_greenlet() -> None:
    def living() -> int:
        gc.collect()
        return sum(
            isinstance(thing, greenlet) and not thing.dead and thing.parent is not None for thing in gc.get_objects()
        )

    before = living()
    kernel = Kernel()
    for n in range(50):
        kernel.node(f"n{n % 5}").spawn(str(n), sleeper(kernel, [], str(n), 1.0, 99.0))
    kernel.node("n1").spawn("never-started", lambda: None)
    kernel.call_later(0.5, kernel.node("n2").kill)
    kernel.call_later(0.5, lambda: kernel.node("n3").pause(50.0))
    kernel.run(2.0)
    kernel.node("n4").spawn("after-the-end", lambda: None)
    kernel.close()
    kernel.close()
    assert living() == before


def test_a_thread_that_ends_leaves_nothing_on_its_node(kernel: Kernel) -> None:
    node = kernel.node("n")
    for _ in range(100):
        node.spawn("short", lambda: None)
        kernel.call_later(0, lambda: None)
        kernel.run(kernel.now)
    assert len(node.threads) == 1


def test_an_exit_that_a_living_thread_raises_itself_ends_that_thread_only(kernel: Kernel) -> None:
    log: Log = []

    def leaves() -> None:
        raise GreenletExit

    kernel.node("n").spawn("a", leaves)
    kernel.node("n").spawn("b", sleeper(kernel, log, "b", 1.0))
    assert kernel.run(2) == "horizon"
    assert log == [("b", 1.0)]


def test_a_signal_stops_the_run_between_two_steps(kernel: Kernel) -> None:
    log: Log = []

    def body() -> None:
        for _ in range(5):
            kernel.sleep(1.0)
            log.append(kernel.now)
            if kernel.now == 2.0:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, lambda *_: kernel.stop("interrupted"))
    try:
        kernel.node("n").spawn("a", body)
        assert kernel.run(10) == "interrupted"
    finally:
        signal.signal(signal.SIGINT, before)
    assert log == [1.0, 2.0]
