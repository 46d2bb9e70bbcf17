"""What came of one run with one fault: which checks are broken, and whether the fault landed at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tem_sim.checks.registry import run_checks
from tem_sim.hunt.goal import BREAKS

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario


@dataclass(frozen=True, slots=True)
class Tried:
    """`broken`: each check that is false, with what it found; `BREAKS` where the run broke. `unknown` likewise."""

    landed: bool
    broken: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    end_s: float = 0.0


def judge(run: Run) -> list[str]:
    """Return the names of the checks that are false, in display order."""
    return [verdict.name for verdict in run_checks(run) if verdict.verdict == "false"]


def attempt(scenario: Scenario) -> Tried:
    """Run a scenario under its own seed and judge it. Ctrl-C is passed on as KeyboardInterrupt."""
    from tem_sim.sim.kernel import SimulationError
    from tem_sim.sim.world import simulate

    try:
        run = simulate(scenario, progress=lambda *_: None)
    except SimulationError as error:
        return Tried(True, {BREAKS: str(error).partition("\n")[0]})
    if run.status == "interrupted":
        raise KeyboardInterrupt
    verdicts = run_checks(run)
    told = {answer: {v.name: v.detail for v in verdicts if v.verdict == answer} for answer in ("false", "unknown")}
    # Each of several faults has to land.
    landed = run.faults.groupby("fault_id")["landed"].sum() > 0
    return Tried(bool(landed.all()), told["false"], told["unknown"], run.digest, run.end_s)
