"""An Event API to test: its process's file, its app over real stores and a real Redis, and tokens for it."""

import secrets
import threading
import time
import weakref
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import event, make_url

from tem_sim.live import celery_app
from tem_sim.live import process as processes
from tem_sim.live.api import bodies, calls, probes
from tem_sim.live.api.server import make_server
from tem_sim.live.config import Limits, LiveConfig, Ports
from tem_sim.live.process import Process
from tem_sim.live.schema import migrate
from tem_sim.live.system import free_ports, reserve
from tem_sim.live.tokens import issue
from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.store import Store, make_engine

SECRET = "the secret of one test's system, and of no other"
EVENT = {"kind": "normal", "payload": {"n": 1}}
# On a busy machine anything may stand still for seconds; who gives up on it meanwhile are tests of giving up alone.
PATIENCE_S = 60.0


def make_process(folder, store_url, redis_url, *, limits=None, pipeline=None, tables=True):
    """Save the file of a system that has an API, and return the API's process; the store's tables are made."""
    if tables:
        migrate(store_url)
    api, gateway, downstream = free_ports(3)
    config = LiveConfig(
        # Unlike that of any other system that the same Redis has served.
        name=f"tem-test-{secrets.token_hex(8)}",
        folder=folder,
        scenario_dict={
            "scenario": "api",
            "arrivals": {"kind": "burst", "at": "1s", "events": 1},
            "pipeline": pipeline or {},
        },
        luck_seed=1,
        store_url=store_url,
        redis_url=redis_url,
        secret=SECRET,
        ports=Ports(api=api, gateway=gateway, downstream=downstream),
        limits=Limits(**(limits or {})),
    )
    config.save()
    made = Process("api", config)
    # For as long as somebody holds the process.
    for port in reserve(api):
        weakref.finalize(made, port.close)
    return made


def bearer(user_id=7, *, operator=False, **how):
    return {"Authorization": f"Bearer {issue(SECRET, user_id=user_id, operator=operator, **how)}"}


OPERATOR = bearer(None, operator=True)


def post(client, key="key-1", event=EVENT, **how):
    headers = {**bearer(), "Idempotency-Key": key, **how.pop("headers", {})}
    return client.post("/events", json=event, headers=headers, **how)


def problem(answer):
    """Return the one error of a refusal, after a look at its form."""
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == answer.status_code
    (error,) = told["errors"]
    assert error["rule"]
    assert error["remedy"]
    assert error["rule"] in told["detail"]
    return error


@contextmanager
def patient():
    """Let an API in this process wait for clients, store and Redis for as long as a test may take."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (bodies, "ARRIVES_WITHIN_S"),
            (calls, "ANSWERS_WITHIN_S"),
            (probes, "ANSWERS_WITHIN_S"),
            (processes, "SOCKET_TIMEOUT_S"),
            (celery_app, "SOCKET_TIMEOUT_S"),
        ):
            patch.setattr(module, name, PATIENCE_S)
        yield


def client_of(process):
    """Return a client of a process's API, without a token."""
    return httpx.Client(base_url=process.config.api_url, timeout=PATIENCE_S + 30, trust_env=False)


@contextmanager
def serving(process):
    """Run the process's server in a thread, and yield a client of it."""
    with patient():
        server = make_server(process)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not process.config.ready_file(process.name).exists():
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.005)
            with client_of(process) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()
            process.config.ready_file(process.name).unlink(missing_ok=True)


def wait_until_open(client, count):
    """Wait until so many requests are under way, beside the one that asks."""
    deadline = time.monotonic() + PATIENCE_S
    while f"tem_api_requests_in_progress {count + 1}.0" not in client.get("/metrics").text:
        assert time.monotonic() < deadline, client.get("/metrics").text[:3000]
        time.sleep(0.01)


def without_patience(url, wait_s=0.3):
    """Return a store's URL that waits for locks only so long."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return f"{url}?timeout={wait_s}"
    options = f"{parsed.query['options']} -clock_timeout={int(wait_s * 1000)}"
    return parsed.update_query_dict({"options": options}).render_as_string(hide_password=False)


def explained(url):
    """Open a store to read from, and return it with a list into which goes the plan of each SELECT from now on."""
    parsed, plans = make_url(url), []
    is_postgresql = parsed.get_backend_name() == "postgresql"
    if is_postgresql:
        # Else the planner reads small tables as a whole, whatever indexes they have.
        parsed = parsed.update_query_dict({"options": f"{parsed.query['options']} -cenable_seqscan=off"})
    store = Store(make_engine(parsed, isolation=IsolationLevel.SNAPSHOT))

    def explain(connection, _cursor, statement, parameters, *_):
        if statement.startswith("SELECT"):
            kind = "EXPLAIN" if is_postgresql else "EXPLAIN QUERY PLAN"
            found = connection.connection.dbapi_connection.cursor().execute(f"{kind} {statement}", parameters)
            plans.append("\n".join(str(row) for row in found.fetchall()))

    event.listen(store.engine, "before_cursor_execute", explain)
    return store, plans


def reads_whole_table(plan):
    """Return whether a step of a plan has no use for an index."""
    scans = [step for step in plan.splitlines() if "Seq Scan" in step or "SCAN " in step]
    return any("INDEX" not in step and "CONSTANT ROW" not in step for step in scans)
