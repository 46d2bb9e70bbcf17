"""The state machine, the holder and the token, as the images of rows show them."""

import pytest
from stream_builder import FENCED, finish, seen

from tem_sim.checks.registry import WATCHED_CHECKS, run_checks


def judged(run, name):
    return run_checks(run, [name])[0]


def problems(run, name):
    answer = judged(run, name)
    assert answer.verdict == "false", answer.detail
    return answer.rows["problem"].tolist()


def busy():
    """A run in which everything happens that may: retries, the end of retries, a lost lease, a success."""
    told = seen()
    told.submit(1)
    told.at(1.0).claim(1).call(1).error(1)
    told.at(11.5).retry(1)
    told.at(13.0).claim(1).call(1).error(1, delay_s=20.0)
    told.at(34.0).retry(1).at(35.0).claim(1).call(1).exhausted(1)
    told.at(39.0).submit(2).at(40.0).claim(2, "worker-2/0")
    told.at(101.0).rescue(2)
    told.at(102.0).claim(2).call(2).ok(2)
    told.at(109.0).submit(3).at(110.0).claim(3).call(3).error(3).at(121.0).retry(3).at(122.0).claim(3).call(3).ok(3)
    return told


@pytest.mark.parametrize("name", WATCHED_CHECKS)
def test_a_run_without_a_fault_of_its_own_passes(name):
    answer = judged(busy().run(), name)
    assert answer.verdict == "true", answer.detail


@pytest.mark.parametrize("name", [name for name in WATCHED_CHECKS if name not in ("effects", "faults_landed")])
def test_a_run_that_nobody_watched_cannot_be_judged(name):
    told = busy()
    told.steps, told.changes = [], []
    answer = judged(told.run(), name)
    assert (answer.verdict, answer.detail) == (
        "unknown",
        "the run was not watched (store.watch: off), so nobody saw who did what",
    )


# --- legal_edges


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"status": "PROCESSED", "cause": "ok", "finished_at": 5.0}, "illegal edge QUEUED to PROCESSED (ok)"),
        ({"status": "PROCESSING", "cause": "retry"}, "illegal edge QUEUED to PROCESSING (retry)"),
        ({"queued_at": 5.0, "cause": "retry"}, "QUEUED changed and took no edge"),
    ],
)
def test_a_change_that_takes_no_legal_edge_is_seen(columns, problem):
    told = seen().submit(1).at(5.0).change("beat/retry", 1, "UPDATE processing_state SET x", **columns)
    assert problems(told.run(), "legal_edges") == [problem]


def test_a_terminal_row_that_is_written_again_is_seen():
    told = seen().submit(1).at(1.0).claim(1).ok(1)
    told.at(2.0).change("worker-2/0", 1, finish("PROCESSED", "ok"), finished_at=2.0)
    answer = judged(told.run(), "legal_edges")
    assert answer.rows["problem"].tolist() == ["PROCESSED changed and took no edge"]
    row = answer.rows.iloc[0]
    assert (row["thread"], row["t_s"], row["event_id"]) == ("worker-2/0", 2.0, 1)
    assert row["sql"] == finish("PROCESSED", "ok")


def test_a_sweep_a_renewal_and_a_mark_take_no_edge_and_are_fine():
    told = seen().submit(1).at(1.0)
    told.change("beat/rescue", 1, "UPDATE processing_state SET woken_at", woken_at=1.0)
    told.at(2.0).claim(1).change(
        "worker-1/0", 1, "UPDATE processing_state SET x", lease_expires_at=70.0, started_at=2.0
    )
    assert judged(told.run(), "legal_edges").verdict == "true"


def refused(constraint, sql="UPDATE OR FAIL processing_state SET status='PROCESSING'", **sections):
    told = seen(**sections).submit(1)
    txn = told.at(1.0).begin("worker-1/0")
    told.step("worker-1/0", "statement", txn=txn, sql=sql, error=f"IntegrityError: {constraint}", label="claims.claim")
    told.step("worker-1/0", "rollback", txn=txn)
    return told.run()


def test_an_illegal_edge_that_the_store_refused_is_seen():
    answer = judged(refused("legal_edge"), "legal_edges")
    assert answer.rows["problem"].tolist() == ["an illegal edge was tried and refused by the store"]
    assert answer.rows["label"].tolist() == ["claims.claim"]
    assert judged(refused("legal_edge"), "row_shape").verdict == "true"


def test_a_key_that_is_taken_is_no_illegal_edge():
    run = refused("event.idempotency_key", "INSERT INTO event (id) VALUES (?)")
    assert judged(run, "legal_edges").verdict == "true"


def test_guards_that_leave_it_to_the_store_may_try():
    assert judged(refused("legal_edge", pipeline={"write_guard": "row_lock"}), "legal_edges").verdict == "true"


# --- row_shape


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"lease_owner": None}, "PROCESSING without lease_owner"),
        ({"next_retry_at": 3.0}, "PROCESSING with next_retry_at"),
        ({"finished_at": 1.0}, "PROCESSING with finished_at"),
        ({"lease_expires_at": 1e6}, "its lease is not 60 s long"),
        ({"lease_expires_at": 1.0}, "its lease is not 60 s long"),
        ({"crash_count": -1}, "crash_count below zero"),
    ],
)
def test_a_row_without_its_shape_is_seen(columns, problem):
    told = seen().submit(1).at(1.0).claim(1, **columns)
    assert problems(told.run(), "row_shape") == [problem]


def test_a_failed_row_without_a_time_of_its_retry_is_seen():
    told = seen().submit(1).at(1.0).claim(1).error(1, next_retry_at=None)
    assert problems(told.run(), "row_shape") == ["FAILED without next_retry_at"]


def test_a_shape_that_the_store_refused_is_seen():
    assert problems(refused("shape"), "row_shape") == ["a row without its shape was refused by the store"]
    assert judged(refused("shape"), "legal_edges").verdict == "true"


# --- attribution


def test_who_finishes_anothers_attempt_is_named():
    told = seen().submit(1).at(1.0).claim(1, "worker-1/0").at(62.0).rescue(1).at(63.0).claim(1, "worker-2/0")
    told.at(64.0).ok(1, "worker-1/0", record={"attempt_no": 1, "worker": "worker-1/0"})
    answer = judged(told.run(), "attribution")
    assert answer.rows["problem"].tolist() == [
        "ended by another than its holder",
        "recorded under another token than the row's",
    ]
    first = answer.rows.iloc[0]
    assert (first["thread"], first["t_s"]) == ("worker-1/0", 64.0)
    assert "lease_owner=worker-2/0 attempt_no=2" in first["old"]
    assert "first by worker-1/0 in settle.settle at 64.000000 s on event 1" in answer.detail


def test_a_lease_taken_back_while_it_lives_is_seen_by_the_rescuers_own_clock():
    told = seen().submit(1).at(1.0).claim(1).at(60.5).rescue(1)
    assert problems(told.run(), "attribution") == ["taken back before its lease ran out"]
    renewed = seen().submit(1).at(1.0).claim(1).at(40.0)
    renewed.change("worker-1/0", 1, "UPDATE processing_state SET x", lease_expires_at=100.0)
    assert problems(renewed.at(62.0).rescue(1).run(), "attribution") == ["taken back before its lease ran out"]


def test_a_rescue_by_a_clock_that_is_ahead_is_the_clocks_fault():
    told = seen().submit(1).at(1.0).claim(1).at(50.0).rescue(1, changed_at=61.5)
    assert judged(told.run(), "attribution").verdict == "true"


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"lease_owner": "worker-2/0"}, "taken over from its holder"),
        ({"attempt_no": 2}, "taken over from its holder"),
        ({"lease_expires_at": 500.0}, "changed by another than its holder"),
    ],
)
def test_a_row_that_is_changed_under_its_holder_is_seen(columns, problem):
    told = seen().submit(1).at(1.0).claim(1).change("worker-2/0", 1, "UPDATE processing_state SET x", **columns)
    assert problems(told.run(), "attribution") == [problem]


def test_a_claim_in_anothers_name_and_an_end_without_a_record_are_seen():
    told = seen().submit(1).at(1.0).claim(1, lease_owner="worker-9/0")
    assert problems(told.run(), "attribution") == ["claimed in another's name"]
    told = seen().submit(1).at(1.0).claim(1).ok(1, record=None)
    assert problems(told.run(), "attribution") == ["ended without a record of its attempt"]
    told = seen().submit(1).at(1.0).claim(1).ok(1, record={"worker": "worker-7/1"})
    assert problems(told.run(), "attribution") == ["recorded in another's name"]


# --- fencing


def test_a_claim_that_does_not_raise_the_token_by_one_is_seen():
    told = seen().submit(1).at(1.0).claim(1, attempt_no=0)
    assert problems(told.run(), "fencing") == ["claimed without raising the token by one"]


def test_a_token_that_changes_without_a_claim_is_seen():
    told = seen().submit(1).at(1.0).claim(1).at(2.0).error(1, attempt_no=5)
    assert problems(told.run(), "fencing") == ["the token changed without a claim"]


def test_a_finishing_write_without_the_token_is_reported_even_where_it_did_no_harm():
    bare = finish("PROCESSED", "ok", "WHERE processing_state.event_id = ?")
    told = seen().submit(1).at(1.0).claim(1).ok(1, sql=bare)
    answer = judged(told.run(), "fencing")
    assert answer.rows["problem"].tolist() == ["finishing write without attempt_no in its WHERE, 1 time"]
    assert answer.rows["sql"].tolist() == [bare]
    idle = seen().submit(1)
    idle.step("worker-1/0", "statement", sql=bare, rows=0)
    idle.step("worker-1/0", "statement", sql=bare, rows=0)
    assert problems(idle.run(), "fencing") == ["finishing write without attempt_no in its WHERE, 2 times"]


def test_a_token_that_is_only_returned_guards_nothing():
    told = seen().submit(1).at(1.0).claim(1)
    told.ok(1, sql=finish("PROCESSED", "ok", "WHERE processing_state.event_id = ? RETURNING attempt_no"))
    assert problems(told.run(), "fencing") == ["finishing write without attempt_no in its WHERE, 1 time"]


def test_other_guards_ask_for_their_own_or_for_nothing():
    bare = finish("PROCESSED", "ok", "WHERE processing_state.event_id = ?")
    version = finish("PROCESSED", "ok", "WHERE processing_state.event_id = ? AND processing_state.version = ?")
    stale = seen(pipeline={"write_guard": "stale"}).submit(1).at(1.0).claim(1).ok(1, sql=bare)
    assert judged(stale.run(), "fencing").detail.endswith("write_guard: stale asks for none")
    seen_version = seen(pipeline={"write_guard": "version"}).submit(1).at(1.0).claim(1).ok(1, sql=version)
    assert judged(seen_version.run(), "fencing").verdict == "true"
    without = seen(pipeline={"write_guard": "version"}).submit(1).at(1.0).claim(1).ok(1, sql=finish("PROCESSED", "ok"))
    assert FENCED in finish("PROCESSED", "ok")
    assert problems(without.run(), "fencing") == ["finishing write without version in its WHERE, 1 time"]
