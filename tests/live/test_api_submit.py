"""POST /events: what is answered with 201 or 200 is durable, once per key and user."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from api_process import EVENT, OPERATOR, post, problem, serving
from pipeline_ledger import rows, statuses
from sqlalchemy import select

from tem_sim.live.api.taking_in import stored_key
from tem_sim.live.ids import Ids
from tem_sim.live.logs import lines
from tem_sim.pipeline.tables import event_table

pytestmark = pytest.mark.server


def events(store):
    with store.begin() as connection:
        return connection.execute(select(event_table).order_by(event_table.c.id)).mappings().all()


def test_a_new_event_is_queued_and_a_worker_is_woken(api, api_store, api_process):
    answer = post(api, event={"kind": "normal", "payload": {"ü": ["\U0001f600", 1.5, None]}})
    event_id = answer.json()["event_id"]
    assert (answer.status_code, answer.json()["created"]) == (201, True)
    assert answer.headers["location"] == f"/events/{event_id}"
    (kept,) = events(api_store)
    assert (kept["id"], kept["user_id"], kept["payload"]) == (event_id, 7, {"ü": ["\U0001f600", 1.5, None]})
    assert kept["idempotency_key"] == stored_key(7, "key-1")
    assert statuses(api_store) == ["QUEUED"]
    assert api_process.redis.llen(f"{api_process.config.name}:processing_queue") == 1


def test_the_same_again_is_the_same_event_and_wakes_nobody(api, api_store, api_process):
    first, again = post(api), post(api)
    assert (again.status_code, again.json()) == (200, {**first.json(), "created": False})
    assert again.headers["location"] == first.headers["location"]
    assert len(events(api_store)) == 1
    assert api_process.redis.llen(f"{api_process.config.name}:processing_queue") == 1


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "odd", "payload": {"n": 1}},
        {"kind": "normal", "payload": {"n": 2}},
        {"kind": "normal", "payload": {"n": True}},
        {"kind": "normal", "payload": {"n": 1, "m": None}},
        {"kind": "normal", "payload": None},
    ],
    ids=str,
)
def test_a_key_used_for_another_event_is_a_conflict(api, api_store, other):
    post(api)
    answer = post(api, event=other)
    assert answer.status_code == 409
    assert problem(answer)["where"] == "idempotency key"
    assert [one["payload"] for one in events(api_store)] == [{"n": 1}]


def test_twenty_at_once_with_one_key_make_one_event(api, api_store):
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(api), range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.json()["event_id"] for answer in answers}) == 1
    assert len(events(api_store)) == len(rows(api_store)) == 1


def test_twenty_at_once_with_two_payloads_for_one_key_make_one_event(api, api_store):
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: post(api, event={**EVENT, "payload": n % 2}), range(20)))
    (kept,) = events(api_store)
    refused = [n % 2 for n, answer in enumerate(answers) if answer.status_code == 409]
    assert refused == [1 - kept["payload"]] * 10
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201] + [409] * 10


def test_an_id_that_another_event_has_is_replaced_unnoticed(api, api_store, api_process, monkeypatch):
    taken = post(api).json()["event_id"]
    ids = iter([taken, taken, taken + 1])
    monkeypatch.setattr(Ids, "__call__", lambda self: next(ids))
    answer = post(api, "key-2", {**EVENT, "payload": "other"})
    assert (answer.status_code, answer.json()) == (201, {"event_id": taken + 1, "created": True})
    assert [(one["id"], one["payload"]) for one in events(api_store)] == [(taken, {"n": 1}), (taken + 1, "other")]
    assert api_process.redis.llen(f"{api_process.config.name}:processing_queue") == 2


def test_a_request_is_logged_with_its_events_and_how_long_before_the_store(api_process):
    key = str(uuid.uuid4())
    with serving(api_process) as api:
        event_id = post(api, key).json()["event_id"]
        post(api, key, {**EVENT, "payload": 2})
        api.get("/nothing")
    logged = list(lines(api_process.config.log_file("api")))
    taken, conflict, missing = [line for line in logged if line["event"] == "request"]
    assert (taken["method"], taken["route"], taken["status"]) == ("POST", "/events", 201)
    assert taken["event_ids"] == [event_id]
    assert 0 < taken["before_store_s"] < taken["took_s"]
    assert (conflict["status"], conflict["event_ids"]) == (409, [])
    assert (missing["route"], missing["status"], missing["before_store_s"]) == ("unmatched", 404, None)


def test_a_wake_up_says_who_sent_it_for_which_event(api, api_process):
    event_id = post(api).json()["event_id"]
    (wake,) = [line for line in lines(api_process.config.log_file("api")) if line["event"] == "wake"]
    assert (wake["actor"], wake["task"], wake["first_id"], wake["count"]) == ("api", "request", event_id, 1)
    assert [move["actor"] for move in api.get(f"/events/{event_id}", headers=OPERATOR).json()["transitions"]] == ["api"]
