"""What is searched: seeds, loads and fault schedules, as Hypothesis strategies that make valid scenarios only.

Everything is drawn from short lists of numbers that matter in the scenario: the periods of its scheduler, its lease,
its delays, moments just before and after an arrival. A fault at a time out of the blue strikes nothing. The first of
each list is the simplest, to which Hypothesis shrinks. Settings are never touched, and every fault ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tem_sim.hunt.draws import OF_KIND, Plain, nodes, passers, workers
from tem_sim.hunt.kinds import USUAL, edges, searched
from tem_sim.scenario.arrivals import arrival_times
from tem_sim.scenario.faults.base import Triggered, Window
from tem_sim.scenario.faults.kinds import KINDS
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.streams import Streams

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy
    from pydantic import JsonValue

MOST_FAULTS = 5
MOST_EVENTS = 6
# The scenario's own load is tried less often the more it costs: every how many tries, up to how many events.
_OWN_LOAD_EVERY = ((200, 3), (2_000, 10), (20_000, 40))

# Lists longer than this would have an index that Hypothesis may set to a number out of the modules that happen to be
# loaded, and the same seed would not be the same search in another process.
_LONGEST_LIST = 100

_TIMES_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)
_FEW_NTHS = (1, 1, 2, 2, 3, 4, 6)
_MANY_NTHS = (1, 2, 3, 4, 5, 8, 13, 21, 34, 55)


@dataclass(frozen=True, slots=True)
class Times:
    """The times from which a schedule is drawn: where things happen, how far off a fault begins, how long it lasts."""

    anchors_s: tuple[float, ...]
    offsets_s: tuple[float, ...]
    lengths_s: tuple[float, ...]
    before_s: float
    nths: tuple[int, ...]

    @classmethod
    def of(cls, scenario: Scenario, until_s: float, nths: tuple[int, ...]) -> Times:
        """Return the times of a scenario whose events arrive until then, and pass an edge that often."""
        # What has a time is healed by the middle of the run at the latest, so that there is time to come to an end.
        quarter_s = scenario.horizon_s / 4
        every_s = (*_TIMES_S, *_periods_s(scenario))
        spans_s = sorted({round(time_s, 6) for time_s in every_s if 0 < time_s <= quarter_s})
        step_s = min(until_s, quarter_s) / 20
        anchors_s = (1.0, *(round(step_s * n, 3) for n in range(21)))
        offsets_s = (0.0, *(-time_s for time_s in _TIMES_S[:5]), *spans_s)
        return cls(
            anchors_s=tuple(dict.fromkeys(time_s for time_s in anchors_s if time_s < quarter_s)),
            offsets_s=tuple(dict.fromkeys(offsets_s))[:_LONGEST_LIST],
            lengths_s=tuple(spans_s)[:_LONGEST_LIST] or (quarter_s,),
            before_s=quarter_s,
            nths=nths,
        )

    def around(self, events_s: Iterable[float]) -> Times:
        """Return the same with faults that begin about when events arrive: a few events are over in no time."""
        return replace(self, anchors_s=tuple(dict.fromkeys((*events_s, 0.0))))


def _periods_s(scenario: Scenario) -> list[float]:
    """Return the durations that decide something: faults about as long as one of these are the ones that matter."""
    pipe, beat, policy = scenario.pipeline, scenario.beat, scenario.policy()
    delays_s = [0.0]
    for retry in (1, 2, 3):
        delays_s.append(policy.support(retry, delays_s[-1] if policy.needs_previous else None)[1])
    lease_s, sweep_s = pipe.lease_s or 0.0, pipe.sweep_after_s or 0.0
    rescued_s = lease_s + 2 * beat.rescue_every_s if lease_s else 0.0
    return [
        *(beat.retry_every_s, beat.rescue_every_s, beat.relay_every_s, *delays_s[1:]),
        *(lease_s / 2, lease_s, rescued_s, sweep_s, lease_s + sweep_s),
        *(scenario.handler.service_time.mean_s / 2, scenario.handler.service_time.mean_s),
    ]


def candidates(scenario: Scenario) -> SearchStrategy[Scenario]:
    """Return the scenarios that a hunt tries: this one under other seeds, loads and faults."""
    base = scenario.resolved()
    own_until_s, own_every = _own_load(scenario)
    few_until_s = min(10.0, scenario.horizon_s / 4)
    own, few = Times.of(scenario, own_until_s, _MANY_NTHS), Times.of(scenario, few_until_s, _FEW_NTHS)

    @st.composite
    def drawn(draw: DrawFn) -> Scenario:
        changes: Plain = {"seed": draw(_SEEDS)}
        times = own
        if not own_every or not draw(st.sampled_from([False] * (own_every - 1) + [True])):
            events = draw(_few_events(few))
            changes["arrivals"] = [{"kind": "burst", "at": at_s, "events": number} for at_s, number in events]
            times = few.around(at_s for at_s, _ in events)
        return Scenario.model_validate({**base, **changes, "faults": draw(_schedules(scenario, times))})

    return drawn()


# --- seeds and loads

# Seeds of two draws: an index of more than two digits would not be safe, see above.
_SEEDS = st.tuples(st.integers(0, 99), st.integers(0, 99)).map(lambda digits: 1 + digits[0] * 100 + digits[1])


def _own_load(scenario: Scenario) -> tuple[float, int]:
    """Return when the last event of the scenario's own load arrives, and every how many tries it is to be used."""
    arrivals_s = arrival_times(scenario, Streams(scenario.seed))
    until_s = float(arrivals_s[-1]) if len(arrivals_s) else 0.0
    every = next((every for most, every in _OWN_LOAD_EVERY if len(arrivals_s) <= most), 0)
    return max(until_s, 1.0), every


def _few_events(times: Times) -> SearchStrategy[list[tuple[float, int]]]:
    """Return loads of a few events, alone or together: when they arrive, and how many."""
    event = st.tuples(st.sampled_from(times.anchors_s), st.sampled_from((1, 1, 1, 2)))
    return st.lists(event, min_size=1, max_size=MOST_EVENTS).map(sorted)


# --- schedules of faults


def _schedules(scenario: Scenario, times: Times) -> SearchStrategy[list[JsonValue]]:
    """Return schedules: without faults, out of a random subset of the kinds (a swarm), or out of all kinds.

    Faults hide one another: a worker that is dead does not show what a lost wake-up does. So a swarm does without some.
    Two thirds of the schedules keep to the usual kinds: among all that there are those that matter would be rare.
    """
    own: list[JsonValue] = [*(fault.resolved() for fault in scenario.faults)]

    @st.composite
    def drawn(draw: DrawFn) -> list[JsonValue]:
        mode = draw(st.sampled_from(["none", "swarm", "swarm", "swarm", "swarm", "swarm", "swarm", "all", "all"]))
        kept = list(own) if own and draw(st.sampled_from([False, False, True])) else []
        if mode == "none":
            return kept
        pool = draw(st.sampled_from([USUAL, USUAL, searched(scenario)]))
        enabled = pool if mode == "all" else tuple(kind for kind in pool if draw(st.sampled_from([False, True])))
        if not enabled:
            return kept
        kinds = draw(st.lists(st.sampled_from(enabled), min_size=1, max_size=MOST_FAULTS))
        return [*kept, *(fault(draw, kind, scenario, times) for kind in kinds)]

    return drawn()


def fault(draw: DrawFn, kind: str, scenario: Scenario, times: Times) -> Plain:
    """Draw one fault of a kind."""
    drawn: Plain = {"kind": kind}
    if issubclass(KINDS[kind], Window):
        drawn |= {"at": _at_s(draw, times), "for": draw(st.sampled_from(times.lengths_s))}
    elif issubclass(KINDS[kind], Triggered):
        drawn |= _trigger(draw, kind, scenario, times)
    if kind in OF_KIND:
        drawn |= OF_KIND[kind](draw, scenario, times)
    return drawn


def _at_s(draw: DrawFn, times: Times) -> float:
    at_s = draw(st.sampled_from(times.anchors_s)) + draw(st.sampled_from(times.offsets_s))
    return round(min(max(0.0, at_s), times.before_s), 6)


def _trigger(draw: DrawFn, kind: str, scenario: Scenario, times: Times) -> Plain:
    """Draw where a fault strikes that needs a trigger: at an edge that its target passes, or at a time."""
    worker = ("workers", *workers(scenario))
    only_workers = "beat" not in KINDS[kind].strikes
    if not draw(st.sampled_from([True, True, False])):
        targets = worker if only_workers else nodes(scenario)
        return {"at": _at_s(draw, times), "target": draw(st.sampled_from(targets))}
    edge = draw(st.sampled_from(edges(scenario)))
    groups = worker if only_workers else passers(edge, scenario)
    return {"edge": edge, "nth": draw(st.sampled_from(times.nths)), "target": draw(st.sampled_from(groups))}
