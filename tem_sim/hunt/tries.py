"""One try of a hunt: a scenario is simulated, judged, and looked at for what it covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_sim.hunt.coverage import Coverage, coverage_of
from tem_sim.hunt.goal import BREAKS, Goal, Seen, Violation

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario


@dataclass(frozen=True, slots=True)
class Tried:
    """A scenario and what came of it; a simulation that broke has no digest and covers nothing."""

    scenario: Scenario
    seen: Seen
    coverage: Coverage
    digest: str | None
    events: int
    end_s: float

    @property
    def size(self) -> tuple[int, int, float]:
        """How much there is to understand: faults, events, and how long it takes."""
        return len(self.scenario.faults), self.events, self.end_s


def attempt(scenario: Scenario, goal: Goal) -> Tried:
    """Run a scenario under its own seed. Ctrl-C is passed on as KeyboardInterrupt, and so is what the user can mend."""
    from tem_sim.sim.kernel import SimulationError
    from tem_sim.sim.world import simulate

    try:
        run = simulate(scenario, progress=_untold)
    except SimulationError as error:
        broke = Violation(BREAKS, str(error).partition("\n")[0])
        return Tried(scenario, Seen(broke), Coverage(tries=1), None, _expected(scenario), 0.0)
    if run.status == "interrupted":
        raise KeyboardInterrupt
    return _judged(scenario, run, goal)


def _judged(scenario: Scenario, run: Run, goal: Goal) -> Tried:
    return Tried(scenario, goal.judge(run), coverage_of(run), run.digest, len(run.events), run.end_s)


def _expected(scenario: Scenario) -> int:
    return round(sum(process.expected(scenario.horizon_s) for process in scenario.arrivals))


def _untold(now_s: float, horizon_s: float) -> None:
    """Show no bar: there are hundreds of tries."""
