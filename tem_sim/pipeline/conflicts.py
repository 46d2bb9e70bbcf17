"""Transactions that the store gave up for the sake of others: to be run again, as if they had never been."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError

# How often a transaction is run before its conflict is left to the caller, whose task then fails.
TRIES = 5

# PostgreSQL: serialization_failure and deadlock_detected. Both have rolled everything back when they are reported.
_SQLSTATES = frozenset({"40001", "40P01"})
# SQLITE_BUSY_SNAPSHOT: what was read has been written since. Waiting would not help; beginning anew does.
_SQLITE_CODES = frozenset({517})

_P = ParamSpec("_P")
_T = TypeVar("_T")


def is_conflict(error: DBAPIError) -> bool:
    """Return whether the store rolled a transaction back for no fault of its own, for certain and at once.

    Not a lost connection, after which nobody knows what became of the transaction, and not a lock that was waited for
    in vain: both may come again for as long as their cause lasts, and are for the caller to see.
    """
    cause = error.orig
    return getattr(cause, "sqlstate", None) in _SQLSTATES or getattr(cause, "sqlite_errorcode", None) in _SQLITE_CODES


def rerun_on_conflict(transaction: Callable[_P, _T]) -> Callable[_P, _T]:
    """Run a function that is one whole transaction again when that ends in a conflict, `TRIES` times at most.

    It reads what it needs inside, so that a later try sees what the winner left. It does not wait in between: the
    winner has committed by the time the loser hears of it.
    """

    @wraps(transaction)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        for _ in range(TRIES - 1):
            try:
                return transaction(*args, **kwargs)
            except DBAPIError as error:
                if not is_conflict(error):
                    raise
        return transaction(*args, **kwargs)

    return run
