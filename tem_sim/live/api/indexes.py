"""Indexes for the questions that only the API asks, made beside the tables: no simulated run pays for them."""

from __future__ import annotations

from tem_sim.pipeline.store import Store

# By name: each with what it is on, and the one kind of database that lacks it; None for both.
API_INDEXES: dict[str, tuple[str, str | None]] = {
    "api_event_user": ("event (user_id, id)", None),
    "api_extinct": ("processing_state (event_id) WHERE status = 'EXTINCT'", None),
    # PostgreSQL's tables have these two themselves.
    "api_transition_event": ("transition (event_id, seq)", "sqlite"),
    "api_attempt_event": ("attempt (event_id, seq)", "sqlite"),
}


_THERE = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'index'",
    "postgresql": "SELECT indexname FROM pg_indexes WHERE schemaname = ANY (current_schemas(false))",
}


def create_indexes(store: Store) -> None:
    """Create those that are not there yet; nobody waits for it where all are."""
    with store.begin() as connection:
        there = set(connection.exec_driver_sql(_THERE[store.dialect]).scalars())
    for name, (on, dialect) in API_INDEXES.items():
        if name not in there and dialect in (None, store.dialect):
            store.create_index(f"CREATE INDEX IF NOT EXISTS {name} ON {on}")
