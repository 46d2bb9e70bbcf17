"""The shipped scenarios of database faults show what their comments say."""

from __future__ import annotations

import pytest
from shipped import broken_checks, numbers, shipped

# One process runs them all, so that each file is run once.
pytestmark = pytest.mark.xdist_group("shipped scenarios")


def test_a_restart_of_the_database_fails_tasks_and_loses_nothing() -> None:
    run = shipped("database_restart")
    failed = run.steps[run.steps["kind"] == "task_failed"]
    assert failed["t_s"].between(10.0, 20.1).all()
    assert {str(actor).partition("-")[0] for actor in failed["actor"]} == {"worker", "beat", "api"}
    assert (run.events["status"] == "PROCESSED").all()
    offered = run.samples.loc[run.samples["name"] == "submissions_offered", "value"].item()
    assert len(run.events) == offered
    assert (run.attempts["outcome"] == "lost").sum() > 3
    assert numbers("database_restart")["duplicate_effects"] > 3


def test_without_leases_what_was_in_hand_is_stuck() -> None:
    overrides = "pipeline.lease=off", "horizon=200s"
    assert numbers("database_restart", *overrides)["stuck_rows"] > 3
    assert broken_checks("database_restart", *overrides) == {"liveness"}


def test_unanswered_commits_make_no_event_twice_and_settle_nothing_twice() -> None:
    run = shipped("ambiguous_commit")
    lost = run.steps.loc[run.steps["kind"] == "answer_lost", "txn"]
    committed = run.steps.loc[(run.steps["kind"] == "commit"), "txn"]
    assert 0.25 < lost.isin(committed).mean() < 0.75
    refused = run.steps["error"].astype(str).str.startswith("IntegrityError: event")
    assert refused.sum() > 3
    assert run.events["event_id"].is_unique
    assert (run.notifications["shown"] == 1).all()


def test_a_slow_database_and_full_pools_fail_what_waits_for_a_connection_until_both_are_over() -> None:
    run = shipped("database_overloaded")
    assert (run.faults["landed"] > 100).all()
    starved = run.steps[run.steps["error"].astype(str).str.startswith("TimeoutError")]
    assert len(starved) > 5
    assert starved["t_s"].between(5.0, 16.0).all()
    assert (run.events["status"] == "PROCESSED").all()
    assert (run.notifications["shown"] == 1).all()
    for fault in ("faults[1].places=1", "faults=[]"):
        steps = shipped("database_overloaded", fault).steps
        assert not steps["error"].astype(str).str.startswith("TimeoutError").any()


def test_the_server_ends_the_transaction_of_a_frozen_worker() -> None:
    run = shipped("frozen_in_transaction")
    assert 1.0 < run.steps["waited_s"].max() < 2.1
    (commit,) = run.steps[(run.steps["kind"] == "commit") & (run.steps["error"].astype(str) != "")].itertuples()
    assert commit.actor == run.faults["target"].item()
    assert commit.t_s >= run.faults["end_s"].item()
    patient = shipped("frozen_in_transaction", "store.idle_in_transaction_timeout=off")
    # As long as SQLite's writers are patient.
    assert patient.steps["waited_s"].max() == pytest.approx(30.0)
    assert (patient.steps["kind"] == "task_failed").sum() > (run.steps["kind"] == "task_failed").sum()
