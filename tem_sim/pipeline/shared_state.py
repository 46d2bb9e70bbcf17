"""What mitigations remember for the whole fleet, a row each, inside the transactions of those who ask.

Kept in the store, it survives every process, and two schedulers together spend no more than one would.
"""

from typing import Any

from sqlalchemy import Connection, bindparam, case, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tem_sim.pipeline.breaker import Circuit, CircuitBreaker, CircuitState
from tem_sim.pipeline.conflicts import rerun_on_conflict
from tem_sim.pipeline.retry_budget import Bucket, RetryBudget
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tables import circuit, retry_bucket

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
_READ_BUCKET = select(_bucket.tokens, _bucket.filled_at).where(_bucket.id == _ONE)
_LOCK_BUCKET = _READ_BUCKET.with_for_update()
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


@rerun_on_conflict
def read_bucket(store: Store, budget: RetryBudget, now: float) -> Bucket:
    """Return the bucket as it would be for a tick at this time."""
    with store.begin() as connection:
        found = connection.execute(_READ_BUCKET).one_or_none()
    return budget.full(now) if found is None else budget.filled(Bucket(*found), now)


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


# --- the circuit

_READ_CIRCUIT = select(circuit.c.state, circuit.c.since, circuit.c.calls, circuit.c.failures).where(
    circuit.c.id == _ONE
)
_LOCK_CIRCUIT = _READ_CIRCUIT.with_for_update()
_FIRST_CIRCUIT = _first(circuit, **{name: bindparam(name) for name in Circuit._fields})
_SAVE_CIRCUIT = (
    update(circuit)
    .where(circuit.c.id == _ONE)
    .values({circuit.c[name]: bindparam(f"new_{name}") for name in Circuit._fields})
)


@rerun_on_conflict
def read_circuit(store: Store, now: float) -> Circuit:
    """Return the circuit as it is; closed where nobody has reported yet."""
    with store.begin() as connection:
        return _circuit(connection.execute(_READ_CIRCUIT).one_or_none(), now)


def admit(store: Store, connection: Connection, breaker: CircuitBreaker, now: float) -> int | None:
    """Return how many events may be claimed in this transaction, None for any number.

    Where it is a probe, no other gets one before this transaction ends; `probe` then notes that it was taken.
    """
    allowed = breaker.allowed(_circuit(connection.execute(_READ_CIRCUIT).one_or_none(), now), now)
    if not allowed:
        return allowed
    return breaker.allowed(_circuit(connection.execute(_LOCK_CIRCUIT).one_or_none(), now), now)


def probe(connection: Connection, now: float) -> None:
    """Note that events have been claimed to see whether calls succeed again."""
    _save(connection, Circuit(CircuitState.HALF_OPEN, now))


@rerun_on_conflict
def report(store: Store, breaker: CircuitBreaker, calls: int, failures: int, now: float) -> tuple[Circuit, Circuit]:
    """Tell the circuit how calls ended; return it before and after."""
    with store.begin() as connection:
        found = connection.execute(_LOCK_CIRCUIT).one_or_none()
        if found is None:
            connection.execute(_FIRST_CIRCUIT[store.dialect], Circuit(CircuitState.CLOSED, now)._asdict())
            found = connection.execute(_LOCK_CIRCUIT).one()
        before = _circuit(found, now)
        after = breaker.after(before, calls, failures, now)
        if after != before:
            _save(connection, after)
    return before, after


def _circuit(found: Any, now: float) -> Circuit:
    if found is None:
        return Circuit(CircuitState.CLOSED, now)
    return Circuit(CircuitState(found.state), found.since, found.calls, found.failures)


def _save(connection: Connection, now: Circuit) -> None:
    connection.execute(_SAVE_CIRCUIT, {f"new_{name}": value for name, value in now._asdict().items()})
