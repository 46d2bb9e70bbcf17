"""POST /events/batch: each event is answered for itself, in its place, as if it had been sent alone."""

import pytest
from api_process import EVENT, OPERATOR, bearer, make_process, post, problem, serving
from pipeline_ledger import rows

pytestmark = pytest.mark.server


def send(client, *events, headers=None):
    return client.post("/events/batch", json={"events": events}, headers=headers or bearer())


def event(key, **changes):
    return {"idempotency_key": key, **EVENT, **changes}


def statuses_of(answer):
    assert answer.status_code == 200, answer.text
    return [one["status"] for one in answer.json()["events"]]


def test_all_new_are_taken_in_at_once_and_in_order(api, api_store, api_process):
    answer = send(api, *(event(f"k-{n}", payload=n) for n in range(120)))
    assert statuses_of(answer) == [201] * 120
    ids = [one["event_id"] for one in answer.json()["events"]]
    shown = [api.get(f"/events/{ids[n]}", headers=bearer()).json()["payload"] for n in (0, 57, 119)]
    assert shown == [0, 57, 119]
    # As many wake-ups as there are batches of 50.
    assert api_process.redis.llen(f"{api_process.config.name}:processing_queue") == 3
    assert len(rows(api_store)) == 120


def test_one_that_is_refused_harms_no_other(api, api_store):
    known = post(api, "known").json()["event_id"]
    answer = send(
        api,
        event("new"),
        event("known"),
        event("known", payload="another"),
        event("nul", payload="\0"),
        event("deep", payload=[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]),
        event("theirs", user_id=8),
        event("large", payload="x" * 70_000),
        event(""),
        {"idempotency_key": "k"},
        "no event",
        None,
        event("new"),
        event("new", kind="odd"),
    )
    told = answer.json()["events"]
    assert statuses_of(answer) == [201, 200, 409, 422, 422, 403, 413, 422, 422, 422, 422, 200, 409]
    assert told[1] == {"status": 200, "event_id": known, "created": False, "problem": None}
    assert told[11]["event_id"] == told[0]["event_id"]
    assert [one["created"] for one in told if one["problem"] is None] == [True, False, False]
    assert told[3]["problem"]["errors"][0]["where"] == "body.events.3"
    assert told[7]["problem"]["errors"][0]["where"] == "body.events.7.idempotency_key"
    assert all(one["problem"]["status"] == one["status"] for one in told if one["problem"])
    assert len(rows(api_store)) == 2


def test_sent_again_it_changes_nothing(api, api_store):
    batch = [event(f"k-{n}") for n in range(10)]
    first, again = send(api, *batch), send(api, *reversed(batch))
    assert (statuses_of(first), statuses_of(again)) == ([201] * 10, [200] * 10)
    ids = [one["event_id"] for one in first.json()["events"]]
    assert [one["event_id"] for one in again.json()["events"]] == ids[::-1]
    assert len(rows(api_store)) == 10


def test_an_operator_sends_many_users_events_together(api):
    answer = send(api, event("k", user_id=1), event("k", user_id=2), event("k"), headers=OPERATOR)
    assert statuses_of(answer) == [201, 201, 422]


def test_nothing_is_answered_with_nothing(file_api):
    assert send(file_api).json() == {"events": []}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ([], "body"),
        ({}, "body"),
        ({"events": {}}, "body"),
        ({"events": [], "more": 1}, "body"),
        ({"events": [event(f"k-{n}") for n in range(501)]}, "body.events"),
    ],
    ids=["a list", "no events", "an object", "more", "too many"],
)
def test_what_is_no_batch_is_refused_as_a_whole(file_api, file_process, body, where):
    answer = file_api.post("/events/batch", json=body, headers=bearer())
    assert (answer.status_code, problem(answer)["where"]) == (422, where)
    assert rows(file_process.store) == []


def test_a_body_too_large_for_any_batch_is_refused(tmp_path, api_redis):
    process = make_process(tmp_path, f"sqlite:///{tmp_path}/s.db", api_redis.url, limits={"payload_bytes": 100})
    with serving(process) as client:
        answer = send(client, *(event(f"k-{n}", payload="x" * 90) for n in range(60)))
    assert (answer.status_code, problem(answer)["where"]) == (413, "body")
