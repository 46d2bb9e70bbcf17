"""How long the scheduler waits before it looks again: its period, or less while its ticks come back full.

A tick that fills its LIMIT has left something behind. It halves the wait, down to a floor; any other tick doubles it
again, up to the period. So a backlog is worked off at the speed that it needs, and an idle table is asked no more often
than before. The price: a LIMIT per tick is then no longer a limit per period.
"""

from dataclasses import dataclass

from tem_sim.pipeline.bounds import seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """The period of a scheduler's task and the least time between two of its looks; without a floor it is fixed."""

    period_s: float
    floor_s: float | None = None

    def __post_init__(self) -> None:
        seconds("polling.period_s", self.period_s, above=0.0)
        if self.floor_s is not None:
            seconds("polling.floor_s", self.floor_s, above=0.0)

    def next_wait_s(self, waited_s: float, moved: int, limit: int | None) -> float:
        """Return the wait after a tick that came after `waited_s` and moved so many rows of at most `limit`."""
        if self.floor_s is None:
            return self.period_s
        full = limit is not None and moved >= limit
        wait_s = max(self.floor_s, waited_s / 2) if full else 2 * waited_s
        return min(self.period_s, wait_s)
