"""What a database does to those who use it rightly, for whoever must go on when it does."""

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

# It cannot be reached, closes the connection, lets a lock be waited for in vain, or has no connection left. That a
# constraint refuses a row, or a statement makes no sense, is a bug of whoever sends it, and not among these.
DATABASE_FAILURES = (OperationalError, InternalError, InterfaceError, PoolTimeout)
