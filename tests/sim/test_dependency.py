"""The downstream: outages, luck, a queue in front of servers, and side effects that outlive their caller."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sim_worlds import burst, run

from tem_sim.pipeline.ports import ClaimedEvent
from tem_sim.scenario.downstream import Outage, Overload, Refused
from tem_sim.scenario.handler import HandlerModel
from tem_sim.scenario.streams import Streams
from tem_sim.sim.dependency import Dependency
from tem_sim.sim.kernel import Kernel


def claimed(event_id: int, attempt_no: int = 1, kind: str = "normal") -> ClaimedEvent:
    return ClaimedEvent(event_id, attempt_no, 0, 0, 1, None, 1, kind, "{}", 0.0)


class Caller:
    """Calls the downstream at given times, each call in a sim thread of its own, and notes how each ended."""

    def __init__(self, **handler: Any) -> None:
        self.kernel = Kernel()
        self.crashes: list[float] = []
        self.ends: dict[int, tuple[float, str]] = {}
        self.dependency = Dependency(self.kernel, HandlerModel.model_validate(handler), Streams(1), self._crash)

    def _crash(self) -> None:
        self.crashes.append(self.kernel.now)
        self.kernel.die()

    def at(self, time_s: float, event_id: int, kind: str = "normal", node: str = "worker") -> None:
        def call() -> None:
            self.kernel.sleep(time_s)
            try:
                self.dependency.handle(claimed(event_id, kind=kind))
                self.ends[event_id] = (self.kernel.now, "ok")
            except (Outage, Overload, Refused) as error:
                self.ends[event_id] = (self.kernel.now, type(error).__name__)

        self.kernel.node(node).spawn(str(event_id), call)

    def run(self, until_s: float = 1e6) -> dict[int, tuple[float, str]]:
        self.kernel.run(until_s)
        self.kernel.close()
        return {event_id: (round(at, 6), how) for event_id, (at, how) in self.ends.items()}


def test_in_an_outage_every_call_is_refused_after_the_time_that_takes() -> None:
    caller = Caller(service_time="1s", fail_time="50ms")
    for event_id, at_s in enumerate([0.0, 2.5, 3.5, 6.0], start=1):
        caller.at(at_s, event_id)
    caller.kernel.call_later(2.0, lambda: setattr(caller.dependency, "outages", 1))
    caller.kernel.call_later(5.0, lambda: setattr(caller.dependency, "outages", 0))
    assert caller.run() == {1: (1.0, "ok"), 2: (2.55, "Outage"), 3: (3.55, "Outage"), 4: (7.0, "ok")}
    assert caller.dependency.refused_in_outage == 2
    assert list(caller.dependency.effects) == [(1, 1), (4, 1)]


def test_a_refused_call_has_no_effect_and_a_good_one_has_it_when_it_is_done() -> None:
    caller = Caller(service_time="1s", kinds={"bad": {"effect": "fail"}})
    caller.at(0.0, 1)
    caller.at(0.0, 2, kind="bad")
    assert caller.run() == {1: (1.0, "ok"), 2: (1.0, "Refused")}
    assert caller.dependency.effects == {(1, 1): 1.0}


def test_the_queue_keeps_the_schedule_that_one_works_out_by_hand() -> None:
    """Two servers, 1 s each, two places to wait, callers who wait for 1.5 s."""
    caller = Caller(service_time="1s", fail_time="10ms", capacity={"servers": 2, "queue": 2, "timeout": "1500ms"})
    for event_id in (1, 2, 3, 4, 5):
        caller.at(0.0, event_id)
    caller.at(1.2, 6)
    caller.at(3.0, 7)
    assert caller.run() == {
        1: (1.0, "ok"),
        2: (1.0, "ok"),
        3: (1.5, "Overload"),  # served from 1 to 2, too late for its caller
        4: (1.5, "Overload"),
        5: (0.01, "Overload"),  # the fifth finds no place
        6: (2.7, "Overload"),  # would be served from 2 to 3
        7: (4.0, "ok"),
    }
    effects = {event_id: at_s for (event_id, _), at_s in caller.dependency.effects.items()}
    # A caller that goes away leaves its call behind: the effect happens, and for nobody.
    assert effects == {1: 1.0, 2: 1.0, 3: 2.0, 4: 2.0, 6: 3.0, 7: 4.0}


def test_waiting_times_are_those_of_erlang_c() -> None:
    """M/M/3 at 75 % load; the mean wait within 4 standard errors of batch means, and so is the share that waits."""
    servers, service_s, rate_per_s, calls = 3, 1.0, 2.25, 30_000
    caller = Caller(
        service_time={"kind": "exponential", "mean": "1s"},
        capacity={"servers": servers, "queue": 100_000, "timeout": "1h"},
    )
    rng = np.random.default_rng(7)
    arrivals = np.cumsum(rng.exponential(1 / rate_per_s, calls))
    kernel, dependency = caller.kernel, caller.dependency
    assert dependency.servers is not None
    quantile = dependency.model.service_time.quantile
    waits = np.empty(calls)

    def load() -> None:
        for number, at_s in enumerate(arrivals.tolist()):
            kernel.sleep(at_s - kernel.now)
            service_s = quantile(rng.random())
            done_at = dependency.servers.admit(kernel.now, service_s)  # type: ignore[union-attr]
            waits[number] = done_at - service_s - kernel.now

    kernel.node("load").spawn("0", load)
    caller.run()
    offered = rate_per_s * service_s
    top = offered**servers / math.factorial(servers) * servers / (servers - offered)
    waits_share = top / (sum(offered**k / math.factorial(k) for k in range(servers)) + top)
    mean_wait_s = waits_share * service_s / (servers - offered)
    for sample, expected in ((waits, mean_wait_s), (waits > 1e-9, waits_share)):
        batches = sample[2000:].astype(float).reshape(20, -1).mean(axis=1)
        error = batches.std(ddof=1) / math.sqrt(len(batches))
        assert abs(batches.mean() - expected) < 4 * error
        assert error < 0.1 * expected


def test_in_flight_counts_calls_whose_callers_have_gone() -> None:
    caller = Caller(service_time="10s", capacity={"servers": 1, "queue": 10, "timeout": "1s"})
    for event_id in (1, 2, 3):
        caller.at(0.0, event_id)
    caller.kernel.run(5.0)
    assert (caller.dependency.busy, caller.dependency.in_flight) == (0, 3)
    caller.kernel.call_later(20.0, lambda: None)
    caller.kernel.run(25.0)
    assert caller.dependency.in_flight == 1


def test_an_event_that_kills_does_so_at_the_end_of_its_call_and_has_no_effect() -> None:
    caller = Caller(service_time="1s", kinds={"killer": {"effect": "kill"}})
    caller.at(0.0, 1, kind="killer", node="victim")
    caller.at(0.5, 2, node="victim")
    caller.at(0.5, 3, node="other")
    assert caller.run() == {3: (1.5, "ok")}
    assert caller.crashes == [1.0]
    # The call of event 2 had been made: its effect does not ask whether the caller is still there.
    assert caller.dependency.effects == {(2, 1): 1.5, (3, 1): 1.5}
    assert caller.dependency.busy == 0


def test_a_dead_caller_can_call_nobody() -> None:
    caller = Caller(service_time="1s")

    def body() -> None:
        try:
            caller.kernel.sleep(5.0)
        finally:
            caller.dependency.handle(claimed(9))

    caller.kernel.node("n").spawn("a", body)
    caller.kernel.call_later(1.0, caller.kernel.node("n").kill)
    caller.run(10.0)
    assert caller.dependency.calls == 0
    assert caller.dependency.effects == {}


def test_luck_belongs_to_the_event_and_its_attempt_whatever_the_policy() -> None:
    """Whether an attempt fails and how long it takes does not depend on when it comes, or on who draws besides."""
    sections: dict[str, Any] = {
        "arrivals": burst(200),
        "handler": {"failure_rate": 0.4, "service_time": {"kind": "exponential", "mean": "50ms"}},
    }
    one = run(**sections)
    two = run(**sections, pipeline={"backoff": {"growth": "fixed", "base": "3s", "jitter": "none", "max_retries": 20}})
    both = one.attempts.merge(two.attempts, on=["event_id", "attempt_no"])
    assert len(both) > 300
    assert (both["outcome_x"].astype(str) == both["outcome_y"].astype(str)).all()
    took = [both[f"finished_s{side}"] - both[f"started_s{side}"] for side in ("_x", "_y")]
    assert np.abs(took[0] - took[1]).max() < 3e-6


def test_retries_can_cause_the_failures_that_they_react_to() -> None:
    """A downstream hit once by more than it can answer in time: calls fail although nothing is broken."""
    done = run(
        horizon="15s",
        arrivals=burst(150),
        pipeline={"backoff": {"growth": "fixed", "base": "1s", "jitter": "none", "max_retries": 50}, "batch_size": 1},
        workers={"count": 4, "concurrency": 50},
        handler={"service_time": "100ms", "capacity": {"servers": 5, "queue": 1000, "timeout": "1s"}},
    )
    overloads = done.attempts["error"].astype(str).str.startswith("Overload").sum()
    assert overloads > 150
    # The work that nobody waited for was done all the same.
    assert done.attempts["effect_s"].notna().sum() > (done.attempts["outcome"] == "ok").sum() + 100
