"""How far the store keeps transactions apart that are open at the same time."""

from enum import StrEnum


class IsolationLevel(StrEnum):
    """What a transaction sees of others that commit while it is open.

    `read_committed`: each statement sees what was committed when it began; on SQLite a transaction begins with its
    first write, and what it read before that was read outside of it. `snapshot`: all statements see one state, and a
    write to a row that has changed since fails (REPEATABLE READ on PostgreSQL; a deferred BEGIN on SQLite).
    `serializable`: as if one came after the other (SERIALIZABLE on PostgreSQL; BEGIN IMMEDIATE on SQLite).
    """

    READ_COMMITTED = "read_committed"
    SNAPSHOT = "snapshot"
    SERIALIZABLE = "serializable"
