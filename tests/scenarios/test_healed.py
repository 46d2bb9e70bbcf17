"""The scenario `healed`: what is owed once all faults are over, and what is missing where a protection is off."""

import pytest
from shipped import broken_checks, shipped

from tem_sim.checks.registry import HEALED_CHECKS, run_checks

# One process runs them all, so that each file is run once.
pytestmark = pytest.mark.xdist_group("shipped scenarios")


def test_all_that_is_owed_after_the_heal_was_kept() -> None:
    answers = run_checks(shipped("healed"), HEALED_CHECKS)
    assert {answer.name: answer.verdict for answer in answers} == dict.fromkeys(HEALED_CHECKS, "true")


def test_no_fault_outlives_the_heal_and_two_workers_were_dead_until_then() -> None:
    run = shipped("healed")
    assert (run.faults["end_s"] <= 60.0).all()
    of_the_dead = run.attempts["worker"].astype(str).str.startswith(("worker-1/", "worker-2/"))
    dead = run.attempts.loc[of_the_dead, "claimed_s"]
    assert not dead.between(15.1, 60.9).any()
    assert (dead > 61.0).any()


def test_without_the_sweep_rows_wait_for_ever_for_a_wake_up() -> None:
    broken = broken_checks("healed", "pipeline.sweep_after=off", "horizon=6m")
    assert {"queue_served", "ends_in_time"} <= broken <= {"liveness", "queue_served", "ends_in_time", "returns_to_rest"}


def test_without_leases_the_rows_of_the_dead_stay() -> None:
    assert broken_checks("healed", "pipeline.lease=off", "horizon=6m") == {"liveness", "ends_in_time"}
