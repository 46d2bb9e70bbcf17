"""A run is a function of scenario and seed: on every store, in every process, whatever the hash seed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sim_worlds import burst, scenario
from sqlalchemy import Engine, inspect

from tem_sim.checks.registry import run_checks
from tem_sim.frames import SCHEMAS, Run
from tem_sim.pipeline.store import StoreError
from tem_sim.scenario.models import Scenario
from tem_sim.sim.world import World, simulate

# One process has the runs that these tests share.
pytestmark = pytest.mark.xdist_group("determinism")

# Kills, pauses and skew together, with chance in every place that has any.
WILD: dict[str, Any] = {
    "horizon": "90s",
    "arrivals": {"kind": "poisson", "rate": "15/s", "until": "20s"},
    "events": {"kinds": {"normal": 0.9, "poison": 0.05, "killer": 0.05}, "duplicate_submits": 0.1},
    "pipeline": {"lease": "6s", "sweep_after": "5s", "batch_size": 7, "crash_budget": 1},
    "broker": {"loss": 0.1, "ack": "late", "visibility_timeout": "8s", "sweep_every": "3s"},
    "store": {"latency": {"kind": "exponential", "mean": "2ms"}},
    "handler": {"failure_rate": 0.2, "kinds": {"poison": {"effect": "fail"}, "killer": {"effect": "kill"}}},
    "users": {"count": 30, "connected": 0.6, "session": {"kind": "exponential", "mean": "10s"}, "away": "3s"},
    "faults": [
        {"kind": "worker_death", "target": "workers", "rate": "0.3/s", "until": "25s", "restart_after": "2s"},
        {"kind": "worker_death", "target": "*", "edge": "after_commit_before_wake", "nth": 9, "restart_after": "1s"},
        {"kind": "worker_pause", "target": "worker-2", "edge": "before_settle", "nth": 4, "for": "9s"},
        {"kind": "worker_pause", "target": "worker-3", "at": "8s", "for": "7s"},
        {"kind": "clock_skew", "target": "worker-1", "at": "5s", "for": "20s", "skew": "-3s", "drift": "100ppm"},
        {"kind": "clock_skew", "target": "beat", "at": "9s", "for": "9s", "skew": "1500ms"},
        {"kind": "beat_doubled", "at": "4s", "for": "12s", "phase": "3ms"},
        {"kind": "gateway_disconnect", "at": "6s", "for": "2s", "fraction": 0.5},
    ],
}
OUTAGE: dict[str, Any] = {
    "arrivals": burst(200),
    "handler": {"capacity": {"servers": 4, "queue": 50, "timeout": "1s"}},
    "faults": [
        {"kind": "outage", "at": "0s", "for": "8s"},
        {"kind": "broker_restart", "at": "10s", "for": "2s", "messages": "lost"},
        {"kind": "beat_stopped", "at": "14s", "for": "3s"},
        {"kind": "wakeups_lost", "at": "17s", "for": "5s", "probability": 0.5},
    ],
    "pipeline": {"sweep_after": "5s"},
}
NO_OUTBOX: dict[str, Any] = {
    "pipeline": {"outbox": False, "lease": "5s", "write_guard": "version"},
    "faults": [{"kind": "worker_death", "target": "workers", "edge": "before_publish", "nth": 3}],
}
# Every mitigation at once, and faults that strike into them.
MITIGATED: dict[str, Any] = {
    **OUTAGE,
    "arrivals": [burst(200), {"kind": "poisson", "rate": "20/s", "from": "2s", "until": "20s"}],
    "pipeline": {
        "sweep_after": "5s",
        "lease": "6s",
        "batch_size": 7,
        "claim_order": "new_first",
        "deadline": "14s",
        "concurrency_limit": 4,
        "retry_budget": {"ratio": 0.3, "floor": "5/s", "burst": 20},
        "shedding": {"above": 150, "retry_after": "3s"},
        "breaker": {"minimum_calls": 5, "window": "3s", "cool_down": "2s", "probes": 3},
    },
    "beat": {"retry_floor": "200ms"},
    "faults": [
        *OUTAGE["faults"],
        {"kind": "worker_death", "target": "workers", "rate": "0.2/s", "until": "20s", "restart_after": "2s"},
        {"kind": "worker_pause", "target": "worker-2", "edge": "before_settle", "nth": 4, "for": "9s"},
        {"kind": "beat_doubled", "at": "3s", "for": "12s", "phase": "3ms"},
        {"kind": "clock_skew", "target": "worker-1", "at": "5s", "for": "20s", "skew": "-2s"},
    ],
}
SCENARIOS: dict[str, dict[str, Any]] = {
    "wild": WILD,
    "outage": OUTAGE,
    "no outbox": NO_OUTBOX,
    "mitigated": MITIGATED,
}


def assert_equal(one: Run, two: Run) -> None:
    assert one.digest == two.digest
    assert one.end_s == two.end_s
    for name in SCHEMAS:
        pd.testing.assert_frame_equal(getattr(one, name), getattr(two, name), check_exact=True, obj=name)


@cache
def first_of(name: str) -> Run:
    """Return the first run of a scenario, with which all that come later are compared."""
    return simulate(scenario(**SCENARIOS[name]))


@pytest.fixture(scope="module", params=SCENARIOS)
def named(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def made(named: str) -> Scenario:
    return scenario(**SCENARIOS[named])


@pytest.fixture(scope="module")
def in_memory(named: str) -> Run:
    return first_of(named)


def test_the_faults_of_these_scenarios_all_land(in_memory: Run) -> None:
    assert in_memory.faults["landed"].gt(0).all()
    assert len(in_memory.attempts) > 200


def test_every_mitigation_has_its_hand_in_the_mitigated_one() -> None:
    run = first_of("mitigated")
    assert {"expired", "released"} <= set(run.attempts["outcome"].astype(str))
    counts = run.samples.set_index(run.samples["name"].astype(str))["value"]
    assert counts["submissions_refused"] > 0
    assert "batch" in set(run.wakeups["task"].astype(str))
    assert not [answer for answer in run_checks(run) if answer.verdict == "false"]


def test_twice_in_one_process(made: Scenario, in_memory: Run) -> None:
    assert_equal(in_memory, simulate(made))


def test_on_a_file(made: Scenario, in_memory: Run, tmp_path: Path) -> None:
    assert_equal(in_memory, simulate(made, store=f"sqlite:///{tmp_path / 'run.db'}"))


@pytest.mark.server
def test_on_postgresql(made: Scenario, in_memory: Run, postgresql_server: Engine, postgresql_url: str) -> None:
    world = World(made, made.seed, postgresql_url)
    world.run()
    on_server = world.read_out()
    schema = inspect(world.database.store.engine).default_schema_name
    assert schema in inspect(postgresql_server).get_schema_names()
    world.close()
    assert on_server.store == "postgresql"
    assert_equal(in_memory, on_server)
    # A new inspector, since the first one remembers what it saw.
    assert schema not in inspect(postgresql_server).get_schema_names()


def test_another_seed_is_another_run(made: Scenario, in_memory: Run) -> None:
    other = simulate(made, seed=made.seed + 1)
    assert other.digest != in_memory.digest
    assert other.seed == made.seed + 1
    assert other.scenario_dict["seed"] == made.seed + 1


def fingerprint(run: Run) -> str:
    """Return a hash of every frame, the order of the categories included."""
    sha = hashlib.sha256(f"{run.digest} {run.end_s!r}".encode())
    for name in SCHEMAS:
        frame = getattr(run, name)
        sha.update(frame.to_csv(float_format="%.17g").encode())
        for column in frame.select_dtypes("category"):
            sha.update(repr(list(frame[column].cat.categories)).encode())
    return sha.hexdigest()


CHILD = """
import sys
sys.path[:0] = {paths!r}
from test_determinism import SCENARIOS, fingerprint
from sim_worlds import scenario
from tem_sim.sim.world import simulate
for name in SCENARIOS:
    print(fingerprint(simulate(scenario(**SCENARIOS[name]))))
"""


def test_in_other_processes_with_other_hash_seeds() -> None:
    here = [fingerprint(first_of(name)) for name in SCENARIOS]
    folder = Path(__file__).parent
    child = CHILD.format(paths=[str(folder), str(folder.parent)])
    for hash_seed in ("1", "4242"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        printed = subprocess.run(
            [sys.executable, "-c", child], env=environment, capture_output=True, text=True, check=True, timeout=300
        ).stdout
        assert printed.split() == here


def test_a_store_that_holds_a_pipelines_tables_is_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'run.db'}"
    made = scenario(arrivals=burst(3))
    simulate(made, store=url)
    with pytest.raises(StoreError, match="give a new file"):
        simulate(made, store=url)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mysql://somewhere/db", "give sqlite://"),
        ("sqlite:////no/such/folder/run.db", "cannot use"),
        ("postgresql+psycopg://nobody:secret@127.0.0.1:1/none?connect_timeout=1", "cannot use"),
    ],
)
def test_a_store_that_cannot_be_used_is_refused_without_its_password(url: str, complaint: str) -> None:
    with pytest.raises(StoreError, match=complaint) as caught:
        simulate(scenario(arrivals=burst(1)), store=url)
    assert "secret" not in str(caught.value)
