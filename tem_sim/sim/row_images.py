"""Triggers by which the store itself reports every row that a statement changes, before and after.

On SQLite a trigger calls a function of the connection; on PostgreSQL it raises a notice, which the driver hands over
while the statement runs. Neither writes anything, so nothing that the pipeline does waits for it or sees it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Table, event
from sqlalchemy.engine.interfaces import DBAPIConnection

from tem_sim.pipeline.tables import EPOCH, Instant, attempt, event_table, notification, processing_state
from tem_sim.sim.watch import RowImage

_TABLES: tuple[Table, ...] = (event_table, processing_state, attempt, notification)
_NAME = "tem_sim_saw"
# What a user's event carries is no business of ours, and may be large.
_LEFT_OUT = "payload"
_OPS = {"insert": ("NEW",), "update": ("OLD", "NEW"), "delete": ("OLD",)}

Report = Callable[[RowImage], None]


def listen(engine: Engine, report: Report) -> None:
    """Let each connection that the engine opens from now on report what `install`'s triggers see."""
    hear = _hear_on_sqlite if engine.dialect.name == "sqlite" else _hear_on_postgresql

    @event.listens_for(engine, "connect")
    def _on_connect(connection: DBAPIConnection, _record: object) -> None:
        hear(connection, report)


def install(engine: Engine) -> None:
    """Create the triggers, once per database, after its tables."""
    statements = _sqlite() if engine.dialect.name == "sqlite" else _postgresql()
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def _columns(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns if column.name != _LEFT_OUT)


# --- SQLite


def _sqlite() -> list[str]:
    made = []
    for table in _TABLES:
        for op, rows in _OPS.items():
            values = ", ".join(f"{row}.{name}" for row in rows for name in _columns(table))
            made.append(
                f"CREATE TRIGGER {_NAME}_{table.name}_{op} AFTER {op.upper()} ON {table.name} "
                f"BEGIN SELECT {_NAME}('{table.name}', '{op}', {values}); END"
            )
    return made


def _hear_on_sqlite(connection: Any, report: Report) -> None:
    columns = {table.name: _columns(table) for table in _TABLES}

    def saw(table: str, op: str, *values: object) -> None:
        names = columns[table]
        before = dict(zip(names, values, strict=False)) if op != "insert" else None
        after = dict(zip(names, values[-len(names) :], strict=True)) if op != "delete" else None
        report(RowImage(table, op, before, after))

    connection.create_function(_NAME, -1, saw)


# --- PostgreSQL


def _postgresql() -> list[str]:
    function = f"""CREATE OR REPLACE FUNCTION {_NAME}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE NOTICE '{_NAME} %%', jsonb_build_array(TG_TABLE_NAME, lower(TG_OP),
        CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) - '{_LEFT_OUT}' END,
        CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) - '{_LEFT_OUT}' END);
      RETURN NULL;
    END $$"""
    return [
        function,
        *(
            f"CREATE TRIGGER {_NAME}_{table.name} AFTER INSERT OR UPDATE OR DELETE ON {table.name} "
            f"FOR EACH ROW EXECUTE FUNCTION {_NAME}()"
            for table in _TABLES
        ),
    ]


def _hear_on_postgresql(connection: Any, report: Report) -> None:
    instants = {
        table.name: [column.name for column in table.columns if isinstance(column.type, Instant)] for table in _TABLES
    }

    def heard(diagnostic: Any) -> None:
        message = str(diagnostic.message_primary)
        if not message.startswith(f"{_NAME} "):
            return
        table, op, before, after = json.loads(message[len(_NAME) + 1 :])
        for row in (before, after):
            if row is not None:
                row.update((name, _seconds(row[name])) for name in instants[table])
        report(RowImage(table, op, before, after))

    connection.add_notice_handler(heard)


def _seconds(instant: str | None) -> float | None:
    return None if instant is None else (datetime.fromisoformat(instant) - EPOCH).total_seconds()
