"""When a soak is well: nothing lost, every repeat known, every fault landed, and everybody heard."""

from typing import Any

import pytest

from benchmarks.soak import asked_for, is_well, soak_scenario
from tem_sim.scenario.arrivals import arrival_times
from tem_sim.scenario.streams import Streams

WELL: dict[str, Any] = {
    "events": 4000,
    "ended": {"PROCESSED": 4000},
    "lost_events": 0,
    "rejected_submissions": 0,
    "stuck_rows": 0,
    "lost_notifications": 0,
    "duplicate_notifications": 0,
    "illegal_edges": 0,
    "checks_broken": [],
    "effects_again": 3,
    "effects_again_by_the_downstream": 3,
    "faults": asked_for(2),
}


def test_a_soak_is_well_that_did_all_that_it_was_to() -> None:
    assert is_well(WELL, 2)


@pytest.mark.parametrize(
    "odd",
    [
        {"events": 3999, "ended": {"PROCESSED": 3999}},
        {"ended": {"PROCESSED": 3999, "FAILED": 1}},
        {"lost_notifications": 1},
        {"checks_broken": ["legal_edges"]},
        {"effects_again": 2},
        {"faults": asked_for(1)},
    ],
)
def test_a_soak_is_not_well_that_did_less(odd: dict[str, Any]) -> None:
    assert not is_well(WELL | odd, 2)


def test_as_many_events_come_as_it_is_judged_by() -> None:
    scenario = soak_scenario(2)
    assert len(arrival_times(scenario, Streams(scenario.seed))) == 4000
