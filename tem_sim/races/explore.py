"""Which schedules there are: all of them up to the order of independent steps, or those with few deviations.

`exhaustive` goes depth first, by running again from the beginning, and chooses among the threads that are not blocked
where it is. Of schedules that differ only in the order of independent steps it runs one: races between steps are read
off each run, and only where one was found is another thread tried as well (source sets with sleep sets: Abdulla,
Aronsson, Jonsson and Sagonas 2014). `bounded` runs all schedules with at most k deviations from the default.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from tem_sim.races.dependence import Access, dependent
from tem_sim.sim.schedules import Strategy

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Game(Protocol[T_co]):
    """What is explored: it can be played from the beginning under a strategy, as often as one likes."""

    def play(self, strategy: Strategy) -> T_co:
        """Play to the end; the strategy is asked at each step."""
        ...

    def access(self) -> Access:
        """Return what the step touched that was chosen last; asked once per step, in order."""
        ...

    def holder(self, name: str) -> str | None:
        """Return who holds the lock without which a thread's next step would do nothing; None: it can go on."""
        ...


class NotDeterministicError(RuntimeError):
    """The same choices led elsewhere than before: what is explored is no function of its schedule."""


@dataclass(slots=True)
class Explored:
    """What a search has covered. `complete` is a certificate; without it nothing was shown but what was found."""

    schedules: int = 0
    # Begun and broken off, as all that could follow had been seen.
    redundant: int = 0
    complete: bool = False


@dataclass(slots=True)
class _Node:
    """One step of the schedule at hand: who could go on there, who did, and who must be tried as well."""

    ready: tuple[str, ...]
    chosen: str
    sleep: dict[str, Access]
    to_try: list[str]
    # Who waits for whose lock.
    blocked: dict[str, str]
    done: dict[str, Access] = field(default_factory=dict)
    access: Access | None = None

    def next(self) -> str | None:
        """Return a thread that is still to be tried here."""
        return next((name for name in self.to_try if name not in self.done and name not in self.sleep), None)


class _Search(Strategy):
    """Follows the path to where another thread is tried, and goes on by default from there."""

    def __init__(self, game: Game[object], path: list[_Node], reduce: bool) -> None:
        self.path = path
        self.redundant = False
        self._game = game
        self._reduce = reduce
        self._known = len(path)
        self._steps = 0

    def choose(self, step: int, ready: Sequence[str], default: str) -> str:
        """See `Strategy.choose`."""
        self._settle()
        self._steps += 1
        if self.redundant:
            return default
        if self._steps <= self._known:
            node = self.path[self._steps - 1]
            if node.chosen not in ready:
                raise NotDeterministicError(f"step {step}: {node.chosen} could go on before, and now only {ready}")
            return node.chosen
        holders = {name: self._game.holder(name) for name in ready}
        blocked = {name: holder for name, holder in holders.items() if holder is not None}
        able = [name for name in ready if name not in blocked]
        sleep = self._asleep()
        awake = [name for name in able if name not in sleep]
        if not awake:
            self.redundant = True
            return default
        chosen = default if default in awake else awake[0]
        to_try = [chosen] if self._reduce else able
        self.path.append(_Node(tuple(able), chosen, sleep, to_try, blocked))
        return chosen

    def end(self) -> None:
        """Note the last step as well."""
        self._settle()

    def _settle(self) -> None:
        if self._steps:
            access = self._game.access()
            if self._steps <= len(self.path):
                self.path[self._steps - 1].access = access

    def _asleep(self) -> dict[str, Access]:
        """Return who need not go on here: what it would do was tried before, and nothing since depends on it."""
        if not self._reduce or not self.path:
            return {}
        last = self.path[-1]
        assert last.access is not None
        tried = {**last.sleep, **last.done}
        return {
            name: access for name, access in tried.items() if name != last.chosen and not dependent(access, last.access)
        }


def exhaustive(
    game: Game[T],
    see: Callable[[T], object],
    *,
    budget: int,
    reduce: bool = True,
) -> Explored:
    """Run every schedule, up to the order of independent steps unless `reduce` is off; `see` is told of each.

    After `budget` schedules it ends, and is not complete.
    """
    explored = Explored()
    path: list[_Node] = []
    while True:
        search = _Search(game, path, reduce)
        played = game.play(search)
        search.end()
        if search.redundant:
            explored.redundant += 1
        else:
            explored.schedules += 1
            see(played)
        if reduce:
            _find_races(path)
        if not _back_up(path):
            explored.complete = True
            return explored
        if explored.schedules + explored.redundant >= budget:
            return explored


def _back_up(path: list[_Node]) -> bool:
    """Go back to the last step at which another thread is to be tried, and choose it; False: there is none."""
    while path:
        node = path[-1]
        assert node.access is not None
        node.done[node.chosen] = node.access
        chosen = node.next()
        if chosen is not None:
            node.chosen, node.access = chosen, None
            return True
        path.pop()
    return False


def _find_races(path: list[_Node]) -> None:
    """Let a thread be tried before each step that its own step depends on and could have come before."""
    clocks: list[dict[str, int]] = []
    last_of: dict[str, int] = {}
    for at, node in enumerate(path):
        assert node.access is not None
        clock = dict(clocks[last_of[node.chosen]]) if node.chosen in last_of else {}
        # What comes before it by way of steps that it could have come before.
        seen = dict(clock)
        for before in range(at - 1, -1, -1):
            other = path[before]
            assert other.access is not None
            if other.chosen == node.chosen or before <= seen.get(other.chosen, -1):
                continue
            if dependent(other.access, node.access):
                _merge(clock, clocks[before])
                # Nobody can come before the end of a lock for which it waits, but perhaps before its beginning.
                if other.blocked.get(node.chosen) != other.chosen:
                    _merge(seen, clocks[before])
                    _try_before(path, clocks, before, at)
        clock[node.chosen] = at
        clocks.append(clock)
        last_of[node.chosen] = at


def _merge(clock: dict[str, int], other: dict[str, int]) -> None:
    for name, at in other.items():
        clock[name] = max(at, clock.get(name, -1))


def _try_before(path: list[_Node], clocks: list[dict[str, int]], before: int, at: int) -> None:
    """Have some thread tried at `before` by which the step `at` comes before it."""
    node, racer = path[before], path[before].chosen
    # What happened since and does not come of the step at `before`, and then the step itself.
    since = [k for k in range(before + 1, at) if clocks[k].get(racer, -1) < before] + [at]
    firsts = [path[k].chosen for k in since if not _comes_of_any(path, clocks, since, k, at)]
    if set(firsts) & set(node.to_try):
        return
    able = [name for name in dict.fromkeys([path[at].chosen, *firsts]) if name in firsts and name in node.ready]
    node.to_try += able[:1] or [name for name in node.ready if name not in node.to_try]


def _comes_of_any(path: list[_Node], clocks: list[dict[str, int]], since: Sequence[int], k: int, at: int) -> bool:
    """Whether a step has another one of those as its cause. The clock of step `at` is not known yet."""
    chosen = path[k].chosen
    for earlier in since:
        if earlier >= k:
            return False
        other = path[earlier]
        if other.chosen == chosen:
            return True
        if k < at and earlier <= clocks[k].get(other.chosen, -1):
            return True
        if k == at and _leads_to(path, clocks, since, earlier, at):
            return True
    return False


def _leads_to(path: list[_Node], clocks: list[dict[str, int]], since: Sequence[int], earlier: int, at: int) -> bool:
    """Whether step `earlier` happens before step `at`, directly or by way of another one of those."""
    mine, last = path[earlier], path[at]
    assert mine.access is not None
    assert last.access is not None
    if dependent(mine.access, last.access):
        return True
    for between in since:
        if not earlier < between < at or earlier > clocks[between].get(mine.chosen, -1):
            continue
        access = path[between].access
        assert access is not None
        if path[between].chosen == last.chosen or dependent(access, last.access):
            return True
    return False


# --- few deviations


class _Recorded(Strategy):
    """Deviates at given steps, and notes who else could have gone on at each."""

    def __init__(self, deviations: Mapping[int, str]) -> None:
        self.deviations = deviations
        self.others: list[tuple[str, ...]] = []

    def choose(self, step: int, ready: Sequence[str], default: str) -> str:
        """See `Strategy.choose`."""
        self.others.append(tuple(name for name in ready if name != default))
        wanted = self.deviations.get(step, default)
        if wanted not in ready:
            raise NotDeterministicError(f"step {step}: {wanted} could go on before, and now only {ready}")
        return wanted


def bounded(
    game: Game[T],
    see: Callable[[T], object],
    *,
    deviations: int,
    budget: int,
    until: Callable[[], bool] = lambda: False,
) -> Explored:
    """Run every schedule with at most so many deviations from the default, the fewest first; `see` is told of each.

    Ends when `until` says so, or after `budget` schedules; then it is not complete.
    """
    explored = Explored()
    to_do: deque[dict[int, str]] = deque([{}])
    while to_do:
        if explored.schedules >= budget or until():
            return explored
        made = to_do.popleft()
        recorded = _Recorded(made)
        see(game.play(recorded))
        explored.schedules += 1
        if len(made) < deviations:
            to_do += _with_one_more(made, recorded.others)
    explored.complete = True
    return explored


def _with_one_more(made: Mapping[int, str], others: Sequence[Sequence[str]]) -> Iterator[dict[int, str]]:
    after = max(made, default=0)
    for step, names in enumerate(others[after:], start=after + 1):
        for name in names:
            yield {**made, step: name}
