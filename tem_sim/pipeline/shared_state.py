"""What mitigations remember for the whole fleet, a row each, inside the transactions of those who ask.

Kept in the store, it survives every process, and two schedulers together spend no more than one would.
"""

from typing import Any

from sqlalchemy import Connection, bindparam, case, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tem_sim.pipeline.retry_budget import Bucket, RetryBudget
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tables import retry_bucket

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_ONE: Any = literal_column("1")
_BURST: Any = bindparam("burst")


def _first(table: Any, **values: Any) -> dict[str, Any]:
    """Return, per dialect, the insert of a table's one row, which does nothing where another was quicker."""
    return {
        dialect: insert(table).values(id=_ONE, **values).on_conflict_do_nothing() for dialect, insert in _INSERT.items()
    }


# --- the retry budget's bucket

_bucket = retry_bucket.c
_LOCK_BUCKET = select(_bucket.tokens, _bucket.filled_at).where(_bucket.id == _ONE).with_for_update()
_FIRST_BUCKET = _first(retry_bucket, tokens=bindparam("tokens"), filled_at=bindparam("filled_at"))
_SAVE_BUCKET = (
    update(retry_bucket)
    .where(_bucket.id == _ONE)
    .values({_bucket.tokens: bindparam("left"), _bucket.filled_at: bindparam("at")})
)
_MORE = _bucket.tokens + bindparam("earned")
_PAY_IN = (
    update(retry_bucket).where(_bucket.id == _ONE).values({_bucket.tokens: case((_MORE > _BURST, _BURST), else_=_MORE)})
)


def lock_bucket(store: Store, connection: Connection, budget: RetryBudget, now: float) -> Bucket:
    """Return the bucket with all that is due to it, locked up to the end of the transaction."""
    found = connection.execute(_LOCK_BUCKET).one_or_none()
    if found is None:
        connection.execute(_FIRST_BUCKET[store.dialect], budget.full(now)._asdict())
        found = connection.execute(_LOCK_BUCKET).one()
    return budget.filled(Bucket(*found), now)


def save_bucket(connection: Connection, bucket: Bucket) -> None:
    """Write the bucket that `lock_bucket` has returned, less what was taken."""
    connection.execute(_SAVE_BUCKET, {"left": bucket.tokens, "at": bucket.filled_at})


def pay_in(connection: Connection, budget: RetryBudget, first_tries: int) -> None:
    """Pay into the bucket for first tries; one that nobody has taken from yet is full."""
    if first_tries and budget.ratio:
        connection.execute(_PAY_IN, {"earned": budget.earned(first_tries), "burst": budget.burst})
