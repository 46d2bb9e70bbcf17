"""The store or Redis away, too much waiting, and the API killed at the worst moment: what was accepted stays so."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
from api_process import (
    EVENT,
    PATIENCE_S,
    bearer,
    client_of,
    make_process,
    patient,
    post,
    problem,
    serving,
    wait_until_open,
    without_patience,
)
from gateway_kit import redis_server, wait_until
from pipeline_ledger import causes, claim, ended, finish, rows, statuses
from sqlalchemy import text

from tem_sim.live.api import calls
from tem_sim.live.config import HOST, VARIABLE
from tem_sim.live.ports import SENDER
from tem_sim.live.process import Process
from tem_sim.pipeline.tasks import rescue_lost_events

pytestmark = pytest.mark.server


def unavailable(answer):
    """Return the error of a 503, after a look at when to come again."""
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= answer.json()["retry_after_s"] > 0
    return problem(answer)


@contextmanager
def locked(store):
    """Keep everybody else from writing events while the block runs."""
    with store.engine.connect() as connection, connection.begin():
        if store.dialect == "postgresql":
            connection.execute(text("LOCK TABLE event IN ACCESS EXCLUSIVE MODE"))
        yield


# --- the store


@pytest.fixture
def dead_port():
    """Keep a port on which nobody listens, and nobody will."""
    with socket.socket() as silent:
        silent.bind((HOST, 0))
        yield silent.getsockname()[1]


def test_where_no_store_answers_all_that_needs_it_is_told_to_come_again(tmp_path, api_redis, dead_port):
    nobody = f"postgresql+psycopg://postgres@{HOST}:{dead_port}/postgres?connect_timeout=30"
    with serving(make_process(tmp_path, nobody, api_redis.url, tables=False)) as client:
        batch = {"events": [{"idempotency_key": "k", **EVENT}]}
        for answer in (
            post(client),
            client.post("/events/batch", json=batch, headers=bearer()),
            client.get("/events", headers=bearer()),
            client.get("/events/1", headers=bearer()),
            client.post("/events/1/replay", headers=bearer()),
        ):
            assert unavailable(answer)["where"] == "store"
        health = client.get("/healthz")
        assert (health.status_code, health.json()["ok"]) == (503, False)
        assert {name: part["ok"] for name, part in health.json()["parts"].items()} == {"store": False, "redis": True}
        assert "refused" in health.json()["parts"]["store"]["detail"]
        metrics = client.get("/metrics")
        assert metrics.status_code == 200
        assert "tem_store_up 0.0" in metrics.text
        assert "tem_redis_up 1.0" in metrics.text
        assert "tem_events{" not in metrics.text
        # What needs no store is answered as ever.
        assert client.get("/events").status_code == 401
        assert post(client, event={}).status_code == 422


def test_a_lock_that_is_not_let_go_is_waited_for_in_vain_and_nothing_is_left_of_it(tmp_path, shared_url, api_redis):
    make = make_process(tmp_path, shared_url, api_redis.url)
    hurried = make.config.model_copy(update={"store_url": without_patience(shared_url)})
    hurried.save()
    with serving(Process("api", hurried)) as client:
        with locked(make.store):
            assert unavailable(post(client))["where"] == "store"
            assert client.get("/metrics").status_code == 200
        assert rows(make.store) == []
        assert post(client).status_code == 201
        assert causes(make.store, rows(make.store)[0]["event_id"]) == ["submit"]


def test_a_store_that_takes_too_long_is_not_waited_for_and_the_key_finds_out(api, api_store, monkeypatch):
    monkeypatch.setattr(calls, "ANSWERS_WITHIN_S", 0.3)
    with locked(api_store):
        assert "not known" in unavailable(post(api))["rule"]
    monkeypatch.undo()
    # It was done all the same, once the lock was let go; or the second request does it, if it comes first.
    assert post(api).status_code in (200, 201)
    assert post(api).status_code == 200
    assert statuses(api_store) == ["QUEUED"]


def test_health_is_told_while_every_thread_waits_for_the_store(api, api_store):
    senders = calls.THREADS + 5
    with ThreadPoolExecutor(senders) as pool:
        with locked(api_store):
            sent = [pool.submit(post, api, f"k-{number}") for number in range(senders)]
            wait_until_open(api, senders)
            assert api.get("/healthz").json()["parts"]["redis"]["ok"]
            assert not any(one.done() for one in sent)
        assert [one.result().status_code for one in sent] == [201] * senders
    assert statuses(api_store) == ["QUEUED"] * senders


def test_on_sqlite_what_is_shown_waits_for_no_writer(file_api, file_process):
    event_id = post(file_api, "shown").json()["event_id"]
    # Who waited for the writer would be told at last that the store does not answer.
    with locked(file_process.store):
        for path in (f"/events/{event_id}", "/events", "/healthz"):
            assert file_api.get(path, headers=bearer()).status_code == 200
        assert "tem_store_up 1.0" in file_api.get("/metrics").text


def test_connections_that_the_server_ends_cost_no_request(tmp_path, postgresql_url, postgresql_server, api_redis):
    process = make_process(tmp_path, postgresql_url, api_redis.url)
    with serving(process) as client:
        event_id = post(client).json()["event_id"]
        client.get(f"/events/{event_id}", headers=bearer())
        with postgresql_server.begin() as connection:
            ended = connection.execute(
                text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = :name"),
                {"name": f"{process.config.name}/api"},
            ).scalar_one()
        assert ended >= 2
        assert post(client).status_code == 200
        assert client.get(f"/events/{event_id}", headers=bearer()).status_code == 200


# --- too much


def test_what_is_too_much_is_refused_and_told_when_to_come_again(tmp_path, shared_url, api_redis):
    shedding = {"shedding": {"above": 2, "retry_after": "2500ms"}}
    process = make_process(tmp_path, shared_url, api_redis.url, pipeline=shedding)
    with serving(process) as client:
        assert [post(client, f"k-{n}").status_code for n in range(3)] == [201] * 3
        refused = post(client, "k-3")
        assert unavailable(refused)["where"] == "overload"
        assert (refused.headers["retry-after"], refused.json()["retry_after_s"]) == ("3", 2.5)
        batch = {"events": [{"idempotency_key": "k-4", **EVENT}]}
        assert unavailable(client.post("/events/batch", json=batch, headers=bearer()))["where"] == "overload"
        assert len(rows(process.store)) == 3
        now = time.time()
        finish(process.store, [ended(one, at=now) for one in claim(process.store, now=now)], now=now)
        assert post(client, "k-3").status_code == 201


# --- Redis


def test_without_redis_events_are_taken_in_and_the_sweep_wakes_for_them(tmp_path, shared_url):
    with redis_server(tmp_path / "own") as redis:
        process = make_process(tmp_path, shared_url, redis.url)
        with serving(process) as client:
            redis.kill()
            assert post(client).status_code == 201
            health = client.get("/healthz")
            assert (health.status_code, health.json()["parts"]["store"]["ok"]) == (503, True)
            assert not health.json()["parts"]["redis"]["ok"]
            metrics = client.get("/metrics").text
            assert "tem_redis_up 0.0" in metrics
            assert 'tem_events{state="QUEUED"} 1.0' in metrics
            assert "tem_queue_length{" not in metrics
            redis.start()
            assert client.get("/healthz").status_code == 200
            assert post(client, "key-2").status_code == 201
            assert process.redis.llen(f"{process.config.name}:processing_queue") == 1


# --- the process


_KILLED_BEFORE_WAKE = """
import os, signal
from dataclasses import replace
from tem_sim.live.api.server import serve
from tem_sim.live.config import LiveConfig
from tem_sim.live.ports import SENDER
from tem_sim.live.process import Process

class Kills:
    def reach(self, edge):
        if edge == "after_commit_before_wake":
            os.kill(os.getpid(), signal.SIGKILL)

process = Process("api", LiveConfig.load())
process.pipeline = replace(process.pipeline, failpoints=Kills())
serve(process)
"""


@contextmanager
def running(process, *command):
    """Run the API as a process of its own, and yield it with a client."""
    config = process.config
    config.ready_file("api").unlink(missing_ok=True)
    node = subprocess.Popen([sys.executable, *command], env={**os.environ, VARIABLE: str(config.file)})
    try:
        wait_until(lambda: config.ready_file("api").exists() or node.poll() is not None, "the API is up", PATIENCE_S)
        assert node.poll() is None
        with client_of(process) as client:
            yield node, client
    finally:
        node.kill()
        node.wait()


class AnHourLater:
    def now(self):
        return time.time() + 3600


NODE = ("-m", "tem_sim.live.node", "api")


def test_killed_between_commit_and_wake_up_the_event_stands_and_is_found_by_the_sweep(api_process):
    with running(api_process, "-c", _KILLED_BEFORE_WAKE) as (node, client):
        with pytest.raises(httpx.HTTPError):
            post(client)
        assert node.wait(PATIENCE_S) == -signal.SIGKILL
    (kept,) = rows(api_process.store)
    queue = f"{api_process.config.name}:processing_queue"
    assert (kept["status"], api_process.redis.llen(queue)) == ("QUEUED", 0)
    with running(api_process, *NODE) as (_, client):
        again = post(client)
    assert (again.status_code, again.json()) == (200, {"event_id": kept["event_id"], "created": False})
    assert api_process.redis.llen(queue) == 0
    SENDER.set(("beat", "rescue", 0))
    with patient():
        assert rescue_lost_events(replace(api_process.pipeline, clock=AnHourLater()), actor="beat") == 1
    assert api_process.redis.llen(queue) == 1


def refuses(port):
    """Return whether nobody listens on a port."""
    with socket.socket() as dialing:
        return dialing.connect_ex((HOST, port)) != 0


def test_told_to_end_it_answers_what_is_under_way_and_leaves_nothing(api_process):
    port = api_process.config.ports.api
    with running(api_process, *NODE) as (node, client), ThreadPoolExecutor(1) as pool:
        with locked(api_process.store):
            under_way = pool.submit(post, client)
            wait_until_open(client, 1)
            node.terminate()
            wait_until(lambda: refuses(port), "nobody new is let in")
            assert not under_way.done()
        assert under_way.result().status_code == 201
        assert node.wait(PATIENCE_S) == 0
    assert statuses(api_process.store) == ["QUEUED"]
