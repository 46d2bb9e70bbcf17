"""The pipeline's defaults survive every kind of fault: nothing lost, nothing illegal, nothing stuck.

Effects that at-least-once allows to happen twice are no failure. What is tried is listed in `fault_fragments`.
"""

from __future__ import annotations

import pytest
from fault_fragments import BASE, DATABASE, FRAGMENTS, Sections, window
from sim_worlds import run

from tem_sim.analysis.metrics import metrics
from tem_sim.checks.registry import run_checks
from tem_sim.frames import Run
from tem_sim.scenario.faults.kinds import KINDS

CASES = [
    pytest.param(fragment, id=f"{kind}-{number}")
    for kind, fragments in FRAGMENTS.items()
    for number, fragment in enumerate(fragments)
]
# Where the database fails, transactions are taken apart in the cases above already.
BETWEEN = [pytest.param(kind, marks=pytest.mark.slow if kind in DATABASE else ()) for kind in FRAGMENTS]


def lost_or_stuck(of: Run) -> dict[str, float]:
    """Return what must be 0 and is not; an event out of retries is neither lost nor stuck."""
    found = metrics(of)
    asked = ("lost_events", "in_flight", "stuck_rows", "lost_notifications", "duplicate_notifications")
    return {name: float(found[name]) for name in asked if found[name] != 0}


def judged(of: Run) -> list[str]:
    """Return the checks that a run breaks."""
    return [f"{check.name}: {check.detail}" for check in run_checks(of) if check.verdict == "false"]


@pytest.mark.parametrize("fragment", CASES)
def test_nothing_is_lost_illegal_or_stuck(fragment: Sections) -> None:
    done = run(**{**BASE, "store": {"watch": True}, **fragment})
    assert judged(done) == []
    assert lost_or_stuck(done) == {}
    assert done.faults["landed"].sum() > 0


@pytest.mark.parametrize("kind", BETWEEN)
def test_nor_is_it_between_the_statements(kind: str) -> None:
    fragment = FRAGMENTS[kind][0]
    store = {"interleave": "statement", **fragment.get("store", {})}
    arrivals = {"kind": "poisson", "rate": "8/s", "from": "3s", "until": "13s"}
    done = run(**{**BASE, "seed": 2, "arrivals": arrivals, **fragment, "store": store})
    assert judged(done) == []
    assert lost_or_stuck(done) == {}
    assert done.faults["landed"].sum() > 0


def test_without_the_sweep_a_lost_wakeup_is_an_event_stuck() -> None:
    lost = window("wakeups_lost", at="12s")
    done = run(**{**BASE, **lost, "horizon": "4m", "pipeline": {"sweep_after": "off"}})
    assert set(lost_or_stuck(done)) >= {"in_flight", "stuck_rows"}
    assert any(broken.startswith("liveness") for broken in judged(done))


def test_every_kind_of_fault_is_tried() -> None:
    assert set(FRAGMENTS) == set(KINDS)
