"""Claiming: the longest waiting first, a new token each time, under a lease."""

import json
from dataclasses import replace

from pipeline_ledger import SETTINGS, attempts, claim, ended, finish, moves, row, statuses, submission, submit

from tem_sim.pipeline import lifecycle
from tem_sim.pipeline.claims import NEVER_S


def test_the_longest_waiting_are_claimed_first_and_of_those_the_lowest_id(store):
    submit(store, 5, 4, now=2.0)
    submit(store, 9, 8, now=1.0)
    assert [event.event_id for event in claim(store, now=3.0)] == [8, 9, 4, 5]


def test_a_claim_takes_no_more_than_a_batch(store):
    submit(store, *range(1, 8))
    three = replace(SETTINGS, batch_size=3)
    batches = [[event.event_id for event in claim(store, settings=three)] for _ in range(4)]
    assert batches == [[1, 2, 3], [4, 5, 6], [7], []]


def test_the_longest_waiting_go_first_also_where_the_batch_is_too_small_for_all(store):
    submit(store, 5, now=2.0)
    submit(store, 9, now=1.0)
    one = replace(SETTINGS, batch_size=1)
    assert [claim(store, now=3.0, settings=one)[0].event_id for _ in range(2)] == [9, 5]


def test_a_claimed_row_is_processing_under_its_workers_lease(store):
    submit(store, 1)
    claim(store, worker="ann", now=1.5)
    now = row(store)
    assert (now["status"], now["lease_owner"], now["lease_expires_at"]) == ("PROCESSING", "ann", 61.5)
    assert moves(store)[-1] == ("QUEUED", "PROCESSING", "claim", "ann")


def test_without_leases_a_claim_never_runs_out(store):
    submit(store, 1)
    claim(store, settings=replace(SETTINGS, lease_s=None))
    assert row(store)["lease_expires_at"] == NEVER_S
    assert lifecycle.rescue_expired(store, SETTINGS, now=NEVER_S - 1, actor="beat") == (0, 0)


def test_the_token_grows_with_every_claim(store):
    submit(store, 1)
    tokens = []
    for round_no in range(3):
        (event,) = claim(store, now=100.0 * round_no)
        tokens.append(event.attempt_no)
        finish(store, [ended(event, "boom")], now=100.0 * round_no)
        lifecycle.requeue_due(store, SETTINGS, now=100.0 * round_no + 50, actor="beat")
    assert tokens == [1, 2, 3]
    assert [number for number, _, _ in attempts(store)] == [1, 2, 3]


def test_a_worker_learns_what_it_needs_to_know(store):
    lifecycle.submit(store, [submission(4, user_id=3, kind="poison", payload={"ä": [1]})], now=0.5, actor="api")
    (event,) = claim(store, now=1.0)
    assert (event.event_id, event.attempt_no, event.retry_count, event.crash_count) == (4, 1, 0, 0)
    assert (event.user_id, event.kind, json.loads(event.payload_json), event.created_at) == (
        3,
        "poison",
        {"ä": [1]},
        0.5,
    )
    assert event.last_delay_s is None
    assert event.version == row(store, 4)["version"]


def test_a_retry_carries_the_count_and_the_delay_of_the_failure_before(store):
    submit(store, 1)
    finish(store, [ended(claim(store)[0], "boom")])
    lifecycle.requeue_due(store, SETTINGS, now=12.0, actor="beat")
    (event,) = claim(store, now=12.0)
    assert (event.retry_count, event.last_delay_s) == (1, 10.0)


def test_only_queued_rows_are_claimed(store):
    submit(store, 1, 2, 3)
    batch = claim(store)
    finish(store, [ended(batch[0]), ended(batch[1], "boom")])
    assert claim(store, worker="bob", now=5.0) == []
    assert statuses(store) == ["PROCESSED", "FAILED", "PROCESSING"]
