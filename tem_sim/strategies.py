"""Hypothesis strategies for policies, faults and scenarios, valid and invalid, and the lifecycle as a state machine.

Needs Hypothesis: `pip install "tem-sim[testing]"`.
"""

from tem_sim.testing.faults import FAULT_KINDS, fault_schedules
from tem_sim.testing.lifecycle import LifecycleMachine, lifecycle_machine
from tem_sim.testing.mistakes import Invalid, invalid_fault_schedules, invalid_policies, invalid_scenarios
from tem_sim.testing.policies import policies
from tem_sim.testing.scenarios import scenario_files, scenarios

__all__ = [
    "FAULT_KINDS",
    "Invalid",
    "LifecycleMachine",
    "fault_schedules",
    "invalid_fault_schedules",
    "invalid_policies",
    "invalid_scenarios",
    "lifecycle_machine",
    "policies",
    "scenario_files",
    "scenarios",
]
