"""One run of the twin: submit, strike, wait until nothing more happens, and read off what became of the events."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from benchmarks.celery_twin.outcome import Seen, check_struck
from benchmarks.celery_twin.system import TwinSystem
from benchmarks.celery_twin.worker import TASK, make_app
from tem_sim.live.clients import Clients
from tem_sim.live.faults.run import Faults
from tem_sim.live.logs import lines
from tem_sim.live.schema import migrate
from tem_sim.pipeline.preset_formulas import CeleryAutoretry
from tem_sim.scenario.arrivals import arrival_times
from tem_sim.scenario.load import CLIENT_RETRY_S, Load
from tem_sim.scenario.streams import Streams

if TYPE_CHECKING:
    from tem_sim.scenario.models import Scenario

SUBMITTERS = 32
# How often a worker of Celery 5.7 looks for messages past their timeout: every tenth time of looks 10 s apart.
RESTORE_EVERY_S = 100.0
# How long a worker is on its way back to Redis, with a task or two that it then does.
BACK_WITHIN_S = 10.0
LOOK_EVERY_S = 0.5


def run(scenario: Scenario, visibility_timeout_s: float | None, logs: Path | None = None) -> Seen:
    """Run the twin under a scenario; None is Celery's default visibility timeout. Logs are kept in `logs`, if given."""
    system = TwinSystem(scenario, visibility_timeout_s, logs)
    try:
        migrate(system.config.store_url)
        system.start()
        restored_s = 0.0 if visibility_timeout_s is None else visibility_timeout_s + RESTORE_EVERY_S
        return asyncio.run(_Run(system, restored_s).play())
    finally:
        system.close()


class _Run:
    """One run: what happens to the system, and what can be read of it.

    `restored_s` is how long messages of the dead are waited for; 0 where that would be an hour.
    """

    def __init__(self, system: TwinSystem, restored_s: float) -> None:
        policy = system.config.scenario.policy()
        assert isinstance(policy, CeleryAutoretry)
        # Longer than any countdown: when nothing has happened for so long, and no message is left, nothing will.
        self._quiet_s = policy.retry_backoff_max + BACK_WITHIN_S
        self._patience_s = self._quiet_s + restored_s
        self._system = system
        self._scenario = system.config.scenario
        streams = Streams(self._scenario.seed)
        self._arrivals = arrival_times(self._scenario, streams).tolist()
        self._load = Load(self._scenario, streams)
        self._clients = Clients(system.config, streams, system.log)
        # Neither kind of fault touches the load.
        load: Any = None
        self._faults = Faults(system, self._scenario.seed, clients=self._clients, load=load)
        self._begun_at = 0.0

    async def play(self) -> Seen:
        """Let it all happen, to its end."""
        await self._clients.connect()
        self._begun_at = time.time()
        self._clients.begin()
        self._faults.begin(self._begun_at)
        try:
            accepted = await self._submit_all()
            await self._sleep_until(self._scenario.quiet_after_s)
            while not (self._faults.quiet and self._is_over(accepted)):
                await asyncio.sleep(LOOK_EVERY_S)
            check_struck(self._scenario, sum(one.landed for one in self._faults.close(time.time())))
            return self._seen(accepted)
        finally:
            self._faults.close(time.time())
            await self._clients.close()

    def _now_s(self) -> float:
        return time.time() - self._begun_at

    async def _sleep_until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, at_s - self._now_s()))

    # --- submitting

    async def _submit_all(self) -> frozenset[int]:
        """Send a task for each arrival at its time; return the numbers of those that the broker has taken."""
        loop = asyncio.get_running_loop()
        with make_app(self._system.config) as app, ThreadPoolExecutor(SUBMITTERS) as pool:
            answers = {}
            for number, at_s in enumerate(self._arrivals, start=1):
                await self._sleep_until(at_s)
                answers[number] = loop.run_in_executor(pool, self._submit, app.tasks[TASK].apply_async, number)
            return frozenset([number for number, answer in answers.items() if await answer])

    def _submit(self, send: Callable[..., Any], number: int) -> bool:
        """Send a task, and as a client of our API does, send it again when told that it was not taken."""
        for again in range(self._scenario.api.retries + 1):
            time.sleep(CLIENT_RETRY_S if again else 0)
            try:
                send((number, self._load.user_id(number), time.time()), ignore_result=True)
            except (OperationalError, RedisError, OSError):
                continue
            return True
        return False

    # --- reading

    def _is_over(self, accepted: frozenset[int]) -> bool:
        """Whether all is done and told; or whether nothing has happened for so long that nothing will."""
        quiet_s, left = self._now_s() - self._last_at_s(), self._system.events_in_redis()
        effects, told = set(self._effects()), {one.event_id for one in self._clients.deliveries()}
        done = accepted <= effects | self._given_up() and effects <= told
        return (not left and (done or quiet_s > self._quiet_s)) or quiet_s > self._patience_s

    def _last_at_s(self) -> float:
        effects = [line["t"] for line in self._logged("downstream", "effect")]
        told = [delivery.first_s for delivery in self._clients.deliveries()]
        over_at = self._begun_at + self._scenario.quiet_after_s
        return float(max([over_at, *effects, *told]) - self._begun_at)

    def _logged(self, node: str, event: str) -> list[dict[str, Any]]:
        return [line for line in lines(self._system.config.log_file(node)) if line["event"] == event]

    def _effects(self) -> Counter[int]:
        return Counter(line["n"] for line in self._logged("downstream", "effect"))

    def _given_up(self) -> frozenset[int]:
        return frozenset(line["n"] for name in self._system.workers for line in self._logged(name, "given_up"))

    def _seen(self, accepted: frozenset[int]) -> Seen:
        return Seen(
            accepted=accepted,
            given_up=self._given_up(),
            called=frozenset(line["n"] for line in self._logged("downstream", "call")),
            effects=self._effects(),
            told={one.event_id: one.shown for one in self._clients.deliveries()},
            left=self._system.events_in_redis(),
            last_at_s=self._last_at_s(),
        )
