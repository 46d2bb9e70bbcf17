"""The ports of a live system are its own from the start to the end, also while nobody listens on them."""

import socket
import sys
from pathlib import Path

import pytest
from live_systems import need_redis_server, small_system

from tem_sim.live.config import HOST
from tem_sim.live.system import free_ports, reserve

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ports are not reserved")


def can_be_had(port: int) -> bool:
    """Return whether a program that asks for a port is given it; the system itself gives away only such."""
    with socket.socket() as asking:
        try:
            asking.bind((HOST, port))
        except OSError:
            return False
        return True


def test_nobody_is_given_a_port_of_a_system_that_has_not_started_yet(tmp_path: Path) -> None:
    need_redis_server(tmp_path)
    system = small_system(tmp_path)
    ports = [*system.config.ports.model_dump().values(), int(system.config.redis_url.rpartition(":")[2].split("/")[0])]
    try:
        assert [port for port in ports if can_be_had(port)] == []
    finally:
        system.close()
    # Not all: one of them may be somebody else's by now.
    assert any(map(can_be_had, ports))


def test_on_a_reserved_port_connections_are_refused_until_a_server_listens_there() -> None:
    (port,) = free_ports(1)
    (reserved,) = reserve(port)
    with reserved, socket.socket() as client:
        with pytest.raises(ConnectionRefusedError):
            client.connect((HOST, port))
        with socket.create_server((HOST, port)), socket.create_connection((HOST, port), timeout=20):
            pass


def test_of_a_port_that_is_taken_nothing_is_reserved() -> None:
    with socket.create_server((HOST, 0)) as taken:
        assert reserve(taken.getsockname()[1]) == []
