"""What the handler calls: a small TCP server that answers as the scenario says, with luck from the same named streams.

It speaks JSON lines. A call is `{"event_id", "attempt_no", "n", "kind"}` and is answered, in its own time, with
`{"answer": "ok" | "Refused" | "Outage" | "Overload" | "kill", "error", "late_error", "intended_s"}`. What a call does,
it does even if its caller is gone by then. What goes wrong here is switched on and off by `live.control`.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from tem_sim.live.config import HOST
from tem_sim.live.control import control_key
from tem_sim.scenario.downstream import AWAY, QUEUE_FULL, Servers
from tem_sim.scenario.faults.workload import DownstreamSlow, Flaky, PartialEffect
from tem_sim.scenario.streams import Streams

if TYPE_CHECKING:
    from tem_sim.live.config import LiveConfig
    from tem_sim.live.logs import Log
    from tem_sim.live.process import Process
    from tem_sim.scenario.handler import Decision

GAUGE_EVERY_S = 1.0

Answer = dict[str, Any]
Call = tuple[int, int]
CallFault = Flaky | DownstreamSlow | PartialEffect
_CALL_FAULT: TypeAdapter[CallFault] = TypeAdapter(CallFault)


class _FaultAtWork:
    """A fault that changes calls: the same ones as in the simulator, whose names they go by."""

    def __init__(self, fault: CallFault, key: tuple[int, ...], uniform: Callable[..., float]) -> None:
        self._fault = fault
        self._key = key
        self._uniform = uniform
        self.struck = 0

    def act(self, call: Call, decision: Decision) -> Decision:
        if self._uniform("fault-call", *self._key, *call) >= self._fault.probability:
            return decision
        other = self._fault.change(decision)
        self.struck += other is not None
        return decision if other is None else other


class Downstream:
    """The downstream's state: its queue, and what is wrong with it at present."""

    def __init__(self, config: LiveConfig, log: Log) -> None:
        self._model = config.scenario.handler
        self._log = log
        self._key = control_key(config)
        self._uniform = Streams(config.luck_seed).uniform
        self._servers = None if self._model.capacity is None else Servers(self._model.capacity)
        self._outages = 0
        self._refused_in_outage = 0
        self._faults: dict[tuple[int, ...], _FaultAtWork] = {}
        self._busy = 0

    @property
    def in_flight(self) -> int:
        """Calls that the downstream is busy with, those included whose caller is gone."""
        return self._busy if self._servers is None else self._servers.in_flight(asyncio.get_running_loop().time())

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's messages one after the other, until it ends or does not make sense."""
        try:
            while line := await reader.readline():
                message = json.loads(line)
                answer = self._obey(message) if "control" in message else await self._called(message)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
            self._log.note("connection_ended", error=f"{type(error).__name__}: {error}")
        finally:
            writer.close()

    # --- calls

    async def _called(self, message: dict[str, Any]) -> Answer:
        about = {name: int(message[name]) for name in ("event_id", "attempt_no", "n")}
        self._log.note("call", **about)
        self._busy += 1
        try:
            if self._outages:
                self._refused_in_outage += 1
                return await self._refuse("Outage", AWAY)
            decision = self._decide(message)
            if decision.kills:
                await asyncio.sleep(decision.service_s)
                return {"answer": "kill", "intended_s": decision.service_s}
            return await self._serve(decision, about)
        finally:
            self._busy -= 1

    def _decide(self, message: dict[str, Any]) -> Decision:
        call = int(message["n"]), int(message["attempt_no"])
        luck = self._uniform("service", *call), self._uniform("luck", *call)
        decision = self._model.decide(str(message["kind"]), call[1], *luck)
        for fault in self._faults.values():
            decision = fault.act(call, decision)
        # What is wrong with an event itself, and not with the downstream, it brings with it.
        return decision._replace(service_s=decision.service_s * float(message.get("slowdown", 1.0)))

    async def _serve(self, decision: Decision, about: dict[str, int]) -> Answer:
        loop, servers = asyncio.get_running_loop(), self._servers
        now = loop.time()
        done_at = now + decision.service_s if servers is None else servers.admit(now, decision.service_s)
        if done_at is None:
            return await self._refuse("Overload", QUEUE_FULL)
        # What the user's own function does is done, and told, where it is called.
        if decision.error is None and self._model.call is None:
            loop.call_at(done_at, lambda: self._log.note("effect", **about))
        if servers is not None and done_at - now > servers.capacity.timeout_s:
            await asyncio.sleep(servers.capacity.timeout_s)
            return self._failed("Overload", servers.too_late, servers.capacity.timeout_s)
        await asyncio.sleep(done_at - now)
        if decision.error is not None:
            return self._failed("Refused", decision.error, done_at - now)
        return {"answer": "ok", "late_error": decision.late_error, "intended_s": done_at - now}

    async def _refuse(self, how: str, error: str) -> Answer:
        await asyncio.sleep(self._model.fail_time_s)
        return self._failed(how, error, self._model.fail_time_s)

    def _failed(self, how: str, error: str, intended_s: float) -> Answer:
        return {"answer": how, "error": error, "intended_s": intended_s}

    # --- what the supervisor says

    def _obey(self, message: dict[str, Any]) -> Answer:
        if not hmac.compare_digest(str(message.get("secret", "")).encode(), self._key.encode()):
            return {"wrong": "not the supervisor's key"}
        on = bool(message["on"])
        self._log.note("control", **{name: value for name, value in message.items() if name != "secret"})
        if message["control"] == "outage":
            self._outages += 1 if on else -1
            return {"struck": self._refused_in_outage}
        if message["control"] == "fault":
            return {"struck": self._switch(tuple(message["key"]), message.get("fault"), on)}
        return {"wrong": f"no such control: {message['control']}"}

    def _switch(self, key: tuple[int, ...], fault: object, on: bool) -> int:
        if on:
            self._faults[key] = _FaultAtWork(_CALL_FAULT.validate_python(fault), key, self._uniform)
            return 0
        at_work = self._faults.pop(key, None)
        return 0 if at_work is None else at_work.struck


async def _serve(process: Process) -> None:
    downstream, loop, stop = Downstream(process.config, process.log), asyncio.get_running_loop(), asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    server = await asyncio.start_server(downstream.converse, HOST, process.config.ports.downstream, backlog=1024)
    process.is_ready()
    while not stop.is_set():
        process.log.note("gauge", name="dependency_in_flight", value=downstream.in_flight)
        try:
            await asyncio.wait_for(stop.wait(), GAUGE_EVERY_S)
        except TimeoutError:
            continue
    server.close()


def serve(process: Process) -> None:
    """Be the downstream until told to stop."""
    asyncio.run(_serve(process))
