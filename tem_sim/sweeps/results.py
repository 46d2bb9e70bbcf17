"""The results file: a SQLite database in which a run that is done is there for good, and is found by its key.

Each run is committed by itself, so that whatever is killed, nothing that was done is lost. Runs are never overwritten,
but for failed ones that are done again; what is in the file beside the runs says which the last sweep asked for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Column, Engine, Float, Integer, LargeBinary, MetaData, String, Table, create_engine, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool, StaticPool

from tem_sim.scenario.seeds import SeedsUntil
from tem_sim.sweeps.rows import HeldBySeed, RunRow

if TYPE_CHECKING:
    from pydantic import JsonValue
    from sqlalchemy import Connection, Row
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

# "temS" as SQLite's application id: tells a results file from any other database.
APPLICATION_ID = 0x74656D53
FORMAT = 1
# How long a commit waits for somebody who reads.
BUSY_S = 60.0

_metadata = MetaData()
# One row: the sweep that was asked for last.
sweeps = Table(
    "sweep",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("paths", String, nullable=False),
    Column("seeds", String, nullable=False),
    Column("engine", String, nullable=False),
)
scenarios = Table(
    "scenario", _metadata, Column("key", String, primary_key=True), Column("resolved", String, nullable=False)
)
# The cells of the sweep that was asked for last.
cells = Table(
    "cell",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("scenario", String, nullable=False),
    Column("labels", String, nullable=False),
)
runs = Table(
    "run",
    _metadata,
    Column("key", String, primary_key=True),
    Column("scenario", String, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("engine", String, nullable=False),
    Column("verdict", String, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("end_s", Float, nullable=False),
    Column("digest", String, nullable=False),
    Column("metrics", String, nullable=False),
    Column("checks", String, nullable=False),
    Column("thresholds", String, nullable=False),
    Column("observed", LargeBinary, nullable=False),
    Column("error", String, nullable=False),
    Column("traceback", String, nullable=False),
)


class SweepError(Exception):
    """A results file, a sweep or a cluster that cannot be used; the message says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class CellRecord:
    """A cell as the file has it: what it sets, and its scenario as resolved."""

    labels: dict[str, str]
    scenario_key: str
    resolved: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """The sweep that was asked for last: its cells in order, its seeds, and the engine that its runs are made by."""

    name: str
    paths: tuple[str, ...]
    seeds: int | tuple[int, ...] | SeedsUntil
    engine: str
    cells: tuple[CellRecord, ...]


class Results:
    """An open results file, or one in memory."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, sweep: SweepRecord) -> None:
        """Say what is asked for from now on; runs that are there stay."""
        seeds = sweep.seeds.resolved() if isinstance(sweep.seeds, SeedsUntil) else sweep.seeds
        with self._engine.begin() as connection:
            connection.execute(sweeps.delete())
            connection.execute(cells.delete())
            connection.execute(
                sweeps.insert(),
                {
                    "id": 1,
                    "name": sweep.name,
                    "paths": json.dumps(sweep.paths),
                    "seeds": json.dumps(seeds),
                    "engine": sweep.engine,
                },
            )
            for number, cell in enumerate(sweep.cells):
                row = {"number": number, "scenario": cell.scenario_key, "labels": json.dumps(cell.labels)}
                connection.execute(cells.insert(), row)
                known = insert(scenarios).on_conflict_do_nothing()
                connection.execute(known, {"key": cell.scenario_key, "resolved": json.dumps(cell.resolved)})

    def sweep(self) -> SweepRecord | None:
        """Return what was asked for last; None in a file that was killed before it was told."""
        from sqlalchemy import select

        with self._engine.connect() as connection:
            head = connection.execute(select(sweeps)).one_or_none()
            if head is None:
                return None
            rows = connection.execute(
                select(cells, scenarios.c.resolved)
                .join(scenarios, scenarios.c.key == cells.c.scenario)
                .order_by(cells.c.number)
            ).all()
        found = tuple(CellRecord(json.loads(row.labels), row.scenario, json.loads(row.resolved)) for row in rows)
        return SweepRecord(head.name, tuple(json.loads(head.paths)), _seeds(json.loads(head.seeds)), head.engine, found)

    def add(self, row: RunRow, engine: str) -> None:
        """Keep a run, durably once this returns; one that is there stays, but a failed one is replaced."""
        made = insert(runs).values(
            key=row.key,
            scenario=row.scenario_key,
            seed=row.seed,
            engine=engine,
            verdict=row.verdict,
            seconds=row.seconds,
            end_s=row.end_s,
            digest=row.digest,
            metrics=json.dumps({name: _kept(value) for name, value in row.metrics.items()}),
            checks=json.dumps(row.checks),
            thresholds=json.dumps([(*held[:3], _kept(held.value)) for held in row.thresholds]),
            observed=row.observed,
            error=row.error,
            traceback=row.traceback,
        )
        changed = {column.name: made.excluded[column.name] for column in runs.columns if not column.primary_key}
        with self._engine.begin() as connection:
            connection.execute(
                made.on_conflict_do_update(index_elements=["key"], set_=changed, where=runs.c.error != "")
            )

    def known(self, scenario_keys: Iterable[str], engine: str) -> dict[str, RunRow]:
        """Return the runs of these scenarios that this engine made, by key."""
        from sqlalchemy import select

        with self._engine.connect() as connection:
            found = [
                _row(row)
                for key in dict.fromkeys(scenario_keys)
                for row in connection.execute(select(runs).where(runs.c.scenario == key, runs.c.engine == engine))
            ]
        return {row.key: row for row in found}

    def count(self) -> int:
        """Return how many runs are kept, whoever asked for them."""
        from sqlalchemy import func, select

        with self._engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(runs)).scalar_one())


@contextmanager
def opened(path: Path | None, *, fresh: bool = False) -> Iterator[Results]:
    """Open a results file for a sweep, alone; None for one in memory. `fresh` empties it first.

    Raises SweepError when the file is something else, or another sweep is writing to it.
    """
    if path is None:
        engine = _connected(None)
        with engine.begin() as connection:
            _metadata.create_all(connection)
        yield Results(engine)
        engine.dispose()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        engine = _connected(path)
        try:
            with _told_of(path), engine.begin() as connection:
                _prepare(connection, path, fresh)
            yield Results(engine)
        finally:
            engine.dispose()


@contextmanager
def reading(path: Path) -> Iterator[Results]:
    """Open a results file to look at, also while a sweep writes to it; SweepError when it is none."""
    if not path.is_file():
        raise SweepError(f"{path}: there is no such results file; `tem-sim sweep FILE --out {path}` makes one")
    engine = _connected(path)
    try:
        with _told_of(path), engine.connect() as connection:
            if connection.exec_driver_sql("PRAGMA application_id").scalar() != APPLICATION_ID:
                raise SweepError(f"{path}: is not a results file of tem-sim sweep")
            _refuse_other_format(connection, path)
        yield Results(engine)
    finally:
        engine.dispose()


def _connected(path: Path | None) -> Engine:
    """Return the engine of a file, with a connection per transaction: nobody waits for longer than that."""
    url, pool = ("sqlite://", StaticPool) if path is None else (f"sqlite:///{path}", NullPool)
    engine = create_engine(url, poolclass=pool, connect_args={"timeout": BUSY_S})

    @event.listens_for(engine, "connect")
    def durable(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # The driver would make tables outside of any transaction; so BEGIN is said below.
        connection.isolation_level = None
        cursor = connection.cursor()
        # A commit is on the disk, and so is the end of its journal, before the run counts as done.
        cursor.execute("PRAGMA synchronous=EXTRA")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _prepare(connection: Connection, path: Path, fresh: bool) -> None:
    """Make the tables, all of them or none, or see that they are ours."""
    if connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar():
        if connection.exec_driver_sql("PRAGMA application_id").scalar() != APPLICATION_ID:
            raise SweepError(f"{path}: is not a results file of tem-sim sweep; choose another name with --out")
        _refuse_other_format(connection, path)
        if fresh:
            for table in _metadata.sorted_tables:
                connection.execute(table.delete())
        return
    connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version={FORMAT}")
    _metadata.create_all(connection)


def _refuse_other_format(connection: Connection, path: Path) -> None:
    found = connection.exec_driver_sql("PRAGMA user_version").scalar()
    if found != FORMAT:
        raise SweepError(f"{path}: has format {found}, and this version reads {FORMAT}; choose another name with --out")


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        raise SweepError(f"{path}: cannot be used as a results file: {error.orig}") from None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock that goes with the process, however it ends. Where there are no such locks, nothing is held."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SweepError(f"{path}: another sweep is writing to it; wait for it, or choose another --out") from None
        yield


# --- to and from what a column holds


def _kept(value: float) -> float | None:
    """Return a number as JSON has it: NaN is null."""
    return None if math.isnan(value) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _seeds(plain: JsonValue) -> int | tuple[int, ...] | SeedsUntil:
    if isinstance(plain, dict):
        return SeedsUntil.model_validate(plain)
    return tuple(plain) if isinstance(plain, list) else int(plain)  # type: ignore[arg-type]


def _row(row: Row[tuple[object, ...]]) -> RunRow:
    return RunRow(
        key=row.key,
        scenario_key=row.scenario,
        seed=row.seed,
        verdict=row.verdict,
        seconds=row.seconds,
        end_s=row.end_s,
        digest=row.digest,
        metrics={name: _number(value) for name, value in json.loads(row.metrics).items()},
        checks=json.loads(row.checks),
        thresholds=tuple(
            HeldBySeed(metric, text, verdict, _number(value))
            for metric, text, verdict, value in json.loads(row.thresholds)
        ),
        observed=row.observed,
        error=row.error,
        traceback=row.traceback,
    )
