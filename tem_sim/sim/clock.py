"""What a node believes the time to be."""

import simpy


class NodeClock:
    """A node's wall clock: true time, and whatever the faults at work on it add."""

    __slots__ = ("_env", "_skews")

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._skews: dict[object, tuple[float, float, float]] = {}

    def now(self) -> float:
        """Return seconds since the run's start as this node sees them, to the microsecond that both stores keep."""
        true_s: float = self._env.now
        if not self._skews:
            return round(true_s, 6)
        off_s = sum(offset_s + drift * (true_s - since_s) for offset_s, drift, since_s in self._skews.values())
        return round(true_s + off_s, 6)

    def skew(self, offset_s: float, drift: float = 0.0, *, by: object = None) -> None:
        """Set the clock off by `offset_s`, and by `drift` seconds per second from now on; `by` says whose doing it is.

        Skews by different hands add up; a second one by the same hand replaces its first.
        """
        self._skews[by] = offset_s, drift, self._env.now

    def correct(self, *, by: object = None) -> None:
        """Take back what `by` did to the clock."""
        self._skews.pop(by, None)
