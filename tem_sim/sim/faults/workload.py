"""How the load and single calls of the downstream go wrong.

Whom a fault hits goes by the event, and the attempt, alone: the same ones under every policy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.pipeline.lifecycle import Submission
    from tem_sim.scenario.faults.workload import (
        AnswersLost,
        DownstreamSlow,
        Flaky,
        HotKey,
        HugeEvents,
        PartialEffect,
    )
    from tem_sim.scenario.handler import Decision
    from tem_sim.sim.faults.infliction import Infliction

Call = tuple[int, int]


def flaky(at: Infliction, fault: Flaky) -> None:
    _on_calls(at, fault, f"calls fail with probability {fault.probability:g}")


def downstream_slow(at: Infliction, fault: DownstreamSlow) -> None:
    what = f"{fault.factor:g} times as long" + (f" and {fault.extra_s:g} s more" if fault.extra_s else "")
    _on_calls(at, fault, f"{fault.probability:.0%} of the calls take {what}")


def partial_effect(at: Infliction, fault: PartialEffect) -> None:
    _on_calls(at, fault, f"calls fail after their effect with probability {fault.probability:g}")


def _on_calls(at: Infliction, fault: Flaky | DownstreamSlow | PartialEffect, detail: str) -> None:
    """Change how calls go that begin in the fault's window."""
    dependency, uniform = at.world.dependency, at.world.streams.uniform
    changed = 0

    def act(call: Call, decision: Decision) -> Decision:
        nonlocal changed
        if uniform("fault-call", *at.key, *call) >= fault.probability:
            return decision
        other = fault.change(decision)
        changed += other is not None
        return decision if other is None else other

    def begin() -> str:
        dependency.changes.append(act)
        return detail

    def end() -> int:
        dependency.changes.remove(act)
        return changed

    at.window(begin, end)


def answers_lost(at: Infliction, fault: AnswersLost) -> None:
    api, loss = at.world.api, (fault.probability, at.luck)
    lost = 0

    def begin() -> str:
        nonlocal lost
        lost = api.answers_lost
        api.answer_losses.append(loss)
        return f"each answer lost with probability {fault.probability:g}"

    def end() -> int:
        api.answer_losses.remove(loss)
        return api.answers_lost - lost

    at.window(begin, end)


def hot_key(at: Infliction, fault: HotKey) -> None:
    def heat(submission: Submission) -> Submission:
        if fault.event_kind is None:
            return replace(submission, user_id=1)
        return replace(submission, kind=fault.event_kind)

    key = "for user 1" if fault.event_kind is None else f"of kind {fault.event_kind}"
    _on_arrivals(at, fault.share, heat, f"{fault.share:.0%} of the events are {key}")


def huge_events(at: Infliction, fault: HugeEvents) -> None:
    huge: set[int] = set()

    def swell(submission: Submission) -> Submission:
        huge.add(submission.event_id)
        return replace(submission, payload={"pad": "x" * fault.payload_bytes})

    def drag(call: Call, decision: Decision) -> Decision:
        return decision._replace(service_s=decision.service_s * fault.slowdown) if call[0] in huge else decision

    # For as long as they are in the system, whenever that is.
    at.world.dependency.changes.append(drag)
    _on_arrivals(at, fault.share, swell, f"{fault.share:.0%} of the events have {fault.payload_bytes} bytes")


def _on_arrivals(at: Infliction, share: float, change: Callable[[Submission], Submission], detail: str) -> None:
    """Change a share of the events that arrive in the fault's window, each the same whenever it is sent again."""
    world = at.world
    from_s = until_s = math.inf
    struck: set[int] = set()

    def act(submission: Submission, arrived_s: float) -> Submission:
        number = submission.event_id
        if not from_s <= arrived_s < until_s or world.streams.uniform("fault-event", *at.key, number) >= share:
            return submission
        struck.add(number)
        return change(submission)

    def begin() -> str:
        nonlocal from_s
        from_s = world.kernel.now
        world.api.changes.append(act)
        return detail

    def end() -> int:
        nonlocal until_s
        until_s = world.kernel.now
        return len(struck)

    at.window(begin, end)
