"""What the logs of a live run tell of how long its infrastructure takes, each thing as a sample of durations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tem_sim.live.logs import lines

if TYPE_CHECKING:
    from tem_sim.frames import Run

Line = dict[str, Any]

# What is measured, and what it is.
THINGS: dict[str, str] = {
    "transaction": "a transaction of the store, from before its connection is had until it is over",
    "send": "sending a wake-up",
    "hop": "from a wake-up sent until a slot of a worker begins on it",
    "request": "a request of the API before it asks the store",
    "call_over": "a call of the handler over what the downstream meant it to take",
    "pubsub": "from a publish to the gateway",
    "socket": "from the gateway to the user",
    "startup": "from a worker's start until it takes wake-ups",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """Durations in seconds, each with how many it stands for; ascending."""

    values_s: tuple[float, ...]
    weights: tuple[float, ...]

    @staticmethod
    def of(values_s: Sequence[float], weights: Sequence[float] | None = None) -> Sample:
        """Make a sample; without weights each value stands for itself. What is no finite number is left out."""
        pairs = sorted(zip(values_s, [1.0] * len(values_s) if weights is None else weights, strict=True))
        kept = [(value, weight) for value, weight in pairs if math.isfinite(value)]
        return Sample(tuple(value for value, _ in kept), tuple(weight for _, weight in kept))

    def plus(self, other: Sample) -> Sample:
        """Return both together."""
        return Sample.of((*self.values_s, *other.values_s), (*self.weights, *other.weights))

    @property
    def n(self) -> int:
        """How many were seen, also those of which only the count was told."""
        return round(sum(self.weights))

    @property
    def mean_s(self) -> float:
        """The mean; NaN of nothing."""
        if not self.values_s:
            return math.nan
        products = (value * weight for value, weight in zip(self.values_s, self.weights, strict=True))
        return math.fsum(products) / math.fsum(self.weights)

    def quantile_s(self, share: float) -> float:
        """Return the smallest value that this share does not exceed; NaN of nothing."""
        left = share * math.fsum(self.weights)
        for value, weight in zip(self.values_s, self.weights, strict=True):
            left -= weight
            if left <= 1e-9:
                return value
        return self.values_s[-1] if self.values_s else math.nan

    def slices_s(self, number: int) -> tuple[float, ...]:
        """Return the means of so many equal slices, ascending: the mean is kept, and the tail has its weight."""
        each = math.fsum(self.weights) / number
        made, filled, total = list[float](), 0.0, 0.0
        for value, weight in zip(self.values_s, self.weights, strict=True):
            left = weight
            while left > 1e-12:
                part = min(left, each - filled)
                total, filled, left = total + part * value, filled + part, left - part
                if filled >= each * (1 - 1e-9):
                    made.append(total / filled)
                    filled, total = 0.0, 0.0
        return tuple(made)


def measured(logs: Path, run: Run) -> dict[str, Sample]:
    """Return a sample for each of `THINGS`, from the logs of a run and its frames; empty where there was none.

    The first transaction, send and call of each process is left out: it opens a connection, which later ones have.
    """
    files = {file.stem: list(lines(file)) for file in sorted(logs.glob("*.jsonl"))}
    everything = [line for of_node in files.values() for line in of_node]
    return {
        "transaction": _transactions(everything),
        "send": _but_the_first(
            "wake", everything, lambda line: line["took_s"] / line["count"] if line["ids"] else None
        ),
        "hop": _hops(everything),
        "request": Sample.of(_before_store(everything)),
        "call_over": _but_the_first("handled", everything, _over),
        "pubsub": _pubsub(everything),
        "socket": _sockets(everything, run),
        "startup": startups(files),
    }


def startups(files: Mapping[str, Sequence[Line]]) -> Sample:
    """Return how long workers took that were started again; at the beginning all start at once, and take longer."""
    started = [line for line in files.get("system", ()) if line["event"] == "started"]
    found = []
    for node in sorted(name for name in files if name.startswith("worker-")):
        ready = [line["t"] for line in files[node] if line["event"] == "ready"]
        again = [line["t"] for line in started if line["name"] == node][1:]
        for at, until in pairwise([*again, math.inf]):
            found += [time - at for time in ready if at < time < until][:1]
    return Sample.of(found)


def _transactions(everything: Sequence[Line]) -> Sample:
    values: list[float] = []
    weights: list[float] = []
    seen: set[tuple[str, int]] = set()
    for line in everything:
        if line["event"] != "store_time" or line["what"] != "transaction":
            continue
        kept = line["durations_s"]
        if (line["node"], line["pid"]) not in seen:
            seen.add((line["node"], line["pid"]))
            kept = kept[1:]
        values += kept
        weights += [line["n"] / len(line["durations_s"])] * len(kept)
    return Sample.of(values, weights)


def _but_the_first(event: str, everything: Sequence[Line], of: Any) -> Sample:
    seen: set[tuple[str, int]] = set()
    values = []
    for line in everything:
        if line["event"] != event:
            continue
        if (line["node"], line["pid"]) in seen and (value := of(line)) is not None:
            values.append(value)
        seen.add((line["node"], line["pid"]))
    return Sample.of(values)


def _before_store(everything: Sequence[Line]) -> list[float]:
    asked = (line["before_store_s"] for line in everything if line["event"] == "request")
    # Those that were refused before have none.
    return [before_s for before_s in asked if before_s is not None]


def _over(line: Line) -> float | None:
    intended_s = line.get("intended_s")
    return None if intended_s is None else max(0.0, line["took_s"] - intended_s)


def _hops(everything: Sequence[Line]) -> Sample:
    sent = {message: line["t"] for line in everything if line["event"] == "wake" for message in line["ids"]}
    begun = [line for line in everything if line["event"] == "message_started" and line["message"] in sent]
    return Sample.of([max(0.0, line["t"] - sent[line["message"]]) for line in begun])


def _pubsub(everything: Sequence[Line]) -> Sample:
    published = dict(_events(everything, "publish"))
    return Sample.of(
        [max(0.0, at - published[name]) for name, at in _events(everything, "received") if name in published]
    )


def _sockets(everything: Sequence[Line], run: Run) -> Sample:
    """Pair what the gateway received with what users were shown, both in order of time: events have no common name.

    The mean is right whatever the pairs, as long as each was received once and shown once; otherwise nothing is said.
    """
    received = sorted(at for _, at in _events(everything, "received"))
    shown = sorted((run.notifications["delivered_s"].dropna() + _began(everything, run)).tolist())
    if len(received) != len(shown):
        return Sample.of([])
    return Sample.of([max(0.0, last - first) for first, last in zip(received, shown, strict=True)])


def _began(everything: Sequence[Line], run: Run) -> float:
    """Return when the run began, since the epoch: what its log and its frames say of the same first wake-up."""
    first = min((line["t"] - line["took_s"] for line in everything if line["event"] == "wake"), default=math.nan)
    sent = run.wakeups["t_s"]
    return float(round(first, 6) - sent.min()) if len(sent) else math.nan


def _events(everything: Sequence[Line], event: str) -> Iterator[tuple[int, float]]:
    for line in everything:
        if line["event"] == event:
            yield from ((name, line["t"]) for name in line["event_ids"])
