"""A hunt is dear, so that most tests look at the same one."""

import pytest
from hunt_scenarios import NO_OUTBOX, hunted, scenario

from tem_sim.hunt.hunt import Hunt


@pytest.fixture(scope="session")
def without_outbox() -> Hunt:
    return hunted(scenario(**NO_OUTBOX), checks=["notifications"])
