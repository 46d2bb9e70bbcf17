"""Faults inflicted on a system that runs already, and nobody at its users' and clients' ends."""

import time
from collections.abc import Sequence
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
    """Faults at work on a system, of a scenario other than the one that it was started with."""

    def __init__(self, system: System, *faults: Fault, seed: int = 1, **sections: Any) -> None:
        sections = {"workers": {"count": 2, "concurrency": 2}, **sections}
        self.scenario = scenario_of(faults, **sections)
        self._system = system
        self._faults = Faults(system, seed, clients=NoClients(), load=NoLoad(), scenario=self.scenario)
        self.started_at = time.time()
        self._faults.begin(self.started_at)

    def finish(self, within_s: float = 30.0) -> list[Activation]:
        """Wait until all is over and every node does its work again; return what struck, times from the beginning."""
        try:
            assert eventually(lambda: self._faults.quiet, within_s)
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
