"""A sweep: what is not done yet is done, here or on many machines, and each run is kept as soon as it is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tem_sim.scenario.loader import load_plan, plan_of
from tem_sim.scenario.models import Scenario
from tem_sim.studies.pools import processes, surely
from tem_sim.studies.progress import reported
from tem_sim.sweeps.keys import resolved, run_key, scenario_key
from tem_sim.sweeps.machines import machines
from tem_sim.sweeps.results import CellRecord, Results, SweepError, SweepRecord, opened
from tem_sim.sweeps.rows import RunRow, Task, broken_row, by_scenario, run_task
from tem_sim.sweeps.stopping import metric_by_seed, wanted
from tem_sim.sweeps.sweep import Sweep
from tem_sim.versions import engine

if TYPE_CHECKING:
    from tem_sim.scenario.plan import Plan
    from tem_sim.studies.pools import Pool
    from tem_sim.studies.progress import Progress


def sweep(
    what: Scenario | str | os.PathLike[str],
    settings: Sequence[str] = (),
    *,
    matrix: Mapping[str, Sequence[object]] | None = None,
    seeds: int | Sequence[int] | Mapping[str, object] | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    retry_failed: bool = False,
    jobs: int | None = None,
    dask: str | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Run every cell of a scenario's matrix under every seed, and return what came of it.

    `what` is a file or a scenario; `matrix` and `seeds` take the place of its own, and `settings` are as `--set` takes
    them: `path=value` for all cells, `path=value,value` for an axis. `out` is the results file, none if left out.
    If it exists, `resume` goes on with what is not in it yet, and `force` begins anew; without either SweepError.
    `retry_failed` does runs again that failed. `jobs` is the number of processes, None for one per core; `dask` the
    address of a scheduler to use instead. The rows are the same however they were made.
    """
    plan = _plan(what, settings, matrix, seeds)
    file = None if out is None else Path(out)
    refuse_existing(file, resume or force)
    pool = machines(dask, broken_row) if dask is not None else _in_processes(jobs)
    # The cluster first: what cannot begin leaves no file behind, and empties none.
    with pool as do, opened(file, fresh=force and not resume) as results:
        asked = _Asked(plan)
        results.put(asked.record)
        with reported("runs", asked.least, progress) as tell:
            _complete(asked, results, do, tell, retry_failed)
        return Sweep.of(asked.record, results.known(asked.scenarios, asked.engine))


def refuse_existing(file: Path | None, meant: bool) -> None:
    """Raise SweepError for a results file that is there already, unless that is meant."""
    if file is not None and file.exists() and not meant:
        raise SweepError(f"{file}: exists; --resume goes on with it, --force begins anew, --out names another file")


def _plan(
    what: Scenario | str | os.PathLike[str],
    settings: Sequence[str],
    matrix: Mapping[str, Sequence[object]] | None,
    seeds: int | Sequence[int] | Mapping[str, object] | None,
) -> Plan:
    import json

    # JSON is YAML, and so a setting like any other.
    given = {"matrix": matrix, "seeds": seeds if isinstance(seeds, (int, Mapping)) or seeds is None else list(seeds)}
    settings = [
        *(f"{name}={json.dumps(value)}" for name, value in given.items() if value is not None),
        *settings,
    ]
    return plan_of(what, settings) if isinstance(what, Scenario) else load_plan(what, settings)


@contextmanager
def _in_processes(jobs: int | None) -> Iterator[Pool]:
    yield processes(jobs)


class _Asked:
    """A plan with the keys of its cells and runs."""

    def __init__(self, plan: Plan) -> None:
        self.engine = engine()
        self.seeds = plan.seeds
        keys = [scenario_key(cell.scenario) for cell in plan.cells]
        # Two cells that come to the same scenario have the same runs.
        self.scenarios = {key: cell.scenario for key, cell in zip(keys, plan.cells, strict=True)}
        records = tuple(
            CellRecord(cell.labels, key, resolved(cell.scenario)) for key, cell in zip(keys, plan.cells, strict=True)
        )
        self.record = SweepRecord(plan.scenario.name, plan.paths, plan.seeds, self.engine, records)

    @property
    def least(self) -> int:
        """How many runs there are in any case."""
        return len(self.scenarios) * len(wanted(self.seeds, {}))

    def tasks(self, known: Mapping[str, RunRow]) -> tuple[list[Task], int]:
        """Return the runs to do next, given those that are done, and how many runs that makes in all."""
        rows = by_scenario(known.values())
        every = [
            Task(run_key(key, seed, self.engine), key, scenario, seed)
            for key, scenario in self.scenarios.items()
            for seed in wanted(self.seeds, metric_by_seed(self.seeds, rows.get(key, ())))
        ]
        return [task for task in every if task.key not in known], len(every)


def _complete(asked: _Asked, results: Results, do: Pool, tell: Callable[[int, int], None], retry_failed: bool) -> None:
    """Do what is missing, and what the stopping rule then asks for, until nothing is."""
    known = results.known(asked.scenarios, asked.engine)
    if retry_failed:
        known = {key: row for key, row in known.items() if not row.error}
    while True:
        tasks, total = asked.tasks(known)
        tell(total - len(tasks), total)
        if not tasks:
            return
        for done, (_, row) in enumerate(surely(do, run_task, tasks, broken_row), start=1):
            results.add(row, asked.engine)
            known[row.key] = row
            tell(total - len(tasks) + done, total)
