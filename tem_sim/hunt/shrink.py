"""From a scenario that violates to a small one that does: fewer faults, fewer events, rounder and shorter times.

Hypothesis knows lists and numbers; what follows from knowing a scenario is done here. Each step proposes something
simpler and keeps it if the same check or threshold is violated still. Durations are bisected over round numbers, on the
way to the shortest that is enough. Settings are kept, since they are what is being tested.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from tem_sim.hunt.tries import Tried, attempt
from tem_sim.scenario.arrivals import arrival_times
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.streams import Streams

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tem_sim.hunt.draws import Plain
    from tem_sim.hunt.goal import Goal
    from tem_sim.scenario.faults.kinds import AnyFault

MOST_TRIES = 250
# Few events are handled in no time: the numbers of seeds that are tried for each way to have fewer.
OTHER_SEEDS = (1, 2, 3)
_DIGITS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
ROUND_S = tuple(round(digit * 10.0**power, 6) for power in range(-3, 5) for digit in _DIGITS)
SHORTEST_S = 5.0
# Durations of a fault by their keys in a scenario file.
_LENGTHS = ("for", "restart_after", "grace", "corrected_after")
# Those that may be less than nothing.
_SIGNED = ("skew", "step")


@dataclass(slots=True)
class Shrinking:
    """A scenario that violates on its way down; `limits` says of each bisected duration what was not enough."""

    best: Tried
    goal: Goal
    until_s: float
    told: Callable[[], None] | None = None
    tries: int = 0
    complete: bool = True
    interrupted: bool = False
    limits: list[str] = field(default_factory=list)
    _known: dict[str, bool] = field(default_factory=dict)

    def holds(self, changes: Plain) -> bool:
        """Try the best scenario with these sections instead; keep it and return True if it violates likewise."""
        scenario = _changed(self.best.scenario, changes)
        if scenario is None:
            return False
        key = scenario.model_dump_json()
        if key in self._known:
            return False
        if time.time() >= self.until_s or self.tries >= MOST_TRIES:
            raise _OutOfBudget
        tried = self._attempt(scenario)
        self._known[key] = tried
        return tried

    def _attempt(self, scenario: Scenario) -> bool:
        self.tries += 1
        tried = attempt(scenario, self.goal)
        if self.told is not None:
            self.told()
        wanted, seen = self.best.seen.violation, tried.seen.violation
        if wanted is None or seen is None or seen.name != wanted.name:
            return False
        self.best = tried
        return True

    def faults(self) -> list[Plain]:
        """Return the faults of the best scenario, as in a file."""
        return [dict(fault.resolved()) for fault in self.best.scenario.faults]

    def plain(self, name: str) -> JsonValue:
        """Return a section of the best scenario, as in a file."""
        return self.best.scenario.resolved()[name]


class _OutOfBudget(Exception):
    """Neither time nor tries are left."""


def shrink(found: Tried, goal: Goal, until_s: float, told: Callable[[], None] | None = None) -> Shrinking:
    """Return the smallest scenario that violates as `found` does, as far as time (`time.time`) and tries go.

    Ctrl-C ends it early, too.
    """
    assert found.seen.violation is not None
    state = Shrinking(found, goal.narrowed(found.seen.violation.name), until_s, told)
    try:
        before = None
        while before != state.best.scenario:
            before = state.best.scenario
            for step in (_fewer_faults, _fewer_events, _simpler_faults, _earlier, _round_times, _shorter, _first_seed):
                step(state)
        _bisected(state)
    except _OutOfBudget:
        state.complete = False
    except KeyboardInterrupt:
        state.complete, state.interrupted = False, True
    return state


def _changed(scenario: Scenario, changes: Plain) -> Scenario | None:
    try:
        return Scenario.model_validate({**scenario.resolved(), **changes})
    except ValidationError:
        return None


# --- fewer faults and events


def _fewer_faults(state: Shrinking) -> None:
    """Try without any fault, then with each alone, then drop one after the other.

    Two faults may hit an instant together that either misses alone; one that lasts longer need not hit it.
    """
    if not state.best.scenario.faults or state.holds({"faults": []}):
        return
    for fault in state.faults():
        alone = (fault, *_wider(fault, state.best.scenario.horizon_s))
        if len(state.faults()) > 1 and any(state.holds({"faults": [one]}) for one in alone):
            return
    number = 0
    while len(state.faults()) > 1 and number < len(state.faults()):
        faults = state.faults()
        if not state.holds({"faults": [*faults[:number], *faults[number + 1 :]]}):
            number += 1


def _wider(fault: Plain, horizon_s: float) -> list[Plain]:
    return [{**fault, "at": 0.0, "for": horizon_s / 4}] if "at" in fault and "for" in fault else []


def _fewer_events(state: Shrinking) -> None:
    """Try one to three events when those came that offend, then fewer and fewer of the first; under a few seeds."""
    times_s = _arrivals_s(state.best.scenario)
    for chosen in _subsets(state, times_s):
        seeds = (
            dict.fromkeys((state.best.scenario.seed, *OTHER_SEEDS)) if len(chosen) <= 3 else (state.best.scenario.seed,)
        )
        if any(state.holds({"arrivals": _bursts(chosen), "seed": seed}) for seed in seeds):
            return


def _subsets(state: Shrinking, times_s: Sequence[float]) -> Iterator[list[float]]:
    """Yield arrivals to try instead, fewest first; all have fewer events than there are."""
    assert state.best.seen.violation is not None
    # Events are numbered in the order of their arrival.
    ids = [number for number in state.best.seen.violation.event_ids if 1 <= number <= len(times_s)]
    offending = [times_s[number - 1] for number in ids]
    pools = [pool for pool in (offending, list(times_s)) if pool]
    seen = set()
    for size in (1, 2, 3):
        for pool in pools:
            for start in range(min(len(pool) - size + 1, 4)):
                chosen = sorted(pool[start : start + size])
                if size < len(times_s) and tuple(chosen) not in seen:
                    seen.add(tuple(chosen))
                    yield chosen
    size = 4
    while size < len(times_s):
        yield list(times_s[:size])
        size *= 2


def _arrivals_s(scenario: Scenario) -> list[float]:
    return [float(time_s) for time_s in arrival_times(scenario, Streams(scenario.seed))]


def _bursts(times_s: Sequence[float]) -> list[JsonValue]:
    return [{"kind": "burst", "at": at_s, "events": list(times_s).count(at_s)} for at_s in dict.fromkeys(times_s)]


# --- simpler faults


def _simpler_faults(state: Shrinking) -> None:
    """Try what is plainer in each fault: one worker for all, the first passing, all of it for some, kept for lost."""
    for number in range(len(state.best.scenario.faults)):
        for change in _plainer(state.faults()[number]):
            state.holds({"faults": _with(state.faults(), number, change)})


def _plainer(fault: Plain) -> Iterator[Plain]:
    plainest: Plain = {"target": "worker-1", "nth": 1, "fraction": 1.0, "probability": 1.0, "phase": 0.0, "drift": 0.0}
    for key, value in plainest.items():
        if fault.get(key, value) != value:
            yield {key: value}
    if fault.get("edge") is not None:
        nth = fault.get("nth", 1)
        assert isinstance(nth, int)
        for fewer in range(2, min(nth, 6)):
            yield {"nth": fewer}
    if fault.get("messages") == "lost":
        yield {"messages": "kept"}


def _with(faults: list[Plain], number: int, change: Plain) -> list[JsonValue]:
    return [{**fault, **change} if index == number else fault for index, fault in enumerate(faults)]


# --- rounder and shorter times


def _earlier(state: Shrinking) -> None:
    """Let all begin earlier by the same time, so that the first event comes at once, or when workers are there."""
    first_s = min(_arrivals_s(state.best.scenario), default=0.0)
    for at_s in (0.0, 1.0):
        if first_s > at_s and not _is_own_load(state.best.scenario):
            sooner_s = first_s - at_s
            faults: list[JsonValue] = [_sooner(fault, sooner_s) for fault in state.faults()]
            times_s = [round(time_s - sooner_s, 6) for time_s in _arrivals_s(state.best.scenario)]
            if state.holds({"faults": faults, "arrivals": _bursts(times_s)}):
                return


def _is_own_load(scenario: Scenario) -> bool:
    return any(process.kind != "burst" for process in scenario.arrivals)


def _sooner(fault: Plain, sooner_s: float) -> Plain:
    at_s = fault.get("at")
    return {**fault, "at": round(max(0.0, at_s - sooner_s), 6)} if isinstance(at_s, (int, float)) else fault


def _round_times(state: Shrinking) -> None:
    """Let faults and events begin at the roundest times that do."""
    for number, fault in enumerate(state.faults()):
        at_s = fault.get("at")
        if isinstance(at_s, (int, float)):
            _first_that_holds(state, [{"faults": _with(state.faults(), number, {"at": t})} for t in _rounder(at_s)])
    times_s = _arrivals_s(state.best.scenario)
    if len(times_s) <= 6:
        for number, at_s in enumerate(times_s):
            others = [*times_s[:number], *times_s[number + 1 :]]
            _first_that_holds(state, [{"arrivals": _bursts(sorted([*others, t]))} for t in _rounder(at_s)])
            times_s = _arrivals_s(state.best.scenario)


def _first_that_holds(state: Shrinking, changes: Sequence[Plain]) -> None:
    any(state.holds(change) for change in changes)


def _rounder(time_s: float) -> list[float]:
    """Return rounder times near one, the roundest first; none for one that is as round as can be."""
    near = [0.0, 1.0, *(round(time_s, digits) for digits in (-1, 0, 1, 2, 3))]
    ahead = [time for time in dict.fromkeys(near) if time >= 0]
    return ahead[: ahead.index(time_s)] if time_s in ahead else ahead


def _shorter(state: Shrinking) -> None:
    """End the run as soon as the violation is there, but not before what faults held up had time to go on."""
    scenario = state.best.scenario
    least_s = max([SHORTEST_S, *(2.0 * _over_s(fault) for fault in scenario.faults)])
    lengths_s = [time_s for time_s in ROUND_S if least_s <= time_s < scenario.horizon_s]
    _least(state, lengths_s, lambda time_s: {"horizon": time_s})


def _over_s(fault: AnyFault) -> float:
    """Return when a fault is over; of one at an edge how long it lasts, since nobody knows when it begins."""
    return (fault.over_s if fault.over_s is not None else fault.for_s) or 0.0


def _first_seed(state: Shrinking) -> None:
    seed = state.best.scenario.seed
    _first_that_holds(state, [{"seed": other} for other in OTHER_SEEDS if other < seed])


def _bisected(state: Shrinking) -> None:
    """Find the shortest round duration of each fault that is enough, and note what is not."""
    for number in range(len(state.best.scenario.faults)):
        for key in (*_LENGTHS, *_SIGNED):
            length_s = state.faults()[number].get(key)
            if isinstance(length_s, (int, float)) and length_s:
                _bisect(state, number, key, float(length_s))


def _bisect(state: Shrinking, number: int, key: str, length_s: float) -> None:
    sign = -1.0 if length_s < 0 else 1.0
    ladder_s = [
        *([0.0] if key in ("restart_after", "grace") else []),
        *(time_s for time_s in ROUND_S if time_s < abs(length_s)),
    ]
    failed = _least(state, ladder_s, lambda time_s: {"faults": _with(state.faults(), number, {key: sign * time_s})})
    enough = state.faults()[number][key]
    if failed is not None:
        kind = state.faults()[number]["kind"]
        assert isinstance(enough, (int, float))
        state.limits.append(f"{kind}: {key} {enough:g} s is enough, {sign * failed:g} s is not")


def _least(state: Shrinking, ladder: Sequence[float], change: Callable[[float], Plain]) -> float | None:
    """Set the least value of an ascending ladder that holds, taking it that all above hold; return the one below."""
    low, high = 0, len(ladder)
    failed = None
    while low < high:
        middle = (low + high) // 2
        if state.holds(change(ladder[middle])):
            high = middle
        else:
            failed, low = ladder[middle], middle + 1
    return failed
