"""What `live up` cannot do it says in one message, before anything is started, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from live_systems import eventually
from typer.testing import CliRunner
from up_process import live_up

from tem_sim.cli.main import app
from tem_sim.live.config import HOST
from tem_sim.live.system import free_ports

# Keeps the API from coming up for as long as the others may take; any signal ends it.
STANDS_STILL = "import sys, time\nif sys.orig_argv[-2:] == ['tem_sim.live.node', 'api']:\n    time.sleep(600)\n"


def refused(folder: Path, *words: str, **env: str) -> str:
    """Return what it says when it refuses; it must be one message, and all there is."""
    with live_up(folder, *words, **env) as up:
        assert up.wait() == 2
        assert up.is_gone()
        assert "Traceback" not in up.error
        return up.error


@pytest.fixture
def taken_port():
    with socket.socket() as listening:
        listening.bind((HOST, 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_without_redis_server_on_path_it_names_the_package(tmp_path):
    error = refused(tmp_path, PATH=str(tmp_path))
    assert "redis-server is not on PATH; install it (Debian and Ubuntu: apt install redis-server" in error
    assert "--redis redis://" in error


@pytest.mark.parametrize("option", ["--api-port", "--gateway-port"])
def test_a_port_that_is_taken_is_named(tmp_path, taken_port, option):
    error = refused(tmp_path, option, str(taken_port))
    assert f"{option}: address already in use (got {taken_port}); give another, or none" in error


def test_two_parts_cannot_have_one_port(tmp_path):
    (port,) = free_ports(1)
    error = refused(tmp_path, "--api-port", str(port), "--gateway-port", str(port))
    assert "--gateway-port: must be another than --api-port" in error


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense", "store: not a URL; give sqlite://"),
        ("mysql://host/base", "store: give sqlite://"),
        ("sqlite://", "must be a file or a server"),
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
        ("postgresql+psycopg://nobody:hush@127.0.0.1:9/none?connect_timeout=2", "store: cannot use postgresql"),
    ],
)
def test_a_store_that_cannot_be_used_is_told_without_its_password(tmp_path, url, told):
    error = refused(tmp_path, "--store", url)
    assert told in error
    assert "hush" not in error


def test_a_redis_that_does_not_answer_is_told_without_its_password(tmp_path, taken_port):
    error = refused(tmp_path, "--redis", "redis://someone:hush@127.0.0.1:9/0")
    assert "--redis: cannot use redis://someone:***@127.0.0.1:9/0" in error
    assert "start it, or leave --redis out for one of its own" in error
    assert "hush" not in error


def test_a_redis_url_that_is_none_is_told(tmp_path):
    assert "--redis: Redis URL must specify one of the following schemes" in refused(tmp_path, "--redis", "localhost")


def test_mistakes_of_a_scenario_are_told_with_their_place(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("scenario: bad\narrivals: {kind: burst, events: 1}\nworkers: {count: 0}\n")
    assert f"{file}:3:18: workers.count: " in refused(tmp_path, str(file))
    assert "workers.wages: " in refused(tmp_path, "--set", "workers.wages=3")


def test_without_the_extra_it_says_how_to_get_it(tmp_path):
    code = "import sys; sys.modules['celery'] = None; sys.modules['jwt'] = None; import tem_sim.cli.main as m; m.main()"
    done = subprocess.run([sys.executable, "-c", code, "live", "up"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "tem-sim live needs more packages (celery, jwt): pip install 'tem-sim[live]'\n"


def test_a_part_that_does_not_come_up_is_named_with_its_last_words_and_nothing_is_left(tmp_path):
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\necho no memory today\nexit 7\n")
    server.chmod(0o755)
    with live_up(tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}") as up:
        assert up.wait() == 3
        assert "redis ends with code 7\n" in up.error
        assert "no memory today" in up.error
        assert up.is_gone()


@pytest.mark.server
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_before_it_is_ready_it_leaves_nothing(tmp_path, number, code):
    (tmp_path / "sitecustomize.py").write_text(STANDS_STILL)
    with live_up(tmp_path, PYTHONPATH=str(tmp_path)) as up:
        assert eventually(lambda: len(up.processes()) > 6 or up.process.poll() is not None)
        assert up.process.poll() is None, up.error
        assert up.end(number) == code
        assert up.is_gone()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--user", "7"], "needs the system's file; give --config FILE, or set TEM_SIM_LIVE"),
        (["--config", "none.json", "--user", "7"], "none.json: No such file or directory"),
        (["--config", __file__, "--user", "7"], "is no live.json of a running system"),
        (["--config", __file__], "whose? give --user N, --operator, or both"),
        (["--config", __file__, "--user", str(2**53)], "--user: must be at most 9007199254740991"),
        (["--config", __file__, "--user", "7", "--valid-for", "soon"], "--valid-for: "),
    ],
)
def test_a_token_that_cannot_be_made_is_refused(words, told, monkeypatch):
    monkeypatch.delenv("TEM_SIM_LIVE", raising=False)
    done = CliRunner().invoke(app, ["live", "token", *words])
    assert done.exit_code == 2
    assert told in done.stderr
