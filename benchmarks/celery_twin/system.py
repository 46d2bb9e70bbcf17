"""The twin's processes: Redis, the downstream, the gateway and the Celery workers."""

from __future__ import annotations

import base64
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.celery_twin.worker import VISIBILITY_TIMEOUT
from benchmarks.processes import ROOT
from tem_sim.live.system import System
from tem_sim.pipeline.ports import QUEUE

if TYPE_CHECKING:
    from tem_sim.scenario.models import Scenario

NOT_IN_THE_TWIN = ("api", "maintenance", "beat")


class TwinSystem(System):
    """The processes of the Celery-only design, started, tended, struck and cleaned up as those of ours are.

    The gateway is the same one. It has a store, as it must, which stays empty: there is no outbox to send again from.
    `visibility_timeout_s` None is Celery's default, an hour. Logs are kept that go to a folder of their own, `logs`.
    """

    def __init__(self, scenario: Scenario, visibility_timeout_s: float | None, logs: Path | None) -> None:
        super().__init__(scenario, luck_seed=scenario.seed, logs=logs)
        for name in NOT_IN_THE_TWIN:
            del self.children[name]
        env = {"PYTHONPATH": str(ROOT)}
        if visibility_timeout_s is not None:
            env[VISIBILITY_TIMEOUT] = str(visibility_timeout_s)
        for name in self.workers:
            child = self.children[name]
            child.command = [sys.executable, "-m", "benchmarks.celery_twin.worker", name]
            child.env = {**child.env, **env}

    @property
    def workers(self) -> list[str]:
        """The names of the workers."""
        return [name for name in self.children if name.startswith("worker-")]

    def events_in_redis(self) -> Counter[int]:
        """Return how many messages there are of each event: waiting, counting down, or in a worker's hands."""
        from redis import Redis

        with Redis.from_url(self.config.redis_url, socket_timeout=5) as client:
            asked = client.pipeline()
            asked.lrange(f"{self.config.name}:{QUEUE}", 0, -1)
            asked.hvals(f"{self.config.name}:unacked")
            waiting, unacked = asked.execute()
        messages = [json.loads(text) for text in waiting] + [json.loads(text)[0] for text in unacked]
        return Counter(map(_number, messages))


def _number(message: dict[str, Any]) -> int:
    args, *_ = json.loads(base64.b64decode(message["body"]))
    return int(args[0])
