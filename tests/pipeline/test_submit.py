"""Submitting: what was accepted is durable, once per idempotency key."""

import pytest
from pipeline_ledger import causes, claim, row, rows, statuses, submission, submit
from sqlalchemy.exc import IntegrityError

from tem_sim.pipeline import lifecycle
from tem_sim.pipeline.lifecycle import Submitted
from tem_sim.pipeline.tables import event_table, processing_state


def send(store, *submissions, now=0.0):
    return lifecycle.submit(store, submissions, now=now, actor="api")


def ids(store):
    with store.begin() as connection:
        return [row.id for row in connection.execute(event_table.select().order_by(event_table.c.id))]


def test_a_submitted_event_is_queued_with_all_counts_at_zero(store):
    assert send(store, submission(1), now=3.25) == [Submitted(1, created=True, same=True)]
    now = row(store)
    counts = ("retry_count", "crash_count", "replay_count", "attempt_no")
    assert (now["status"], *(now[name] for name in counts)) == ("QUEUED", 0, 0, 0, 0)
    assert (now["queued_at"], now["woken_at"], now["changed_at"]) == (3.25, 3.25, 3.25)
    assert causes(store) == ["submit"]


def test_the_same_key_twice_gives_one_event_and_says_so(store):
    send(store, submission(1))
    assert send(store, submission(2, idempotency_key="key-1", payload={"n": 1})) == [Submitted(1, False, same=True)]
    assert ids(store) == [1]
    assert causes(store) == ["submit"]


@pytest.mark.parametrize("other", [{"payload": {"n": 2}}, {"user_id": 8}, {"kind": "odd"}], ids=lambda o: next(iter(o)))
def test_a_key_used_again_for_something_else_is_answered_with_the_first_event_and_says_so(store, other):
    send(store, submission(1))
    assert send(store, submission(1, **other)) == [Submitted(1, created=False, same=False)]


@pytest.mark.parametrize("payload", [None, [], {"a": (1, 2)}, {"1": "ü\u2028", "x": [1.5, None, True]}, 0, ""])
def test_a_payload_that_json_can_hold_is_recognised_when_it_comes_again(store, payload):
    send(store, submission(1, payload=payload))
    assert send(store, submission(1, payload=payload)) == [Submitted(1, created=False, same=True)]


def test_a_batch_with_one_known_key_creates_the_others(store):
    send(store, submission(2))
    answers = send(store, submission(1), submission(2), submission(3))
    assert [answer.created for answer in answers] == [True, False, True]
    assert statuses(store) == ["QUEUED"] * 3


def test_a_key_twice_in_one_batch_gives_one_event(store):
    first, second = send(store, submission(1), submission(2, idempotency_key="key-1"))
    assert (first.event_id, second.event_id) == (1, 1)
    assert (first.created, second.created) == (True, False)
    assert ids(store) == [1]


def test_answers_come_in_the_order_of_the_submissions(store):
    answers = send(store, *(submission(n, idempotency_key=f"key-{9 - n}") for n in range(1, 9)))
    assert [answer.event_id for answer in answers] == list(range(1, 9))


def test_an_id_that_another_key_has_is_an_error_and_leaves_nothing_behind(store):
    send(store, submission(1))
    with pytest.raises(IntegrityError):
        send(store, submission(1, idempotency_key="other"))
    assert ids(store) == [1]


def test_an_id_that_another_key_has_is_replaced_where_another_can_be_had(store):
    send(store, submission(1), submission(2))
    spare = iter([2, 7])
    batch = [submission(3), submission(1, idempotency_key="other"), submission(2)]
    answers = lifecycle.submit(store, batch, now=0.0, actor="api", another_id=lambda: next(spare))
    assert answers == [Submitted(3, True, same=True), Submitted(7, True, same=True), Submitted(2, False, same=True)]
    assert ids(store) == [1, 2, 3, 7]


def test_a_store_that_has_every_id_is_an_error(store):
    send(store, submission(1))
    with pytest.raises(IntegrityError):
        lifecycle.submit(store, [submission(1, idempotency_key="x")], now=0.0, actor="api", another_id=lambda: 1)


@pytest.mark.parametrize(("first", "again"), [({"n": 1}, {"n": True}), ([0], [False]), (1, 1.5)])
def test_a_payload_that_only_python_takes_for_the_same_is_another(store, first, again):
    send(store, submission(1, payload=first))
    assert send(store, submission(1, payload=again)) == [Submitted(1, created=False, same=False)]


def test_an_empty_batch_is_no_error(store):
    assert send(store) == []


def test_a_finished_events_key_still_stands_for_it(store):
    submit(store, 1)
    claim(store)
    assert send(store, submission(1)) == [Submitted(1, created=False, same=True)]
    assert statuses(store) == ["PROCESSING"]


def test_each_event_has_one_state_row(store):
    send(store, *(submission(n) for n in range(1, 6)))
    assert [row["event_id"] for row in rows(store, processing_state)] == ids(store)
