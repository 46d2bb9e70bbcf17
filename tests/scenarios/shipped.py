"""The shipped scenario files, each run once per set of overrides."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tem_sim.analysis.metrics import metrics
from tem_sim.checks.registry import run_checks
from tem_sim.frames import Run
from tem_sim.scenario.loader import load
from tem_sim.sim.world import simulate

FOLDER = Path(__file__).parents[2] / "scenarios"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@cache
def shipped(name: str, *overrides: str) -> Run:
    """Return the run of a shipped file with these settings on top."""
    return simulate(load(FOLDER / f"{name}.yaml", overrides))


@cache
def broken_checks(name: str, *overrides: str) -> frozenset[str]:
    """Return the names of the checks that the run breaks."""
    return frozenset(v.name for v in run_checks(shipped(name, *overrides)) if v.verdict == "false")


@cache
def numbers(name: str, *overrides: str) -> dict[str, float]:
    """Return the run's metrics."""
    return metrics(shipped(name, *overrides))


def history_of(run: Run, event_id: int) -> list[tuple[str, str]]:
    """Return an event's (state, cause) pairs in their order."""
    rows = run.transitions[run.transitions["event_id"] == event_id].sort_values("seq")
    return list(zip(rows["after"].astype(str), rows["cause"].astype(str), strict=True))
