"""What is kept of a run that is held against a baseline, and of all the runs of a scenario."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tem_sim.analysis.metrics import metrics
from tem_sim.baseline.log import rows_of
from tem_sim.checks.registry import run_checks
from tem_sim.checks.thresholds import Measured, measured
from tem_sim.scenario.seeds import DEFAULT_SEEDS, first_seeds
from tem_sim.studies.pools import Pool, processes
from tem_sim.studies.progress import reported

if TYPE_CHECKING:
    from tem_sim.checks.verdict import Answer
    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario
    from tem_sim.studies.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One run: its digest, its numbers, what its checks say and what its thresholds ask; `log` only where it is kept.

    `error` is what broke the run; there is nothing else then.
    """

    seed: int
    digest: str = ""
    values: dict[str, float] = field(default_factory=dict)
    checks: dict[str, Answer] = field(default_factory=dict)
    held: Measured | None = None
    log: tuple[str, ...] | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A scenario and its runs, one per seed; the first has its log."""

    scenario: Scenario
    runs: tuple[Seen, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in the order of the runs."""
        return tuple(run.seed for run in self.runs)

    @property
    def broken(self) -> tuple[Seen, ...]:
        """The runs that broke."""
        return tuple(run for run in self.runs if run.error)

    def values(self, metric: str) -> dict[int, float]:
        """Return a metric by seed, of the runs that did not break; NaN where it has no value."""
        return {run.seed: run.values.get(metric, math.nan) for run in self.runs if not run.error}


def seen(run: Run, *, log: bool = False) -> Seen:
    """Measure and check a run."""
    numbers = metrics(run)
    return Seen(
        seed=run.seed,
        digest=run.digest,
        values={name: rounded(value) for name, value in numbers.items()},
        checks={verdict.name: verdict.verdict for verdict in run_checks(run)},
        held=measured(run, run.scenario.thresholds.listed(), numbers),
        log=tuple(rows_of(run)) if log else None,
    )


def case_of(runs: Sequence[Run]) -> Case:
    """Return the case of runs of one scenario under different seeds, which the caller has at hand."""
    if not runs:
        raise ValueError("runs: must be at least one")
    return Case(scenario=runs[0].scenario, runs=tuple(seen(run, log=number == 0) for number, run in enumerate(runs)))


def run_cases(
    scenarios: Iterable[tuple[Scenario, Sequence[int]]],
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
    pool: Pool | None = None,
) -> list[Case]:
    """Run each scenario under its seeds, in `jobs` processes (None: one per core); runs that break are kept."""
    asked = [(scenario, tuple(seeds)) for scenario, seeds in scenarios]
    todo = [(scenario, seed, n == 0) for scenario, seeds in asked for n, seed in enumerate(seeds)]
    found: dict[int, Seen] = {}
    with reported("runs", len(todo), progress) as tell:
        for number, one in (pool or processes(jobs))(_run, todo):
            found[number] = one
            tell(len(found), len(todo))
    rest = iter(found[number] for number in range(len(todo)))
    return [Case(scenario=scenario, runs=tuple(next(rest) for _ in seeds)) for scenario, seeds in asked]


def seeds_of(scenario: Scenario, seeds: int | Sequence[int] | None = None) -> tuple[int, ...]:
    """Return the seeds that are asked for, else those of the scenario's `seeds`, else 1 to 10."""
    if seeds is None:
        return first_seeds(DEFAULT_SEEDS if scenario.seeds is None else scenario.seeds)
    return first_seeds(seeds if isinstance(seeds, int) else tuple(seeds))


def rounded(value: float) -> float:
    """Return ten digits of a number: what libraries add up in another order may differ in the sixteenth."""
    return float(f"{value:.10g}")


def _run(todo: tuple[Scenario, int, bool]) -> Seen:
    from tem_sim.sim.world import simulate
    from tem_sim.studies.cells import told

    scenario, seed, log = todo
    try:
        run = simulate(scenario, seed, progress=_untold)
        if run.status == "interrupted":
            raise KeyboardInterrupt
        return seen(run, log=log)
    except Exception as error:
        return Seen(seed=seed, error=told(error))


def _untold(now_s: float, horizon_s: float) -> None:
    """Take no bar per run."""
