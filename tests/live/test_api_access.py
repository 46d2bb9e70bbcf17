"""Who may do what: a user has to do with its own events alone, an operator with all, and nobody else with any."""

import base64
import json
import time

import jwt
import pytest
from api_process import EVENT, OPERATOR, SECRET, bearer, post, problem
from pipeline_ledger import NO_RETRIES, claim, ended, finish, rows
from sqlalchemy import select

from tem_sim.live.tokens import AUDIENCE
from tem_sim.pipeline.tables import event_table

pytestmark = pytest.mark.server

ROUTES = [
    ("POST", "/events"),
    ("POST", "/events/batch"),
    ("GET", "/events"),
    ("GET", "/events/1"),
    ("POST", "/events/1/replay"),
]


def unsigned(algorithm):
    parts = {"alg": algorithm, "typ": "JWT"}, {"aud": AUDIENCE, "exp": time.time() + 60, "sub": "7", "op": True}
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def signed(secret=SECRET, **changes):
    return jwt.encode({"aud": AUDIENCE, "exp": time.time() + 60, "sub": "7", "op": True, **changes}, secret, "HS256")


# Made when they are sent: what is collected may wait for longer than a token is valid.
WITHOUT = {
    "nothing": lambda: None,
    "no scheme": lambda: signed(),
    "another scheme": lambda: f"Basic {signed()}",
    "no token": lambda: "Bearer",
    "no JWT": lambda: "Bearer of bad news",
    "alg none": lambda: f"Bearer {unsigned('none')}",
    "alg HS256 unsigned": lambda: f"Bearer {unsigned('HS256')}",
    "forged": lambda: f"Bearer {signed(secret='x' * 40)}",
    "expired": lambda: f"Bearer {signed(exp=time.time() - 60)}",
    "for another audience": lambda: f"Bearer {signed(aud='another')}",
    "Latin-1": lambda: b"Bearer \xfc\xfc",
}


def test_the_token_of_which_these_are_bad_copies_is_good(file_api):
    assert file_api.get("/events", headers={"Authorization": f"Bearer {signed()}"}).status_code == 200


@pytest.mark.parametrize("make", WITHOUT.values(), ids=WITHOUT)
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_a_valid_token_nothing_is_done_or_told(file_api, file_process, method, path, make):
    token = make()
    headers = {"Idempotency-Key": "k"} | ({} if token is None else {"Authorization": token})
    answer = file_api.request(method, path, headers=headers, json=EVENT)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Bearer realm="tem-sim"')
    assert problem(answer)["where"] == "header Authorization"
    assert rows(file_process.store) == []


def test_why_a_token_is_refused_is_told_but_not_the_token(file_api):
    expired = bearer(7, valid_s=-60)
    answer = file_api.get("/events", headers=expired)
    challenge = answer.headers["www-authenticate"]
    assert 'error="invalid_token"' in challenge
    assert 'error_description="the token is no longer valid"' in challenge
    assert expired["Authorization"].split(".")[-1] not in answer.text + challenge
    assert "error" not in file_api.get("/events").headers["www-authenticate"]


def test_another_users_event_is_not_found_by_whatever_way(api, api_store):
    event_id = post(api).json()["event_id"]
    other = bearer(8)
    for method, path in (("GET", f"/events/{event_id}"), ("POST", f"/events/{event_id}/replay")):
        answer = api.request(method, path, headers=other)
        missing = api.request(method, path.replace(str(event_id), str(event_id + 1)), headers=other)
        assert (answer.status_code, missing.status_code) == (404, 404)
        assert answer.text.replace(str(event_id), "") == missing.text.replace(str(event_id + 1), "")
    assert api.get("/events", headers=other).json() == {"events": [], "next": None}
    assert [one["status"] for one in rows(api_store)] == ["QUEUED"]


@pytest.mark.parametrize("others", [EVENT, {**EVENT, "payload": "another"}], ids=["the same", "another"])
def test_another_users_key_is_as_good_as_new(api, api_store, others):
    mine = post(api)
    theirs = post(api, "key-1", others, headers=bearer(8))
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["event_id"] != theirs.json()["event_id"]
    with api_store.begin() as connection:
        kept = connection.execute(select(event_table.c.user_id, event_table.c.payload)).all()
    assert sorted(kept) == [(7, EVENT["payload"]), (8, others["payload"])]


def test_keys_of_users_never_run_into_each_other(api):
    one, other = post(api, "2:key", headers=bearer(1)), post(api, "key", headers=bearer(12))
    third = post(api, ":2:key", headers=bearer(1))
    assert [answer.status_code for answer in (one, other, third)] == [201, 201, 201]


def test_a_user_sends_no_event_for_another(api, api_store):
    answer = post(api, event={**EVENT, "user_id": 8})
    assert (answer.status_code, problem(answer)["where"]) == (403, "body.user_id")
    assert rows(api_store) == []
    assert post(api, event={**EVENT, "user_id": 7}).status_code == 201


def test_an_operator_sends_events_for_any_user_and_says_for_whom(api, api_store):
    answer = post(api, headers=OPERATOR)
    assert (answer.status_code, problem(answer)["where"]) == (422, "body.user_id")
    sent = post(api, event={**EVENT, "user_id": 8}, headers=OPERATOR)
    assert sent.status_code == 201
    assert api.get(f"/events/{sent.json()['event_id']}", headers=bearer(8)).json()["user_id"] == 8
    # It is the user's event, whoever sends it.
    assert post(api, headers=bearer(8)).json() == {**sent.json(), "created": False}


def test_an_operator_sees_and_replays_everybodys(api, api_store):
    event_id = post(api).json()["event_id"]
    (claimed,) = claim(api_store, now=time.time())
    finish(api_store, [ended(claimed, "boom", at=time.time())], now=time.time(), settings=NO_RETRIES)
    assert [one["event_id"] for one in api.get("/events", headers=OPERATOR).json()["events"]] == [event_id]
    assert api.post(f"/events/{event_id}/replay", headers=OPERATOR).json()["status"] == "QUEUED"


def test_what_is_no_users_is_open(file_api):
    for path in ("/healthz", "/metrics", "/openapi.json", "/config.json"):
        assert file_api.get(path).status_code == 200
