"""Statements that name their one owner in a parameter, for tables that are kept in parts by owner.

What routes statements to the machine of their owner (Citus, PgDog, SPQR) looks for `user_id = $1`, and takes anything
else to every machine; so does the planner with partitions.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, LiteralString

from sqlalchemy.ext.asyncio import AsyncConnection

from todo_adapters.postgres.batch import array_literal

SHARDED: Final = "todo_sharded"
"""The engine's execution option."""

OWNER: Final = "%(owner)s::text"
_OWNER_OF_A_CALL: Final = re.compile(r"\b(?:asked|call|done|held|last)\.user_id\b|\bany\(%\(user_id\)s::text\[\]\)")


def is_sharded(connection: AsyncConnection) -> bool:
    """Whether each statement is to name exactly one owner."""
    return SHARDED in connection.sync_connection.get_execution_options()  # type: ignore[union-attr]


@cache
def of_one_owner(statement: LiteralString) -> LiteralString:
    """The same statement for calls of one owner, its parameter `owner`."""
    return _OWNER_OF_A_CALL.sub(OWNER, statement)


def for_calls(
    connection: AsyncConnection, statement: LiteralString, columns: Mapping[str, Sequence[Any]]
) -> tuple[LiteralString, dict[str, Any]]:
    """A statement for these calls, and its parameters: the columns, of which one is `user_id`, as arrays.

    Raises `ValueError` for calls of several owners where the tables are sharded.
    """
    arrays: dict[str, Any] = {name: array_literal(values) for name, values in columns.items()}
    if not is_sharded(connection):
        return statement, arrays
    [owner] = set(columns["user_id"])
    return of_one_owner(statement), arrays | {"owner": owner}
