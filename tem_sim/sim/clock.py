"""What a node believes the time to be."""

from __future__ import annotations

from collections.abc import Callable

import simpy

_MICRO = 1_000_000


class NodeClock:
    """A node's wall clock: true time, and whatever the faults at work on it add.

    What several hands do to it adds up; what the same hand does anew replaces what it did before. The simulator's own
    time, by which threads sleep, is never touched.
    """

    __slots__ = ("_env", "_errors", "_grains")

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._errors: dict[object, Callable[[float], float]] = {}
        self._grains: dict[object, float] = {}

    def now(self) -> float:
        """Return seconds since the run's start as this node sees them, to the microsecond that both stores keep."""
        true_s: float = self._env.now
        if not self._errors and not self._grains:
            return round(true_s, 6)
        seen_s = round(true_s + sum(error(true_s) for error in self._errors.values()), 6)
        return _floored(seen_s, max(self._grains.values())) if self._grains else seen_s

    def skew(self, offset_s: float, drift: float = 0.0, *, by: object = None) -> None:
        """Set the clock off by `offset_s`, and by `drift` more per second from now on; `by` says whose doing it is."""
        since_s = self._env.now
        self.bend(lambda true_s: offset_s + drift * (true_s - since_s), by=by)

    def freeze(self, *, by: object = None) -> None:
        """Let the clock show what it shows now until `by` takes that back; then it jumps to where it would be."""
        since_s = self._env.now
        self.bend(lambda true_s: since_s - true_s, by=by)

    def bend(self, error: Callable[[float], float], *, by: object = None) -> None:
        """Set the clock off by `error` seconds, a function of the true time."""
        self._errors[by] = error

    def coarsen(self, grain_s: float, *, by: object = None) -> None:
        """Let the clock show whole multiples of `grain_s` only, rounded down; of several grains the coarsest counts."""
        self._grains[by] = grain_s

    def is_touched(self, *, by: object = None) -> bool:
        """Whether what `by` did to the clock is still at work."""
        return by in self._errors or by in self._grains

    def correct(self, *, by: object = None) -> None:
        """Take back what `by` did to the clock."""
        self._errors.pop(by, None)
        self._grains.pop(by, None)

    def set_right(self) -> None:
        """Take back what anybody did to the clock."""
        self._errors.clear()
        self._grains.clear()


def _floored(time_s: float, grain_s: float) -> float:
    """Round down to a multiple of the grain, in whole microseconds: in floats 0.3 is no multiple of 0.1."""
    grain_us = max(1, round(grain_s * _MICRO))
    return round(round(time_s * _MICRO) // grain_us * grain_us / _MICRO, 6)
