"""What is inflicted at each boundary: one fault per case, as a scenario that anybody can run again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tem_sim.faultsweep.boundaries import Boundary, boundaries
from tem_sim.faultsweep.reduced import bound_s, variants
from tem_sim.scenario.models import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tem_sim.faultsweep.reduced import Plain

T = TypeVar("T")

# Shorter than anything that happens between two steps, longer than what a float forgets.
MOMENT_S = 1e-6
AFTER_THE_END = "again after the end"
# At which edges a fault lies in wait; what has none is struck at its time.
_BEFORE = {
    "statement": "before_statement",
    "commit": "before_commit",
    "wake": "after_commit_before_wake",
    "publish": "before_publish",
    "handle": "before_handle",
    "handled": "after_handle",
}
_AFTER = {"statement": "after_statement", "commit": "after_commit", "publish": "after_publish"}
_IN_TRANSACTIONS = ("statement", "commit")


@dataclass(frozen=True, slots=True)
class Case:
    """One run of the sweep: `fault` in words, at `boundary`, in the reduced scenario of a variant."""

    variant: str
    boundary: Boundary
    fault: str
    scenario: Scenario

    @property
    def key(self) -> str:
        """What tells it from the others."""
        return f"{self.variant}/{self.boundary.number} {self.boundary.name}/{self.fault}"


def cases(scenario: Scenario) -> Iterator[Case]:
    """Yield a case for every fault at every boundary of every variant of a scenario.

    The kinds of fault take turns, and so do boundaries far from each other, so that any beginning covers something of
    everything. Raises `SimulationError` when a run without faults breaks.
    """
    found = [case for name, base in variants(scenario).items() for case in cases_of(name, base)]
    return iter(spread(found))


def cases_of(variant: str, base: Scenario, found: Iterable[Boundary] | None = None) -> Iterator[Case]:
    """Yield the cases of one reduced scenario, boundary by boundary."""
    every = boundaries(base) if found is None else list(found)
    last_s = max((at.t_s for at in every), default=0.0)
    plain = base.resolved()
    for at in every:
        for name, fault, over_s in _faults(at, base, last_s):
            # Time enough to come to an end after it.
            changed: Plain = {"faults": [fault], "horizon": round(max(base.horizon_s, over_s + bound_s(base)), 3)}
            if name == AFTER_THE_END:
                # Nobody waits for a copy that is on its way when all is done.
                changed |= {"stop": "horizon", "horizon": round(over_s + 2 * base.beat.rescue_every_s, 3)}
            yield Case(variant, at, name, Scenario.model_validate({**plain, **changed}))


def combined(base: Scenario, first: Case, second: Case) -> Scenario:
    """Return a reduced scenario with the faults of two cases, and time enough for the later one."""
    faults = [fault.resolved() for case in (first, second) for fault in case.scenario.faults]
    waits = [case.scenario for case in (first, second) if case.fault != AFTER_THE_END]
    horizon_s = max((scenario.horizon_s for scenario in waits), default=first.scenario.horizon_s)
    return Scenario.model_validate({**base.resolved(), "faults": faults, "horizon": horizon_s})


def spread(found: list[T]) -> list[T]:
    """Return things in another order, always the same: neighbours are far from each other."""
    step = max(1, int(len(found) * 0.618))
    while step > 1 and _common(step, len(found)) > 1:
        step -= 1
    return [found[(index * step) % len(found)] for index in range(len(found))]


def _common(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


# --- the faults at one boundary

_Fault = tuple[str, "Plain", float]


def _faults(at: Boundary, base: Scenario, last_s: float) -> Iterator[_Fault]:
    """Yield each fault's name, the fault as a scenario says it, and when it is over."""
    back_s = base.workers.restart_after_s if base.workers.restart_after_s is not None else 5.0
    for side, trigger in _sides(at):
        death: Plain = {"kind": "worker_death", "target": at.node, **trigger, "restart_after": back_s}
        yield f"killed {side}", death, at.t_s + back_s
    _, before = next(_sides(at))
    for name, length_s in pauses(base, at.node).items():
        pause: Plain = {"kind": "worker_pause", "target": at.node, **before, "for": length_s}
        yield f"paused {name}", pause, at.t_s + length_s
    if at.kind in _IN_TRANSACTIONS:
        yield from _of_connections(at)
    elif at.kind == "wake":
        yield from _of_wakeups(at, base, last_s)
    elif at.kind == "publish":
        yield from _of_publishes(at, base)


def _sides(at: Boundary) -> Iterator[tuple[str, Plain]]:
    """Yield before and after, with the trigger for each; a call has a middle instead, since it ends at another."""
    label: Plain = {"label": at.label} if at.label and at.kind in _IN_TRANSACTIONS else {}
    yield "before", {"edge": _BEFORE[at.kind], "nth": at.nth, **label}
    if at.kind in _AFTER:
        yield "after", {"edge": _AFTER[at.kind], "nth": at.nth, **label}
    elif at.kind == "handle":
        yield "inside", {"at": round((at.t_s + at.next_s) / 2, 6)}
    elif at.kind == "wake":
        yield "after", {"at": round(at.t_s + MOMENT_S, 7)}


def pauses(base: Scenario, node: str) -> dict[str, float]:
    """Return the lengths of pauses by what they outlast: a call, the lease, the lease and what follows it."""
    pipe, beat = base.pipeline, base.beat
    call_s = base.handler.service_time.quantile(0.99)
    found = {"past its task": call_s + beat.retry_every_s}
    lease_s = pipe.lease_s
    if lease_s is None:
        return {name: round(length_s, 6) for name, length_s in found.items()}
    rescued_s = lease_s + beat.rescue_every_s
    if node.startswith("worker"):
        found["up to its lease"] = lease_s * 0.95
        found["past its lease"] = lease_s * 1.05
        found["past the rescue"] = rescued_s + call_s / 2
        timeout_s = base.broker.visibility_timeout_s
        if base.broker.ack == "late" and timeout_s < 10 * rescued_s:
            found["past the visibility timeout"] = timeout_s + base.broker.sweep_every_s
    found["past the next attempt"] = rescued_s + beat.retry_every_s + 2 * call_s + base.policy().support(1)[1]
    return {name: round(length_s, 6) for name, length_s in found.items()}


def _of_connections(at: Boundary) -> Iterator[_Fault]:
    """Yield losses of the connection before and after: of what was done, the answer never comes."""
    label: Plain = {"label": at.label} if at.label else {}
    if at.kind == "commit":
        for name, committed in (("not done", 0.0), ("answer lost", 1.0)):
            yield (
                name,
                {"kind": "commit_unanswered", "target": at.node, **_around(at), **label, "committed": committed},
                at.t_s,
            )
        return
    for name, edge in (("not done", _BEFORE), ("answer lost", _AFTER)):
        cut: Plain = {"kind": "connections_dropped", "target": at.node, "edge": edge[at.kind], "nth": at.nth, **label}
        yield name, cut, at.t_s


def _around(at: Boundary) -> Plain:
    return {"at": max(0.0, round(at.t_s - MOMENT_S, 7)), "for": 2 * MOMENT_S}


def _of_wakeups(at: Boundary, base: Scenario, last_s: float) -> Iterator[_Fault]:
    around = _around(at)
    yield "lost", {"kind": "wakeups_lost", **around}, at.t_s
    yield "answer lost", {"kind": "publish_unanswered", **around, "tries": 1}, at.t_s
    yield "answer lost, sent again", {"kind": "publish_unanswered", **around, "tries": 2}, at.t_s
    call_s = base.handler.service_time.quantile(0.5)
    delays = {
        "again within the task": call_s / 2,
        "again after the task": call_s + 0.1,
        AFTER_THE_END: last_s + 1.0 - at.t_s,
    }
    for name, delay_s in delays.items():
        fault: Plain = {"kind": "wakeups_duplicated", **around, "gaps": [round(delay_s, 6)]}
        yield name, fault, at.t_s + delay_s


def _of_publishes(at: Boundary, base: Scenario) -> Iterator[_Fault]:
    around = _around(at)
    yield "lost", {"kind": "subscriber_gap", **around}, at.t_s
    yield "lost, and counted", {"kind": "subscriber_gap", **around, "counted": True}, at.t_s
    yield "answer lost", {"kind": "notifications_doubled", **around, "how": "unanswered"}, at.t_s
    yield "again", {"kind": "notifications_doubled", **around, "after": base.beat.relay_every_s}, at.t_s
    until_s = base.beat.relay_every_s
    yield "answer lost by the user", {"kind": "acks_lost", "at": at.t_s, "for": until_s}, at.t_s + until_s
