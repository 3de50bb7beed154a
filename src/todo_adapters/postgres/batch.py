"""Executes one statement for many calls: their values are sent as arrays, one per column, which `unnest(…)` expands."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from time import monotonic
from typing import Any, Final, LiteralString, TypeAlias, TypeVar
from uuid import UUID

from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.errors import FeatureNotSupported
from psycopg.pq import TransactionStatus
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from todo_adapters.threads import examine_young

DIALECT: Final = PGDialect_psycopg()  # type: ignore[no-untyped-call]
C = TypeVar("C")
A = TypeVar("A")
_PIECE: Final = 50  # rows
_TURN: Final = 0.002  # seconds that rows are made from a result before other work has its turn
PAUSE: Final = 0.001  # seconds: with none, the server's other threads would wait for the interpreter's lock
STATEMENTS_KEPT: Final = 128
"""How many statements a process remembers of those made for a kind of listing: there are tens of thousands."""

Batch: TypeAlias = Callable[[AsyncConnection[Any], Sequence[C]], Awaitable[Sequence[A]]]
"""One statement for many calls of type `C`; returns their answers, of type `A`, in the same order."""

Columns: TypeAlias = dict[str, list[Any] | str]
"""The values of each column, call by call; or a text that has those of all calls."""


def array_literal(values: Sequence[object]) -> str:
    """An array literal of PostgreSQL (its documentation, §8.15.2). Values are of one type, or None.

    The driver would look up a dumper and search for special characters per element, at several times the cost.
    """
    return "{" + ",".join(["null" if value is None else _ELEMENTS[type(value)](value) for value in values]) + "}"


def literal(value: object) -> str | None:
    """One value as text, as `array_literal` writes it, but unquoted. Always text: PostgreSQL infers the type."""
    return value if value is None or isinstance(value, str) else _ELEMENTS[type(value)](value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class _ByKind(dict[type, Callable[[Any], str]]):
    """A writer for values of each type; a subclass uses that of its base."""

    def __missing__(self, kind: type) -> Callable[[Any], str]:
        return next(self[base] for base in kind.__mro__ if base in self)


_ELEMENTS: Final = _ByKind(
    {
        str: _quoted,
        int: int.__repr__,
        bool: str,
        tuple: lambda value: _quoted(array_literal(value)),
        UUID: lambda value: f"{value.int:032x}",
        datetime: datetime.isoformat,
    }
)


_OWNERS: Final = re.compile(r"\bany\((%\(user_id\)s::text)\[\]\)")
_ARRAY: Final = re.compile(r"(%\(\w+\)s::[\w ]+)\[\]")
_CALLS: Final = re.compile(r"\bunnest\(([^\]]*?)\) with ordinality as call\(")


def of_one_call(statement: LiteralString) -> LiteralString:
    """The same statement for a single call, whose values are parameters, not arrays.

    Alone, it takes 0.83 of the time (docs/performance.md).
    """
    with_values = _ARRAY.sub(r"\1", _OWNERS.sub(r"\1", statement))
    return _CALLS.sub(r"(values (\1, 1::bigint)) as call(", with_values)


async def execute(
    connection: AsyncConnection[Any],
    statement: LiteralString,
    parameters: Mapping[str, Any],
    *,
    prepare: bool | None = True,
) -> list[tuple[Any, ...]]:
    """The rows that a statement returns. Raises `psycopg.Error`.

    It is prepared at its first use on a connection. `prepare=None` is for one of thousands: the driver prepares it when
    it comes for the sixth time, and counts at most a hundred.

    The driver executes it, in binary format: a fifth of the cost of SQLAlchemy's own execution (docs/performance.md).
    """
    text, names = _numbered(statement)
    values = [parameters[name] for name in names]
    cursor: AsyncRawCursor[tuple[Any, ...]] = AsyncRawCursor(connection)
    try:
        await cursor.execute(text, values, prepare=prepare, binary=True)
    except FeatureNotSupported:
        # A column of the prepared statement has changed its type. The server refuses before it begins.
        if connection.info.transaction_status != TransactionStatus.IDLE:
            raise  # the whole transaction is repeated; when it ends, the driver drops its prepared statements
        await connection.execute("deallocate all")  # the driver notices, and prepares again
        await cursor.execute(text, values, prepare=prepare, binary=True)
    return await _fetched(cursor)


async def _fetched(cursor: AsyncRawCursor[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    began = monotonic()
    rows = await cursor.fetchmany(_PIECE)
    while len(rows) < cursor.rowcount:
        if monotonic() - began > _TURN:
            examine_young()
            await asyncio.sleep(PAUSE)
            began = monotonic()
        rows += await cursor.fetchmany(_PIECE)
    return rows


_NAMED: Final = re.compile(r"%\((\w+)\)s")


@lru_cache(STATEMENTS_KEPT)
def _numbered(statement: LiteralString) -> tuple[bytes, tuple[str, ...]]:
    """A statement with PostgreSQL's own placeholders (`$1`), and the names of its parameters in that order.

    The driver would parse a long statement each time, which is half the cost of sending it.
    """
    names = tuple(dict.fromkeys(_NAMED.findall(statement)))
    return _NAMED.sub(lambda found: f"${names.index(found[1]) + 1}", statement).encode(), names
