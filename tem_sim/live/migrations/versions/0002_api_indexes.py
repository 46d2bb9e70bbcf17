"""Indexes for what only the Event API asks: a user's events, the dead letters, an event's timeline.

They are not among the tables' own: no simulated run pays for them.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

INDEXES = {
    "api_event_user": "event (user_id, id)",
    "api_extinct": "processing_state (event_id) WHERE status = 'EXTINCT'",
}
# PostgreSQL's tables have these two themselves.
ON_SQLITE = {
    "api_transition_event": "transition (event_id, seq)",
    "api_attempt_event": "attempt (event_id, seq)",
}


def upgrade() -> None:
    """Make them."""
    for name, on in _indexes().items():
        # Some are there where an API of before this revision has made its own.
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {on}")


def downgrade() -> None:
    """Drop them."""
    for name in _indexes():
        op.execute(f"DROP INDEX IF EXISTS {name}")


def _indexes() -> dict[str, str]:
    return INDEXES if op.get_bind().dialect.name == "postgresql" else INDEXES | ON_SQLITE
