"""The statements of listings: one per shape of query; those used lately are cached."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self, TypeAlias

from psycopg import AsyncConnection

from todo_adapters.postgres.batch import PAUSE, STATEMENTS_KEPT, Columns, array_literal, execute
from todo_adapters.postgres.rows import READ, task_of
from todo_adapters.postgres.sharding import for_calls
from todo_adapters.threads import consumed, in_thread_if_many
from todo_core import OwnerId, Page, Sort, Task, TaskQuery
from todo_core.queries import NONE, SortValue
from todo_core.task import PRIORITIES

Listing: TypeAlias = tuple[OwnerId, TaskQuery]
_REPETITIONS: Final = 4
_MANY: Final = 64  # tasks of a page


class _Condition(NamedTuple):
    """A filter in SQL, with the wanted value as a column of `call`, and that column's type."""

    kind: str
    text: str


_OPEN: Final = "open"
_DONE: Final = "done"
_REPEATING: Final = "repeating_search"
_INBOX: Final = "inbox"
_TOP: Final = "top"
# By name in `todo_core.queries.FILTERS`. Lists are sent as text: an array cannot hold lists of different lengths.
_CONDITIONS: Final[dict[str, _Condition]] = {
    # Two statements rather than a parameter: only a plan for open tasks can use their partial index.
    _OPEN: _Condition("boolean", "tasks.completed_at is null"),
    _DONE: _Condition("boolean", "tasks.completed_at is not null"),
    "search": _Condition("text", "strpos(tasks.search_text, call.search) > 0"),
    # See `repeats_at_its_end`. The prefix makes the rest literal (PostgreSQL's documentation, §9.7.3.6).
    _REPEATING: _Condition("text", f"tasks.search_text ~ ('***=' || call.{_REPEATING})"),
    "priorities": _Condition("text", f"coalesce(tasks.priority, '{NONE}') = any (call.priorities::text[])"),
    "tags": _Condition("text", "tasks.tag_keys @> call.tags::text[]"),
    "due_from": _Condition("text", "tasks.due_date >= call.due_from"),
    "due_before": _Condition("text", "tasks.due_date < call.due_before"),
    _INBOX: _Condition("boolean", "tasks.list_id is null"),
    "list_id": _Condition("uuid", "tasks.list_id = call.list_id"),
    _TOP: _Condition("boolean", "tasks.parent_id is null"),
    # `is not null` is redundant, but without it the planner would not use the partial index. A subquery, because
    # otherwise the text of thousands of ids would be parsed again for each row.
    "parents": _Condition(
        "text", "tasks.parent_id is not null and tasks.parent_id in (select unnest(call.parents::uuid[]))"
    ),
}


class _Order(NamedTuple):
    """A sort key: the column or an expression on it, its type, and whether it can be null."""

    column: str
    kind: str
    nullable: bool = False
    expression: str = "{}"

    def of(self, source: str) -> str:
        """The expression, on the column of that table or alias."""
        return self.expression.format(f"{source}.{self.column}", source=source)


# By the fields of `todo_core.Sort`; None: sorted by id alone.
_ORDERS: Final[dict[str, _Order | None]] = {
    "created_at": None,
    "updated_at": _Order("updated_at", "timestamptz"),
    "title": _Order("title", "text"),
    "due_date": _Order("due_date", "text", nullable=True),
    "priority": _Order(
        "priority", "int", nullable=True, expression=f"(array_position(array{list(PRIORITIES)}, {{}}) - 1)"
    ),
    "position": _Order("position", "text", expression="coalesce({}, replace({source}.id::text, '-', ''))"),
}


class Shape(NamedTuple):
    """What determines a listing's statement; the values are parameters."""

    sort: Sort
    filters: tuple[str, ...]
    continues: bool
    after_nulls: bool  # the last page ended among the tasks without a sort value

    @classmethod
    def of(cls, query: TaskQuery) -> Self:
        """The shape of that query."""
        order, after = _ORDERS[query.sort.field], query.after
        after_nulls = order is not None and after is not None and after.value is None
        return cls(query.sort, tuple(_filters(query)), after is not None, after_nulls)

    @property
    def is_bounded(self) -> bool:
        """Whether an index finds the page. Otherwise the statement may read all of the owner's tasks."""
        return self.sort.field == "created_at" and self.filters in ((), (_OPEN,))


def _filters(query: TaskQuery) -> dict[str, Any]:
    """The query's wanted values by the names of their conditions."""
    wanted = query.filters
    if "completed" in wanted:
        wanted = {_DONE if wanted.pop("completed") else _OPEN: True, **wanted}
    if "search" in wanted and repeats_at_its_end(wanted["search"]):
        wanted[_REPEATING] = wanted.pop("search")
    for name, nowhere in (("list_id", _INBOX), ("parents", _TOP)):
        if wanted.get(name) == NONE:
            wanted[nowhere] = bool(wanted.pop(name))
    return wanted


def repeats_at_its_end(needle: str) -> bool:
    """Whether some suffix of the needle is more than `_REPETITIONS` times as long as its own period.

    PostgreSQL's `strpos` (Boyer-Moore-Horspool) compares from the needle's last byte backwards, at each place in the
    text. Only a needle whose end repeats itself can match long parts at many places, at a cost of needle × text. For
    such a needle a regular expression is used: its cost is linear in the text, and at most quadratic in the needle.
    """
    reverse = needle.encode()[::-1]
    borders = [0]  # of each suffix: the length of its longest proper prefix that is also its suffix (KMP)
    for length in range(1, len(reverse)):
        border = borders[-1]
        while border and reverse[length] != reverse[border]:
            border = borders[border - 1]
        borders.append(border + (reverse[length] == reverse[border]))
    return any(length > _REPETITIONS * (length - border) for length, border in enumerate(borders, start=1))


@dataclass(frozen=True, slots=True)
class PagesOf:
    """The statement for listings of a shape. All listings of a batch are as of one moment.

    Those of equal shapes are equal, so that their calls share statements. There are tens of thousands of shapes: only
    the text of those asked for lately is kept.
    """

    shape: Shape

    async def __call__(self, connection: AsyncConnection[Any], listings: Sequence[Listing]) -> list[Page]:
        """The page of each listing. Other work has its turn before a page of many tasks."""
        if any(query.limit is None or query.limit > _MANY for _, query in listings):
            await asyncio.sleep(PAUSE)
        columns = _columns(self.shape, listings)
        rows = await execute(connection, *for_calls(connection, _statement(self.shape), columns), prepare=None)
        if len(listings) > 1:  # only a listing without a limit returns many rows, and it is never shared
            return _pages(listings, rows)
        return await in_thread_if_many(len(rows), _pages, listings, consumed(rows))


def _pages(listings: Sequence[Listing], rows: Iterable[tuple[Any, ...]]) -> list[Page]:
    """The page of each listing. Rows begin with the place of their listing."""
    found: list[list[Task]] = [[] for _ in listings]
    for place, *row in rows:
        found[place - 1].append(task_of(listings[place - 1][0], row))
    return [query.page(ordered) for (_, query), ordered in zip(listings, found, strict=True)]


def _kinds(shape: Shape) -> dict[str, str]:
    """The columns of `call`, and their types."""
    kinds = {"user_id": "text", "max": "bigint"} | {name: _CONDITIONS[name].kind for name in shape.filters}
    if shape.continues:
        kinds["after_id"] = "uuid"
        if (order := _ORDERS[shape.sort.field]) is not None:
            kinds["after_value"] = order.kind
    return kinds


def _columns(shape: Shape, listings: Sequence[Listing]) -> Columns:
    wanted = [_filters(query) for _, query in listings] if shape.filters else []
    columns: dict[str, Callable[[], list[Any]]] = {
        "user_id": lambda: [owner for owner, _ in listings],
        "max": lambda: [query.limit and query.limit + 1 for _, query in listings],
        "after_id": lambda: [query.after and query.after.id for _, query in listings],
        "after_value": lambda: [_after_value(query) for _, query in listings],
    }
    return {
        name: columns[name]() if name in columns else [_text(each[name]) for each in wanted] for name in _kinds(shape)
    }


def _after_value(query: TaskQuery) -> SortValue | None:
    return None if query.after is None else query.after.value


def _text(wanted: Any) -> Any:
    return array_literal(list(wanted)) if isinstance(wanted, list | frozenset) else wanted


@lru_cache(STATEMENTS_KEPT)
def _statement(shape: Shape) -> str:
    kinds = _kinds(shape)
    arrays = ", ".join(f"%({name})s::{kind}[]" for name, kind in kinds.items())
    conditions = ["tasks.user_id = call.user_id", *(_CONDITIONS[name].text for name in shape.filters)]
    if shape.continues:
        conditions.append(_behind(shape))
    return f"""
        select call.place, {", ".join(f"page.{name}" for name in READ)}
        from unnest({arrays}) with ordinality as call({", ".join(kinds)}, place)
        join lateral (
            select {", ".join(READ)} from tasks where {" and ".join(conditions)}
            order by {_ordered(shape.sort, "tasks")} limit call.max
        ) as page on true order by call.place, {_ordered(shape.sort, "page")}
    """


def _behind(shape: Shape) -> str:
    """The condition for tasks after the last page; those without a sort value come last."""
    beyond, order = "<" if shape.sort.descending else ">", _ORDERS[shape.sort.field]
    by_id = f"tasks.id {beyond} call.after_id"
    if order is None:
        return by_id
    value = order.of("tasks")
    if shape.after_nulls:
        return f"{value} is null and {by_id}"
    behind = f"({value}, tasks.id) {beyond} (call.after_value, call.after_id)"
    return f"({behind} or {value} is null)" if order.nullable else behind


def _ordered(sort: Sort, source: str) -> str:
    direction, order = "desc" if sort.descending else "asc", _ORDERS[sort.field]
    by_id = f"{source}.id {direction}"
    return by_id if order is None else f"{order.of(source)} {direction} nulls last, {by_id}"
