"""What tasks tell others and leave behind: wake-ups, notifications, lost writes, open transactions, limits, effects."""

from frame_builder import story
from stream_builder import finish, seen
from test_stream_edges import judged, problems

# --- wake_after_commit


def test_a_wake_up_inside_a_transaction_is_seen():
    told = seen().submit(1).at(1.0).claim(1).error(1).at(12.0).task("beat/retry")
    txn = told.begin("beat/retry")
    told.set("beat/retry", txn, 1, "UPDATE processing_state", status="QUEUED", cause="retry", next_retry_at=None)
    told.wake("beat/retry", txn=txn)
    told.commit("beat/retry", txn)
    assert problems(told.done("beat/retry").run(), "wake_after_commit") == [
        "a wake-up sent inside a transaction",
    ]


def test_a_wake_up_before_the_commit_is_seen():
    told = seen().wake("api/request-1").submit(1, wakes=False)
    answer = judged(told.run(), "wake_after_commit")
    assert answer.rows["problem"].tolist() == ["a wake-up before any commit that queued a row"]
    assert answer.rows["thread"].tolist() == ["api/request-1"]


def test_a_commit_of_the_task_before_does_not_count():
    told = seen().submit(1).at(1.0).claim(1).error(1).at(12.0).retry(1)
    told.at(13.0).task("beat/retry").wake("beat/retry").done("beat/retry")
    assert problems(told.run(), "wake_after_commit") == ["a wake-up before any commit that queued a row"]


def test_a_task_that_queues_and_tells_nobody_is_seen():
    told = seen().submit(1).at(1.0).claim(1).error(1).at(12.0).retry(1, wakes=False)
    assert problems(told.run(), "wake_after_commit") == ["queued, and its task ended without a wake-up"]


def test_a_task_that_died_or_failed_owes_no_wake_up():
    for kind in ("killed", "task_failed"):
        told = seen().submit(1, wakes=False)
        told.step("api/request-1", kind)
        told.task("api/request-1").done("api/request-1")
        assert judged(told.run(), "wake_after_commit").verdict == "true"


def test_a_circuit_calls_workers_to_rows_that_were_queued_long_ago():
    told = seen(pipeline={"breaker": {"minimum_calls": 5}}).submit(1)
    told.task("beat/retry").wake("beat/retry").done("beat/retry")
    assert judged(told.run(), "wake_after_commit").verdict == "true"


# --- notify_after_commit


def publish(told, *event_ids, thread="beat/relay", **more):
    told.step(thread, "publish", rows=len(event_ids), sql=" ".join(map(str, event_ids)), **more)
    return told


def shown(event_id, delivered_s, times=1):
    return {
        "event_id": event_id,
        "user_id": 1,
        "dedupe_key": "k",
        "delivered_s": delivered_s,
        "shown": times,
        "received": times,
    }


def test_what_was_committed_may_be_told_once():
    told = publish(seen().submit(1).at(1.0).claim(1).ok(1).at(2.0), 1)
    assert judged(told.run(notifications=[shown(1, 2.1)]), "notify_after_commit").verdict == "true"


def test_a_publish_before_the_commit_is_seen():
    told = publish(seen().submit(1).at(1.0).claim(1), 1, thread="worker-1/0").ok(1)
    assert problems(told.run(), "notify_after_commit") == ["published before its PROCESSED was committed"]


def test_a_publish_inside_a_transaction_or_past_the_outbox_is_seen():
    told = publish(seen().submit(1).at(1.0).claim(1).ok(1).at(2.0), 1, txn=9)
    assert problems(told.run(), "notify_after_commit") == ["published inside a transaction"]
    past = seen(pipeline={"outbox": True}).submit(1).at(1.0).claim(1)
    past.end(1, "FAILED", "error", next_retry_at=11.0)
    past.change("worker-1/0", 1, finish("PROCESSED", "ok"), status="PROCESSED", cause="ok", finished_at=2.0)
    assert "published past the outbox" in problems(publish(past, 1).run(), "notify_after_commit")


def test_a_user_that_is_told_too_early_too_often_or_of_nothing_is_seen():
    told = seen().submit(1).at(5.0).claim(1).ok(1)
    assert problems(told.run(notifications=[shown(1, 4.0)]), "notify_after_commit") == [
        "shown before its PROCESSED was committed"
    ]
    assert problems(told.run(notifications=[shown(1, 6.0, 2)]), "notify_after_commit") == ["shown 2 times"]
    open_row = seen().submit(1).at(5.0).claim(1)
    assert problems(open_row.run(notifications=[shown(1, 6.0)]), "notify_after_commit") == ["shown and not PROCESSED"]


def test_an_outbox_row_and_its_processed_come_in_one_transaction():
    told = seen().submit(1).at(1.0).claim(1)
    told.change("worker-1/0", 1, finish("PROCESSED", "ok"), status="PROCESSED", cause="ok", finished_at=1.0)
    assert problems(told.run(), "notify_after_commit") == ["PROCESSED without an outbox row in its transaction"]
    alone = seen().submit(1).at(1.0).claim(1)
    txn = alone.begin("worker-1/0")
    alone.owe("worker-1/0", txn, 1)
    alone.commit("worker-1/0", txn)
    assert problems(alone.run(), "notify_after_commit") == ["an outbox row without PROCESSED in its transaction"]


# --- attempts_settled and transaction_hygiene


def test_a_call_whose_end_is_swallowed_is_seen():
    told = seen().submit(1).at(1.0).task("worker-1/0").claim(1).call(1).done("worker-1/0")
    assert problems(told.run(), "attempts_settled") == ["1 call came back and never got recorded"]


def test_a_call_whose_task_died_is_the_rescues():
    told = seen().submit(1).at(1.0).task("worker-1/0").claim(1).call(1)
    told.step("worker-1/0", "killed")
    told.task("worker-1/0").done("worker-1/0")
    assert judged(told.run(), "attempts_settled").verdict == "true"


def test_a_statement_after_an_error_in_the_same_transaction_is_seen():
    told = seen().submit(1)
    txn = told.begin("worker-1/0")
    told.step("worker-1/0", "statement", txn=txn, sql="UPDATE x", error="OperationalError")
    told.step("worker-1/0", "statement", txn=txn, sql="SELECT 1")
    told.step("worker-1/0", "rollback", txn=txn)
    assert problems(told.run(), "transaction_hygiene") == ["a statement in a transaction that has failed"]


def test_a_transaction_that_is_open_across_a_call_is_seen_with_or_without_its_number():
    for number in (0, 7):
        told = seen().submit(1)
        told.step("worker-1/0", "statement", txn=7, sql="UPDATE x")
        told.step("worker-1/0", "handle", txn=number)
        told.step("worker-1/0", "commit", txn=7)
        told.step("worker-1/0", "handled")
        assert problems(told.run(), "transaction_hygiene") == ["a transaction open at handle"]


def test_a_transaction_that_is_open_when_its_task_ends_is_seen():
    told = seen().submit(1).task("worker-1/0")
    told.step("worker-1/0", "statement", txn=7, sql="SELECT 1")
    told.step("worker-1/0", "task_done", txn=7)
    assert problems(told.run(), "transaction_hygiene") == ["a transaction open at task_done"]


# --- lost_write


def test_a_write_that_did_not_begin_from_the_last_one_is_seen_with_both_statements():
    told = seen().submit(1).at(1.0).claim(1)
    stale = dict(told.rows[1])
    told.at(2.0).error(1)
    txn = told.begin("worker-2/0")
    after = {**stale, "version": 9}
    told.write("worker-2/0", txn, "processing_state", stale, after, "UPDATE processing_state SET version = 9")
    told.commit("worker-2/0", txn)
    told.rows[1] = after
    answer = judged(told.run(), "lost_write")
    assert answer.rows["problem"].tolist() == [
        "lost: the next write did not begin from it",
        "begins from another row than the last write left",
    ]
    assert answer.rows["thread"].tolist() == ["worker-1/0", "worker-2/0"]
    assert answer.rows["sql"].tolist() == [finish("FAILED", "error"), "UPDATE processing_state SET version = 9"]


def test_a_count_that_is_set_back_is_seen_with_the_write_that_it_undid():
    told = seen(pipeline={"write_guard": "stale"}).submit(1).at(1.0).claim(1)
    told.change("worker-1/0", 1, "UPDATE processing_state SET retry_count = 1", retry_count=1)
    told.error(1, retry_count=0)
    answer = judged(told.run(), "lost_write")
    assert answer.rows["problem"].tolist() == [
        "its retry_count was set back by another write",
        "sets retry_count back to what was read before",
    ]
    assert answer.rows["sql"].tolist()[0] == "UPDATE processing_state SET retry_count = 1"


def test_an_end_that_was_made_of_what_another_has_changed_since_is_seen():
    told = seen().submit(1).at(1.0).claim(1).at(62.0).rescue(1).at(63.0).claim(1, "worker-2/0").at(64.0).ok(1)
    assert problems(told.run(), "lost_write") == [
        "overwritten from what was read before it",
        "written from what was read at a claim, over another's change",
    ]


# --- conserved_rows


def test_a_row_that_is_deleted_or_written_twice_is_seen():
    told = seen().submit(1)
    txn = told.begin("worker-1/0")
    told.write("worker-1/0", txn, "notification", {"event_id": 1}, None, "DELETE FROM notification")
    told.commit("worker-1/0", txn)
    assert problems(told.run(), "conserved_rows") == ["deleted from notification"]
    twice = seen().submit(1).submit(1)
    assert set(problems(twice.run(), "conserved_rows")) >= {
        "written a second time to event",
        "written a second time to processing_state",
        "accepted twice under the same key",
    }


def test_an_event_without_its_state_is_seen():
    told = seen().submit(1)
    txn = told.begin("api/request-2")
    told.write("api/request-2", txn, "event", None, {"id": 2, "idempotency_key": "k"}, "INSERT INTO event")
    told.commit("api/request-2", txn)
    assert problems(told.run(), "conserved_rows") == ["event without processing_state in its transaction"]


def test_an_answer_that_speaks_of_more_than_is_stored_is_seen():
    told = seen().task("api/request-1").submit(1)
    told.step("api/request-1", "task_done", rows=2)
    assert problems(told.run(), "conserved_rows") == ["answered 2 accepted with 1 in the store"]


def test_a_write_past_the_stream_is_seen():
    told = seen().submit(1)
    told.rows[1] = {**told.rows[1], "retry_count": 3}
    assert problems(told.run(), "conserved_rows") == ["the store ends with another row than its last change left"]
    told.rows[2] = told.rows[1]
    assert "a row that nobody was seen to write" in problems(told.run(), "conserved_rows")


# --- limits


def test_a_tick_that_requeues_more_than_its_limit_is_seen_however_many_transactions_it_takes():
    told = seen(pipeline={"requeue_limit": 1}).submit(1).submit(2).at(1.0)
    told.claim(1).error(1).claim(2).error(2).at(12.0).task("beat/retry")
    for event in (1, 2):
        told.change("beat/retry", event, "UPDATE", status="QUEUED", cause="retry", next_retry_at=None)
    assert problems(told.wake("beat/retry").done("beat/retry").run(), "limits") == [
        "2 requeued in one tick, where 1 are allowed"
    ]


def test_a_claim_of_more_than_a_batch_is_seen():
    told = seen(pipeline={"batch_size": 1}).submit(1).submit(2)
    txn = told.at(1.0).begin("worker-1/0")
    for event in (1, 2):
        held = {"status": "PROCESSING", "attempt_no": 1, "lease_owner": "worker-1/0", "lease_expires_at": 61.0}
        told.set("worker-1/0", txn, event, "UPDATE processing_state", **held, cause="claim")
    told.commit("worker-1/0", txn)
    assert problems(told.run(), "limits") == ["2 claimed at once, where 1 are allowed"]


def test_a_claim_beside_too_many_others_is_seen_and_a_dead_lease_holds_no_place():
    told = seen(pipeline={"concurrency_limit": 1}).submit(1).submit(2).at(1.0).claim(1).at(2.0)
    assert problems(told.claim(2, "worker-2/0").run(), "limits") == ["claimed beside 1 other, where 1 may work"]
    later = seen(pipeline={"concurrency_limit": 1}).submit(1).submit(2).at(1.0).claim(1).at(62.0).claim(2, "worker-2/0")
    assert judged(later.run(), "limits").verdict == "true"


def test_a_relay_that_publishes_more_than_it_may_is_seen():
    told = seen(pipeline={"relay_limit": 2}).submit(1)
    told.step("beat/relay", "publish", rows=3)
    assert problems(told.run(), "limits") == ["3 published in one tick"]


# --- effects


def tried(*outcomes):
    attempts = [
        {"event_id": 1, "attempt_no": n, "worker": "worker-1", "claimed_s": n, "outcome": outcome, "effect_s": n + 0.5}
        for n, outcome in enumerate(outcomes, start=1)
    ]
    told = story().event(1).story
    told.attempts = attempts
    return told.run()


def test_effects_may_come_again_where_nobody_could_know():
    for before in ("superseded", "lost", "error"):
        answer = judged(tried(before, "ok"), "effects")
        assert answer.verdict == "true"
        assert answer.detail == "2 side effects of 1 event, 1 again as at-least-once allows"


def test_an_effect_after_the_event_was_done_is_seen():
    assert judged(tried("ok", "lost"), "effects").rows["problem"].tolist() == ["after it was recorded as done"]
    assert judged(tried("ok", "ok"), "effects").rows["problem"].tolist() == [
        "recorded as done twice",
        "after it was recorded as done",
    ]


def test_an_effect_of_an_attempt_that_was_never_called_is_seen():
    assert judged(tried("expired"), "effects").rows["problem"].tolist() == ["never called"]
