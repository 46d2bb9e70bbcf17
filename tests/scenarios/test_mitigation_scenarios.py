"""The scenarios of mitigations show what their comments say, and without the one line the failure is back."""

from __future__ import annotations

import numpy as np
import pytest
from shipped import broken_checks, numbers, shipped

from tem_sim.frames import Run

# One process runs them all, so that each file is run once.
pytestmark = pytest.mark.xdist_group("shipped scenarios")

NO_BUDGET = "pipeline.retry_budget=off"
NO_BREAKER = "pipeline.breaker=off"


def calls_per_s(run: Run, from_s: float, until_s: float) -> np.ndarray:
    """Return the handler calls started in each second of this time."""
    return np.histogram(run.attempts["started_s"].dropna(), np.arange(from_s, until_s + 1))[0]


def test_a_retry_budget_brings_the_system_back_from_the_outage_that_leaves_it_down_otherwise() -> None:
    saved, lost = shipped("retry_budget"), shipped("retry_budget", NO_BUDGET)
    assert numbers("retry_budget")["extinct_rate"] == 0.0
    assert numbers("retry_budget", NO_BUDGET)["extinct_rate"] > 0.5
    assert numbers("retry_budget")["recovery_s"] < 30
    assert np.isnan(numbers("retry_budget", NO_BUDGET)["recovery_s"])
    assert calls_per_s(saved, 23, 80).max() < 30 < calls_per_s(lost, 60, 80).min()


def test_without_its_budget_it_is_the_metastable_scenario() -> None:
    assert shipped("retry_budget", NO_BUDGET).digest == shipped("metastable").digest


def test_what_waits_for_tokens_drains_in_a_straight_line() -> None:
    log = shipped("retry_budget").transitions
    released_s = log.loc[(log["cause"] == "retry") & (log["at_s"] > 25), "at_s"].to_numpy()
    # 4/s of the floor and a tenth of 12/s: 5.2/s, however many are due.
    rate = np.histogram(released_s, np.arange(25, 36))[0]
    assert 4 <= rate.mean() <= 6
    assert rate.max() <= 10


def test_a_breaker_saves_the_retries_of_an_outage_longer_than_all_of_them() -> None:
    guarded = shipped("circuit_breaker")
    assert (guarded.events["status"] == "PROCESSED").all()
    assert (guarded.events["retry_count"] == 0).mean() > 0.85
    assert numbers("circuit_breaker", NO_BREAKER)["extinct_rate"] > 0.5
    assert broken_checks("circuit_breaker", NO_BREAKER) == frozenset()


def test_while_the_circuit_is_open_only_probes_reach_the_downstream() -> None:
    guarded = calls_per_s(shipped("circuit_breaker"), 23, 80)
    assert guarded.max() <= 5
    assert (guarded > 0).sum() < 0.6 * len(guarded)
    assert calls_per_s(shipped("circuit_breaker", NO_BREAKER), 23, 80).min() > 40


def test_when_the_outage_is_over_all_that_waited_is_announced_at_once_and_not_by_the_sweep() -> None:
    guarded = shipped("circuit_breaker")
    first_tries = guarded.attempts[guarded.attempts["outcome"] == "ok"].groupby("event_id")["started_s"].min()
    waited = guarded.events.set_index("event_id")["submitted_s"].between(25, 79)
    assert first_tries[waited[waited].index].between(80.0, 86.0).all()
