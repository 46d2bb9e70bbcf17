"""The acceptance tests of the original system: what a retry is, step by step."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from shipped import broken_checks, history_of, shipped

# One process runs them all, so that each file is run once.
pytestmark = pytest.mark.xdist_group("shipped scenarios")

ROUND = [("FAILED", "error"), ("QUEUED", "retry"), ("PROCESSING", "claim")]
BEGINNING = [("QUEUED", "submit"), ("PROCESSING", "claim")]


# --- simulated_failure


def test_a_failure_raises_retry_count_and_leaves_the_event_failed_with_its_next_retry() -> None:
    events = shipped("simulated_failure").events
    assert len(events) == 5
    assert (events["status"] == "FAILED").all()
    assert (events["retry_count"] == 1).all()
    assert (events["crash_count"] == 0).all()
    assert (events["last_error"].astype(str) == "Refused: the first 1 attempts fail").all()
    assert events["finished_s"].isna().all()


def test_the_next_retry_is_due_one_base_delay_after_the_failure() -> None:
    run = shipped("simulated_failure")
    failed_s = run.attempts.set_index("event_id")["finished_s"]
    due_s = run.events.set_index("event_id")["next_retry_s"]
    assert np.allclose(due_s - failed_s, 10.0, atol=1e-6)
    assert due_s.min() > run.end_s


# --- retry_progression


def test_the_delays_are_10_20_and_40_seconds() -> None:
    attempts = shipped("retry_progression").attempts
    for event_id, of_event in attempts.groupby("event_id"):
        delays = of_event.sort_values("attempt_no")["delay_s"].tolist()
        assert delays[:3] == [10.0, 20.0, 40.0], event_id
        assert np.isnan(delays[3])


def test_retry_count_grows_by_one_with_every_failure() -> None:
    transitions = shipped("retry_progression").transitions
    for _, of_event in transitions.sort_values("seq").groupby("event_id"):
        assert of_event.loc[of_event["after"] == "FAILED", "retry_count"].tolist() == [1, 2, 3]
        assert of_event["retry_count"].iloc[-1] == 3


def test_every_retry_starts_within_a_beat_of_its_due_time() -> None:
    attempts = shipped("retry_progression").attempts.sort_values(["event_id", "attempt_no"])
    due_s = attempts["finished_s"] + attempts["delay_s"]
    began_s = attempts.groupby("event_id")["started_s"].shift(-1)
    late_s = (began_s - due_s).dropna()
    assert len(late_s) == 15
    # Rows become QUEUED with the beat, then a wake-up, a claim and the handler follow.
    assert late_s.between(0.0, 1.1).all()


def test_the_fourth_attempt_succeeds() -> None:
    run = shipped("retry_progression")
    assert (run.events["status"] == "PROCESSED").all()
    assert (run.events["attempt_no"] == 4).all()
    for event_id in run.events["event_id"]:
        assert history_of(run, event_id) == [*BEGINNING, *3 * ROUND, ("PROCESSED", "ok")]


# --- max_retry_extinct


def test_beyond_the_maximum_an_event_is_extinct() -> None:
    run = shipped("max_retry_extinct")
    assert (run.events["status"] == "EXTINCT").all()
    assert (run.events["retry_count"] == 4).all()
    assert run.events["next_retry_s"].isna().all()
    for event_id in run.events["event_id"]:
        assert history_of(run, event_id) == [*BEGINNING, *3 * ROUND, ("EXTINCT", "exhausted")]


def test_an_extinct_event_is_never_tried_again() -> None:
    run = shipped("max_retry_extinct")
    assert run.end_s == 600.0
    assert run.events["finished_s"].max() < 30.0
    assert (run.attempts.groupby("event_id").size() == 4).all()
    assert run.transitions["at_s"].max() < 30.0
    assert (run.notifications.empty, broken_checks("max_retry_extinct")) == (True, frozenset())


# --- recovery_flow


def test_what_failed_in_the_outage_goes_through_the_scheduler_and_ends_processed() -> None:
    run = shipped("recovery_flow")
    assert (run.events["status"] == "PROCESSED").all()
    failed = run.attempts.loc[run.attempts["outcome"] == "error", "event_id"].unique()
    assert len(failed) > 200
    for event_id in failed:
        steps = history_of(run, event_id)
        rounds = (len(steps) - 3) // 3
        assert steps == [*BEGINNING, *rounds * ROUND, ("PROCESSED", "ok")]
    retries = run.transitions[run.transitions["cause"] == "retry"]
    assert set(retries["actor"].astype(str)) == {"beat"}
    claims = run.transitions[run.transitions["cause"] == "claim"]
    assert claims["actor"].astype(str).str.startswith("worker-").all()


def test_failures_happen_in_the_outage_only_and_nothing_is_left_afterwards() -> None:
    run = shipped("recovery_flow")
    failures = run.attempts[run.attempts["outcome"] == "error"]
    assert failures["started_s"].between(20.0, 50.0).all()
    assert run.attempts.loc[run.attempts["attempt_no"] > 1, "started_s"].max() > 50.0
    assert broken_checks("recovery_flow") == frozenset()


# --- stale_read

GUARDS = ["refresh", "row_lock", "version", "fenced"]


def per_event(run: object) -> pd.Series[int]:
    return run.attempts.groupby("event_id").size()  # type: ignore[attr-defined]


def test_a_stale_object_holds_retry_count_and_the_event_retries_for_ever() -> None:
    run = shipped("stale_read")
    assert (run.events["retry_count"] == 0).all()
    assert not (run.events["status"] == "EXTINCT").any()
    assert (per_event(run) > 30).all()
    # Every delay is the first one: to the policy each failure is the first.
    assert set(run.attempts["delay_s"].dropna()) == {2.0}
    assert broken_checks("stale_read") == {"retry_count", "attempts_bounded", "backoff_support"}


@pytest.mark.parametrize("guard", GUARDS)
def test_no_other_guard_shows_the_bug(guard: str) -> None:
    override = f"pipeline.write_guard={guard}"
    run = shipped("stale_read", override)
    assert (run.events["status"] == "EXTINCT").all()
    assert (run.events["retry_count"] == 4).all()
    assert (per_event(run) == 4).all()
    assert run.attempts.groupby("attempt_no")["delay_s"].first().dropna().tolist() == [2.0, 4.0, 8.0]
    assert broken_checks("stale_read", override) == frozenset()
