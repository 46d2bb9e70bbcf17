"""Each fault of the database leaves its mark in the frames, by the driver's own exceptions; nothing is lost by any."""

from __future__ import annotations

from typing import Any

import pytest
from sim_worlds import fault_row
from statement_worlds import errors, gauge, is_whole, run_apart

from tem_sim.frames import Run
from tem_sim.pipeline.store import StoreError
from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.loader import loads

SQLITE = "sqlite"
# The exception that says that a connection has ended.
ENDED = {SQLITE: "OperationalError", "postgresql": "AdminShutdown"}


def struck(url: str, kind: str, *, at: str = "2s", lasts: str = "3s", **keys: Any) -> Run:
    """Run the base scenario with one fault in a window."""
    sections = {name: keys.pop(name) for name in ("store", "workers", "pipeline", "arrivals") if name in keys}
    return run_apart(url, faults=[{"kind": kind, "at": at, "for": lasts, **keys}], **sections)


def failed_in(of: Run, kind: str) -> set[str]:
    return set(errors(of, kind))


# --- connections


def test_while_the_database_is_down_nobody_gets_through_and_afterwards_everybody_does(statement_url: str) -> None:
    done = struck(statement_url, "database_down")
    row = fault_row(done)
    assert failed_in(done, "statement") == {ENDED[done.store]}
    refused = errors(done, "connect")
    assert set(refused) == {"OperationalError"}
    dropped = int(row["detail"].split()[0])
    assert row["landed"] == dropped + len(refused)
    assert 0 < dropped <= 15
    assert not done.changes["t_s"].between(2.0, 5.0).any()
    assert gauge(done, "tasks_failed") == len(errors(done, "task_failed")) > 0
    assert is_whole(done)


def test_a_connection_kept_goes_on_while_new_ones_are_refused(statement_url: str) -> None:
    # One connection is at rest when it begins, and the second slot needs one as well.
    done = struck(statement_url, "database_down", connections="kept", target="worker-1", at="500ms", lasts="7s")
    row = fault_row(done)
    assert row["detail"] == "0 connections dropped, new ones refused"
    refused = done.steps[(done.steps["kind"] == "connect") & (done.steps["error"].astype(str) != "")]
    assert set(refused["actor"].astype(str)) == {"worker-1"}
    assert row["landed"] == len(refused) > 0
    assert failed_in(done, "statement") == set()
    assert is_whole(done)


def test_all_connections_of_a_node_end_and_its_next_statements_hear_of_it(statement_url: str) -> None:
    done = run_apart(statement_url, faults=[{"kind": "connections_dropped", "target": "workers", "at": "3s"}])
    assert set(done.faults["target"].astype(str)) == {"worker-1", "worker-2", "worker-3"}
    assert done.faults["landed"].sum() >= 3
    told = done.steps[(done.steps["kind"] == "statement") & (done.steps["error"].astype(str) != "")]
    # Of those at rest, whoever takes one finds out, and the pool drops the others of the node.
    assert set(told["actor"].astype(str)) <= {"worker-1", "worker-2", "worker-3"}
    assert len(told) > 1
    assert set(told["error"].astype(str)) == {ENDED[done.store]}
    assert failed_in(done, "connect") == set()
    assert is_whole(done)


def test_connections_are_dropped_at_a_rate(statement_url: str) -> None:
    done = run_apart(statement_url, faults=[{"kind": "connections_dropped", "rate": "3/s", "until": "8s"}])
    assert 10 < len(done.faults) < 45
    assert done.faults["landed"].sum() > 10
    assert (done.faults["start_s"] == done.faults["end_s"]).all()
    assert is_whole(done)


@pytest.mark.parametrize(
    ("edge", "heard", "stays"),
    [
        ("before_statement", "statement", False),
        ("after_statement", "answer_lost", False),
        ("before_commit", "commit", False),
        ("after_commit", "answer_lost", True),
    ],
)
def test_a_connection_dropped_at_a_boundary_undoes_what_was_not_committed(
    statement_url: str, edge: str, heard: str, stays: bool
) -> None:
    fault = {"kind": "connections_dropped", "target": "workers", "edge": edge, "label": "settle.settle", "nth": 2}
    done = run_apart(statement_url, faults=[fault])
    assert fault_row(done)["landed"] == 1
    step = done.steps[done.steps["step"] == errors(done, heard).index[0]].iloc[0]
    assert (step["error"], step["label"]) == (ENDED[done.store], "settle.settle")
    assert (done.changes["txn"] == step["txn"]).any() == stays
    assert len(errors(done, "task_failed")) == 1
    assert is_whole(done)


@pytest.mark.parametrize("committed", [0.0, 1.0])
def test_a_commit_without_an_answer_is_done_or_not_and_the_code_cannot_tell(
    statement_url: str, committed: float
) -> None:
    done = struck(statement_url, "commit_unanswered", probability=0.3, committed=committed)
    lost = errors(done, "answer_lost")
    assert fault_row(done)["landed"] == len(lost) > 10
    assert set(lost) == {"OperationalError"}
    unanswered = done.steps[done.steps["step"].isin(lost.index)]
    commits = done.steps[(done.steps["kind"] == "commit") & (done.steps["error"].astype(str) == "")]
    assert unanswered["txn"].isin(commits["txn"]).all() == (committed == 1)
    assert unanswered["txn"].isin(done.changes["txn"]).any() == (committed == 1)
    # A client that asks again for what was committed is told so by the key.
    again = errors(done)
    assert again.str.contains("event").any() == (committed == 1)
    assert is_whole(done)


def test_of_the_unanswered_commits_as_many_are_done_as_it_says(statement_url: str) -> None:
    done = struck(statement_url, "commit_unanswered", probability=0.5, lasts="6s")
    lost = done.steps[done.steps["kind"] == "answer_lost"]["txn"]
    done_all_the_same = done.steps[done.steps["kind"] == "commit"]["txn"]
    assert 0.25 < lost.isin(done_all_the_same).mean() < 0.75
    assert is_whole(done)


# --- errors

SAID = {
    "serialization_failure": "SerializationFailure",
    "deadlock": "DeadlockDetected",
    "lock_timeout": "LockNotAvailable",
    "statement_timeout": "QueryCanceled",
    "disk_full": "DiskFull",
    "read_only": "ReadOnlySqlTransaction",
    "connection_lost": "AdminShutdown",
}


@pytest.mark.parametrize("error", SAID)
def test_an_error_comes_as_the_drivers_own_exception_and_conflicts_are_run_again(
    statement_url: str, error: str
) -> None:
    if statement_url == "sqlite://" and error == "deadlock":
        with pytest.raises(StoreError, match=r"faults\[0\]: sqlite knows no deadlock; run it on PostgreSQL"):
            struck(statement_url, "database_errors", error=error)
        return
    done = struck(statement_url, "database_errors", error=error, probability=0.1)
    told = errors(done)
    assert set(told) == {"OperationalError" if done.store == SQLITE else SAID[error]}
    assert fault_row(done)["landed"] == len(told) > 10
    if error in ("serialization_failure", "deadlock"):
        assert gauge(done, "tasks_failed") == 0
    elif error in ("lock_timeout", "disk_full", "read_only"):
        read = done.steps[done.steps["step"].isin(told.index)]["sql"].astype(str).str.startswith("SELECT")
        assert (read <= done.steps["sql"].astype(str).str.contains("FOR UPDATE").reindex(read.index)).all()
        assert gauge(done, "tasks_failed") > 0
    assert is_whole(done)


def test_what_cannot_be_committed_is_run_again(statement_url: str) -> None:
    fault = {"error": "serialization_failure", "point": "before_commit", "probability": 0.3}
    done = struck(statement_url, "database_errors", **fault)
    assert fault_row(done)["landed"] == len(errors(done, "commit")) > 20
    assert len(errors(done)) == 0
    assert is_whole(done)


def test_a_conflict_that_comes_again_each_time_fails_the_task_in_the_end(statement_url: str) -> None:
    fault = {"error": "serialization_failure", "label": "claims.claim", "target": "workers"}
    done = struck(statement_url, "database_errors", **fault)
    told = done.steps[done.steps["step"].isin(errors(done).index)]
    assert set(told["label"].astype(str)) == {"claims.claim"}
    assert fault_row(done)["landed"] == len(told) == 5 * len(errors(done, "task_failed"))
    assert is_whole(done)


def test_a_full_disk_stops_all_writers_and_no_reader(statement_url: str) -> None:
    done = struck(statement_url, "database_errors", error="disk_full")
    assert not done.changes["t_s"].between(2.0, 5.0, inclusive="neither").any()
    read = done.steps[done.steps["t_s"].between(2.0, 5.0) & done.steps["sql"].astype(str).str.startswith("SELECT")]
    assert (read["error"].astype(str) == "").any()
    assert is_whole(done)


# --- slow, exhausted, locked


def statement_times_s(of: Run, from_s: float, to_s: float) -> Any:
    """Return how long statements took from the one before, in transactions between two times."""
    steps = of.steps[of.steps["kind"].isin(["begin", "statement", "commit"]) & of.steps["t_s"].between(from_s, to_s)]
    return (steps["t_s"] - steps.groupby("txn")["t_s"].shift() - steps["waited_s"]).dropna()


def test_a_slow_database_takes_as_many_times_as_long(statement_url: str) -> None:
    done = struck(statement_url, "database_slow", factor=20, at="3s", lasts="4s")
    usual, slow = statement_times_s(done, 0, 3).mean(), statement_times_s(done, 3.1, 7).mean()
    assert 10 < slow / usual < 40
    assert fault_row(done)["landed"] > 100
    assert is_whole(done)


def test_a_database_that_serves_few_at_a_time_is_slower_the_more_there_are(statement_url: str) -> None:
    calm, crowded = (
        struck(
            statement_url,
            "database_slow",
            serves=1,
            at="0s",
            lasts="9s",
            arrivals=arrivals,
            store={"statement_latency": "5ms"},
        )
        for arrivals in (
            {"kind": "poisson", "rate": "1/s", "until": "8s"},
            {"kind": "poisson", "rate": "100/s", "until": "2s"},
        )
    )
    assert statement_times_s(crowded, 0, 2).mean() > 1.5 * statement_times_s(calm, 0, 8).mean()
    assert is_whole(crowded)


def test_a_spread_makes_some_statements_very_slow_and_the_mean_stays(statement_url: str) -> None:
    usual = run_apart(statement_url)
    unequal = struck(statement_url, "database_slow", spread=3, at="0s", lasts="9s")
    ratios = [
        statement_times_s(unequal, 0, 9).quantile(q) / statement_times_s(usual, 0, 9).quantile(q) for q in (0.5, 0.99)
    ]
    assert ratios[0] < 0.7
    assert ratios[1] > 1.5


def test_a_slow_database_is_slow_for_whole_transactions_as_well() -> None:
    from sim_worlds import run

    slow = run(faults=[{"kind": "database_slow", "factor": 100, "at": "10s", "for": "10s"}])
    assert fault_row(slow)["landed"] > 100
    late = slow.attempts.merge(slow.events)
    late = late[late["attempt_no"] == 1]
    waited = late["claimed_s"] - late["submitted_s"]
    assert waited[late["submitted_s"].between(10, 19)].median() > 5 * waited[late["submitted_s"] < 10].median()


def test_who_finds_no_connection_in_the_pool_waits_and_then_gives_up(statement_url: str) -> None:
    done = struck(statement_url, "pool_exhausted", target="workers", store={"pool": {"size": 3, "timeout": "1s"}})
    row = fault_row(done)
    assert row["detail"] == "3 places taken"
    failed = done.steps[done.steps["kind"] == "task_failed"]
    assert set(failed["error"].astype(str)) == {"TimeoutError"}
    assert set(failed["actor"].astype(str)) == {"worker-1", "worker-2", "worker-3"}
    assert row["landed"] >= len(failed) > 3
    claims = done.changes[(done.changes["label"] == "claims.claim") & done.changes["t_s"].between(2.01, 5.0)]
    assert claims.empty
    assert is_whole(done)


def test_with_some_places_left_they_take_turns(statement_url: str) -> None:
    done = struck(statement_url, "pool_exhausted", target="worker-1", places=2, store={"pool": {"size": 3}})
    assert gauge(done, "tasks_failed") == 0
    assert is_whole(done)


def test_while_somebody_else_has_the_lock_writers_wait_and_readers_do_not(statement_url: str) -> None:
    done = struck(statement_url, "database_locked")
    assert not done.changes["t_s"].between(2.02, 5.0, inclusive="neither").any()
    waited = done.steps[done.steps["waited_s"] > 1]
    assert fault_row(done)["landed"] >= len(waited) > 3
    assert waited["t_s"].min() >= 5.0
    assert waited["waited_s"].max() < 3.01
    assert errors(done).empty
    assert is_whole(done)


def test_who_waits_for_a_lock_for_longer_than_the_timeout_fails(statement_url: str) -> None:
    done = struck(statement_url, "database_locked", store={"lock_timeout": "500ms"})
    assert set(errors(done)) == {"OperationalError" if done.store == SQLITE else "LockNotAvailable"}
    failed = done.steps[done.steps["step"].isin(errors(done).index)]
    assert failed["waited_s"].to_numpy() == pytest.approx(0.5)
    assert is_whole(done)


def test_a_transaction_that_is_idle_for_too_long_is_ended_by_the_server(statement_url: str) -> None:
    pause = {
        "kind": "worker_pause",
        "target": "workers",
        "edge": "before_commit",
        "label": "settle.settle",
        "for": "4s",
    }
    told = {SQLITE: "OperationalError", "postgresql": "IdleInTransactionSessionTimeout"}
    done = run_apart(statement_url, store={"idle_in_transaction_timeout": "1s"}, faults=[pause])
    commit = done.steps[done.steps["step"].isin(errors(done, "commit").index)]
    assert commit["error"].astype(str).tolist() == [told[done.store]]
    assert commit["actor"].tolist() == [fault_row(done)["target"]]
    # Its locks are free after 1 s, not when it wakes.
    assert done.steps["waited_s"].max() < 1.1
    assert is_whole(done)


def test_what_a_dead_node_left_open_ends_at_the_idle_timeout_too(statement_url: str) -> None:
    death = {"kind": "worker_death", "target": "workers", "edge": "before_commit", "label": "settle.settle"}
    half_open = death | {"connection_closes_after": "60s"}
    done = run_apart(statement_url, store={"idle_in_transaction_timeout": "1s"}, faults=[half_open])
    assert done.steps["waited_s"].max() < 1.1
    assert done.end_s < 40
    assert is_whole(done)


# --- failover


def test_a_failover_to_a_replica_that_has_everything_loses_nothing(statement_url: str) -> None:
    done = struck(statement_url, "failover")
    assert fault_row(done)["landed"] == 1
    assert ENDED[done.store] in failed_in(done, "statement")
    assert failed_in(done, "connect") == {"OperationalError"}
    assert is_whole(done)


def test_what_the_replica_had_not_got_is_gone_and_the_log_with_it(statement_url: str) -> None:
    users = {"session": {"kind": "constant", "value": "10s"}, "away": "1s"}
    fault = {"kind": "failover", "at": "4s", "for": "1s", "lost": "1s"}
    done = run_apart(statement_url, users=users, faults=[fault])
    assert int(fault_row(done)["detail"].split()[3]) > 20
    # Nothing of that second is left, and what came of it goes on from where it was.
    assert not done.changes["t_s"].between(3.0, 4.0, inclusive="right").any()
    assert not done.transitions["at_s"].between(3.001, 4.0).any()
    commits = done.steps[(done.steps["kind"] == "commit") & done.steps["t_s"].between(3.0, 4.0)]
    assert len(commits) > 20
    answered = gauge(done, "submissions_offered") - len(done.events)
    assert answered > 3
    assert (done.events["status"] == "PROCESSED").all()


FILE = """scenario: x
arrivals: {kind: burst, events: 1}
store: {interleave: STORE}
faults:
  - {FAULT}
"""


@pytest.mark.parametrize(
    ("store", "fault", "said"),
    [
        ("transaction", "kind: database_down, at: 1s, for: 1s", "set store.interleave: statement"),
        ("transaction", "kind: connections_dropped, at: 1s", "set store.interleave: statement"),
        ("statement", "kind: failover, at: 1s, for: 1s, lost: 2s", "must not be longer than the run was by then"),
        ("statement", "kind: database_slow, at: 1s, for: 1s", "give factor, spread or serves"),
        ("statement", "kind: database_errors, error: deadlock, point: after_commit, at: 1s, for: 1s", "too late"),
        (
            "statement",
            "kind: database_errors, error: deadlock, label: x, at: 1s, for: 1s",
            "a function of the pipeline",
        ),
        (
            "statement",
            "kind: failover, target: worker-1, at: 1s, for: 1s",
            "failover cannot strike this node, only database",
        ),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_its_place(store: str, fault: str, said: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        loads(FILE.replace("STORE", store).replace("FAULT", fault))
    assert said in str(refused.value)
    assert "<text>:5:" in str(refused.value)


def test_there_is_no_session_whose_objects_could_outlive_a_rollback() -> None:
    from pathlib import Path

    from tem_sim import pipeline

    sources = Path(pipeline.__file__).parent.glob("*.py")
    assert not [path.name for path in sources if "sqlalchemy.orm" in path.read_text(encoding="utf-8")]
