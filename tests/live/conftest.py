"""An Event API over real stores and a Redis of the tests' own, for those who ask for one."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_process import make_process, serving
from gateway_kit import RedisServer, World, redis_server

from tem_sim.live.process import Process
from tem_sim.pipeline.store import Store


@pytest.fixture(scope="session")
def api_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run a Redis that outlives each test."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def api_process(tmp_path, shared_url: str, api_redis: RedisServer, request: pytest.FixtureRequest) -> Process:
    """Return the process of an API, not served yet; a test's indirect parameter is what `make_process` takes."""
    return make_process(tmp_path, shared_url, api_redis.url, **getattr(request, "param", {}))


@pytest.fixture
def api(api_process: Process) -> Iterator[httpx.Client]:
    """Serve it, and return a client without a token."""
    with serving(api_process) as client:
        yield client


@pytest.fixture(scope="module")
def file_process(tmp_path_factory: pytest.TempPathFactory, api_redis: RedisServer) -> Process:
    """Return the process of an API on a SQLite file, the same for a whole module."""
    folder = tmp_path_factory.mktemp("api")
    return make_process(folder, f"sqlite:///{folder}/store.db", api_redis.url)


@pytest.fixture(scope="module")
def file_api(file_process: Process) -> Iterator[httpx.Client]:
    """Serve it: for questions whose answer no store has a part in."""
    with serving(file_process) as client:
        yield client


@pytest.fixture
def api_store(api_process: Process) -> Store:
    """Return the API's store."""
    return api_process.store


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run a Redis for one module, whose tests may kill it."""
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, redis: RedisServer, request: pytest.FixtureRequest) -> Iterator[World]:
    """Open what a gateway works on, on a SQLite file; a test's indirect parameter says what differs."""
    made = World(tmp_path, f"sqlite:///{tmp_path}/store.db", redis.url, **getattr(request, "param", {}))
    yield made
    made.close()
