"""The live handler: calls the downstream over TCP, and then the user's own function where the scenario names one."""

from __future__ import annotations

import inspect
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from tem_sim.live.config import HOST
from tem_sim.live.descriptors import has_news
from tem_sim.live.ids import MAX_ID
from tem_sim.scenario.downstream import AWAY, Outage, Overload, Refused
from tem_sim.scenario.faults.workload import HugeEvents

if TYPE_CHECKING:
    from tem_sim.foreign.handlers import HandlerFunction
    from tem_sim.live.config import LiveConfig
    from tem_sim.live.logs import Log
    from tem_sim.pipeline.ports import ClaimedEvent

CONNECT_TIMEOUT_S = 2.0
# For an answer. The downstream itself says when it is too late; this is for one that says nothing at all.
ANSWER_TIMEOUT_S = 300.0

_FAILURES: dict[str, type[Exception]] = {one.__name__: one for one in (Outage, Overload, Refused)}


def kill_own_group() -> NoReturn:
    """End the worker as a poison event does: all of its processes at once, and none of them knows it."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    raise AssertionError("unreachable")


class DownstreamHandler:
    """Does one attempt: raises what the downstream answers, by the names and with the words of the simulator.

    Each thread has a connection of its own, which is opened when first used.
    """

    def __init__(self, config: LiveConfig, log: Log, crash: Callable[[], None] = kill_own_group) -> None:
        self._config = config
        self._log = log
        self._crash = crash
        self._mine = threading.local()
        # What a payload may say of how long its call takes: else any user could keep workers busy for ever.
        self._slowdowns = [one.slowdown for one in config.scenario.faults if isinstance(one, HugeEvents)]

    def handle(self, event: ClaimedEvent) -> None:
        """Do the work of one attempt, or raise what went wrong."""
        call = self._call(event)
        began, answer, outcome = time.monotonic(), dict[str, Any](), "ok"
        try:
            answer = self._ask(call)
            self._act_on(answer, event)
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            self._note(event, outcome, time.monotonic() - began, answer.get("intended_s"))

    def _call(self, event: ClaimedEvent) -> dict[str, Any]:
        """Return what the downstream is asked; a payload is anybody's, and counts only as far as our load makes it."""
        payload = json.loads(event.payload_json)
        said = payload if isinstance(payload, dict) else {}
        number, slowdown = said.get("number"), said.get("slowdown")
        ours = type(number) is int and 0 < number <= MAX_ID
        call = {
            "event_id": event.event_id,
            "attempt_no": event.attempt_no,
            "n": number if ours else event.event_id,
            "kind": event.kind,
        }
        return {**call, "slowdown": slowdown} if slowdown in self._slowdowns else call

    def _act_on(self, answer: dict[str, Any], event: ClaimedEvent) -> None:
        how = answer["answer"]
        if how == "kill":
            # Nobody is left to say so afterwards.
            self._note(event, "kill", answer["intended_s"], answer["intended_s"])
            self._crash()
        if how in _FAILURES:
            raise _FAILURES[how](answer["error"])
        if self._own is not None:
            self._call_own(self._own, event)
        if answer.get("late_error") is not None:
            raise Refused(answer["late_error"])

    def _note(self, event: ClaimedEvent, outcome: str, took_s: float, intended_s: float | None) -> None:
        about = {"event_id": event.event_id, "attempt_no": event.attempt_no, "outcome": outcome}
        self._log.note("handled", **about, took_s=round(took_s, 6), intended_s=intended_s)

    # --- the user's own function

    @cached_property
    def _own(self) -> HandlerFunction | None:
        from tem_sim.foreign.handlers import handler_from
        from tem_sim.foreign.imports import imported

        path = self._config.scenario.handler.call
        return None if path is None else handler_from(imported(path), path)

    def _call_own(self, function: HandlerFunction, event: ClaimedEvent) -> None:
        answer = function(event)
        if inspect.isawaitable(answer):
            raise TypeError(f"the handler returned {type(answer).__name__}, which nobody awaits")
        self._log.note("effect", event_id=event.event_id, attempt_no=event.attempt_no)

    # --- the connection

    def _ask(self, call: dict[str, Any]) -> dict[str, Any]:
        connection = self._connection()
        try:
            connection.sendall(json.dumps(call).encode() + b"\n")
            line = self._mine.stream.readline()
        except OSError as error:
            self._hang_up()
            raise Outage(f"connection lost: {error}") from error
        if not line:
            # Never asked again: it may have been done.
            self._hang_up()
            raise Outage("connection lost")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _connection(self) -> socket.socket:
        """Return this thread's connection, a new one where there is none or the downstream has closed it since."""
        connection: socket.socket | None = getattr(self._mine, "socket", None)
        if connection is not None and not has_news(connection.fileno()):
            return connection
        self._hang_up()
        try:
            connection = socket.create_connection((HOST, self._config.ports.downstream), timeout=CONNECT_TIMEOUT_S)
        except OSError as error:
            raise Outage(AWAY) from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(ANSWER_TIMEOUT_S)
        self._mine.socket, self._mine.stream = connection, connection.makefile("rb")
        return connection

    def _hang_up(self) -> None:
        if getattr(self._mine, "socket", None) is not None:
            self._mine.stream.close()
            self._mine.socket.close()
            self._mine.socket = None
