"""What the logs of a live run tell that is in no store: wake-ups, messages, calls and their effects, gauges, counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tem_sim.live.celery_app import WAKE
from tem_sim.live.logs import lines

Line = dict[str, Any]
Call = tuple[int, int]


@dataclass
class Told:
    """What was read from the logs; times are seconds since the epoch, events have the store's ids.

    `effects` and `calls` are keyed by (event_id, attempt_no), `calls` has when the downstream was first called.
    `wakeups` are rows of their frame, `messages` is its columns.
    """

    effects: dict[Call, float] = field(default_factory=dict)
    calls: dict[Call, float] = field(default_factory=dict)
    gauges: list[tuple[float, str, float]] = field(default_factory=list)
    wakeups: list[tuple[float, str, str, int, int, int]] = field(default_factory=list)
    messages: dict[str, list[Any]] = field(default_factory=dict)
    transactions: int = 0
    statements: int = 0
    failed_tasks: int = 0


def told_by(folder: Path, *, ack_early: bool) -> Told:
    """Read all logs in a folder; with `ack_early` a worker's messages are settled as soon as it begins on them."""
    told, sent, deliveries = Told(), list[tuple[float, str]](), _Deliveries(ack_early)
    for line in _all_lines(folder):
        _take(told, line)
        if line["event"] == "wake":
            sent += [(line["t"], message) for message in line["ids"]]
        deliveries.take(line)
    told.wakeups.sort()
    told.messages = deliveries.columns([message for _, message in sorted(sent)])
    return told


def _all_lines(folder: Path) -> Iterator[Line]:
    for file in sorted(folder.glob("*.jsonl")):
        yield from lines(file)


def _take(told: Told, line: Line) -> None:
    event = line["event"]
    if event in ("call", "effect"):
        first = told.calls if event == "call" else told.effects
        first.setdefault((line["event_id"], line["attempt_no"]), line["t"])
    elif event == "wake":
        lost, count = line["lost"], line["count"]
        # As of when it began to send: what was committed before is announced by it.
        began = round(line["t"] - line["took_s"], 6)
        node = line["actor"].partition("/")[0]
        told.wakeups.append((began, node, line["task"], line["first_id"], count, lost))
    elif event == "gauge":
        told.gauges.append((line["t"], line["name"], float(line["value"])))
    elif event == "store_time":
        counts = Counter({line["what"]: line["n"]})
        told.transactions += counts["transaction"]
        told.statements += counts["statement"]
    elif event == "task_failed":
        told.failed_tasks += 1


@dataclass(slots=True)
class _Delivery:
    """One time that a worker was handed a message."""

    message: str
    worker: str
    at: float
    redelivered: bool
    started: float = math.nan
    finished: float = math.nan


class _Deliveries:
    """Puts together what a worker's main process and its pool tell of each message."""

    def __init__(self, ack_early: bool) -> None:
        self._ack_early = ack_early
        self._all: list[_Delivery] = []
        # The last delivery of a message to a worker: what its pool tells is about that one.
        self._last: dict[tuple[str, str], _Delivery] = {}

    def take(self, line: Line) -> None:
        event = line["event"]
        if not event.startswith("message") or not line["node"].startswith("worker-"):
            return
        key = line["node"], line["message"]
        if event == "message" and line["task"] == WAKE:
            made = _Delivery(line["message"], line["node"], line["t"], line["redelivered"])
            self._all.append(made)
            self._last[key] = made
        elif event == "message_started" and key in self._last:
            self._last[key].started = line["t"]
        elif event == "message_done" and key in self._last:
            self._last[key].finished = line["t"]

    def columns(self, sent: list[str]) -> dict[str, list[Any]]:
        """Return the columns of the frame `messages`; `sent` are the wake-ups' names in the order of sending."""
        listed = sorted(self._all, key=lambda delivery: delivery.at)
        numbers = {name: number for number, name in enumerate(dict.fromkeys(sent), start=1)}
        for delivery in listed:
            # Its sender was killed before it could say that it had sent it.
            numbers.setdefault(delivery.message, len(numbers) + 1)
        ends = [self._end(delivery, listed) for delivery in listed]
        return {
            "delivered_s": [delivery.at for delivery in listed],
            "message": [numbers[delivery.message] for delivery in listed],
            "worker": [delivery.worker for delivery in listed],
            "redelivered": [int(delivery.redelivered) for delivery in listed],
            "started_s": [delivery.started for delivery in listed],
            "finished_s": [delivery.finished for delivery in listed],
            "settled_s": [at for at, _ in ends],
            "fate": [fate for _, fate in ends],
        }

    def _end(self, delivery: _Delivery, listed: list[_Delivery]) -> tuple[float, str]:
        """Return when a delivery was over for the broker, and how."""
        settled = delivery.started if self._ack_early else delivery.finished
        if not math.isnan(settled):
            return settled, "acked"
        again = (other.at for other in listed if other.message == delivery.message and other.at > delivery.at)
        at = next(again, math.nan)
        return (math.nan, "open") if math.isnan(at) else (at, "returned")
