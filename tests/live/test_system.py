"""A live system's processes: started and ready, started again when they die, struck one at a time, gone at the end."""

import errno
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_systems import eventually, need_redis_server, small_system
from redis import Redis
from redis.exceptions import AuthenticationError
from test_children import lives

from tem_sim.live.child import Child
from tem_sim.live.config import HOST
from tem_sim.live.logs import lines
from tem_sim.live.system import System, SystemBrokeError, free_ports

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("live_system")]
NODES = ["redis", "downstream", "api", "gateway", "maintenance", "worker-1", "beat"]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    need_redis_server(folder)
    with small_system(folder) as system:
        yield system


def listens(port: int) -> bool:
    with socket.socket() as dialing:
        return dialing.connect_ex((HOST, port)) == 0


def pid_of(system: System, name: str) -> int:
    pid = system.children[name].pid
    assert pid is not None
    return pid


def queue(system: System) -> "Redis":
    return Redis.from_url(system.config.redis_url)


def test_every_node_does_its_work_once_the_system_is_started(system: System) -> None:
    assert {name: child.state for name, child in system.children.items()} == dict.fromkeys(NODES, "up")
    assert listens(system.config.ports.api)
    assert listens(system.config.ports.gateway)
    assert listens(system.config.ports.downstream)


def test_what_others_must_not_know_is_for_its_owner_only(system: System) -> None:
    assert system.config.file.stat().st_mode & 0o077 == 0
    assert system.folder.stat().st_mode & 0o077 == 0
    with (
        Redis.from_url(system.config.redis_url.replace("//:", "//:not")) as stranger,
        pytest.raises(AuthenticationError),
    ):
        stranger.ping()


def test_a_worker_that_was_killed_stays_down_until_somebody_starts_it(system: System) -> None:
    system.kill("worker-1")
    assert system.children["worker-1"].state == "down"
    assert not eventually(lambda: system.children["worker-1"].state != "down", 1.6)
    system.start_node("worker-1")
    system.wait_for(["worker-1"])


def test_a_node_that_dies_by_itself_is_started_again(system: System) -> None:
    for name in ("worker-1", "gateway"):
        before = pid_of(system, name)
        os.kill(before, signal.SIGKILL)
        assert eventually(lambda n=name, b=before: system.children[n].pid not in (None, b))
        system.wait_for([name])
    died = [line["name"] for line in lines(system.config.log_file("system")) if line["event"] == "died"]
    assert died[-2:] == ["worker-1", "gateway"]


def test_a_node_that_is_held_down_comes_back_afterwards(system: System) -> None:
    with system.held_down("gateway"):
        system.start_node("gateway")
        assert system.children["gateway"].state == "down"
        assert not listens(system.config.ports.gateway)
    system.wait_for(["gateway"])


def test_an_idle_worker_ends_by_itself_when_it_is_asked_to(system: System) -> None:
    assert system.stop("worker-1", grace_s=60.0)
    assert system.children["worker-1"].state == "down"
    system.start_node("worker-1")
    system.wait_for(["worker-1"])


def test_redis_comes_back_with_what_it_had_or_empty(system: System) -> None:
    assert system.redis is not None
    queue(system).set("mark", 1)
    # While it syncs its file it puts writes off, and a kill then loses them.
    assert eventually(lambda: queue(system).info("persistence")["aof_buffer_length"] == 0)
    system.kill("redis")
    system.start_node("redis")
    system.wait_for(["redis"])
    assert queue(system).get("mark") == b"1"
    system.kill("redis")
    system.redis.forget()
    system.start_node("redis")
    system.wait_for(["redis"])
    assert queue(system).get("mark") is None


def test_its_end_leaves_no_process_no_port_and_no_file(tmp_path: Path) -> None:
    need_redis_server(tmp_path)
    with small_system(tmp_path) as system:
        mains = [pid_of(system, name) for name in NODES]
        everyone = {pid for main in mains for pid in group_of(main)}
        assert len(everyone) > len(NODES)
    assert not any(map(lives, everyone))
    assert not system.folder.exists()
    ports = system.config.ports
    assert not any(map(listens, (ports.api, ports.gateway, ports.downstream)))


def group_of(leader: int) -> list[int]:
    """Return the processes of a group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) == leader:
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return found


def test_a_node_that_cannot_start_is_named_and_nothing_is_left_behind(tmp_path: Path) -> None:
    need_redis_server(tmp_path)
    system = small_system(tmp_path)
    # Somebody who listens there although it is reserved.
    with (
        socket.create_server((HOST, system.config.ports.gateway)),
        pytest.raises(SystemBrokeError, match=r"(?s)gateway .*[Aa]ddress already in use"),
    ):
        system.__enter__()
    assert not system.folder.exists()
    assert all(child.pid is None for child in system.children.values())


def test_a_supervisor_that_cannot_start_a_process_tries_again(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    start = Child.start

    def fails_once(child: Child) -> None:
        tried.append(child.name)
        if len(tried) == 1:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        start(child)

    monkeypatch.setattr(Child, "start", fails_once)
    os.kill(pid_of(system, "beat"), signal.SIGKILL)
    assert eventually(lambda: len(tried) == 2)
    system.wait_for(["beat"])
    assert tried == ["beat", "beat"]
    failed = [line["error"] for line in lines(system.config.log_file("system")) if line["event"] == "tend_failed"]
    assert len(failed) == 1


def test_free_ports_are_none_of_those_that_are_taken_in_thought() -> None:
    taken = range(0, 2**16, 3)
    assert not set(free_ports(20, besides=taken)) & set(taken)


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert not any(map(listens, ports))
