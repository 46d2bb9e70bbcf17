"""The tables, with what the store itself checks and logs.

A revision is what it was when it was released: it imports nothing of the pipeline, which goes on.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
INSTANT: sa.types.TypeEngine[Any] = sa.REAL().with_variant(TIMESTAMP(timezone=True), "postgresql")

SHAPE = (
    "CASE status "
    "WHEN 'FAILED' THEN finished_at IS NULL AND lease_expires_at IS NULL AND lease_owner IS NULL "
    "AND next_retry_at IS NOT NULL "
    "WHEN 'QUEUED' THEN finished_at IS NULL AND lease_expires_at IS NULL AND lease_owner IS NULL "
    "AND next_retry_at IS NULL "
    "WHEN 'PROCESSING' THEN finished_at IS NULL AND lease_expires_at IS NOT NULL AND lease_owner IS NOT NULL "
    "AND next_retry_at IS NULL "
    "WHEN 'PROCESSED' THEN finished_at IS NOT NULL AND lease_expires_at IS NULL AND lease_owner IS NULL "
    "AND next_retry_at IS NULL "
    "WHEN 'EXTINCT' THEN finished_at IS NOT NULL AND lease_expires_at IS NULL AND lease_owner IS NULL "
    "AND next_retry_at IS NULL "
    "ELSE FALSE END"
)
LEGAL_EDGE = (
    "CASE cause "
    "WHEN 'claim' THEN before = 'QUEUED' AND after = 'PROCESSING' "
    "WHEN 'error' THEN before = 'PROCESSING' AND after = 'FAILED' "
    "WHEN 'ok' THEN before = 'PROCESSING' AND after = 'PROCESSED' "
    "WHEN 'retry' THEN before = 'FAILED' AND after = 'QUEUED' "
    "WHEN 'crashed' THEN before = 'PROCESSING' AND after = 'EXTINCT' "
    "WHEN 'exhausted' THEN before = 'PROCESSING' AND after = 'EXTINCT' "
    "WHEN 'expired' THEN before = 'PROCESSING' AND after = 'EXTINCT' "
    "WHEN 'release' THEN before = 'PROCESSING' AND after = 'QUEUED' "
    "WHEN 'replay' THEN before = 'EXTINCT' AND after = 'QUEUED' "
    "WHEN 'rescue' THEN before = 'PROCESSING' AND after = 'QUEUED' "
    "WHEN 'submit' THEN before IS NULL AND after = 'QUEUED' "
    "ELSE FALSE END"
)
OUTCOME_KNOWN = (
    "outcome = 'ok' OR outcome = 'error' OR outcome = 'lost' OR outcome = 'superseded' OR outcome = 'expired' "
    "OR outcome = 'released'"
)

LOG = (
    "INSERT INTO transition (event_id, at, before, after, cause, actor, attempt_no, retry_count) VALUES "
    "(NEW.event_id, NEW.changed_at, {before}, NEW.status, NEW.cause, NEW.changed_by, NEW.attempt_no, NEW.retry_count);"
)
TRIGGERS = {
    "sqlite": (
        f"""CREATE TRIGGER processing_state_log_insert AFTER INSERT ON processing_state
        BEGIN {LOG.format(before="NULL")} END""",
        f"""CREATE TRIGGER processing_state_log_update AFTER UPDATE OF status ON processing_state
        WHEN OLD.status <> NEW.status
        BEGIN {LOG.format(before="OLD.status")} END""",
    ),
    "postgresql": (
        f"""CREATE FUNCTION processing_state_log() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF TG_OP = 'INSERT' THEN
            {LOG.format(before="NULL")}
          ELSE
            {LOG.format(before="OLD.status")}
          END IF;
          RETURN NULL;
        END $$""",
        """CREATE TRIGGER processing_state_log_insert AFTER INSERT ON processing_state
        FOR EACH ROW EXECUTE FUNCTION processing_state_log()""",
        """CREATE TRIGGER processing_state_log_update AFTER UPDATE OF status ON processing_state
        FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION processing_state_log()""",
    ),
}
NEWEST_FIRST = ("notification", "transition", "attempt", "processing_state", "circuit", "retry_bucket", "event")


def upgrade() -> None:
    """Make all tables."""
    _events()
    _states()
    _logs()
    _notifications()
    _shared_state()
    for statement in TRIGGERS[op.get_context().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    """Drop all tables, with what is in them."""
    for table in NEWEST_FIRST:
        op.drop_table(table)
    if _on_postgresql():
        op.execute("DROP FUNCTION processing_state_log()")


def _on_postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"


def _events() -> None:
    op.create_table(
        "event",
        sa.Column("id", ID, primary_key=True, autoincrement=False),
        sa.Column("idempotency_key", sa.Text, nullable=False, unique=True),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
    )


def _states() -> None:
    op.create_table(
        "processing_state",
        sa.Column("event_id", ID, sa.ForeignKey("event.id"), primary_key=True, autoincrement=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("retry_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("crash_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("replay_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("attempt_no", sa.Integer, nullable=False, server_default="0"),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.Column("last_error", sa.Text),
        sa.Column("last_delay_s", sa.Double),
        sa.Column("next_retry_at", INSTANT),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_expires_at", INSTANT),
        sa.Column("queued_at", INSTANT, nullable=False),
        sa.Column("started_at", INSTANT),
        sa.Column("woken_at", INSTANT, nullable=False),
        sa.Column("life_began_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.Column("changed_by", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.CheckConstraint(SHAPE, name="shape"),
        sa.CheckConstraint("retry_count >= 0 AND crash_count >= 0 AND attempt_no >= 0", name="counts_positive"),
    )
    _partial_index("processing_state_queued", "processing_state", "queued_at", "status = 'QUEUED'")
    _partial_index("processing_state_failed", "processing_state", "next_retry_at", "status = 'FAILED'")
    _partial_index("processing_state_leased", "processing_state", "lease_expires_at", "status = 'PROCESSING'")


def _logs() -> None:
    op.create_table(
        "attempt",
        sa.Column("seq", ID, primary_key=True),
        sa.Column("event_id", ID, *_of_event(), nullable=False),
        sa.Column("attempt_no", sa.Integer, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("started_at", INSTANT),
        sa.Column("finished_at", INSTANT, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("delay_s", sa.Double),
        sa.CheckConstraint(OUTCOME_KNOWN, name="outcome_known"),
    )
    op.create_table(
        "transition",
        sa.Column("seq", ID, primary_key=True),
        sa.Column("event_id", ID, *_of_event(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("attempt_no", sa.Integer, nullable=False),
        sa.Column("retry_count", sa.Integer, nullable=False),
        sa.CheckConstraint(LEGAL_EDGE, name="legal_edge"),
    )
    if _on_postgresql():
        op.create_index("attempt_event", "attempt", ["event_id", "seq"])
        op.create_index("transition_event", "transition", ["event_id", "seq"])


def _of_event() -> list[sa.ForeignKey]:
    # SQLite would look the event up for each row of the logs, which are written only beside a row that has it.
    return [sa.ForeignKey("event.id")] if _on_postgresql() else []


def _notifications() -> None:
    op.create_table(
        "notification",
        sa.Column("event_id", ID, sa.ForeignKey("event.id"), primary_key=True, autoincrement=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("dedupe_key", sa.Text, nullable=False, unique=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("published_at", INSTANT),
        sa.Column("acked_at", INSTANT),
    )
    _partial_index("notification_unpublished", "notification", "created_at", "published_at IS NULL")
    _partial_index("notification_unacked", "notification", "user_id", "acked_at IS NULL")


def _shared_state() -> None:
    op.create_table(
        "retry_bucket",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("tokens", sa.Double, nullable=False),
        sa.Column("filled_at", INSTANT, nullable=False),
        sa.CheckConstraint("id = 1 AND tokens >= 0", name="one_bucket"),
    )
    op.create_table(
        "circuit",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.CheckConstraint("id = 1 AND calls >= failures AND failures >= 0", name="one_circuit"),
    )


def _partial_index(name: str, table: str, column: str, where: str) -> None:
    clause = sa.text(where)
    op.create_index(name, table, [column, "event_id"], sqlite_where=clause, postgresql_where=clause)
