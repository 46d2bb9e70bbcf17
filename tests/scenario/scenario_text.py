"""Small helpers of the scenario tests: a minimal file, a section added to it, and what the loader says about it."""

from __future__ import annotations

import pytest

from tem_sim.scenario.errors import Problem, ScenarioError
from tem_sim.scenario.loader import loads
from tem_sim.scenario.models import Scenario

MINIMAL = "scenario: small\narrivals: {kind: burst, events: 3}\n"


def with_section(section: str) -> Scenario:
    """Load the minimal scenario with a section added."""
    return loads(MINIMAL + section, file="small.yaml")


def problems_of(text: str, *overrides: str) -> tuple[Problem, ...]:
    """Return what is wrong with a text."""
    with pytest.raises(ScenarioError) as caught:
        loads(text, overrides, file="small.yaml")
    return caught.value.problems


def headlines_of(text: str, *overrides: str) -> list[str]:
    """Return what is wrong with a text, one line each."""
    return [problem.headline for problem in problems_of(text, *overrides)]
