"""Stores to test on, and how Hypothesis behaves in CI.

Its presence also puts this folder on the import path, so that tests share builders such as `frame_builder`.
"""

import gc
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import hypothesis
import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import OperationalError

from tem_sim.pipeline.store import Store, StoreError, make_engine, open_store

POSTGRESQL = os.environ.get(
    "TEM_SIM_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres?connect_timeout=30"
)
IN_CI = os.environ.get("CI") == "true"
# Commands say more in a step of a GitHub workflow; the tests of that say so themselves.
for _name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
    os.environ.pop(_name, None)

# What a shell starts in the background ignores Ctrl-C, and so do its children; the tests press it on theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A shared machine is no place for deadlines; and what CI runs must not depend on the day's luck.
hypothesis.settings.register_profile("home", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if IN_CI else "home")

# What takes minutes as a whole, and what it tests is tested in small elsewhere: CI runs it, `make test` does not.
LONG = (
    "cli/test_cli_studies.py",
    "cli/test_cli_sweep.py",
    "docs/test_pages_run.py",
    "faultsweep",
    "hunt",
    "live/test_celery_twin.py",
    "live/test_run",
    "live/test_system.py",
    "live/test_up",
    "live/test_gateway_faults.py",
    "live/test_gateway_slow.py",
    "live/test_page",
    "mutants/test_campaign.py",
    "races",
    "report",
    "scenario/test_mutated_files.py",
    "scenarios",
    "sim/test_broker_faults.py",
    "sim/test_database_faults.py",
    "sim/test_database_survival.py",
    "sim/test_defaults_survive.py",
    "sim/test_delivery_faults.py",
    "sim/test_no_false_alarms.py",
    "sim/test_statement_determinism.py",
    "sim/test_worker_faults.py",
    "sim/test_workload_faults.py",
    "studies",
    "sweeps",
    "testing",
)
_HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is too long for the quick set, and keep what shares a fixture in one process."""
    for item in items:
        if not item.path.is_relative_to(_HERE):
            continue
        file = item.path.relative_to(_HERE).as_posix()
        if file.startswith(LONG):
            item.add_marker(pytest.mark.long)
        if _shares(item) and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(file))


def _shares(item: pytest.Item) -> bool:
    """Whether a test asks for what its module makes once, and each process that runs one of its tests once more."""
    fixtures = getattr(item, "_fixtureinfo", None)
    return fixtures is not None and any(
        fixture.scope == "module" for known in fixtures.name2fixturedefs.values() for fixture in known
    )


def pytest_collection_finish() -> None:
    """Let the cycle collector look less often, and never at what stays: all modules, and some thousands of tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _with_options(options: str) -> str:
    return make_url(POSTGRESQL).update_query_dict({"options": options}).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Engine]:
    """Connect to the server; where there is none, skip at home and fail in CI."""
    try:
        engine = make_engine(_with_options("-csynchronous_commit=off"))
        engine.connect().close()
    except (OperationalError, StoreError) as error:
        reason = f"no PostgreSQL at {make_url(POSTGRESQL)!r} (set TEM_SIM_TEST_POSTGRESQL): {error}"
        if IN_CI:
            pytest.fail(reason)
        pytest.skip(reason)
    yield engine
    engine.dispose()


@pytest.fixture
def postgresql_url(postgresql_server: Engine) -> Iterator[str]:
    """Make a schema for one test alone, and drop it afterwards."""
    # Numbers of processes come again, and with them the schemas of one that was killed.
    schema = f"tem_sim_test_{uuid4().hex[:16]}"
    with postgresql_server.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    # A statement that waits for ever, for a lock that its own test holds, fails instead.
    yield _with_options(f"-csearch_path={schema} -csynchronous_commit=off -clock_timeout=10s")
    with postgresql_server.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))


_SHARED = ["file", pytest.param("postgresql", marks=pytest.mark.server)]


def _url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "sqlite://"
    if request.param == "file":
        return f"sqlite:///{request.getfixturevalue('tmp_path')}/store.db"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture(params=["memory", *_SHARED])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Open an empty store: SQLite in memory, SQLite in a file, PostgreSQL."""
    opened = open_store(_url(request))
    yield opened
    opened.close()


@pytest.fixture(params=_SHARED)
def shared_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Open an empty store that several connections can use at once: SQLite in a file, PostgreSQL."""
    opened = open_store(_url(request))
    yield opened
    opened.close()


@pytest.fixture(params=_SHARED)
def shared_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty database that several processes can use at once."""
    return _url(request)
