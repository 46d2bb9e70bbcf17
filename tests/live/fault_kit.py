"""Faults inflicted on a system that runs already, and nobody at its users' and clients' ends."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from live_systems import BASE, eventually

from tem_sim.live.faults.run import Faults
from tem_sim.live.faults.stage import Clients, Load
from tem_sim.live.system import System
from tem_sim.scenario.faults.log import Activation
from tem_sim.scenario.models import Scenario

Fault = dict[str, Any]


class NoClients(Clients):
    """Users who have no sockets."""

    def is_connected(self, user: int) -> bool:
        """No."""
        return False

    def redial_within(self, within_s: float) -> None:
        """Nobody dials."""


class NoLoad(Load):
    """Nobody submits anything."""


def scenario_of(faults: Sequence[Fault], **sections: Any) -> Scenario:
    """Return a scenario with these faults; `interleave: statement` lets it cut connections."""
    return Scenario.model_validate({**BASE, "store": {"interleave": "statement"}, "faults": faults, **sections})


class AtWork:
    """Faults at work on a system, of a scenario other than the one that it was started with.

    `looks` are taken at their times (seconds from the beginning) by the thread that inflicts the faults, and what each
    returns is in `seen` once it is over: however late that thread is, a look comes after all that was to be done before
    its time, and what comes later waits for it.
    """

    def __init__(
        self,
        system: System,
        *faults: Fault,
        seed: int = 1,
        looks: Mapping[float, Callable[[], object]] | None = None,
        **sections: Any,
    ) -> None:
        sections = {"workers": {"count": 2, "concurrency": 2}, **sections}
        self.scenario = scenario_of(faults, **sections)
        self.seen: dict[float, object] = {}
        self._system = system
        self._faults = Faults(system, seed, clients=NoClients(), load=NoLoad(), scenario=self.scenario)
        self._looks = dict(looks or {})
        for at_s, look in self._looks.items():
            self._look_at(at_s, look)
        self.started_at = time.time()
        self._faults.begin(self.started_at)

    def _look_at(self, at_s: float, look: Callable[[], object]) -> None:
        def take() -> None:
            try:
                self.seen[at_s] = look()
            except Exception as error:
                self.seen[at_s] = error

        self._faults._timeline.call_at(at_s, take)

    def finish(self, over: Callable[[], object] | None = None, within_s: float = 120.0) -> list[Activation]:
        """Wait until all is over and every node does its work again; return what struck, times from the beginning.

        `over` says when that is, if it may be earlier than the faults' own settings say.
        """
        try:
            assert eventually(over or (lambda: self._faults.quiet), within_s)
            assert eventually(lambda: self.seen.keys() == self._looks.keys(), within_s)
        finally:
            rows = self.close()
        nodes = [name for name in self._system.children if not name.startswith("beat-")]
        for name in nodes:
            self._system.start_node(name)
        self._system.wait_for(nodes)
        return rows

    def close(self) -> list[Activation]:
        """End all, wherever it is; return what struck, times from the beginning."""
        rows = self._faults.close(time.time())
        for row in rows:
            row.start_s -= self.started_at
            row.end_s -= self.started_at
        return rows
