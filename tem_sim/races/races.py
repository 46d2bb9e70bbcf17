"""The isolation report: each race under each write guard, isolation level and store, and what its schedules broke."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.settings import Settings, WriteGuard
from tem_sim.races.arena import Arena
from tem_sim.races.explore import Explored, bounded, exhaustive
from tem_sim.races.game import RaceGame, Round
from tem_sim.races.pairs import RACES, Race

if TYPE_CHECKING:
    import pandas as pd

# Of races that no guard has to do with.
ANY_GUARD = "any"
DEFAULT_GUARD = Settings().write_guard
# How many schedules of a race are run before the search is left incomplete.
SCHEDULES = 1000
# Where all schedules are too many, all with so few deviations are run instead, which is a certificate for those.
DEVIATIONS = 2
# How many schedules the search for the shortest broken one may take, and how many deviations.
_SHORTEST_BUDGET, _SHORTEST_DEVIATIONS = 1000, 3

Tell = Callable[["Cell"], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One race under one guard, isolation level and store.

    `schedules` counts them up to the order of independent steps. `complete`: there are no others. `bound`: all with at
    most so many deviations from the default were run; None where that was not asked or not reached. `broke`: how many
    broke each invariant. `failed`: in how many a task failed, by error. `shortest`: for each invariant the broken
    schedule with the fewest deviations, as data.
    """

    pair: str
    guard: str
    isolation: str
    store: str
    schedules: int
    complete: bool
    bound: int | None
    broken: int
    broke: Mapping[str, int]
    failed: Mapping[str, int]
    outcomes: int
    shortest: Mapping[str, Mapping[int, str]]

    @property
    def is_default(self) -> bool:
        """Whether the pipeline runs so when nobody chooses another guard."""
        return not RACES[self.pair].specimen and self.guard in (ANY_GUARD, DEFAULT_GUARD)

    @property
    def certified(self) -> bool:
        """Whether what was not found is not there, at least with few deviations."""
        return self.complete or self.bound is not None


class _Count:
    """What the schedules of a cell came to."""

    def __init__(self) -> None:
        self.broken = 0
        self.broke: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.outcomes: set[str] = set()

    def see(self, round_: Round) -> None:
        """Count one schedule."""
        self.broken += bool(round_.judged.broken)
        self.broke.update(sorted(round_.judged.broken))
        self.failed.update(sorted(set(round_.judged.failed.values())))
        self.outcomes.add(round_.judged.outcome)


def cells(
    pairs: Sequence[str] | None = None,
    guards: Sequence[WriteGuard] | None = None,
    isolations: Sequence[IsolationLevel] | None = None,
    stores: Sequence[str] = ("sqlite://",),
    *,
    schedules: int = SCHEDULES,
    reduce: bool = True,
    tell: Tell = lambda cell: None,
) -> list[Cell]:
    """Search each race under each guard, isolation level and store; see `Cell`.

    `schedules` is how many one search may run. With `reduce` off every order of steps counts, also of those that do not
    depend on each other. Raises `StoreError` where a store cannot be used.
    """
    found = []
    for url in stores:
        for isolation in isolations or IsolationLevel:
            arena = Arena(url, isolation)
            try:
                for race in (RACES[name] for name in pairs or RACES):
                    for guard in _guards(race, guards):
                        found.append(_cell(arena, race, guard, schedules, reduce))
                        tell(found[-1])
            finally:
                arena.close()
    return sorted(found, key=lambda cell: (list(RACES).index(cell.pair), _ORDER[cell.guard]))


_ORDER = {ANY_GUARD: 0, **{str(guard): at for at, guard in enumerate(WriteGuard)}}


def _guards(race: Race, guards: Sequence[WriteGuard] | None) -> Iterable[WriteGuard]:
    return guards or WriteGuard if race.guarded else (DEFAULT_GUARD,)


def _cell(arena: Arena, race: Race, guard: WriteGuard, budget: int, reduce: bool) -> Cell:
    game = RaceGame(arena.stage(race, Settings(write_guard=guard)))
    try:
        count = _Count()
        explored = exhaustive(game, count.see, budget=budget, reduce=reduce)
        bound = None
        if not explored.complete:
            few = bounded(game, count.see, deviations=DEVIATIONS, budget=budget * 10)
            bound = DEVIATIONS if few.complete else None
            explored = Explored(explored.schedules + few.schedules, explored.redundant)
        return Cell(
            pair=race.name,
            guard=str(guard) if race.guarded else ANY_GUARD,
            isolation=str(arena.isolation),
            store=arena.dialect,
            schedules=explored.schedules,
            complete=explored.complete,
            bound=bound,
            broken=count.broken,
            broke=dict(sorted(count.broke.items())),
            failed=dict(sorted(count.failed.items())),
            outcomes=len(count.outcomes),
            shortest=dict(_shortest(game, count.broke)),
        )
    finally:
        game.close()


def _shortest(game: RaceGame, broke: Iterable[str]) -> Iterator[tuple[str, dict[int, str]]]:
    """Yield, for each of these invariants, the schedule with the fewest deviations that breaks it."""
    wanted = set(broke)
    found: dict[str, dict[int, str]] = {}

    def see(round_: Round) -> None:
        for name in wanted & round_.judged.broken - found.keys():
            found[name] = round_.played.deviations

    if wanted:
        limits = {"deviations": _SHORTEST_DEVIATIONS, "budget": _SHORTEST_BUDGET}
        bounded(game, see, until=lambda: wanted <= found.keys(), **limits)
    yield from sorted(found.items())


def divergences(found: Sequence[Cell]) -> list[tuple[Cell, Cell, dict[str, str]]]:
    """Return the pairs of cells that differ in the store alone and in what they broke: invariant to the one store."""
    apart = []
    for one in found:
        for other in found:
            if one.store >= other.store or _but_store(one) != _but_store(other):
                continue
            only = dict.fromkeys(one.broke.keys() - other.broke.keys(), one.store)
            only |= dict.fromkeys(other.broke.keys() - one.broke.keys(), other.store)
            if only:
                apart.append((one, other, dict(sorted(only.items()))))
    return apart


def _but_store(cell: Cell) -> tuple[str, str, str]:
    return cell.pair, cell.guard, cell.isolation


def report(found: Sequence[Cell]) -> pd.DataFrame:
    """Return the isolation report of what `cells` found, a row per cell; see `Cell`.

    Besides the fields of a cell, each invariant that anything broke has a column with the number of schedules.
    """
    import pandas as pd

    invariants = sorted({name for cell in found for name in cell.broke})
    plain = ("pair", "guard", "isolation", "store", "schedules", "complete", "bound", "broken")
    rows = [
        {name: getattr(cell, name) for name in plain}
        | {"task_failed": sum(cell.failed.values()), "outcomes": cell.outcomes}
        | {name: cell.broke.get(name, 0) for name in invariants}
        for cell in found
    ]
    made = pd.DataFrame(rows)
    return made.astype({"bound": "Int64"}) if rows else made
