"""What the API does not take: a refusal says where, the rule, the value and the remedy, and leaves nothing behind."""

import json
import socket

import pytest
from api_process import EVENT, PATIENCE_S, bearer, make_process, post, problem, serving, wait_until_open
from pipeline_ledger import rows

from tem_sim.live.api import bodies
from tem_sim.live.api.routes import AROUND_PAYLOAD_BYTES

pytestmark = pytest.mark.server


@pytest.mark.parametrize(
    ("body", "where", "rule"),
    [
        ("", "body", "JSON"),
        ("{", "body", "JSON"),
        (b"\xff\xfe", "body", "JSON"),
        ("[]", "body", "object"),
        ("null", "body", "object"),
        ('"text"', "body", "object"),
        ('{"payload": 1}', "body.kind", "required"),
        ('{"kind": "k"}', "body.payload", "required"),
        ('{"kind": "", "payload": 1}', "body.kind", "at least 1"),
        ('{"kind": 1, "payload": 1}', "body.kind", "string"),
        (json.dumps({"kind": "k" * 101, "payload": 1}), "body.kind", "at most 100"),
        ('{"kind": "k", "payload": 1, "more": 2}', "body.more", "Extra"),
        ('{"kind": "k", "payload": 1, "user_id": "7"}', "body.user_id", "integer"),
        ('{"kind": "k", "payload": 1, "user_id": 7.0}', "body.user_id", "integer"),
        ('{"kind": "k", "payload": 1, "user_id": true}', "body.user_id", "integer"),
        ('{"kind": "k", "payload": 1, "user_id": 0}', "body.user_id", "greater"),
        ('{"kind": "k", "payload": 1, "user_id": 9007199254740992}', "body.user_id", "less"),
        ('{"kind": "k", "payload": 1, "kind": "k"}', "body", "differ"),
        ('{"kind": "k", "payload": {"a": 1, "a": 1}}', "body", "differ"),
        ('{"kind": "k", "payload": NaN}', "body", "finite"),
        ('{"kind": "k", "payload": [-Infinity]}', "body", "finite"),
        ('{"kind": "k", "payload": 1e400}', "body", "double"),
        ('{"kind": "k", "payload": ' + "9" * 5000 + "}", "body", "JSON"),
        ('{"kind": "k\\u0000", "payload": 1}', "body", "NUL"),
        ('{"kind": "k", "payload": {"a\\u0000": 1}}', "body", "NUL"),
        ('{"kind": "k", "payload": ["\\u0000"]}', "body", "NUL"),
        ('{"kind": "k", "payload": "\\ud83d"}', "body", "surrogate"),
        ('{"kind": "k", "payload": {"\\udc00": 1}}', "body", "surrogate"),
        ('{"kind": "k", "payload": ' + "[" * 40 + "]" * 40 + "}", "body", "deep"),
        ('{"kind": "k", "payload": ' + "[" * 30_000 + "]" * 30_000 + "}", "body", "deep"),
        ('{"kind": "k", "payload": ' + '{"a":' * 8_000 + "1" + "}" * 8_000 + "}", "body", "deep"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_event_is_refused_with_the_rule_the_value_and_the_remedy(file_api, file_process, body, where, rule):
    answer = file_api.post("/events", content=body, headers={**bearer(), "Idempotency-Key": "k"})
    assert answer.status_code == 422
    error = problem(answer)
    assert (error["where"], rule in error["rule"]) == (where, True), error
    assert rows(file_process.store) == []


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ([], "once"),
        (["a", "a"], "once"),
        ([""], "1 to 255"),
        (["with a blank"], "1 to 255"),
        (["ü".encode()], "1 to 255"),
        (["tab\tin"], "1 to 255"),
        (["k" * 256], "1 to 255"),
    ],
)
def test_a_key_that_is_none_is_refused(file_api, file_process, keys, rule):
    headers = [*bearer().items(), *(("Idempotency-Key", key) for key in keys)]
    answer = file_api.post("/events", json=EVENT, headers=headers)
    assert answer.status_code == 422
    error = problem(answer)
    assert (error["where"], rule in error["rule"]) == ("header Idempotency-Key", True)
    assert rows(file_process.store) == []


# --- how much, how fast, how many


LIMIT = 2000


@pytest.fixture(scope="module")
def small_api(tmp_path_factory, api_redis):
    folder = tmp_path_factory.mktemp("small")
    limits = {"payload_bytes": LIMIT, "requests": 4}
    process = make_process(folder, f"sqlite:///{folder}/store.db", api_redis.url, limits=limits)
    with serving(process) as client:
        client.process = process
        yield client


@pytest.mark.parametrize("unit", ["x", "ü", "\U0001f600", [1]], ids=["one byte", "two", "four", "four of a list"])
def test_a_payload_is_measured_as_tight_json_in_utf_8(small_api, unit):
    units = (LIMIT - 2) // len(json.dumps(unit, ensure_ascii=False).strip('"').encode())
    fits = unit * units if isinstance(unit, str) else [unit] * (LIMIT // 4 - 1)
    assert post(small_api, f"{units}-fits", {"kind": "k", "payload": fits}).status_code == 201
    answer = post(small_api, f"{units}-does-not", {"kind": "k", "payload": fits + fits[:3]})
    assert (answer.status_code, problem(answer)["where"]) == (413, "body.payload")


def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent(small_api):
    with raw(small_api, {"Content-Length": "1000000000000", "Expect": "100-continue"}) as connection:
        assert b" 413 " in connection.recv(4096)


def test_a_chunked_body_is_refused_once_it_is_too_large_though_it_never_ends(small_api):
    chunk = b"400\r\n" + b"x" * 0x400 + b"\r\n"
    with raw(small_api, {"Transfer-Encoding": "chunked"}) as connection:
        for _ in range(1 + (LIMIT + AROUND_PAYLOAD_BYTES) // 0x400):
            connection.sendall(chunk)
        answer = connection.recv(4096)
    assert b" 413 " in answer
    assert b"connection: close" in answer.lower()


def test_a_body_that_comes_too_slowly_is_not_waited_for(small_api, monkeypatch):
    monkeypatch.setattr(bodies, "ARRIVES_WITHIN_S", 0.3)
    with raw(small_api, {"Content-Length": "100"}) as connection:
        connection.sendall(b'{"kind":')
        assert b" 408 " in connection.recv(4096)


def test_more_requests_at_once_than_there_is_room_for_are_told_to_come_again(small_api):
    held = [raw(small_api, {"Content-Length": "100"}) for _ in range(4)]
    try:
        wait_until_open(small_api, 4)
        answer = post(small_api, "crowd")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "at most 4" in problem(answer)["rule"]
        assert small_api.get("/healthz").status_code == 200
    finally:
        for connection in held:
            connection.close()
    wait_until_open(small_api, 0)
    assert post(small_api, "crowd").status_code == 201


def test_a_client_that_goes_away_in_the_middle_of_its_body_harms_nobody(small_api):
    with raw(small_api, {"Content-Length": "100"}) as connection:
        connection.sendall(b'{"kind":')
        wait_until_open(small_api, 1)
    wait_until_open(small_api, 0)
    assert post(small_api, "after").status_code == 201
    assert 'code="500"' not in small_api.get("/metrics").text


def raw(client, headers):
    """Return a connection on which the head of a POST has been sent."""
    url = client.base_url
    connection = socket.create_connection((url.host, url.port), timeout=PATIENCE_S)
    head = {"Host": "api", **bearer(), "Idempotency-Key": "raw", "Content-Type": "application/json", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    connection.sendall(f"POST /events HTTP/1.1\r\n{lines}\r\n".encode())
    return connection
