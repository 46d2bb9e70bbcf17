"""One run on a live system: load, users and faults from its beginning to its end, and what is read out of it."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tem_sim.frames import Run
from tem_sim.live.clients import Clients
from tem_sim.live.ending import Told, ToldToEnd
from tem_sim.live.faults.run import Faults
from tem_sim.live.load import LoadGenerator
from tem_sim.live.look import Look
from tem_sim.live.observed import frames_of
from tem_sim.live.system import REDIS
from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.store import Store, make_engine
from tem_sim.scenario.streams import Streams
from tem_sim.versions import versions

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.live.system import System
    from tem_sim.scenario.models import Scenario

# Called with (seconds so far, horizon in seconds) about once a second.
Progress = Callable[[float, float], None]

SAMPLE_EVERY_S = 1.0
# Within which time a database notices that its clients are dead.
NOTICED_WITHIN_S = 5.0
# How often it is looked whether somebody has pressed Ctrl-C.
GLANCE_EVERY_S = 0.2
_LIBRARIES = ("celery", "kombu", "redis", "fastapi", "uvicorn", "websockets")
_OF_THE_SIMULATOR = ("simpy", "greenlet")


class Play:
    """One run on a system: the load, the users, and the faults, until there is nothing left to happen."""

    def __init__(self, scenario: Scenario, seed: int, system: System, progress: Progress | None) -> None:
        self._scenario = scenario
        self._seed = seed
        self._system = system
        self._progress = progress
        streams = Streams(seed)
        self._clients = Clients(system.config, streams, system.log)
        self._load = LoadGenerator(system.config, streams, system.log)
        self._faults = Faults(system, seed, clients=self._clients, load=self._load)
        self._store = _store(system)
        self._interrupted = threading.Event()
        self._error: BaseException | None = None
        self._samples: list[tuple[float, str, float]] = []
        self._activations: Sequence[Any] = ()
        self._start_s = self._end_s = math.nan
        self._redis_version = ""

    @property
    def _now(self) -> float:
        return time.time() - self._start_s

    def play(self, told: Told) -> None:
        """Let the run happen. It has a thread of its own, so that no notebook's loop is in its way."""
        thread = threading.Thread(target=self._in_thread, name="live-run")
        thread.start()
        while thread.is_alive():
            try:
                told.check()
            except ToldToEnd:
                self._interrupted.set()
            thread.join(GLANCE_EVERY_S)
        if self._error is not None:
            raise self._error

    def _in_thread(self) -> None:
        try:
            asyncio.run(self._play())
        except BaseException as error:
            self._error = error

    async def _play(self) -> None:
        look = Look(self._system, self._store, self._clients)
        self._redis_version = look.redis_version()
        await self._clients.connect()
        self._start_s = time.time()
        self._clients.begin()
        load = self._load.begin()
        self._faults.begin(self._start_s)
        try:
            await self._until_over(look, load)
        finally:
            look.close()
            # From another thread: what it undoes at the users' clients is done in this one.
            self._activations = await asyncio.to_thread(lambda: self._faults.close(time.time()))
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
            await self._clients.close()
        await asyncio.to_thread(self._stop)

    async def _until_over(self, look: Look, load: asyncio.Task[None]) -> None:
        """Look every second, until nothing is left to happen, or it is the horizon, or somebody presses Ctrl-C."""
        looks = 0
        while not self._interrupted.is_set() and self._now < self._scenario.horizon_s:
            if load.done():
                load.result()
            self._samples += await asyncio.to_thread(look.gauges)
            if self._progress is not None:
                self._progress(self._now, self._scenario.horizon_s)
            if await self._is_over(look):
                return
            looks += 1
            await self._wait_until(min(looks * SAMPLE_EVERY_S, self._scenario.horizon_s))

    async def _is_over(self, look: Look) -> bool:
        if self._scenario.stop != "drained" or not self._load.idle or not self._faults.quiet:
            return False
        drained = await asyncio.to_thread(look.is_drained)
        # A fault's crowd may have come while the store was looked at.
        return bool(drained) and self._load.idle

    async def _wait_until(self, at_s: float) -> None:
        while not self._interrupted.is_set() and (left_s := at_s - self._now) > 0:
            await asyncio.sleep(min(left_s, GLANCE_EVERY_S))

    def _stop(self) -> None:
        """Stop every process where it is: what the store then holds is what there was at the run's end."""
        # Redis last: without it the others would begin to complain.
        for name in sorted(self._system.children, key=lambda name: name == REDIS):
            self._system.kill(name)
        _wait_until_alone(self._store, self._system.config.name)
        self._end_s = time.time()

    def read_out(self) -> Run:
        """Turn what the store holds and what was seen outside it into a run."""
        try:
            frames: dict[str, pd.DataFrame] = self._frames()
            versions = _versions(self._store, self._redis_version)
        finally:
            self._store.close()
        status: Literal["complete", "interrupted"] = "interrupted" if self._interrupted.is_set() else "complete"
        return Run(
            scenario_dict=self._scenario.resolved() | {"seed": self._seed},
            seed=self._seed,
            mode="live",
            status=status,
            store=self._store.dialect,
            end_s=self._end_s - self._start_s,
            # Another run of this seed is another run.
            digest="",
            versions=versions,
            schedule={},
            **frames,
        )

    def _frames(self) -> dict[str, pd.DataFrame]:
        return frames_of(
            self._system.config,
            self._store,
            self._clients,
            self._load,
            samples=self._samples,
            faults=self._activations,
            start_s=self._start_s,
            end_s=self._end_s,
        )


def _store(system: System) -> Store:
    """Open the store for those who only look: on SQLite so that a look never takes the lock of the only writer."""
    weak, who = IsolationLevel.READ_COMMITTED, f"{system.config.name}/run"
    return Store(make_engine(system.config.store_url, isolation=weak, pre_ping=True, application=who))


def _wait_until_alone(store: Store, name: str) -> None:
    """Wait until the server has noticed that the processes are gone, and has undone what they had not committed."""
    if store.dialect != "postgresql":
        return
    theirs = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s AND application_name <> %s"
    until = time.monotonic() + NOTICED_WITHIN_S
    while time.monotonic() < until:
        with store.begin() as connection:
            if not connection.exec_driver_sql(theirs, (f"{name}/%", f"{name}/run")).scalar_one():
                return
        time.sleep(0.02)


def _versions(store: Store, redis: str) -> dict[str, str]:
    """Return the versions of all that a live run rests on."""
    from importlib.metadata import version

    with store.begin() as connection:
        asked = "SELECT sqlite_version()" if store.dialect == "sqlite" else "SHOW server_version"
        server = str(connection.exec_driver_sql(asked).scalar_one()).split()[0]
    libraries = {f"{name} (Python)" if name == "redis" else name: version(name) for name in _LIBRARIES}
    made = {**versions(), **libraries, "redis": redis, store.dialect: server}
    return {name: number for name, number in made.items() if name not in _OF_THE_SIMULATOR}
