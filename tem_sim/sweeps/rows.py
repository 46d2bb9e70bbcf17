"""One run of a sweep, and the row that it becomes: all that is kept of it, in whatever process it ran."""

from __future__ import annotations

import io
import time
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tem_sim.analysis.observations import Observed
from tem_sim.checks.thresholds import Measured, measured
from tem_sim.studies.cells import told

if TYPE_CHECKING:
    from tem_sim.checks.verdict import Answer
    from tem_sim.report.outcome import Outcome, Word
    from tem_sim.scenario.models import Scenario


def by_scenario(rows: Iterable[RunRow]) -> dict[str, list[RunRow]]:
    """Return the rows of each scenario, by its key."""
    found: dict[str, list[RunRow]] = {}
    for row in rows:
        found.setdefault(row.scenario_key, []).append(row)
    return found


@dataclass(frozen=True, slots=True)
class Task:
    """A run to do."""

    key: str
    scenario_key: str
    scenario: Scenario
    seed: int


class HeldBySeed(NamedTuple):
    """What became of one threshold in one run; `value` is NaN where there is none."""

    metric: str
    threshold: str
    verdict: Answer
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run that is done: its numbers and verdicts, or the error that broke it, with its traceback.

    `seconds` is how long it took, and all that differs when it is done again. `observed` are the distributions that
    thresholds name, packed: they are judged over all seeds together.
    """

    key: str
    scenario_key: str
    seed: int
    verdict: Word
    seconds: float
    end_s: float = 0.0
    digest: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    checks: dict[str, Answer] = field(default_factory=dict)
    thresholds: tuple[HeldBySeed, ...] = ()
    observed: bytes = b""
    error: str = ""
    traceback: str = ""

    def measured(self) -> Measured:
        """Return what thresholds ask of the run."""
        return Measured(seed=self.seed, span_s=self.end_s, numbers=self.metrics, observed=_unpacked(self.observed))


def run_task(task: Task) -> RunRow:
    """Simulate, measure and judge; what breaks becomes the row's error. Ctrl-C is passed on as KeyboardInterrupt."""
    from tem_sim.report.outcome import judge
    from tem_sim.sim.world import simulate

    began_s = time.perf_counter()
    try:
        # The sweep tells how far it is.
        run = simulate(task.scenario, task.seed, progress=lambda *_: None)
        if run.status == "interrupted":
            raise KeyboardInterrupt
        return _row(task, judge(run), time.perf_counter() - began_s)
    except Exception as error:
        return broken_row(task, error, time.perf_counter() - began_s)


def broken_row(task: Task, error: Exception, seconds: float = 0.0) -> RunRow:
    """Return the row of a run that broke."""
    return RunRow(
        key=task.key,
        scenario_key=task.scenario_key,
        seed=task.seed,
        verdict="BROKEN",
        seconds=seconds,
        error=told(error),
        traceback="".join(traceback.format_exception(error)),
    )


def _row(task: Task, outcome: Outcome, seconds: float) -> RunRow:
    run = outcome.run
    seen = measured(run, [held.threshold for held in outcome.thresholds], outcome.metrics)
    return RunRow(
        key=task.key,
        scenario_key=task.scenario_key,
        seed=task.seed,
        verdict=outcome.word,
        seconds=seconds,
        end_s=run.end_s,
        digest=run.digest,
        metrics={name: float(value) for name, value in outcome.metrics.items()},
        checks={judged.verdict.name: judged.verdict.verdict for judged in outcome.checks},
        thresholds=tuple(
            HeldBySeed(held.threshold.metric, str(held.threshold), held.verdict, held.value)
            for held in outcome.thresholds
        ),
        observed=_packed(seen.observed),
    )


def _packed(observed: Mapping[str, Observed]) -> bytes:
    if not observed:
        return b""
    buffer = io.BytesIO()
    arrays = {f"{name}.{end}": getattr(seen, end) for name, seen in observed.items() for end in Observed._fields}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _unpacked(packed: bytes) -> dict[str, Observed]:
    if not packed:
        return {}
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        names = dict.fromkeys(name.rpartition(".")[0] for name in arrays.files)
        return {name: Observed(arrays[f"{name}.least"], arrays[f"{name}.most"]) for name in names}
