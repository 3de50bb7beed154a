"""Which of the database's failures mean "not now": those become the core's `StoreUnavailable`, the rest rise."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg.errors import UniqueViolation
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from todo_core import StoreUnavailable

# PostgreSQL's documentation, appendix A: connection, transaction rollback, insufficient resources, operator
# intervention (shutdown, recovery, cancelled or timed-out statements), system error.
_PASSING_CLASSES: Final = ("08", "40", "53", "57", "58")
_CONNECTION_CLASSES: Final = ("08", "57")
# The server turned into a standby; a lock could not be had in time; a transaction timed out.
_PASSING: Final = frozenset({"25006", "55P03", "25P03", "25P04"})
# The statement lost against a concurrent one and left nothing: serialization failure, deadlock, a column's new type.
_LOST_RACES: Final = frozenset({"40001", "40P01", "0A000"})

# The second: what came back was no answer. PgBouncer passes on why a server ended, and says the same in words of its
# own; to BEGIN and COMMIT the driver expects one answer.
_WITHOUT_A_STATE: Final = (psycopg.OperationalError, psycopg.InternalError)


@contextmanager
def unavailable_where_it_passes() -> Iterator[None]:
    """Raise `StoreUnavailable`, from the driver's own error, for a failure that may be gone next time."""
    try:
        yield
    except DBAPIError as problem:  # of the pool's own statements; it stays out of the chain: its text holds them
        if not (problem.connection_invalidated or is_passing(problem.orig)):
            raise
        raise StoreUnavailable from problem.orig
    except psycopg.Error as problem:
        if not is_passing(problem):
            raise
        raise StoreUnavailable from problem
    except (PoolTimeoutError, TimeoutError) as problem:
        raise StoreUnavailable from problem


def lost_a_race(problem: psycopg.Error) -> bool:
    """Whether the statement may be repeated at once: it lost against a concurrent one, and left nothing behind.

    So does one that keeps a key which another one keeps at that moment.
    """
    kept_meanwhile = isinstance(problem, UniqueViolation) and (problem.diag.table_name or "").startswith("used_keys")
    return kept_meanwhile or problem.sqlstate in _LOST_RACES


def lost_its_connection(problem: psycopg.Error) -> bool:
    """Whether the statement may or may not have been carried out: the connection broke, or the server ended it."""
    if problem.sqlstate is None:
        return isinstance(problem, _WITHOUT_A_STATE)
    return isinstance(problem, psycopg.OperationalError) and problem.sqlstate[:2] in _CONNECTION_CLASSES


def is_passing(problem: BaseException | None) -> bool:
    """Whether the failure may be gone next time."""
    if not isinstance(problem, psycopg.Error):
        return False
    if problem.sqlstate is None:  # the server had no say: it could not be reached, or was lost
        return isinstance(problem, _WITHOUT_A_STATE)
    return problem.sqlstate[:2] in _PASSING_CLASSES or problem.sqlstate in _PASSING
