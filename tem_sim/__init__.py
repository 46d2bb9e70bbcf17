"""The table of contents of tem_sim; each name is imported when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.analysis.jitter import jitter_study
    from tem_sim.analysis.metrics import METRICS, metrics
    from tem_sim.analysis.sizing import size
    from tem_sim.analysis.survival import outage_survival
    from tem_sim.analysis.timeline import timeline, worst_event
    from tem_sim.checks.registry import CHECKS, run_checks
    from tem_sim.frames import Run, RunError
    from tem_sim.live.run import LiveError, run_live
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
    from tem_sim.studies.bakeoff import bakeoff
    from tem_sim.studies.explore import explore
    from tem_sim.studies.metastability import metastability
    from tem_sim.studies.mitigations import mitigations
    from tem_sim.studies.replications import replicate
    from tem_sim.sweeps.run import sweep
    from tem_sim.sweeps.sweep import Sweep

    __version__: str

__all__ = [
    "CHECKS",
    "METRICS",
    "PRESETS",
    "Backoff",
    "LiveError",
    "Run",
    "RunError",
    "Scenario",
    "ScenarioError",
    "SimulationError",
    "Sweep",
    "__version__",
    "attempts_per_second",
    "bakeoff",
    "delay_table",
    "explore",
    "jitter_study",
    "latency_ecdf",
    "load",
    "metastability",
    "metrics",
    "mitigations",
    "outage_survival",
    "replicate",
    "rows_by_state",
    "run_checks",
    "run_live",
    "simulate",
    "size",
    "sweep",
    "timeline",
    "worst_event",
]

# Where each name lives. Importing all of it at once would cost a second, for one name of it.
_HOMES = {
    "CHECKS": "tem_sim.checks.registry",
    "METRICS": "tem_sim.analysis.metrics",
    "PRESETS": "tem_sim.pipeline.presets",
    "Backoff": "tem_sim.pipeline.backoff",
    "LiveError": "tem_sim.live.run",
    "Run": "tem_sim.frames",
    "RunError": "tem_sim.frames",
    "Scenario": "tem_sim.scenario.models",
    "ScenarioError": "tem_sim.scenario.errors",
    "SimulationError": "tem_sim.sim.kernel",
    "Sweep": "tem_sim.sweeps.sweep",
    "attempts_per_second": "tem_sim.plots.storm",
    "bakeoff": "tem_sim.studies.bakeoff",
    "delay_table": "tem_sim.pipeline.presets",
    "explore": "tem_sim.studies.explore",
    "jitter_study": "tem_sim.analysis.jitter",
    "latency_ecdf": "tem_sim.plots.latency",
    "load": "tem_sim.scenario.loader",
    "metastability": "tem_sim.studies.metastability",
    "metrics": "tem_sim.analysis.metrics",
    "mitigations": "tem_sim.studies.mitigations",
    "outage_survival": "tem_sim.analysis.survival",
    "replicate": "tem_sim.studies.replications",
    "rows_by_state": "tem_sim.plots.rows",
    "run_checks": "tem_sim.checks.registry",
    "run_live": "tem_sim.live.run",
    "simulate": "tem_sim.sim.world",
    "size": "tem_sim.analysis.sizing",
    "sweep": "tem_sim.sweeps.run",
    "timeline": "tem_sim.analysis.timeline",
    "worst_event": "tem_sim.analysis.timeline",
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
