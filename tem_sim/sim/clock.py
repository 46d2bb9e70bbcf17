"""What a node believes the time to be."""

import simpy


class NodeClock:
    """A node's wall clock: true time plus an offset that may drift; faults set both."""

    __slots__ = ("_drift", "_env", "_offset_s", "_set_at_s")

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._offset_s = 0.0
        self._drift = 0.0
        self._set_at_s = 0.0

    def now(self) -> float:
        """Return seconds since the run's start as this node sees them, to the microsecond that both stores keep."""
        true_s = self._env.now
        if self._drift:
            return round(true_s + self._offset_s + self._drift * (true_s - self._set_at_s), 6)
        return round(true_s + self._offset_s, 6)

    def skew(self, offset_s: float, drift: float = 0.0) -> None:
        """Set the clock off by `offset_s`, and by `drift` seconds per second from now on."""
        self._offset_s, self._drift, self._set_at_s = offset_s, drift, self._env.now
