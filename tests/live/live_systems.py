"""Live systems to test on: small ones, on a store of their own."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tem_sim.live.own_redis import NoRedisError, OwnRedis
from tem_sim.live.system import System
from tem_sim.pipeline.store import open_store
from tem_sim.scenario.models import Scenario

BASE: dict[str, Any] = {
    "scenario": "live",
    "arrivals": {"kind": "burst", "at": "1s", "events": 10},
    "workers": {"count": 1, "concurrency": 2, "restart_after": "1s"},
    "users": {"count": 5},
}


def small_scenario(**sections: Any) -> Scenario:
    """Return a scenario of one worker with two slots; whole sections replace those of it."""
    return Scenario.model_validate({**BASE, **sections})


def small_system(folder: Path, *, store_url: str | None = None, **sections: Any) -> System:
    """Return a system, not started yet, on a SQLite file in that folder where no store is named."""
    url = store_url or f"sqlite:///{folder}/store.db"
    open_store(url).close()
    return System(small_scenario(**sections), store_url=url)


def need_redis_server(tmp_path: Path) -> None:
    """Skip where no redis-server can be started; in CI fail."""
    try:
        OwnRedis(tmp_path, 1, "", durable=False)
    except NoRedisError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def eventually(holds: Callable[[], object], within_s: float = 60.0) -> bool:
    """Return whether something comes true in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.05)
    return bool(holds())
