"""`@pytest.mark.tem("scenarios/storm.yaml", seeds=5)`: one test per seed, whose `tem_run()` is the run under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from tem_sim.testing.runs import Asked

if TYPE_CHECKING:
    from tem_sim.scenario.models import Scenario


def parametrise(metafunc: pytest.Metafunc, mark: pytest.Mark) -> None:
    """Give the test a seed each; without `seeds` it runs once, under the scenario's own."""
    where = metafunc.definition.nodeid
    given, seeds = _read(mark, where)
    if "tem_run" not in metafunc.fixturenames:
        raise pytest.Collector.CollectError(
            f"{where}: marked tem with {given}, and asks for no tem_run, which would give its run"
        )
    option = metafunc.config.getoption("--tem-seeds")
    used = range(1, option + 1) if option else _listed(seeds, where)
    if used:
        metafunc.parametrize("tem_seed", list(used), ids=[f"seed-{seed}" for seed in used])


def asked_by(node: pytest.Item) -> Asked | None:
    """Return what the test's marker asks for, if it is marked with a scenario."""
    mark = node.get_closest_marker("tem")
    if mark is None or not mark.args:
        return None
    return Asked(mark.args[0], tuple(mark.kwargs.get("set", ())))


def _read(mark: pytest.Mark, where: str) -> tuple[str | Scenario, Any]:
    unknown = [name for name in mark.kwargs if name not in ("seeds", "set")]
    if len(mark.args) != 1 or unknown:
        raise pytest.Collector.CollectError(
            f'{where}: the marker is tem("FILE", seeds=5, set=["path=value"]), got {mark}'
        )
    return mark.args[0], mark.kwargs.get("seeds")


def _listed(seeds: object, where: str) -> Sequence[int]:
    if seeds is None:
        return ()
    if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds > 0:
        return range(1, seeds + 1)
    if isinstance(seeds, (list, tuple, range)) and seeds and all(type(seed) is int for seed in seeds):
        return list(seeds)
    raise pytest.Collector.CollectError(f"{where}: seeds must be a number of seeds or a list of them, got {seeds!r}")
