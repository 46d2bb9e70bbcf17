"""What came of one run with faults: which checks are broken, and whether the faults landed at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tem_sim.checks.registry import run_checks
from tem_sim.checks.sometimes import sometimes
from tem_sim.hunt.goal import BREAKS

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario


@dataclass(frozen=True, slots=True)
class Tried:
    """`broken`: each check that is false, with what it found; `BREAKS` where the run broke, and then there is no run.

    `unknown`: whether the run came to its end, where that is open, and checks that crashed. `landed`: each fault really
    did something. `seen`: how often what should happen sometimes did; what did not is left out.
    """

    run: Run | None
    landed: bool = True
    broken: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)


def judge(run: Run) -> list[str]:
    """Return the names of the checks that are false, in display order."""
    return list(tried(run).broken)


def tried(run: Run) -> Tried:
    """Judge a run by all checks."""
    told: dict[str, dict[str, str]] = {"true": {}, "unknown": {}, "false": {}}
    for one in run_checks(run):
        # Many checks have nothing to say of a run; whether it came to its end, each run has to answer.
        if one.verdict != "unknown" or one.name == "liveness" or "the check crashed" in one.detail:
            told[one.verdict][one.name] = one.detail
    landed = run.faults.groupby("fault_id")["landed"].sum() > 0
    seen = {name: number for name, number in sometimes(run).items() if number}
    return Tried(run, bool(landed.all()), told["false"], told["unknown"], seen)


def attempt(scenario: Scenario) -> Tried:
    """Run a scenario under its own seed and judge it. Ctrl-C is passed on as KeyboardInterrupt."""
    from tem_sim.sim.kernel import SimulationError
    from tem_sim.sim.world import simulate

    try:
        run = simulate(scenario, progress=lambda *_: None)
    except SimulationError as error:
        return Tried(None, broken={BREAKS: str(error).partition("\n")[0]})
    if run.status == "interrupted":
        raise KeyboardInterrupt
    return tried(run)
