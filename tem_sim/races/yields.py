"""What a way of choosing schedules finds per schedule, on races that are known to break."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.settings import Settings, WriteGuard
from tem_sim.races.arena import Arena, Stage
from tem_sim.races.explore import bounded, exhaustive
from tem_sim.races.game import RaceGame, Round
from tem_sim.races.judge import judge
from tem_sim.races.pairs import RACES
from tem_sim.scenario.store import Store as StoreModel
from tem_sim.scenario.streams import Streams
from tem_sim.sim.pace import Latencies
from tem_sim.sim.schedules import Bounded, Default, Pct, Walk


class Known(NamedTuple):
    """A race that breaks an invariant under a guard."""

    pair: str
    guard: WriteGuard
    invariant: str


# What is known to break at read committed, from the easily to the hardly found.
KNOWN = (
    Known("stale-claim", WriteGuard.FENCED, "double_claim"),
    Known("settle-settle", WriteGuard.REFRESH, "lost_increment"),
    Known("settle-rescue-claim", WriteGuard.REFRESH, "foreign_write"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Yield:
    """What one strategy found: `first` is the number of the first schedule that broke the invariant, None for none.

    `outcomes` is how many different ends the schedules led to. `all_of_them`: there are no other schedules.
    """

    known: Known
    strategy: str
    schedules: int
    broken: int
    first: int | None
    outcomes: int
    all_of_them: bool = False


class _Tally:
    def __init__(self, invariant: str) -> None:
        self.schedules = 0
        self.broken = 0
        self.first: int | None = None
        self.outcomes: set[str] = set()
        self._invariant = invariant

    def see(self, round_: Round) -> None:
        self.schedules += 1
        self.outcomes.add(round_.judged.outcome)
        if self._invariant in round_.judged.broken:
            self.broken += 1
            self.first = self.first or self.schedules


def yields(
    known: Sequence[Known] = KNOWN, *, schedules: int = 1000, store: str = "sqlite://", seed: int = 1
) -> Iterator[Yield]:
    """Yield, for each race and strategy, what that many schedules found; the same numbers for the same seed."""
    arena = Arena(store, IsolationLevel.READ_COMMITTED)
    try:
        for one in known:
            stage = arena.stage(RACES[one.pair], Settings(write_guard=one.guard))
            yield from _sampled(stage, one, schedules, seed)
            yield from _searched(stage, one, schedules)
    finally:
        arena.close()


Sampler = Callable[[Streams], Round]


def _samplers(stage: Stage) -> dict[str, Sampler]:
    steps = stage.play(Default()).taken
    model = StoreModel(interleave="statement", isolation=stage.arena.isolation)

    def by(choose: Callable[[Streams], object]) -> Sampler:
        def play(luck: Streams) -> Round:
            played = stage.play(choose(luck))  # type: ignore[arg-type]
            return Round(played, judge(stage, played))

        return play

    def latencies(luck: Streams) -> Round:
        played = stage.play_at(Latencies(stage.arena.kernel, model, luck))
        return Round(played, judge(stage, played))

    return {
        "random": latencies,
        "walk": by(lambda luck: Walk(luck.stream("schedule"))),
        "pct, 1 change": by(lambda luck: Pct(luck.stream("schedule"), 1, steps)),
        "pct, 2 changes": by(lambda luck: Pct(luck.stream("schedule"), 2, steps)),
        "bounded, 1 drawn": by(lambda luck: Bounded(luck.stream("schedule"), 1, steps)),
        "bounded, 2 drawn": by(lambda luck: Bounded(luck.stream("schedule"), 2, steps)),
    }


def _sampled(stage: Stage, known: Known, schedules: int, seed: int) -> Iterator[Yield]:
    for name, play in _samplers(stage).items():
        tally = _Tally(known.invariant)
        for number in range(schedules):
            tally.see(play(Streams(seed * 1_000_003 + number)))
        yield _of(known, name, tally)


def _searched(stage: Stage, known: Known, schedules: int) -> Iterator[Yield]:
    game = RaceGame(stage)
    try:
        for deviations in (1, 2):
            tally = _Tally(known.invariant)
            found = bounded(game, tally.see, deviations=deviations, budget=schedules)
            yield _of(known, f"bounded, all of {deviations}", tally, found.complete)
        tally = _Tally(known.invariant)
        found = exhaustive(game, tally.see, budget=schedules)
        yield _of(known, "exhaustive", tally, found.complete)
    finally:
        game.close()


def _of(known: Known, strategy: str, tally: _Tally, complete: bool = False) -> Yield:
    return Yield(
        known=known,
        strategy=strategy,
        schedules=tally.schedules,
        broken=tally.broken,
        first=tally.first,
        outcomes=len(tally.outcomes),
        all_of_them=complete,
    )
