"""The pipeline's defaults survive a failing PostgreSQL, and deaths between any two statements on either store."""

from __future__ import annotations

from typing import Any

import pytest
from fault_fragments import BASE, DATABASE, Sections, window
from sim_worlds import scenario
from test_defaults_survive import judged, lost_or_stuck

from tem_sim.frames import Run
from tem_sim.scenario.faults.base import STATEMENT_EDGES
from tem_sim.sim.world import simulate

ARRIVALS = {"kind": "poisson", "rate": "8/s", "from": "2s", "until": "12s"}
# The first of each kind, and what SQLite has not or does otherwise.
ON_POSTGRESQL = [
    *(pytest.param(fragments[0], id=kind) for kind, fragments in DATABASE.items()),
    pytest.param(window("commit_unanswered", probability=0.3), id="commit_unanswered-half"),
    pytest.param(window("database_errors", error="deadlock", probability=0.3), id="deadlock"),
    pytest.param(window("database_errors", error="read_only"), id="read_only"),
]


def outcome(url: str, fragment: Sections, **more: Any) -> Run:
    sections = {**BASE, "seed": 3, "arrivals": ARRIVALS, **fragment, **more}
    sections["store"] = {**sections.get("store", {}), "interleave": "statement"}
    return simulate(scenario(**sections), store=url)


@pytest.mark.server
@pytest.mark.parametrize("fragment", ON_POSTGRESQL)
def test_nothing_is_lost_illegal_or_stuck_on_postgresql(fragment: Sections, postgresql_url: str) -> None:
    done = outcome(postgresql_url, fragment)
    assert judged(done) == []
    assert lost_or_stuck(done) == {}
    assert done.faults["landed"].sum() > 0


@pytest.mark.parametrize("edge", STATEMENT_EDGES)
def test_nor_by_deaths_at_each_boundary_whose_connections_stay_open(edge: str, statement_url: str) -> None:
    faults = [
        {"kind": "worker_death", "target": name, "edge": edge, "nth": nth, "connection_closes_after": "3s"}
        for name in ("workers", "beat", "api", "gateway")
        for nth in (11, 24)
    ]
    done = outcome(statement_url, {"faults": faults})
    assert judged(done) == []
    assert lost_or_stuck(done) == {}
    assert done.faults["landed"].sum() >= 4
