"""One database on which a race is run again and again, each time from the same state and under another schedule.

What is prepared is prepared once, by the pipeline's own functions; the writes that they sent are kept and sent again
before each schedule. Connections, tables and prepared statements stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from simpy.core import EmptySchedule
from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import StaticPool

from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.ports import ClaimedEvent, Notification
from tem_sim.pipeline.settings import Settings
from tem_sim.pipeline.store import Store, make_engine
from tem_sim.pipeline.tables import metadata
from tem_sim.pipeline.tasks import Pipeline
from tem_sim.races.pairs import NOW_S, Prepared, Race
from tem_sim.scenario.store import Store as StoreModel
from tem_sim.scenario.streams import Streams
from tem_sim.sim import row_images
from tem_sim.sim.database import Database
from tem_sim.sim.kernel import Kernel, SimThread
from tem_sim.sim.pace import Pace
from tem_sim.sim.schedules import Default, Strategy, Turnstile
from tem_sim.sim.sessions import StatementStore
from tem_sim.sim.watch import RowImage

# Deleted from the end, so that nothing refers to what is gone.
_TABLES = [table.name for table in reversed(metadata.sorted_tables)]
# Deleted rows stay in PostgreSQL's files until they are swept up, and each scan reads over them.
_SWEEP_EVERY = 400


class _FixedClock:
    def now(self) -> float:
        return NOW_S


class _Refusing:
    """The parts of the pipeline that no race comes to."""

    def handle(self, event: ClaimedEvent) -> None:
        raise AssertionError("no race calls the handler")


@dataclass(slots=True)
class _Seen:
    """The broker and the publisher of a race: what was sent."""

    wakes: int = 0
    published: list[int] = field(default_factory=list)

    def wake(self, count: int) -> None:
        self.wakes += count

    def publish(self, notifications: Sequence[Notification]) -> Sequence[int]:
        self.published += [note.event_id for note in notifications]
        return [1] * len(notifications)


@dataclass(slots=True)
class Played:
    """What came of one schedule: the rows of `steps` and `changes`, and what each thread returned or raised."""

    steps: list[tuple[Any, ...]]
    changes: list[tuple[Any, ...]]
    returned: dict[str, object]
    raised: dict[str, Exception]
    published: list[int]
    # At which steps another thread went on than by default.
    deviations: dict[int, str]
    taken: int


class Arena:
    """A database with the pipeline's tables for one isolation level. Close it after use.

    `url` is a store's; `sqlite://` becomes a file in memory. Raises `StoreError` where it cannot be used.
    """

    def __init__(self, url: str, isolation: IsolationLevel) -> None:
        self.kernel = Kernel()
        self.isolation = isolation
        model = StoreModel(interleave="statement", isolation=isolation)
        self.database = Database(self.kernel, url, model, Streams(0))
        assert isinstance(self.database.store, StatementStore)
        assert self.database.watch is not None
        self.store = self.database.store
        self.kernel.watch = self.watch = self.database.watch
        self.turnstile = Turnstile(self.kernel, Default())
        self.store.pace = self.turnstile
        self._engine = make_engine(self.store.engine.url, poolclass=StaticPool)
        row_images.listen(self._engine, lambda image: None)
        self._played = 0

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.store.dialect

    def stage(self, race: Race, settings: Settings) -> Stage:
        """Prepare a race, to be played as often as one likes."""
        return Stage(self, race, race.settings(settings))

    def reset(self, writes: Sequence[tuple[str, Any, bool]]) -> None:
        """Delete all rows and send these writes again, in one transaction."""
        self._played += 1
        with self._admin() as connection:
            if self.dialect == "postgresql" and self._played % _SWEEP_EVERY == 0:
                connection.exec_driver_sql(f"TRUNCATE {', '.join(_TABLES)}")
            driver: Any = connection.connection.dbapi_connection
            cursor = driver.cursor()
            for name in _TABLES:
                cursor.execute(f"DELETE FROM {name}")
            for sql, parameters, many in writes:
                (cursor.executemany if many else cursor.execute)(sql, parameters)
            cursor.close()

    @contextmanager
    def _admin(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def recording(self) -> Iterator[tuple[Store, list[tuple[str, Any, bool]], list[RowImage]]]:
        """Yield a store on an empty database, the writes that are sent through it, and the rows that they change."""
        self.reset([])
        engine: Engine = make_engine(self.store.engine.url, poolclass=StaticPool)
        writes: list[tuple[str, Any, bool]] = []
        images: list[RowImage] = []
        row_images.listen(engine, images.append)

        @event.listens_for(engine, "before_cursor_execute")
        def _on_statement(_connection: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, many: bool) -> None:
            if not sql.startswith(("SELECT", "BEGIN")):
                writes.append((sql, parameters, many))

        try:
            yield Store(engine), writes, images
        finally:
            engine.dispose()

    def close(self) -> None:
        """Close the connections and drop the tables."""
        self.kernel.close()
        self._engine.dispose()
        self.database.close()


class Stage:
    """A race prepared on an arena, under certain settings."""

    def __init__(self, arena: Arena, race: Race, settings: Settings) -> None:
        self.arena = arena
        self.race = race
        self.settings = settings
        with arena.recording() as (store, writes, images):
            self.prepared: Prepared = race.prepare(store, settings)
            self._writes = list(writes)
        # The rows as the threads find them, image by image.
        self.images = tuple(images)
        self._seen = _Seen()
        self._warm_up()

    def play(self, strategy: Strategy) -> Played:
        """Run the race from its beginning under a schedule."""
        turnstile = self.arena.turnstile
        turnstile.restart(strategy)
        played = self._run(turnstile)
        return replace(played, deviations=dict(turnstile.deviations), taken=turnstile.step)

    def play_at(self, pace: Pace) -> Played:
        """Run the race from its beginning with latencies instead of a schedule."""
        return self._run(pace)

    def _run(self, pace: Pace) -> Played:
        arena = self.arena
        arena.reset(self._writes)
        arena.watch.restart()
        arena.store.pace = pace
        self._seen = _Seen()
        played = Played([], [], {}, {}, self._seen.published, {}, 0)
        threads = [self._spawn(name, played) for name in self.race.threads]
        step = arena.kernel.env.step
        try:
            while not all(thread.finished for thread in threads):
                step()
        except EmptySchedule:
            raise AssertionError(f"{self.race.name}: all threads wait, and for nothing that will come") from None
        played.steps, played.changes = list(arena.watch.steps), list(arena.watch.changes)
        return played

    def _spawn(self, name: str, played: Played) -> SimThread:
        node, _, slot = name.partition("/")
        pipe = self._pipeline()

        def body() -> None:
            try:
                played.returned[name] = self.race.threads[name](pipe, self.prepared)
            except Exception as error:
                played.raised[name] = error

        return self.arena.kernel.node(node).spawn(slot, body)

    def _pipeline(self) -> Pipeline:
        return Pipeline(
            store=self.arena.store,
            settings=self.settings,
            clock=_FixedClock(),
            chance=Streams(0),
            broker=self._seen,
            publisher=self._seen,
            handler=_Refusing(),
        )

    def _warm_up(self) -> None:
        """Let the nodes open as many connections as they need at once: no schedule is about that."""
        arena = self.arena
        arena.turnstile.restart(Default())
        arena.store.pace = arena.turnstile

        def connect() -> None:
            with arena.store.begin():
                arena.kernel.sleep(1e-3)

        threads = [arena.kernel.node(name.partition("/")[0]).spawn("connect", connect) for name in self.race.threads]
        while not all(thread.finished for thread in threads):
            arena.kernel.env.step()
