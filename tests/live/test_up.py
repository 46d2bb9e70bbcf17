"""`live up` as a user has it: everything is where it says, what it prints works, and it ends without a trace."""

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from live_systems import eventually, need_redis_server
from sqlalchemy import make_url, text
from up_process import PATIENCE_S, listens, live_up
from websockets.asyncio.client import connect

from tem_sim.pipeline.store import make_engine, own_schema

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("live_up")]
SMALL = ("--workers", "1", "--set", "workers.concurrency=2", "--json")


@pytest.fixture(scope="module", autouse=True)
def _redis_server(tmp_path_factory):
    need_redis_server(tmp_path_factory.mktemp("redis"))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running(request, tmp_path_factory):
    """Start it on each kind of store, with its own Redis; yield the process and what it printed."""
    folder, words = tmp_path_factory.mktemp("up"), [*SMALL]
    with ExitStack() as own:
        if request.param == "postgresql":
            inside = own.enter_context(own_schema(request.getfixturevalue("postgresql_server").url))
            words += ["--store", inside.render_as_string(hide_password=False)]
        with live_up(folder, *words) as up:
            yield up, up.document()
        assert up.is_gone(), (up.processes(), up.files())


def get(url, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urlopen(Request(url, headers=headers), timeout=PATIENCE_S) as answer:
        return answer.read().decode()


def submit(document, key, token=None):
    """Submit an event and return its id."""
    headers = {"Authorization": f"Bearer {token or document['user_token']}", "Content-Type": "application/json"}
    body = json.dumps({"kind": "normal", "payload": {"key": key}}).encode()
    request = Request(f"{document['api']}/events", body, {**headers, "Idempotency-Key": key})
    with urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)["event_id"]


def status(document, event_id):
    return json.loads(get(f"{document['api']}/events/{event_id}", document["operator_token"]))["status"]


# --- while it is up


def test_the_curl_line_that_it_prints_works(running):
    _, document = running
    done = subprocess.run(shlex.split(document["curl"]), capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    answer = json.loads(done.stdout)
    assert answer["created"]
    assert eventually(lambda: status(document, answer["event_id"]) == "PROCESSED")


def test_an_event_is_submitted_processed_and_shown_on_its_users_socket(running):
    _, document = running

    async def story():
        async with connect(document["gateway"], open_timeout=PATIENCE_S, ping_timeout=PATIENCE_S) as socket:
            await socket.send(json.dumps({"type": "hello", "token": document["user_token"]}))
            event_id = await asyncio.to_thread(submit, document, "on-the-socket")
            message = {}
            async with asyncio.timeout(PATIENCE_S):
                while message.get("event_id") != event_id:
                    message = json.loads(await socket.recv())
            await socket.send(json.dumps({"type": "ack", "event_id": event_id}))
            return message

    message = asyncio.run(story())
    event_id = message["event_id"]
    assert message["type"] == "notification"
    assert status(document, event_id) == "PROCESSED"
    timeline = json.loads(get(f"{document['api']}/events/{event_id}", document["user_token"]))
    assert [move["after"] for move in timeline["transitions"]] == ["QUEUED", "PROCESSING", "PROCESSED"]


def test_everything_is_where_it_says(running):
    up, document = running
    assert '"openapi"' in get(document["openapi"])
    assert "<html" in get(document["page"].partition("#")[0]).lower()
    assert "tem_events" in get(document["metrics"])
    assert os.path.isdir(document["logs"])
    assert {pid for pid in document["pids"].values() if pid is not None} <= set(up.processes())
    assert set(document["pids"]) == {"redis", "downstream", "api", "gateway", "maintenance", "worker-1", "beat"}


def test_a_token_for_another_user_shows_that_users_events_only(running):
    _, document = running
    command = [sys.executable, "-m", "tem_sim", "live", "token", "--user", "7", "--config", document["config"]]
    token = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    mine = submit(document, "of-user-7", token)
    assert [event["event_id"] for event in json.loads(get(f"{document['api']}/events", token))["events"]] == [mine]
    with pytest.raises(HTTPError, match="404"):
        get(f"{document['api']}/events/{mine}", document["user_token"])


def test_a_worker_that_dies_is_started_again_and_the_changes_are_told(running):
    up, document = running
    # It has been looked at; else what is told first is that another one starts.
    assert eventually(lambda: f"worker-1 up (pid {document['pids']['worker-1']})" in up.error)
    os.kill(document["pids"]["worker-1"], signal.SIGKILL)
    assert eventually(lambda: re.search(r"worker-1 up \(pid \d+, restart 1\)", up.error))
    event_id = submit(document, "after-the-kill")
    assert eventually(lambda: status(document, event_id) == "PROCESSED")
    assert eventually(lambda: re.search(r"PROCESSED [1-9]", up.error))


# --- its end


def test_ctrl_c_ends_it_well_and_leaves_no_process_no_port_and_no_file(tmp_path):
    with live_up(tmp_path, *SMALL) as up:
        document = up.document()
        assert len(up.processes()) > len(document["pids"])
        assert up.end(signal.SIGINT) == 0
        assert up.processes() == []
        assert up.files() == []
        assert not any(listens(document[part]) for part in ("api", "gateway", "redis"))
        assert up.error.endswith("stopping …\nstopped; nothing is left of it\n")


def test_a_store_and_logs_that_are_named_are_kept(tmp_path):
    store, logs = tmp_path / "kept.db", tmp_path / "logs"
    with live_up(tmp_path, *SMALL, "--store", f"sqlite:///{store}", "--log-dir", str(logs)) as up:
        event_id = submit(up.document(), "kept")
        assert up.end(signal.SIGTERM) == 0
        assert up.is_gone()
        assert "stopped; the store and the logs kept, nothing else left" in up.error
    engine = make_engine(f"sqlite:///{store}")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT id FROM event").scalars().all() == [event_id]
    engine.dispose()
    assert '"event": "ready"' in (logs / "worker-1.jsonl").read_text()


@pytest.mark.parametrize("paused", [False, True])
def test_when_it_is_killed_itself_all_that_it_started_is_gone_soon(tmp_path, paused):
    with live_up(tmp_path, *SMALL) as up:
        document = up.document()
        if paused:
            os.killpg(document["pids"]["worker-1"], signal.SIGSTOP)
        up.process.kill()
        assert eventually(up.is_gone), (up.processes(), up.files())
        assert not any(listens(document[part]) for part in ("api", "gateway", "redis"))


def test_a_redis_that_goes_on_is_left_as_it_was(tmp_path, other_redis):
    url, client = other_redis
    client.set("theirs", 1)
    with live_up(tmp_path, *SMALL, "--redis", url) as up:
        document = up.document()
        assert "redis" not in document["pids"]
        event_id = submit(document, "over-another-redis")
        assert eventually(lambda: status(document, event_id) == "PROCESSED")
        assert {key.partition(b":")[0] for key in client.scan_iter()} > {b"theirs"}
        assert up.end() == 0
    assert list(client.scan_iter()) == [b"theirs"]


@pytest.fixture
def other_redis(tmp_path):
    from gateway_kit import redis_server
    from redis import Redis

    with redis_server(tmp_path / "other") as server, Redis.from_url(server.url) as client:
        yield server.url, client


def test_on_a_named_port_it_listens_there(tmp_path):
    from tem_sim.live.system import free_ports, reserve

    api, gateway = free_ports(2)
    reserved = reserve(api, gateway)
    with live_up(tmp_path, *SMALL, "--api-port", str(api), "--gateway-port", str(gateway)) as up:
        document = up.document()
        assert document["api"].endswith(f":{api}")
        assert document["gateway"].endswith(f":{gateway}")
        assert listens(document["api"])
        assert listens(document["gateway"])
    for one in reserved:
        one.close()


def test_postgresql_connections_are_all_gone_and_its_password_is_not_told(tmp_path, postgresql_url, postgresql_server):
    url = make_url(postgresql_url).set(password="hush").render_as_string(hide_password=False)
    with live_up(tmp_path, *SMALL, "--store", url) as up:
        document = up.document()
        name = json.loads(Path(document["config"]).read_text())["name"]
        assert "hush" not in json.dumps(document)
        assert connections(postgresql_server, name) > 0
        assert up.end() == 0
        assert "hush" not in up.error
    assert eventually(lambda: connections(postgresql_server, name) == 0)


def connections(server, name):
    asked = text("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE :name")
    with server.begin() as connection:
        return connection.execute(asked, {"name": f"{name}%"}).scalar_one()
