"""The table of contents of tem_sim; each name is imported when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.analysis.metrics import METRICS, metrics
    from tem_sim.checks.registry import CHECKS, run_checks
    from tem_sim.frames import Run, RunError
    from tem_sim.pipeline.backoff import Backoff
    from tem_sim.pipeline.presets import PRESETS, delay_table
    from tem_sim.plots.latency import latency_ecdf
    from tem_sim.plots.rows import rows_by_state
    from tem_sim.plots.storm import attempts_per_second
    from tem_sim.scenario.errors import ScenarioError
    from tem_sim.scenario.loader import load
    from tem_sim.scenario.models import Scenario
    from tem_sim.sim.kernel import SimulationError
    from tem_sim.sim.world import simulate
    from tem_sim.studies.explore import explore
    from tem_sim.sweeps.run import sweep
    from tem_sim.sweeps.sweep import Sweep

    __version__: str

__all__ = [
    "CHECKS",
    "METRICS",
    "PRESETS",
    "Backoff",
    "Run",
    "RunError",
    "Scenario",
    "ScenarioError",
    "SimulationError",
    "Sweep",
    "__version__",
    "attempts_per_second",
    "delay_table",
    "explore",
    "latency_ecdf",
    "load",
    "metrics",
    "rows_by_state",
    "run_checks",
    "simulate",
    "sweep",
]

# Where each name lives. Importing all of it at once would cost a second, for one name of it.
_HOMES = {
    "CHECKS": "tem_sim.checks.registry",
    "METRICS": "tem_sim.analysis.metrics",
    "PRESETS": "tem_sim.pipeline.presets",
    "Backoff": "tem_sim.pipeline.backoff",
    "Run": "tem_sim.frames",
    "RunError": "tem_sim.frames",
    "Scenario": "tem_sim.scenario.models",
    "ScenarioError": "tem_sim.scenario.errors",
    "SimulationError": "tem_sim.sim.kernel",
    "Sweep": "tem_sim.sweeps.sweep",
    "attempts_per_second": "tem_sim.plots.storm",
    "delay_table": "tem_sim.pipeline.presets",
    "explore": "tem_sim.studies.explore",
    "latency_ecdf": "tem_sim.plots.latency",
    "load": "tem_sim.scenario.loader",
    "metrics": "tem_sim.analysis.metrics",
    "rows_by_state": "tem_sim.plots.rows",
    "run_checks": "tem_sim.checks.registry",
    "simulate": "tem_sim.sim.world",
    "sweep": "tem_sim.sweeps.run",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("tem-sim")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES[name]), name)
    # Kept, so that the next use does not come here.
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
