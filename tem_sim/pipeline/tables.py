"""The tables, and the trigger by which the store itself keeps the rules.

Every change of status writes its row of the transition log by a trigger, in the same transaction, so that no code path,
not even an operator's UPDATE, moves an event without a trace. And that log has a CHECK, made from `states.CAUSES`, that
takes legal edges only: an illegal one can't be logged, so it can't be made, whoever asks.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.schema import DDL
from sqlalchemy.types import TypeDecorator, TypeEngine

from tem_sim.pipeline.states import CAUSES, Cause, State

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Instant(TypeDecorator[float]):
    """Float seconds since the epoch in Python; REAL on SQLite, TIMESTAMPTZ on PostgreSQL.

    Callers round to the microsecond, TIMESTAMPTZ's resolution, so that both stores compare and return the same number.
    """

    impl = REAL
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type of the dialect."""
        return dialect.type_descriptor(TIMESTAMP(timezone=True) if dialect.name == "postgresql" else REAL())

    def bind_processor(self, dialect: Dialect) -> Any:
        """Turn seconds into a datetime, on PostgreSQL only; SQLite takes the float as it is."""
        return _to_datetime if dialect.name == "postgresql" else None

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Turn a datetime back into seconds, on PostgreSQL only."""
        return _to_seconds if dialect.name == "postgresql" else None


def _to_datetime(seconds: float | None) -> datetime | None:
    return None if seconds is None else EPOCH + timedelta(seconds=seconds)


def _to_seconds(instant: datetime | None) -> float | None:
    return None if instant is None else (instant - EPOCH).total_seconds()


def _is(state: State) -> str:
    return f"status = '{state}'"


# The order in which the CHECKs try the cases: the frequent first, since every change of a row pays for it.
_FREQUENT = (Cause.CLAIM, Cause.ERROR, Cause.RETRY, Cause.OK)
_SHAPES: dict[State, frozenset[str]] = {
    State.FAILED: frozenset({"next_retry_at"}),
    State.QUEUED: frozenset(),
    State.PROCESSING: frozenset({"lease_owner", "lease_expires_at"}),
    State.PROCESSED: frozenset({"finished_at"}),
    State.EXTINCT: frozenset({"finished_at"}),
}


def _legal_edge() -> str:
    """Return the SQL condition that a row of the transition log records a legal edge with a cause that may take it."""
    edges = {cause: edge for edge, causes in CAUSES.items() for cause in causes}
    causes = sorted(edges, key=lambda cause: (cause not in _FREQUENT, cause))
    cases = []
    for cause in causes:
        before, after = edges[cause]
        start = "before IS NULL" if before is None else f"before = '{before}'"
        cases.append(f"WHEN '{cause}' THEN {start} AND after = '{after}'")
    return f"CASE cause {' '.join(cases)} ELSE FALSE END"


def _shape() -> str:
    """Return the SQL condition that a row has exactly the columns set which its status calls for."""
    columns = sorted(set().union(*_SHAPES.values()))
    cases = []
    for state, needed in _SHAPES.items():
        wanted = (f"{name} IS {'NOT ' if name in needed else ''}NULL" for name in columns)
        cases.append(f"WHEN '{state}' THEN {' AND '.join(wanted)}")
    return f"CASE status {' '.join(cases)} ELSE FALSE END"


# How an attempt ends: `lost` with its worker, `superseded` when its row has another holder by then, `expired` without a
# call of the handler because the event's deadline has passed, `released` without one since calls only fail at present.
OUTCOMES = ("ok", "error", "lost", "superseded", "expired", "released")

metadata = MetaData()

_Id = BigInteger().with_variant(Integer, "sqlite")

event_table = Table(
    "event",
    metadata,
    # The application chooses the id: a sequence leaves gaps on one store and none on the other.
    Column("id", _Id, primary_key=True, autoincrement=False),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("user_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
)

processing_state = Table(
    "processing_state",
    metadata,
    Column("event_id", _Id, ForeignKey("event.id"), primary_key=True, autoincrement=False),
    Column("status", Text, nullable=False),
    Column("retry_count", Integer, nullable=False, server_default="0"),
    Column("crash_count", Integer, nullable=False, server_default="0"),
    Column("replay_count", Integer, nullable=False, server_default="0"),
    Column("attempt_no", Integer, nullable=False, server_default="0"),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("last_error", Text),
    Column("last_delay_s", Double),
    Column("next_retry_at", Instant),
    Column("lease_owner", Text),
    Column("lease_expires_at", Instant),
    Column("queued_at", Instant, nullable=False),
    # Set only for an event whose workers have died before: when it went to its handler.
    Column("started_at", Instant),
    Column("woken_at", Instant, nullable=False),
    # The submission, or the last replay by hand: a policy's budget of total time counts from here.
    Column("life_began_at", Instant, nullable=False),
    Column("finished_at", Instant),
    # Who moved the row last, when and why: the transition log's trigger copies these.
    Column("changed_at", Instant, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("cause", Text, nullable=False),
    CheckConstraint(_shape(), name="shape"),
    CheckConstraint("retry_count >= 0 AND crash_count >= 0 AND attempt_no >= 0", name="counts_positive"),
)

# The two logs are append-only, and on SQLite without a second index: rows that go to random places of a tree cost a
# third of the whole pipeline (`benchmarks/`). A zombie's end is a second row for its attempt; the last one counts.
attempt = Table(
    "attempt",
    metadata,
    Column("seq", _Id, primary_key=True),
    Column("event_id", _Id, nullable=False),
    Column("attempt_no", Integer, nullable=False),
    Column("worker", Text, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("error", Text),
    Column("delay_s", Double),
    # An IN list would cost more: SQLite builds a tree of it for every row.
    CheckConstraint(" OR ".join(f"outcome = '{how}'" for how in OUTCOMES), name="outcome_known"),
)

transition = Table(
    "transition",
    metadata,
    Column("seq", _Id, primary_key=True),
    Column("event_id", _Id, nullable=False),
    Column("at", Instant, nullable=False),
    Column("before", Text),
    Column("after", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("attempt_no", Integer, nullable=False),
    Column("retry_count", Integer, nullable=False),
    CheckConstraint(_legal_edge(), name="legal_edge"),
)

for _log in (attempt, transition):
    Index(f"{_log.name}_event", _log.c.event_id, _log.c.seq).ddl_if(dialect="postgresql")
    # SQLite would look the event up for each row of the logs, which are written only beside a row that has it.
    _log.append_constraint(ForeignKeyConstraint([_log.c.event_id], ["event.id"]).ddl_if(dialect="postgresql"))

notification = Table(
    "notification",
    metadata,
    Column("event_id", _Id, ForeignKey("event.id"), primary_key=True, autoincrement=False),
    Column("user_id", BigInteger, nullable=False),
    Column("dedupe_key", Text, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("published_at", Instant),
    Column("acked_at", Instant),
)


# What the retry budget remembers, in one row; empty while there is none.
retry_bucket = Table(
    "retry_bucket",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("tokens", Double, nullable=False),
    Column("filled_at", Instant, nullable=False),
    CheckConstraint("id = 1 AND tokens >= 0", name="one_bucket"),
)


# What the circuit breaker remembers, in one row; empty while there is none.
circuit = Table(
    "circuit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    CheckConstraint("id = 1 AND calls >= failures AND failures >= 0", name="one_circuit"),
)


def _partial(name: str, table: Table, columns: tuple[str, ...], where: str) -> None:
    clause = text(where)
    Index(name, *(table.c[column] for column in columns), sqlite_where=clause, postgresql_where=clause)


# One partial index per question that is asked over and over; without them a claim costs more as the backlog grows.
_partial("processing_state_queued", processing_state, ("queued_at", "event_id"), _is(State.QUEUED))
_partial("processing_state_failed", processing_state, ("next_retry_at", "event_id"), _is(State.FAILED))
_partial("processing_state_leased", processing_state, ("lease_expires_at", "event_id"), _is(State.PROCESSING))
_partial("notification_unpublished", notification, ("created_at", "event_id"), "published_at IS NULL")
_partial("notification_unacked", notification, ("user_id", "event_id"), "acked_at IS NULL")


_LOG = (
    "INSERT INTO transition (event_id, at, before, after, cause, actor, attempt_no, retry_count) VALUES "
    "(NEW.event_id, NEW.changed_at, {before}, NEW.status, NEW.cause, NEW.changed_by, "
    "NEW.attempt_no, NEW.retry_count);"
)

_SQLITE = (
    f"""CREATE TRIGGER processing_state_log_insert AFTER INSERT ON processing_state
        BEGIN {_LOG.format(before="NULL")} END""",
    f"""CREATE TRIGGER processing_state_log_update AFTER UPDATE OF status ON processing_state
        WHEN OLD.status <> NEW.status
        BEGIN {_LOG.format(before="OLD.status")} END""",
)

_POSTGRESQL = (
    f"""CREATE OR REPLACE FUNCTION processing_state_log() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'INSERT' THEN
        {_LOG.format(before="NULL")}
      ELSE
        {_LOG.format(before="OLD.status")}
      END IF;
      RETURN NULL;
    END $$""",
    """CREATE TRIGGER processing_state_log_insert AFTER INSERT ON processing_state
       FOR EACH ROW EXECUTE FUNCTION processing_state_log()""",
    """CREATE TRIGGER processing_state_log_update AFTER UPDATE OF status ON processing_state
       FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION processing_state_log()""",
)

# With the table, not with the metadata, whose event fires again each time a store is opened.
for _dialect, _statements in (("sqlite", _SQLITE), ("postgresql", _POSTGRESQL)):
    for _statement in _statements:
        _ddl = DDL(_statement)  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped.
        event.listen(processing_state, "after_create", _ddl.execute_if(dialect=_dialect))
