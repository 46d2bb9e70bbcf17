"""A scenario carried out for real: a system of its own, real load, real users, real faults."""

from __future__ import annotations

import asyncio
import math
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run
    from tem_sim.live.config import Pool
    from tem_sim.live.system import System
    from tem_sim.pipeline.store import Store
    from tem_sim.scenario.models import Scenario
    from tem_sim.scenario.places import Places

# Called with (seconds so far, horizon in seconds) about once a second.
Progress = Callable[[float, float], None]

SAMPLE_EVERY_S = 1.0
_LIBRARIES = ("celery", "kombu", "redis", "fastapi", "uvicorn", "websockets")
_OF_THE_SIMULATOR = ("simpy", "greenlet")
# Within which time a database notices that its clients are dead.
NOTICED_WITHIN_S = 5.0
# How often the main thread wakes up to see whether somebody has pressed Ctrl-C.
GLANCE_EVERY_S = 0.2


class LiveError(Exception):
    """A live system that broke: the message says which part of it, with its last words, and where its logs are."""


def run_live(
    scenario: Scenario,
    seed: int | None = None,
    *,
    store: str | None = None,
    redis: str = "own",
    pool: Pool = "prefork",
    keep: Path | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run a scenario on real processes, on loopback, and return what happened, as the simulator does.

    `seed` overrides the scenario's: arrivals, users, and the handler's luck are those of the simulated run of this
    seed. `store` is a SQLAlchemy URL: a SQLite file that goes with the run when left out, or a PostgreSQL server, on
    which the run makes a schema of its own and drops it. `redis` is `own` or a URL. `pool` is Celery's, `prefork` or
    `threads`. The logs of all processes go to the folder `keep`, and nowhere when left out. `progress` is told how far
    it is. Times are seconds by the machine's clock since the load began; the scenario runs in real time, so scale it
    first if it is long.

    Ctrl-C ends it early, with `status` "interrupted". Nothing is left behind: no process, file, or row. Raises
    `ScenarioError` for faults that cannot be inflicted live, `StoreError` for an unusable store, `NoRedisError` where
    there is no Redis to start, and `LiveError` when a part of the system does not come up, or the run breaks.
    """
    from tem_sim.live.system import SystemBrokeError

    seed = scenario.seed if seed is None else seed
    check_live(scenario, store=store, redis=redis, pool=pool)
    with ExitStack() as own:
        system = _system(own, scenario, seed, store, redis, pool, keep)
        play = _Play(scenario, seed, system, progress)
        try:
            system.start()
            play.play()
        except Exception as error:
            what = str(error) if isinstance(error, SystemBrokeError) else f"{type(error).__name__}: {error}"
            raise LiveError(f"{what}\nlogs      {_kept_logs(system, keep)}") from error
        return play.read_out()


def check_live(
    scenario: Scenario,
    *,
    store: str | None = None,
    redis: str = "own",
    pool: Pool = "prefork",
    places: Places | None = None,
) -> None:
    """Raise `ScenarioError` with every fault of a scenario that could not be inflicted on a system like this.

    `places` says where in its file each stands, if it has one.
    """
    from tem_sim.live.faults.plan import check_faults
    from tem_sim.live.faults.refusals import Ground
    from tem_sim.pipeline.store import parse_url

    dialect: Literal["sqlite", "postgresql"] = "sqlite"
    if store is not None and parse_url(store).get_backend_name() == "postgresql":
        dialect = "postgresql"
    check_faults(scenario, Ground(own_redis=redis == "own", dialect=dialect, pool=pool), places)


def _system(
    own: ExitStack, scenario: Scenario, seed: int, store: str | None, redis: str, pool: Pool, keep: Path | None
) -> System:
    """Make the system and its store; both end with `own`."""
    from tem_sim.live.faults.plan import needs_memory
    from tem_sim.live.schema import migrate, own_schema
    from tem_sim.live.system import System

    # Without a URL it is a file in the system's own folder.
    url = None if store is None else own.enter_context(own_schema(store, _folder(own)))
    redis_url = None if redis == "own" else redis
    system = System(
        scenario,
        store_url=url,
        redis_url=redis_url,
        luck_seed=seed,
        pool=pool,
        logs=keep,
        durable_redis=needs_memory(scenario),
    )
    own.callback(system.close)
    if url is None:
        migrate(system.config.store_url)
    return system


def _folder(own: ExitStack) -> Path:
    return Path(own.enter_context(tempfile.TemporaryDirectory(prefix="tem-sim-live-")))


def _kept_logs(system: System, keep: Path | None) -> Path:
    """Return a folder with the logs that outlives the system."""
    if keep is not None:
        return keep
    kept = Path(tempfile.mkdtemp(prefix="tem-sim-live-logs-"))
    shutil.copytree(system.folder / "logs", kept, dirs_exist_ok=True)
    return kept


class _Play:
    """One run on a system: the load, the users, and the faults, until there is nothing left to happen."""

    def __init__(self, scenario: Scenario, seed: int, system: System, progress: Progress | None) -> None:
        from tem_sim.live.clients import Clients
        from tem_sim.live.faults.run import Faults
        from tem_sim.live.load import LoadGenerator
        from tem_sim.scenario.streams import Streams

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

    def play(self) -> None:
        """Let the run happen. It has a thread of its own, so that Ctrl-C, or a notebook's loop, is never in its way."""
        thread = threading.Thread(target=self._in_thread, name="live-run")
        thread.start()
        while thread.is_alive():
            try:
                thread.join(GLANCE_EVERY_S)
            except KeyboardInterrupt:
                self._interrupted.set()
        if self._error is not None:
            raise self._error

    def _in_thread(self) -> None:
        try:
            asyncio.run(self._play())
        except BaseException as error:
            self._error = error

    async def _play(self) -> None:
        await self._clients.connect()
        self._start_s = time.time()
        self._clients.begin()
        self._faults.begin(self._start_s)
        load = asyncio.create_task(self._load.run(asyncio.get_running_loop().time()))
        try:
            await self._until_over(load)
        finally:
            # From another thread: what it undoes at the users' clients is done in this one.
            self._activations = await asyncio.to_thread(lambda: self._faults.close(time.time()))
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
            await self._clients.close()
        await asyncio.to_thread(self._stop)

    async def _until_over(self, load: asyncio.Task[None]) -> None:
        """Look every second, until nothing is left to happen, or it is the horizon, or somebody presses Ctrl-C."""
        from tem_sim.live.look import Look

        look, looks = Look(self._system, self._store, self._clients), 0
        self._redis_version = await asyncio.to_thread(look.redis_version)
        try:
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
        finally:
            look.close()

    async def _is_over(self, look: Any) -> bool:
        if self._scenario.stop != "drained" or not self._load.idle or not self._faults.quiet:
            return False
        return bool(await asyncio.to_thread(look.is_drained))

    async def _wait_until(self, at_s: float) -> None:
        while not self._interrupted.is_set() and (left_s := at_s - self._now) > 0:
            await asyncio.sleep(min(left_s, GLANCE_EVERY_S))

    def _stop(self) -> None:
        """Stop every process where it is: what the store then holds is what there was at the run's end."""
        from tem_sim.live.system import REDIS

        # Redis last: without it the others would begin to complain.
        for name in sorted(self._system.children, key=lambda name: name == REDIS):
            self._system.kill(name)
        _wait_until_alone(self._store, self._system.config.name)
        self._end_s = time.time()

    def read_out(self) -> Run:
        """Turn what the store holds and what was seen outside it into a run."""
        from tem_sim.frames import Run

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
        from tem_sim.live.observed import frames_of

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
    from tem_sim.pipeline.isolation_level import IsolationLevel
    from tem_sim.pipeline.store import Store, make_engine

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

    from tem_sim.versions import versions

    with store.begin() as connection:
        asked = "SELECT sqlite_version()" if store.dialect == "sqlite" else "SHOW server_version"
        server = str(connection.exec_driver_sql(asked).scalar_one()).split()[0]
    libraries = {f"{name} (Python)" if name == "redis" else name: version(name) for name in _LIBRARIES}
    made = {**versions(), **libraries, "redis": redis, store.dialect: server}
    return {name: number for name, number in made.items() if name not in _OF_THE_SIMULATOR}
