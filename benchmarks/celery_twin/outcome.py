"""What became of the events of one run, counted alike for both designs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tem_sim.scenario.arrivals import arrival_times
from tem_sim.scenario.streams import Streams

if TYPE_CHECKING:
    from tem_sim.scenario.models import Scenario


class NotStruckError(RuntimeError):
    """A fault did not land, or did not end: the run says nothing about what it does."""


def check_struck(scenario: Scenario, landed: int) -> None:
    """Raise `NotStruckError` unless so many strikes are one for each fault."""
    if landed != len(scenario.faults):
        raise NotStruckError(f"{landed} of {len(scenario.faults)} faults landed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The events of one run by what became of them.

    `lost` has nobody to do it: no effect, not given up by the retry policy, and no trace left; `lost_untried` of these
    were never begun, the others had failed and waited for a retry, or were being tried. `in_flight` has no
    effect either, but a row or a message of it is there. `doubled` took effect twice or more often, `extra_effects` in
    all; `doubles_to_come` took effect and has a message left that will make it run again. `untold` took effect, and its
    user was not told; `told_twice` was shown twice or more often.
    """

    variant: str
    seed: int
    offered: int
    accepted: int
    given_up: int
    lost: int
    lost_untried: int
    in_flight: int
    doubled: int
    extra_effects: int
    doubles_to_come: int
    untold: int
    told_twice: int
    # From the last arrival, or the end of the last fault, to the last effect or the last user told.
    settled_after_s: float
    wall_s: float

    def to_json(self) -> dict[str, object]:
        """Return everything, ready for `json.dumps`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is read off a run: by event number, how often, and when the last thing happened that mattered."""

    accepted: frozenset[int]
    given_up: frozenset[int]
    called: frozenset[int]
    effects: Mapping[int, int]
    told: Mapping[int, int]
    left: Mapping[int, int]
    last_at_s: float


def judged(seen: Seen, scenario: Scenario, *, variant: str, wall_s: float) -> Outcome:
    """Count what became of the events of a run."""
    arrivals = arrival_times(scenario, Streams(scenario.seed))
    quiet_after_s = max(scenario.quiet_after_s, float(arrivals[-1]))
    # What a client was told is not accepted may have been done all the same; it is nobody's loss.
    pending = {n for n in seen.accepted if not seen.effects.get(n) and n not in seen.given_up}
    done = {n for n, times in seen.effects.items() if times}
    return Outcome(
        variant=variant,
        seed=scenario.seed,
        offered=len(arrivals),
        accepted=len(seen.accepted),
        given_up=len(seen.given_up - done),
        lost=len(pending - set(seen.left)),
        lost_untried=len(pending - set(seen.left) - seen.called),
        in_flight=len(pending & set(seen.left)),
        doubled=_often(seen.effects.values()),
        extra_effects=sum(times - 1 for times in seen.effects.values() if times > 1),
        doubles_to_come=len(done & set(seen.left)),
        untold=sum(not seen.told.get(n) for n in done),
        told_twice=_often(seen.told.values()),
        settled_after_s=round(max(0.0, seen.last_at_s - quiet_after_s), 1),
        wall_s=round(wall_s, 1),
    )


def _often(times: Iterable[int]) -> int:
    return sum(one > 1 for one in times)
