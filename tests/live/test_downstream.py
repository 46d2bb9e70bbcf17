"""The downstream as a process of its own, and the handler that calls it: luck, capacity, outages, effects, death."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from live_systems import eventually

from tem_sim.live.config import HOST, VARIABLE, LiveConfig, Ports
from tem_sim.live.control import control
from tem_sim.live.handler import DownstreamHandler
from tem_sim.live.logs import Log, lines
from tem_sim.pipeline.ports import ClaimedEvent
from tem_sim.scenario.downstream import Outage, Overload, Refused
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.streams import Streams


def claimed(n: int, attempt_no: int = 1, kind: str = "normal", event_id: int | None = None) -> ClaimedEvent:
    return ClaimedEvent(event_id or 1000 + n, attempt_no, 0, 0, 1, None, 1, kind, f'{{"number": {n}, "pad": ""}}', 0.0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Line:
    """A downstream of its own, and a handler that calls it."""

    def __init__(self, folder: Path, faults: Sequence[dict[str, Any]] = (), **handler: Any) -> None:
        scenario = Scenario.model_validate(
            {"scenario": "line", "arrivals": {"kind": "burst", "events": 1}, "handler": handler, "faults": list(faults)}
            | ({"events": {"kinds": {"normal": 1, **dict.fromkeys(handler.get("kinds", {}), 1)}}})
        )
        self.config = LiveConfig(
            name="tem-line",
            folder=folder,
            scenario_dict=scenario.resolved(),
            luck_seed=7,
            store_url="sqlite://",
            redis_url="redis://127.0.0.1:1/0",
            secret="secret",
            ports=Ports(api=1, gateway=1, downstream=free_port()),
        )
        self.crashes = 0
        self._file = self.config.save()
        self.handler = DownstreamHandler(self.config, Log(self.config.log_file("worker-1"), "worker-1"), self._crash)
        self.begin()

    def begin(self) -> None:
        self.config.ready_file("downstream").unlink(missing_ok=True)
        command = [sys.executable, "-m", "tem_sim.live.node", "downstream"]
        self.process = subprocess.Popen(command, env={**os.environ, VARIABLE: str(self._file)})

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def _crash(self) -> None:
        self.crashes += 1

    def await_ready(self) -> None:
        until = time.monotonic() + 60
        while not self.config.ready_file("downstream").exists():
            assert time.monotonic() < until
            assert self.process.poll() is None
            time.sleep(0.02)

    def outcome(self, event: ClaimedEvent) -> str:
        try:
            self.handler.handle(event)
        except (Outage, Overload, Refused) as error:
            return f"{type(error).__name__}: {error}"
        return "ok"

    def noted(self, what: str, node: str = "downstream") -> list[dict[str, Any]]:
        return [line for line in lines(self.config.log_file(node)) if line["event"] == what]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    started = []

    def make(**handler: Any) -> Line:
        line = Line(tmp_path, **handler)
        started.append(line)
        line.await_ready()
        return line

    yield make
    for line in started:
        line.end()


def test_luck_is_that_of_the_simulator_by_number_and_attempt(start: Any) -> None:
    line = start(service_time="1ms", failure_rate=0.4)
    calls = [(n, attempt_no) for n in range(1, 20) for attempt_no in (1, 2)]
    expected = [
        "Refused: failed by luck" if Streams(7).uniform("luck", n, attempt_no) < 0.4 else "ok"
        for n, attempt_no in calls
    ]
    assert [line.outcome(claimed(*call)) for call in calls] == expected
    effects = [(line["event_id"], line["attempt_no"], line["n"]) for line in line.noted("effect")]
    assert effects == [(1000 + n, a, n) for (n, a), how in zip(calls, expected, strict=True) if how == "ok"]


def test_a_call_takes_the_time_that_it_takes_in_the_simulator(start: Any) -> None:
    line = start(service_time={"kind": "lognormal", "mean": "60ms", "cv": 0.5})
    for n in range(1, 6):
        line.outcome(claimed(n))
    model, uniform = line.config.scenario.handler, Streams(7).uniform
    handled = line.noted("handled", "worker-1")
    assert [one["intended_s"] for one in handled] == pytest.approx(
        [model.service_time.quantile(uniform("service", n, 1)) for n in range(1, 6)]
    )
    over_s = [one["took_s"] - one["intended_s"] for one in handled]
    # A machine may be busy with others at any of them, and not at all of them.
    assert 0 <= min(over_s) < 2.0


def test_in_an_outage_every_call_is_refused_and_counted(start: Any) -> None:
    line = start(service_time="1ms", fail_time="20ms")
    control(line.config, "outage", on=True)
    assert [line.outcome(claimed(n)) for n in (1, 2)] == ["Outage: connection refused"] * 2
    assert control(line.config, "outage", on=False) == {"struck": 2}
    assert line.outcome(claimed(3)) == "ok"


def test_a_fault_changes_the_calls_that_it_changes_in_the_simulator(start: Any) -> None:
    line = start(service_time="1ms")
    flaky = {"kind": "flaky", "at": 0, "for": 5, "probability": 0.5}
    control(line.config, "fault", on=True, key=[3], fault=flaky)
    struck = [n for n in range(1, 21) if Streams(7).uniform("fault-call", 3, n, 1) < 0.5]
    assert [n for n in range(1, 21) if line.outcome(claimed(n)) == "Refused: the downstream is flaky"] == struck
    assert control(line.config, "fault", on=False, key=[3]) == {"struck": len(struck)}
    assert line.outcome(claimed(struck[0])) == "ok"


def test_only_the_supervisor_can_say_what_goes_wrong(start: Any) -> None:
    line = start(service_time="1ms")
    stranger = line.config.model_copy(update={"secret": "guessed"})
    with pytest.raises(ValueError, match="not the supervisor's key"):
        control(stranger, "outage", on=True)
    assert line.outcome(claimed(1)) == "ok"


def test_an_answer_that_comes_too_late_is_an_overload_and_its_effect_happens_all_the_same(start: Any) -> None:
    line = start(service_time="300ms", capacity={"servers": 1, "timeout": "100ms"})
    assert line.outcome(claimed(1)) == "Overload: no answer within 0.1 s"
    assert eventually(lambda: [one["n"] for one in line.noted("effect")] == [1])
    (called,), (effect,) = line.noted("call"), line.noted("effect")
    # Not when its caller was answered, but when its work was done.
    assert effect["t"] - called["t"] >= 0.3 - 0.001


def test_a_call_has_its_effect_when_its_caller_is_gone(start: Any) -> None:
    line = start(service_time="200ms")
    with socket.create_connection((HOST, line.config.ports.downstream)) as caller:
        caller.sendall(b'{"event_id": 1005, "attempt_no": 2, "n": 5, "kind": "normal"}\n')
    assert eventually(lambda: line.noted("effect"))
    assert [(one["event_id"], one["attempt_no"], one["n"]) for one in line.noted("effect")] == [(1005, 2, 5)]


def test_an_event_that_kills_its_worker_is_answered_so(start: Any) -> None:
    line = start(service_time="1ms", kinds={"bomb": {"effect": "kill"}})
    line.outcome(claimed(1, kind="bomb"))
    assert line.crashes == 1
    assert line.noted("effect") == []


def test_a_downstream_that_is_gone_is_an_outage_and_one_that_is_back_is_called_again(start: Any) -> None:
    line = start(service_time="1ms")
    assert line.outcome(claimed(1)) == "ok"
    line.end()
    assert line.outcome(claimed(2)) == "Outage: connection refused"
    line.begin()
    line.await_ready()
    assert line.outcome(claimed(3)) == "ok"


def test_it_ends_when_told_to(start: Any) -> None:
    line = start(service_time="1ms")
    line.process.send_signal(signal.SIGTERM)
    assert line.process.wait(timeout=60) == 0


def test_what_makes_no_sense_ends_its_connection_alone(start: Any) -> None:
    line = start(service_time="1ms")
    with socket.create_connection((HOST, line.config.ports.downstream), timeout=30) as caller:
        caller.sendall(b"what\n")
        assert caller.recv(100) == b""
    assert line.outcome(claimed(1)) == "ok"


def paid(event_id: int, **payload: Any) -> ClaimedEvent:
    return claimed(0, event_id=event_id)._replace(payload_json=json.dumps(payload))


@pytest.mark.parametrize("slowdown", [1e9, 4.0, "nan", [1], -1])
def test_no_user_can_make_its_calls_take_longer(start: Any, slowdown: object) -> None:
    line = start(service_time="1ms")
    assert line.outcome(paid(3, number=1, slowdown=slowdown)) == "ok"
    (handled,) = line.noted("handled", "worker-1")
    assert handled["intended_s"] == pytest.approx(0.001)


def test_calls_take_longer_for_events_that_a_fault_of_the_scenario_has_made_huge(start: Any) -> None:
    huge = {"kind": "huge_events", "at": 0, "for": 5, "slowdown": 30}
    line = start(service_time="1ms", faults=[huge])
    assert line.outcome(paid(3, number=1, slowdown=30.0)) == "ok"
    assert line.outcome(paid(4, number=2, slowdown=31)) == "ok"
    assert [one["intended_s"] for one in line.noted("handled", "worker-1")] == pytest.approx([0.03, 0.001])


@pytest.mark.parametrize("number", ["one", 2**53, -1, True, 1.5, [1], None])
def test_whoever_gives_no_number_of_ours_has_the_luck_of_the_event(start: Any, number: object) -> None:
    line = start(service_time="1ms")
    assert line.outcome(paid(17, number=number)) == "ok"
    assert [one["n"] for one in line.noted("call")] == [17]
