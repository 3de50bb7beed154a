"""The statements behind a listing: one per shape of query, made when it is first asked for and kept."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, Self, TypeAlias

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Text,
    Uuid,
    func,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from todo_adapters.postgres.batch import Batch, calls_of, prepared, send
from todo_adapters.postgres.statements import task_columns, task_of
from todo_adapters.postgres.table import tasks
from todo_core import OwnerId, Page, Sort, Task, TaskQuery

Listing: TypeAlias = tuple[OwnerId, TaskQuery]
_REPETITIONS: Final = 4


class Shape(NamedTuple):
    """What tells one listing's statement from another's; the values in it do not."""

    sort: Sort
    filters: bool
    searches: bool
    repeats: bool
    continues: bool

    @classmethod
    def of(cls, query: TaskQuery) -> Self:
        """The shape of that query."""
        needle = query.needle
        searches, repeats = needle is not None, needle is not None and repeats_at_its_end(needle)
        return cls(query.sort, query.completed is not None, searches, repeats, query.after is not None)

    @property
    def is_bounded(self) -> bool:
        """Whether the key alone leads to the page. Otherwise all of the owner's tasks may be gone through for it."""
        return self.sort.field == "created_at" and not (self.filters or self.searches)


def repeats_at_its_end(needle: str) -> bool:
    """Whether some end of the needle is more than `_REPETITIONS` times as long as its own period.

    PostgreSQL's `strpos` (Boyer-Moore-Horspool) compares from the needle's last byte on, and begins anew for each place
    in the text. Two places that are nearer to each other than their matching ends are long make a period of those ends.
    So only a needle that repeats can cost needle × text. For one, a regular expression does: its cost is the text's,
    and at most the square of the needle, which is short.
    """
    reverse = needle.encode()[::-1]
    borders = [0]  # of each end: how long its longest proper part is that it both begins and ends with (KMP)
    for length in range(1, len(reverse)):
        border = borders[-1]
        while border and reverse[length] != reverse[border]:
            border = borders[border - 1]
        borders.append(border + (reverse[length] == reverse[border]))
    return any(length > _REPETITIONS * (length - border) for length, border in enumerate(borders, start=1))


@cache
def pages_many(shape: Shape) -> Batch[Listing, Page]:
    """The statement for listings of that shape. Each sees one moment; so do all of one batch."""
    columns = dict(_columns(shape))
    statement = prepared(_statement(shape, calls_of(**{name: kind for name, (kind, _) in columns.items()})))

    async def pages(connection: AsyncConnection, listings: Sequence[Listing]) -> list[Page]:
        values = {name: [value(*listing) for listing in listings] for name, (_, value) in columns.items()}
        found: list[list[Task]] = [[] for _ in listings]
        for place, *row in await send(connection, statement, values):
            found[place - 1].append(task_of(listings[place - 1][0], row))
        return [query.page(ordered) for (_, query), ordered in zip(listings, found, strict=True)]

    return pages


_Column: TypeAlias = tuple[str, tuple[TypeEngine[Any], Callable[[OwnerId, TaskQuery], Any]]]
_OWNER: Final[_Column] = ("owner", (Text(), lambda owner, _: owner))
_MOST: Final[_Column] = ("most", (BigInteger(), lambda _, query: query.limit + 1))
_COMPLETED: Final[_Column] = ("completed", (Boolean(), lambda _, query: query.completed))
_NEEDLE: Final[_Column] = ("needle", (Text(), lambda _, query: query.needle))
# The prefix makes the rest literal (PostgreSQL's documentation, §9.7.3.6).
_PATTERN: Final[_Column] = ("pattern", (Text(), lambda _, query: f"***={query.needle}"))
_AFTER_ID: Final[_Column] = ("after_id", (Uuid(), lambda _, query: query.after.id if query.after else None))


def _columns(shape: Shape) -> list[_Column]:
    columns = [_OWNER, _MOST]
    if shape.filters:
        columns.append(_COMPLETED)
    if shape.searches:
        columns.append(_PATTERN if shape.repeats else _NEEDLE)
    if shape.continues:
        columns.append(_AFTER_ID)
    if shape.continues and shape.sort.field != "created_at":
        kind = tasks.c[shape.sort.field].type
        columns.append(("after_value", (kind, lambda _, query: query.after.value if query.after else None)))
    return columns


def _statement(shape: Shape, call: FromClause) -> Select[Any]:
    inner = select(tasks).where(tasks.c.user_id == call.c.owner, *_conditions(shape, call))
    page = inner.order_by(*_order(shape.sort, tasks)).limit(call.c.most).lateral("page")
    outer = select(call.c.place, *task_columns(page)).select_from(call.join(page, true()))
    return outer.order_by(call.c.place, *_order(shape.sort, page))


def _conditions(shape: Shape, call: FromClause) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if shape.filters:
        conditions.append(tasks.c.completed_at.is_not(None) == call.c.completed)
    if shape.repeats:
        conditions.append(tasks.c.search_text.regexp_match(call.c.pattern))
    elif shape.searches:
        conditions.append(func.strpos(tasks.c.search_text, call.c.needle) > literal_column("0", Integer))
    if shape.continues:
        place = tuple_(*_key(shape.sort, tasks))
        last = (
            tuple_(call.c.after_id) if shape.sort.field == "created_at" else tuple_(call.c.after_value, call.c.after_id)
        )
        conditions.append(place < last if shape.sort.descending else place > last)
    return conditions


def _order(sort: Sort, source: FromClause) -> list[ColumnElement[Any]]:
    return [each.desc() if sort.descending else each.asc() for each in _key(sort, source)]


def _key(sort: Sort, source: FromClause) -> list[ColumnElement[Any]]:
    return [source.c.id] if sort.field == "created_at" else [source.c[sort.field], source.c.id]
