"""Statements for tables that are sharded or partitioned by owner: they name one owner, in a parameter.

Routers (Citus, PgDog, SPQR) send a statement with `user_id = $1` to the owner's machine, and any other to all machines.
The planner does the same with partitions.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from todo_adapters.postgres.batch import STATEMENTS_KEPT, array_literal, literal
from todo_adapters.postgres.driver import Connection

OWNER: Final = "%(owner)s::text"
_OWNER_OF_A_CALL: Final = re.compile(r"\b(?:asked|call|done|held|last)\.user_id\b|\bany\(%\(user_id\)s::text\[\]\)")


def is_sharded(connection: AsyncConnection[Any]) -> bool:
    """Whether each statement must name exactly one owner."""
    return isinstance(connection, Connection) and connection.sharded


@lru_cache(STATEMENTS_KEPT)
def of_one_owner(statement: LiteralString) -> LiteralString:
    """The same statement for the calls of one owner, with the parameter `owner`."""
    return _OWNER_OF_A_CALL.sub(OWNER, statement)


def for_calls(
    connection: AsyncConnection[Any],
    statement: LiteralString,
    columns: Mapping[str, Sequence[Any]],
    *,
    alone: LiteralString | None = None,
) -> tuple[LiteralString, dict[str, Any]]:
    """The statement for these calls, and its parameters: the columns as arrays or text, one of them `user_id`.

    `alone`: its form for a single call (`of_one_call`), if it has one. Raises `ValueError` for calls of several owners
    if the tables are sharded.
    """
    write: Callable[[Sequence[Any]], Any] = array_literal
    if alone is not None and len(columns["user_id"]) == 1:
        statement, write = alone, lambda values: literal(values[0])
    parameters = {name: each if isinstance(each, str) else write(each) for name, each in columns.items()}
    if not is_sharded(connection):
        return statement, parameters
    [owner] = set(columns["user_id"])
    return of_one_owner(statement), parameters | {"owner": owner}
