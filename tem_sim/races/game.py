"""A prepared race as a game to be explored: each schedule played, watched step by step, and judged."""

from __future__ import annotations

from tem_sim.races.arena import Played, Stage
from tem_sim.races.dependence import Access, Accesses, told_of
from tem_sim.races.judge import Judged, judge
from tem_sim.sim.connections import Session
from tem_sim.sim.kernel import SimThread
from tem_sim.sim.schedules import Strategy


class Round:
    """One schedule: what was done in it, and what is thought of it."""

    __slots__ = ("judged", "played")

    def __init__(self, played: Played, judged: Judged) -> None:
        self.played = played
        self.judged = judged


class RaceGame:
    """See `explore.Game`. One game at a time on an arena; close it before the next."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.arena = stage.arena
        self._accesses = Accesses(self.arena.dialect, self.arena.isolation)
        self._seen = 0
        self._chosen = ""
        # What each thread is about to send; nothing of one that is about to begin a write on SQLite.
        self._next_sql: dict[str, str] = {}
        self._sent: dict[str, str] = {}
        self.arena.store.at_point.append(self._on_point)

    def close(self) -> None:
        """Look no longer at what happens on the arena."""
        self.arena.store.at_point.remove(self._on_point)

    def play(self, strategy: Strategy) -> Round:
        """Play the race under a schedule and judge it."""
        self._accesses = Accesses(self.arena.dialect, self.arena.isolation)
        self._seen, self._chosen = 0, ""
        self._next_sql.clear()
        self._sent.clear()
        played = self.stage.play(_Noting(self, strategy))
        return Round(played, judge(self.stage, played))

    def chosen(self, thread: str) -> None:
        """Note whose step the next one is."""
        self._chosen = thread
        if thread in self._next_sql:
            # One that is refused sends the same again at its next turn.
            self._sent[thread] = self._next_sql.pop(thread)

    def access(self) -> Access:
        """Return what the last step touched; see `explore.Game.access`."""
        steps = self.arena.watch.steps
        told, self._seen = told_of(steps[self._seen :]), len(steps)
        return self._accesses.of(self._chosen, told, self._refused())

    def holder(self, name: str) -> str | None:
        """Return who holds SQLite's write lock, if this thread's next step needs it; see `explore.Game.holder`.

        On PostgreSQL nobody can tell beforehand; there a step is tried, refused, and counts.
        """
        return self._accesses.holder(name, self._next_sql.get(name))

    @property
    def last(self) -> str:
        """The thread that went on last."""
        return self._chosen

    def is_refused(self) -> bool:
        """Whether the thread that went on last has to wait for a lock."""
        threads = self.arena.kernel.node(self._chosen.partition("/")[0]).threads if self._chosen else ()
        return any(thread.name == self._chosen and self.arena.store.locking.is_parked(thread) for thread in threads)

    def _refused(self) -> str | None:
        return self._sent.get(self._chosen, "") if self.is_refused() else None

    def _on_point(self, thread: SimThread, _session: Session | None, point: str, sql: str) -> None:
        if point in ("before_statement", "before_commit"):
            self._next_sql[thread.name] = sql


class _Noting(Strategy):
    """Another strategy, whose choices the game hears of."""

    def __init__(self, game: RaceGame, strategy: Strategy) -> None:
        self._game = game
        self._strategy = strategy

    def choose(self, step: int, ready: list[str], default: str) -> str:  # type: ignore[override]
        """See `Strategy.choose`."""
        name = self._strategy.choose(step, ready, default)
        self._game.chosen(name)
        return name
