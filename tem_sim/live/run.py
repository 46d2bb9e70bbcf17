"""A scenario carried out for real: a system of its own, real load, real users, real faults."""

from __future__ import annotations

import shutil
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.live.config import Pool
    from tem_sim.live.ending import Told
    from tem_sim.live.play import Progress
    from tem_sim.live.system import System
    from tem_sim.scenario.models import Scenario
    from tem_sim.scenario.places import Places


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

    Ctrl-C ends it early, with `status` "interrupted", once the load has begun. Nothing is left behind: no process, file
    or row. Raises `ScenarioError` for faults that cannot be inflicted live, `StoreError` for an unusable store,
    `NoRedisError` and `WishError` where there is no Redis, and `LiveError` when a part of the system does not come up,
    or the run breaks.
    """
    from tem_sim.live.ending import Told, ToldToEnd
    from tem_sim.live.play import Play
    from tem_sim.live.system import SystemBrokeError

    seed = scenario.seed if seed is None else seed
    check_live(scenario, store=store, redis=redis, pool=pool)
    with ExitStack() as own:
        told = Told()
        if threading.current_thread() is threading.main_thread():
            own.enter_context(told)
        try:
            system = _system(own, scenario, seed, store, redis, pool, keep, told)
            play = Play(scenario, seed, system, progress)
            try:
                system.start()
                play.play(told)
                return play.read_out()
            except Exception as error:
                what = str(error) if isinstance(error, SystemBrokeError) else f"{type(error).__name__}: {error}"
                raise LiveError(f"{what}\nlogs      {_kept_logs(system, keep)}") from error
        except ToldToEnd:
            # Nothing has happened yet that would be worth keeping.
            raise KeyboardInterrupt from None


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
    own: ExitStack,
    scenario: Scenario,
    seed: int,
    store: str | None,
    redis: str,
    pool: Pool,
    keep: Path | None,
    told: Told,
) -> System:
    """Make the system and its store; both end with `own`."""
    from tem_sim.live.faults.plan import needs_memory
    from tem_sim.live.schema import is_in_memory, migrate, own_schema
    from tem_sim.live.system import System
    from tem_sim.live.up import forget_keys, refuse_no_redis
    from tem_sim.pipeline.store import parse_url

    if redis != "own":
        refuse_no_redis(redis)
    # What has no name is a file in the system's own folder, which goes also when this process is killed.
    url = None if store is None or is_in_memory(parse_url(store)) else own.enter_context(own_schema(store))
    redis_url = None if redis == "own" else redis
    system = System(
        scenario,
        store_url=url,
        redis_url=redis_url,
        luck_seed=seed,
        pool=pool,
        logs=keep,
        durable_redis=needs_memory(scenario),
        between=told.check,
        drops_schema=url is not None and url.startswith("postgresql"),
    )
    own.callback(system.close)
    if redis_url is not None:
        own.callback(forget_keys, redis_url, system.config.name)
    if url is None:
        migrate(system.config.store_url)
    return system


def _kept_logs(system: System, keep: Path | None) -> Path:
    """Return a folder with the logs that outlives the system."""
    if keep is not None:
        return keep
    kept = Path(tempfile.mkdtemp(prefix="tem-sim-live-logs-"))
    shutil.copytree(system.folder / "logs", kept, dirs_exist_ok=True)
    return kept
