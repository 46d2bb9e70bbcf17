"""How the system's connections to its database are cut, and its tables locked by somebody else."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.live.faults.infliction import Infliction
    from tem_sim.live.faults.stage import Stage, Struck
    from tem_sim.scenario.faults.database import ConnectionsDropped, DatabaseLocked
    from tem_sim.scenario.faults.log import Activation

# How long somebody from outside waits for the lock: those who write hold it for milliseconds.
_LOCK_WITHIN_S = 2.0

_TERMINATE = """\
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = :application"""


def connections_dropped(at: Infliction, _fault: ConnectionsDropped) -> None:
    def drop(struck: Struck, activation: Activation) -> None:
        activation.end_s = activation.start_s
        activation.landed = terminate(at.stage, struck.node)
        activation.detail = f"{activation.landed} connections dropped"

    at.strike(drop)


def terminate(stage: Stage, node: str) -> int:
    """End all connections of a node to PostgreSQL; return how many there were."""
    from sqlalchemy import text

    # The scheduler's work is done by another process.
    process = "maintenance" if node == "beat" else node
    with stage.outside.begin() as connection:
        found = connection.execute(text(_TERMINATE), {"application": f"{stage.system.config.name}/{process}"})
        return int(found.scalar_one())


def database_locked(at: Infliction, _fault: DatabaseLocked) -> None:
    outside = ExitStack()

    def begin() -> str:
        with ExitStack() as locking:
            connection = locking.enter_context(at.stage.outside.connect())
            # On SQLite this takes the one lock that there is.
            locking.enter_context(connection.begin())
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_WITHIN_S:g}s'")
                # Against everybody but those who only read.
                connection.exec_driver_sql(f"LOCK TABLE {_tables()} IN EXCLUSIVE MODE")
            outside.enter_context(locking.pop_all())
        return "the lock is held"

    def end() -> int:
        outside.close()
        return 1

    at.window(begin, end)


def _tables() -> str:
    from tem_sim.pipeline.tables import metadata

    return ", ".join(table.name for table in metadata.sorted_tables)
