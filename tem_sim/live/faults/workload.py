"""How the downstream and the load go wrong: the downstream is told, and so are the clients that submit events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tem_sim.live.control import control

if TYPE_CHECKING:
    from tem_sim.live.faults.infliction import Infliction
    from tem_sim.live.faults.stage import Change
    from tem_sim.scenario.faults.downstream import Outage
    from tem_sim.scenario.faults.workload import (
        AnswersLost,
        DownstreamSlow,
        Flaky,
        HotKey,
        HugeEvents,
        PartialEffect,
    )

Submission = dict[str, Any]


def outage(at: Infliction, _fault: Outage) -> None:
    config = at.stage.system.config
    refused = 0

    def begin() -> str:
        nonlocal refused
        refused = control(config, "outage", on=True)["struck"]
        return "every downstream call is refused"

    def end() -> int:
        return int(control(config, "outage", on=False)["struck"]) - refused

    at.window(begin, end)


def flaky(at: Infliction, fault: Flaky) -> None:
    _on_calls(at, fault, f"calls fail with probability {fault.probability:g}")


def downstream_slow(at: Infliction, fault: DownstreamSlow) -> None:
    what = f"{fault.factor:g} times as long" + (f" and {fault.extra_s:g} s more" if fault.extra_s else "")
    _on_calls(at, fault, f"{fault.probability:.0%} of the calls take {what}")


def partial_effect(at: Infliction, fault: PartialEffect) -> None:
    _on_calls(at, fault, f"calls fail after their effect with probability {fault.probability:g}")


def _on_calls(at: Infliction, fault: Flaky | DownstreamSlow | PartialEffect, detail: str) -> None:
    """Change how calls go that begin in the fault's window."""
    config, key = at.stage.system.config, list(at.key)

    def begin() -> str:
        control(config, "fault", on=True, key=key, fault=fault.resolved())
        return detail

    def end() -> int:
        return int(control(config, "fault", on=False, key=key)["struck"])

    at.window(begin, end)


def answers_lost(at: Infliction, fault: AnswersLost) -> None:
    load = at.stage.load

    def begin() -> str:
        load.lose_answers(at.key, fault.probability, at.luck)
        return f"each answer lost with probability {fault.probability:g}"

    at.window(begin, lambda: load.lose_answers(at.key, None, None))


def hot_key(at: Infliction, fault: HotKey) -> None:
    def heat(_number: int, submission: Submission) -> Submission:
        return submission | ({"user_id": 1} if fault.event_kind is None else {"kind": fault.event_kind})

    key = "for user 1" if fault.event_kind is None else f"of kind {fault.event_kind}"
    _on_arrivals(at, fault.share, heat, f"{fault.share:.0%} of the events are {key}")


def huge_events(at: Infliction, fault: HugeEvents) -> None:
    def swell(_number: int, submission: Submission) -> Submission:
        huge = {"pad": "x" * fault.payload_bytes, "slowdown": fault.slowdown}
        return submission | {"payload": submission["payload"] | huge}

    _on_arrivals(at, fault.share, swell, f"{fault.share:.0%} of the events have {fault.payload_bytes} bytes")


def _on_arrivals(at: Infliction, share: float, change: Change, detail: str) -> None:
    """Change a share of the events that arrive in the fault's window, each the same whenever it is sent again."""
    load = at.stage.load

    def begin() -> str:
        load.change(at.key, share, change)
        return detail

    at.window(begin, lambda: load.change(at.key, None, None))
