"""The numbers that `live up` shows are those of the system: of its store, its queues, its sockets, its processes."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest
from live_systems import eventually, need_redis_server, small_system
from pipeline_ledger import submission
from redis import Redis
from up_process import PATIENCE_S
from websockets.asyncio.client import connect

from tem_sim.live import status
from tem_sim.live.status import Watcher
from tem_sim.live.tokens import issue
from tem_sim.pipeline import claims, lifecycle
from tem_sim.pipeline.store import Store, make_engine

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("live_up")]


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """Start a system whose workers and schedulers are down: what is counted stays as the test has made it."""
    folder = tmp_path_factory.mktemp("status")
    need_redis_server(folder)
    with small_system(folder) as system:
        for name in ("beat", "worker-1", "maintenance"):
            system.kill(name)
        yield system


@pytest.fixture
def watcher(system, monkeypatch):
    """Look at it with the patience of a test: what stands still for a second is not away."""
    monkeypatch.setattr(status, "PATIENCE_S", PATIENCE_S)
    watcher = Watcher(system)
    yield watcher
    watcher.close()


@pytest.fixture
def store(system):
    store = Store(make_engine(system.config.store_url))
    yield store
    store.close()


def test_events_by_phase_and_how_long_the_oldest_has_waited(system, watcher, store):
    began = time.time()
    now = round(began, 6)
    events = [replace(submission(number), event_id=number) for number in (1, 2, 3)]
    lifecycle.submit(store, events, now=now - 90.0, actor="api")
    settings = replace(system.config.scenario.settings(), batch_size=1)
    claims.claim(store, settings, now=now - 80.0, worker="worker-1/0")
    standing = watcher.look().standing
    assert standing.phases() == {"QUEUED": 2, "RETRY": 0, "PROCESSING": 1, "FAILED": 0, "PROCESSED": 0, "EXTINCT": 0}
    assert 90.0 <= standing.queued_age_s <= 90.0 + time.time() - began + 0.001
    assert standing.overdue_leases == 1


def test_queues_are_as_long_as_they_are(system, watcher):
    with Redis.from_url(system.config.redis_url) as redis:
        key = f"{system.config.name}:processing_queue"
        before = watcher.look().queues["processing_queue"]
        redis.lpush(key, "{}", "{}", "{}")
        assert watcher.look().queues == {
            "processing_queue": before + 3,
            "maintenance": watcher.look().queues["maintenance"],
        }
        redis.delete(key)
    assert watcher.look().queues["processing_queue"] == 0


def test_users_are_counted_once_however_many_sockets_they_have(system, watcher):
    async def connected():
        url, patience = system.config.gateway_url, {"open_timeout": PATIENCE_S, "ping_timeout": PATIENCE_S}
        async with connect(url, **patience) as one, connect(url, **patience) as two:
            for socket in (one, two):
                await socket.send(json.dumps({"type": "hello", "token": issue(system.config.secret, user_id=4)}))
                await socket.recv()
            return await asyncio.to_thread(watcher.look)

    assert (watcher.look().sockets.users, watcher.look().sockets.connected) == (0, 0)
    found = asyncio.run(connected())
    assert (found.sockets.users, found.sockets.connected) == (1, 2)


def test_nodes_are_told_with_their_pid_and_how_often_they_were_started_again(system, watcher):
    nodes = {node.name: node for node in watcher.look().nodes}
    assert (nodes["api"].state, nodes["api"].restarts) == ("up", 0)
    assert (nodes["beat"].state, nodes["beat"].pid) == ("down", None)
    system.kill("downstream")
    system.start_node("downstream")
    system.wait_for(["downstream"])
    again = {node.name: node for node in watcher.look().nodes}["downstream"]
    assert (again.state, again.restarts) == ("up", 1)
    assert again.pid not in (None, nodes["downstream"].pid)


def test_what_is_away_is_unknown_and_the_look_does_not_wait_for_it(system):
    watcher = Watcher(system)
    try:
        for name in ("redis", "gateway"):
            system.pause(name)
        with ThreadPoolExecutor(1) as pool:
            looking = pool.submit(watcher.look)
            try:
                # They do not go on before it has been told.
                found = looking.result(PATIENCE_S)
            finally:
                for name in ("redis", "gateway"):
                    system.resume(name)
        assert (found.queues, found.sockets) == (None, None)
        assert found.standing is not None
        assert {node.state for node in found.nodes if node.name in ("redis", "gateway")} == {"paused"}
        assert eventually(lambda: (again := watcher.look()).queues is not None and again.sockets is not None)
    finally:
        watcher.close()


def test_a_look_never_holds_up_a_writer_nor_waits_for_one(watcher, store):
    with store.begin() as connection, suppress(RuntimeError):
        connection.exec_driver_sql("UPDATE processing_state SET version = version")
        # Who waits for the writer is told at last that the store is locked, and knows nothing of it.
        assert watcher.look().standing is not None
        raise RuntimeError("to roll back")
