"""Which database errors are temporary: they become the core's `StoreUnavailable`; all others are raised unchanged."""

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
# The statement was cancelled, or hit the database's own timeout. To repeat it would take as long again.
_CANCELLED: Final = "57014"
# The server is a standby now; a lock was not available in time; a transaction timed out; the tables have not been made
# yet, or are being restored, without their grants at first.
_PASSING: Final = frozenset({"25006", "55P03", "25P03", "25P04", "42P01", "42501"})
# Lost against a concurrent statement, without an effect: serialization failure, deadlock, a column's type changed.
_LOST_RACES: Final = frozenset({"40001", "40P01", "0A000"})

# From Citus: a machine of the cluster is lost, which passes. From a single PostgreSQL: a bug, which does not.
_PASSING_WITH_SHARDS: Final = "XX000"

# InternalError: the answer broke the protocol. When a server ends, PgBouncer sends the server's reason and a message of
# its own, where the driver expects one answer to BEGIN and COMMIT.
_WITHOUT_A_STATE: Final = (psycopg.OperationalError, psycopg.InternalError)


@contextmanager
def unavailable_where_it_passes(*, sharded: bool = False) -> Iterator[None]:
    """Raise `StoreUnavailable`, from the driver's error, for a temporary failure. `sharded`: of sharded tables."""
    try:
        yield
    except DBAPIError as problem:  # not chained: its text contains the statement
        if not (problem.connection_invalidated or is_passing(problem.orig)):
            raise
        raise StoreUnavailable from problem.orig
    except psycopg.Error as problem:
        if not (is_passing(problem) or (sharded and problem.sqlstate == _PASSING_WITH_SHARDS)):
            raise
        raise StoreUnavailable from problem
    except (PoolTimeoutError, TimeoutError) as problem:
        raise StoreUnavailable from problem


def lost_a_race(problem: psycopg.Error) -> bool:
    """Whether the statement may be repeated immediately: it lost against a concurrent one, without an effect.

    Two statements that store the same idempotency key at the same time are such a race.
    """
    kept_meanwhile = isinstance(problem, UniqueViolation) and (problem.diag.table_name or "").startswith("used_keys")
    return kept_meanwhile or problem.sqlstate in _LOST_RACES


def lost_its_connection(problem: psycopg.Error) -> bool:
    """Whether the connection was lost, so that the statement may or may not have been carried out."""
    if problem.sqlstate is None:
        return isinstance(problem, _WITHOUT_A_STATE)
    of_connections = problem.sqlstate[:2] in _CONNECTION_CLASSES and problem.sqlstate != _CANCELLED
    return isinstance(problem, psycopg.OperationalError) and of_connections


def is_passing(problem: BaseException | None) -> bool:
    """Whether the failure is temporary."""
    if not isinstance(problem, psycopg.Error):
        return False
    if problem.sqlstate is None:  # not from the server: it could not be reached, or was lost
        return isinstance(problem, _WITHOUT_A_STATE)
    return problem.sqlstate[:2] in _PASSING_CLASSES or problem.sqlstate in _PASSING
