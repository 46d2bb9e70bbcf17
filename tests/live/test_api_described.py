"""The OpenAPI description says what the API answers, no more and no less; and strangers' requests are answered so."""

from contextlib import closing
from http.client import HTTPConnection

import httpx
import pytest
import schemathesis
from api_process import EVENT, OPERATOR, PATIENCE_S, bearer, make_process, post, serving
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from pipeline_ledger import NO_RETRIES, claim, ended, finish
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tem_sim.live.api import bodies

pytestmark = pytest.mark.server

CODES = {
    ("POST", "/events"): {200, 201, 401, 403, 408, 409, 413, 422, 503},
    ("POST", "/events/batch"): {200, 401, 408, 413, 422, 503},
    ("GET", "/events"): {200, 401, 422, 503},
    ("GET", "/events/{event_id}"): {200, 401, 404, 422, 503},
    ("POST", "/events/{event_id}/replay"): {200, 401, 404, 409, 422, 503},
    ("GET", "/healthz"): {200, 503},
    ("GET", "/metrics"): {200},
}


@pytest.fixture(scope="module")
def away_api(tmp_path_factory, api_redis):
    """Serve an API whose store cannot be opened."""
    folder = tmp_path_factory.mktemp("away")
    url = f"sqlite:///{folder}/no/such/folder/store.db"
    with serving(make_process(folder, url, api_redis.url, tables=False)) as client:
        yield client


@pytest.fixture(scope="module")
def document(file_api):
    return file_api.get("/openapi.json").json()


@pytest.fixture(scope="module")
def extinct_id(file_api, file_process):
    """Return the id of an event that is EXTINCT, the only one that has ended."""
    event_id = post(file_api, "extinct").json()["event_id"]
    finish(file_process.store, [ended(one, "boom") for one in claim(file_process.store)], settings=NO_RETRIES)
    return event_id


def slowly(client, path):
    """Post a body that never comes to its end, and return the answer."""
    url = client.base_url
    with (
        # Nobody else's body comes meanwhile, which a pause might make as slow.
        pytest.MonkeyPatch.context() as patch,
        closing(HTTPConnection(url.host, url.port, timeout=PATIENCE_S)) as connection,
    ):
        patch.setattr(bodies, "ARRIVES_WITHIN_S", 0.1)
        headers = {**bearer(), "Idempotency-Key": "slow", "Content-Length": "100"}
        connection.request("POST", path, b'{"kind":', headers)
        answer = connection.getresponse()
        return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())


def documented(document):
    return {
        (method.upper(), path): {int(code) for code in operation["responses"]}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_the_codes_described_are_these(document):
    assert documented(document) == CODES


def test_each_code_described_is_answered_in_the_shape_described(file_api, away_api, document, extinct_id):
    def ask(method, path, client=file_api, headers=None, **how):
        return client.request(method, path, headers=bearer() if headers is None else headers, **how)

    one, batch = f"/events/{extinct_id}", {"events": [{"idempotency_key": "b", **EVENT}, {}]}
    large = b"x" * 5_000_000
    provoked = {
        ("POST", "/events"): [
            post(file_api, "described"),
            post(file_api, "described"),
            post(file_api, "described", headers={"Authorization": ""}),
            post(file_api, "described", {**EVENT, "user_id": 8}),
            slowly(file_api, "/events"),
            post(file_api, "described", {**EVENT, "payload": 2}),
            post(file_api, "large", {**EVENT, "payload": "x" * 70_000}),
            post(file_api, "described", {}),
            post(away_api, "described"),
        ],
        ("POST", "/events/batch"): [
            ask("POST", "/events/batch", json=batch),
            ask("POST", "/events/batch", json=batch, headers={}),
            slowly(file_api, "/events/batch"),
            ask("POST", "/events/batch", content=large),
            ask("POST", "/events/batch", json=[]),
            ask("POST", "/events/batch", json=batch, client=away_api),
        ],
        ("GET", "/events"): [
            ask("GET", "/events"),
            ask("GET", "/events", headers={}),
            ask("GET", "/events?limit=0"),
            ask("GET", "/events", client=away_api),
        ],
        ("GET", "/events/{event_id}"): [
            ask("GET", one),
            ask("GET", one, headers={}),
            ask("GET", one, headers=bearer(8)),
            ask("GET", "/events/x"),
            ask("GET", one, client=away_api),
        ],
        ("POST", "/events/{event_id}/replay"): [
            ask("POST", f"{one}/replay"),
            ask("POST", f"{one}/replay"),
            ask("POST", f"{one}/replay", headers={}),
            ask("POST", f"{one}/replay", headers=bearer(8)),
            ask("POST", "/events/x/replay"),
            ask("POST", f"{one}/replay", client=away_api),
        ],
        ("GET", "/healthz"): [ask("GET", "/healthz"), ask("GET", "/healthz", client=away_api)],
        ("GET", "/metrics"): [ask("GET", "/metrics")],
    }
    assert {route: {answer.status_code for answer in answers} for route, answers in provoked.items()} == CODES
    odd = [
        (*route, answer.status_code, why)
        for route, answers in provoked.items()
        for answer in answers
        if (why := unlike(document, route, answer))
    ]
    assert odd == []


def unlike(document, route, answer):
    """Return in what an answer is not as it is described; None when it is."""
    method, path = route
    described = document["paths"][path][method.lower()]["responses"][str(answer.status_code)]
    media_type = answer.headers["content-type"].partition(";")[0]
    if list(described["content"]) != [media_type]:
        return f"{media_type} instead of {list(described['content'])}"
    missing = [name for name in described.get("headers", {}) if name not in answer.headers]
    if missing:
        return f"without {missing}"
    schema = {**described["content"][media_type]["schema"], "components": document["components"]}
    value = answer.json() if media_type.endswith("json") else answer.text
    return next((error.message for error in Draft202012Validator(schema).iter_errors(value)), None)


def test_whatever_is_about_events_asks_for_a_bearer_token(document):
    asks = {path for path, methods in document["paths"].items() for one in methods.values() if one.get("security")}
    assert asks == {path for path in document["paths"] if path.startswith("/events")}
    scheme = document["components"]["securitySchemes"]["bearer"]
    assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "JWT")


def test_every_shape_that_goes_in_or_out_has_an_example_of_it(document):
    schemas = document["components"]["schemas"]
    parts = {"Part", "Broken", "Transition", "Attempt", "Notification", "Phase", "State", "Cause", "Answer"}
    for name in schemas.keys() - parts:
        (example,) = schemas[name]["examples"]
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        assert list(Draft202012Validator(schema).iter_errors(example)) == [], name
    unused = parts - schemas.keys()
    assert unused == set()


# --- strangers


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory, api_redis):
    folder = tmp_path_factory.mktemp("fuzzed")
    with serving(make_process(folder, f"sqlite:///{folder}/store.db", api_redis.url)) as client:
        loaded = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
        loaded.config.phases.stateful.enabled = False
        yield loaded


schema = schemathesis.pytest.from_fixture("fuzzed")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


BRIEFLY = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@schema.parametrize()
@BRIEFLY
def test_whatever_a_user_asks_is_answered_as_described(case):
    case.call_and_validate(headers=bearer(), checks=CHECKS)


@schema.parametrize()
@BRIEFLY
def test_whatever_an_operator_asks_is_answered_as_described(case):
    case.call_and_validate(headers=OPERATOR, checks=CHECKS)


@schema.parametrize()
@settings(BRIEFLY, max_examples=5)
def test_whatever_nobody_asks_is_answered_as_described(case):
    case.call_and_validate(checks=CHECKS)
