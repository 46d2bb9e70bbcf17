"""How wake-ups go astray on their way to the queue and through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tem_sim.sim.publishing import LostAnswers

if TYPE_CHECKING:
    from tem_sim.scenario.faults.wakeups import (
        PublishUnanswered,
        WakeupsDelayed,
        WakeupsDuplicated,
        WakeupsLost,
        WakeupsReordered,
    )
    from tem_sim.sim.broker import Route
    from tem_sim.sim.faults.infliction import Infliction
    from tem_sim.sim.messages import Message


def wakeups_lost(at: Infliction, fault: WakeupsLost) -> None:
    broker = at.world.broker
    loss, lost = (fault.probability, at.luck), 0

    def begin() -> str:
        nonlocal lost
        lost = broker.lost_on_the_way
        broker.losses.append(loss)
        return f"each wake-up lost with probability {fault.probability:g}"

    def end() -> int:
        broker.losses.remove(loss)
        return broker.lost_on_the_way - lost

    at.window(begin, end)


def wakeups_duplicated(at: Infliction, fault: WakeupsDuplicated) -> None:
    struck = 0

    def route(message: Message, delays_s: list[float]) -> list[float]:
        nonlocal struck
        if at.luck.random() >= fault.probability:
            return delays_s
        struck += 1
        return [*delays_s, *(delays_s[0] + gap_s for gap_s in fault.gaps_s)]

    _by_route(at, route, f"each delivered {len(fault.gaps_s) + 1} times", lambda: struck)


def wakeups_reordered(at: Infliction, fault: WakeupsReordered) -> None:
    latest_s, overtaken = 0.0, 0

    def route(message: Message, delays_s: list[float]) -> list[float]:
        nonlocal latest_s, overtaken
        held_up = [delay_s + fault.within_s * at.luck.random() for delay_s in delays_s]
        arrives_s = at.world.kernel.now + held_up[0]
        # It comes before one that was sent before it.
        overtaken += arrives_s < latest_s
        latest_s = max(latest_s, arrives_s)
        return held_up

    _by_route(at, route, f"each held up by up to {fault.within_s:g} s", lambda: overtaken)


def wakeups_delayed(at: Infliction, fault: WakeupsDelayed) -> None:
    struck = 0

    def route(message: Message, delays_s: list[float]) -> list[float]:
        nonlocal struck
        struck += 1
        message.eta = at.world.kernel.now + fault.countdown_s
        return delays_s

    _by_route(at, route, f"each with a countdown of {fault.countdown_s:g} s", lambda: struck)


def _by_route(at: Infliction, route: Route, detail: str, landed: Callable[[], int]) -> None:
    """Meddle with what is sent in the fault's window."""
    broker = at.world.broker

    def begin() -> str:
        broker.routes.append(route)
        return detail

    def end() -> int:
        broker.routes.remove(route)
        return landed()

    at.window(begin, end)


def publish_unanswered(at: Infliction, fault: PublishUnanswered) -> None:
    lost_answers = LostAnswers(fault.probability, fault.tries, at.luck)

    def begin() -> str:
        at.world.sender.lost_answers.append(lost_answers)
        return f"each answer lost with probability {fault.probability:g}"

    def end() -> int:
        at.world.sender.lost_answers.remove(lost_answers)
        return lost_answers.hits

    at.window(begin, end)
