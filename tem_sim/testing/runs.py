"""The runs of a test session: loaded, simulated and kept, so that none is done twice; and `tem_run`, their face."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.loader import load, overridden

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario

# Runs with their frames that are kept; a storm of 10 000 events takes some tens of megabytes.
MAX_KEPT = 32


class Runs:
    """Runs by scenario and seed; the one that was not asked for longest makes way."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._kept: OrderedDict[tuple[str, int], Run] = OrderedDict()

    def run(self, scenario: Scenario, seed: int | None = None) -> Run:
        """Return the run of a scenario under a seed; SimulationError when the simulation breaks."""
        used = scenario.seed if seed is None else seed
        key = json.dumps(scenario.resolved(), sort_keys=True), used
        if key not in self._kept:
            self._kept[key] = simulated(scenario, used)
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def shown(self, file: Path) -> str:
        """Return a path as people would write it where they are."""
        near = os.path.relpath(file)
        return str(file) if near.startswith(os.pardir) else near


def simulated(scenario: Scenario, seed: int) -> Run:
    """Simulate without a bar; Ctrl-C ends the session and is no verdict."""
    from tem_sim.sim.world import simulate

    run = simulate(scenario, seed)
    if run.status == "interrupted":
        raise KeyboardInterrupt
    return run


@dataclass(frozen=True, slots=True)
class Asked:
    """What a test's marker asks for."""

    scenario: str | os.PathLike[str] | Scenario
    settings: tuple[str, ...]


class TemRun:
    """What the fixture `tem_run` is: called with a scenario it returns the run."""

    def __init__(self, runs: Runs, asked: Asked | None, seed: int | None) -> None:
        self._runs, self._asked, self._seed = runs, asked, seed

    def __call__(
        self,
        scenario: str | os.PathLike[str] | Scenario | None = None,
        *,
        seed: int | None = None,
        set: Sequence[str] = (),
    ) -> Run:
        """Return the run of a file (its path relative to the rootdir) or of a `Scenario`; by default the marker's.

        `seed` is by default this test's, else the scenario's own. `set` holds `path=value` as `--set` does, on top of
        the marker's.
        """
        settings = [*(self._asked.settings if self._asked is not None and scenario is None else ()), *set]
        if scenario is None:
            if self._asked is None:
                pytest.fail('tem_run() needs a scenario, or a test marked @pytest.mark.tem("FILE")', pytrace=False)
            scenario = self._asked.scenario
        used = self._seed if seed is None else seed
        return self._runs.run(_loaded(scenario, settings, self._runs), used)


def _loaded(scenario: str | os.PathLike[str] | Scenario, settings: Sequence[str], runs: Runs) -> Scenario:
    try:
        if isinstance(scenario, (str, os.PathLike)):
            return load(runs.shown(runs.root / scenario), settings)
        return overridden(scenario, settings) if settings else scenario
    except ScenarioError as error:
        pytest.fail(str(error), pytrace=False)
