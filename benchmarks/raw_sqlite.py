"""The floor under the pipeline: the very statements of a storm, said to sqlite3 again with nothing in between."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, NamedTuple

from benchmarks.measure import Measurement, peak_mb, timed

PRAGMAS = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", "PRAGMA foreign_keys=ON")
# Kinds of step in a trace, besides the statements.
COMMIT, ROLLBACK = "COMMIT", "ROLLBACK"


class Step(NamedTuple):
    """One thing said to the driver: a statement with its values, a batch of them, a commit or a rollback."""

    sql: str
    values: Any
    many: bool


def record(events: int) -> tuple[list[Step], int]:
    """Run a storm, keep everything it says to its store, and return that with the number of attempts."""
    from sqlalchemy import event

    from benchmarks.storm import SEED, storm
    from tem_sim.sim.world import World

    world = World(storm(events), SEED, "sqlite://")
    trace: list[Step] = []

    def said(_connection: Any, _cursor: Any, sql: str, values: Any, _context: Any, many: bool) -> None:
        trace.append(Step(sql, values, many))

    engine = world.database.store.engine
    event.listen(engine, "before_cursor_execute", said)
    event.listen(engine, "commit", lambda _: trace.append(Step(COMMIT, None, False)))
    event.listen(engine, "rollback", lambda _: trace.append(Step(ROLLBACK, None, False)))
    world.run()
    attempts = world.dependency.calls
    world.close()
    return trace, attempts


def connect() -> sqlite3.Connection:
    """Open a plain connection with the store's schema, triggers and pragmas."""
    from tem_sim.pipeline.store import open_store

    store = open_store()
    with store.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    store.close()
    plain = sqlite3.connect(":memory:", isolation_level=None)
    for statement in (*PRAGMAS, *(row[0] for row in rows)):
        plain.execute(statement)
    return plain


def replay(connection: sqlite3.Connection, trace: Iterable[Step]) -> None:
    """Say it all again, fetching the rows of whatever returns rows."""
    cursor = connection.cursor()
    for sql, values, many in trace:
        if many:
            cursor.executemany(sql, values)
        elif sql == COMMIT:
            connection.commit()
        elif sql == ROLLBACK:
            connection.rollback()
        else:
            cursor.execute(sql, values)
            if cursor.description is not None:
                cursor.fetchall()


def measure(events: int) -> Measurement:
    """Record a storm, then time the replay of it alone."""
    trace, attempts = record(events)
    connection = connect()
    with timed() as watch:
        replay(connection, trace)
    connection.close()
    return Measurement("raw sqlite3", attempts, watch.cpu_s, watch.wall_s, peak_mb())
