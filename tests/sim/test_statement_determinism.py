"""A run on real connections is a function of scenario and seed, however many threads want the same few rows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hammer import hammered
from sim_worlds import burst
from sqlalchemy import make_url
from statement_worlds import run_apart
from test_determinism import assert_equal, fingerprint

from tem_sim.frames import Run

# One process has the runs that these tests share.
pytestmark = pytest.mark.xdist_group("statement determinism")

Made = TypeVar("Made")
_firsts: dict[tuple[object, ...], Any] = {}

ISOLATIONS = ["read_committed", "snapshot", "serializable"]
# Eight slots that fight for four events, which fail most of the time, with leases that run out under them.
FOUR_ROWS: dict[str, Any] = {
    "horizon": "20s",
    "arrivals": burst(4, "100ms"),
    "pipeline": {
        "backoff": {"growth": "fixed", "base": "20ms", "jitter": "full", "max_retries": 40},
        "lease": "150ms",
        "sweep_after": "300ms",
        "batch_size": 1,
    },
    "beat": {"retry_every": "40ms", "rescue_every": "50ms", "relay_every": "70ms"},
    "workers": {"count": 4, "concurrency": 2, "startup": "0s"},
    "handler": {"service_time": {"kind": "exponential", "mean": "60ms"}, "failure_rate": 0.95},
}


def fought(url: str, isolation: str) -> Run:
    store = {"isolation": isolation, "statement_latency": {"kind": "exponential", "mean": "3ms"}}
    return run_apart(url, **FOUR_ROWS, store=store)


def first_of(make: Callable[..., Made], url: str, *asked: Any) -> Made:
    """Return what was made first of this kind on this kind of store, with which all that comes later is compared."""
    key = (make, make_url(url).drivername, *asked)
    if key not in _firsts:
        _firsts[key] = make(url, *asked)
    made: Made = _firsts[key]
    return made


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_each_time_the_same_under_heavy_contention(statement_url: str, isolation: str, times: int) -> None:
    first = first_of(hammered, statement_url, isolation, 7)
    again = [hammered(statement_url, isolation, 7) for _ in range(times - 1)]
    assert {one.digest for one in again} == {first.digest}
    # Two writes by each of the 8 x 6 transactions, but for those that lost a conflict five times in a row.
    assert first.written == 2 * first.committed
    assert first.committed > 20
    if statement_url != "sqlite://" or isolation == "snapshot":
        assert first.refused.total() > 5


def test_other_seeds_are_other_runs(statement_url: str) -> None:
    done = [first_of(hammered, statement_url, "read_committed", seed) for seed in (7, 8, 9)]
    assert len({one.digest for one in done}) == 3


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_the_pipeline_does_the_same_twice_to_the_last_step(statement_url: str, isolation: str) -> None:
    first = first_of(fought, statement_url, isolation)
    assert len(first.attempts) > 20
    assert len(first.steps) > 500
    assert_equal(first, fought(statement_url, isolation))


CHILD = """
import sys
sys.path[:0] = {paths!r}
from hammer import hammered
from test_determinism import fingerprint
from test_statement_determinism import fought
print(hammered({url!r}, "read_committed", 7).digest, fingerprint(fought({url!r}, "read_committed")))
"""


def test_in_other_processes_with_other_hash_seeds(statement_url: str) -> None:
    hammering = first_of(hammered, statement_url, "read_committed", 7)
    here = [hammering.digest, fingerprint(first_of(fought, statement_url, "read_committed"))]
    folder = Path(__file__).parent
    child = CHILD.format(paths=[str(folder), str(folder.parent)], url=statement_url)
    for hash_seed in ("1", "4242"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        printed = subprocess.run(
            [sys.executable, "-c", child], env=environment, capture_output=True, text=True, check=True, timeout=300
        ).stdout
        assert printed.split() == here
