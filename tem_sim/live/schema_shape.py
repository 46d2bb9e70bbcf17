"""What a store's tables look like, part by part, so that two can be compared and the difference told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, create_engine, inspect
from sqlalchemy.engine.interfaces import ReflectedIndex

from tem_sim.pipeline.claims import NEW_FIRST_INDEX_NAME
from tem_sim.pipeline.tables import metadata

# Made beside the tables, for a setting or the API; a store with or without them is the same store.
_OF_API = ("api_event_user", "api_extinct", "api_transition_event", "api_attempt_event")
OPTIONAL = frozenset({NEW_FIRST_INDEX_NAME, *_OF_API})
_TRIGGERS = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = '{table}'",
    "postgresql": "SELECT tgname, pg_get_triggerdef(oid, true) || p.prosrc FROM pg_trigger "
    "JOIN (SELECT oid AS function, prosrc FROM pg_proc) p ON p.function = tgfoid "
    "WHERE NOT tgisinternal AND tgrelid = '{table}'::regclass",
}

# What a part is called, such as `attempt: CHECK outcome_known`, and how it is made.
Shape = dict[str, str]


def shape(connection: Connection) -> Shape:
    """Return every part of the pipeline's tables that are there: columns, keys, CHECKs, indexes, triggers."""
    there = inspect(connection).get_table_names()
    return dict(part for table in metadata.tables if table in there for part in _parts(connection, table))


def intended(connection: Connection) -> Shape:
    """Return the parts as `open_store` makes them on a database of this kind, of which nothing is changed."""
    if connection.dialect.name == "sqlite":
        engine = create_engine("sqlite://")
        with engine.begin() as other:
            metadata.create_all(other)
            return shape(other)
    with connection.begin_nested() as savepoint:
        connection.exec_driver_sql("CREATE SCHEMA tem_sim_as_intended")
        connection.exec_driver_sql("SET LOCAL search_path = tem_sim_as_intended")
        metadata.create_all(connection)
        made = shape(connection)
        savepoint.rollback()
    return made


def differences(found: Shape, wanted: Shape) -> list[str]:
    """Return what is missing, too much or otherwise in the first, in the order of names."""
    odd = (name for name in sorted(found.keys() | wanted.keys()) if found.get(name) != wanted.get(name))
    return [f"{name} is {_how(name, found, wanted)}" for name in odd]


def _how(name: str, found: Shape, wanted: Shape) -> str:
    if name not in found:
        return "missing"
    return "another" if name in wanted else "too much"


def _parts(connection: Connection, table: str) -> Iterator[tuple[str, str]]:
    look = inspect(connection)
    for column in look.get_columns(table):
        made = (repr(column["type"]), column["nullable"], column["default"])
        yield f"{table}: column {column['name']}", " ".join(map(str, made))
    yield f"{table}: primary key", ", ".join(look.get_pk_constraint(table)["constrained_columns"])
    for check in look.get_check_constraints(table):
        yield f"{table}: CHECK {check['name']}", _plain(check["sqltext"])
    for unique in look.get_unique_constraints(table):
        yield f"{table}: UNIQUE {', '.join(unique['column_names'])}", ""
    for key in look.get_foreign_keys(table):
        made_of = (key["referred_table"], key["referred_columns"], key.get("options"))
        yield f"{table}: foreign key {', '.join(key['constrained_columns'])}", " ".join(map(str, made_of))
    for index in look.get_indexes(table):
        if index["name"] not in OPTIONAL:
            yield f"{table}: index {index['name']}", _of_index(index)
    for name, definition in connection.exec_driver_sql(_TRIGGERS[connection.dialect.name].format(table=table)):
        yield f"{table}: trigger {name}", _plain(definition)


def _of_index(index: ReflectedIndex) -> str:
    options: dict[str, Any] = index.get("dialect_options", {})
    predicates = [str(value) for name, value in options.items() if name.endswith("_where")]
    return _plain(f"{index['column_names']} {index.get('expressions')} {index['unique']} {predicates}")


def _plain(sql: str) -> str:
    return " ".join(sql.split())
