"""The statements behind a listing: one per shape of query, made when it is first asked for and kept."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, Self, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

from todo_adapters.postgres.batch import Batch, Columns, array_literal, beside, execute
from todo_adapters.postgres.rows import READ, task_of
from todo_adapters.postgres.sharding import for_calls
from todo_core import OwnerId, Page, Sort, Task, TaskQuery
from todo_core.queries import NONE, SortValue
from todo_core.task import PRIORITIES

Listing: TypeAlias = tuple[OwnerId, TaskQuery]
_REPETITIONS: Final = 4


class _Condition(NamedTuple):
    """A filter in SQL, on what the query wants as a column of `call`, and that column's type."""

    kind: str
    text: str


_OPEN: Final = "open"
_DONE: Final = "done"
_REPEATING: Final = "repeating_search"
_INBOX: Final = "inbox"
_TOP: Final = "top"
# By the filters' names in `todo_core.queries.FILTERS`. Lists travel as text: of unlike length they fit no array.
_CONDITIONS: Final[dict[str, _Condition]] = {
    # Two statements rather than a parameter: only a plan that knows it asks for open ones can use their index.
    _OPEN: _Condition("boolean", "tasks.completed_at is null"),
    _DONE: _Condition("boolean", "tasks.completed_at is not null"),
    "search": _Condition("text", "strpos(tasks.search_text, call.search) > 0"),
    # For a text that repeats itself. The prefix makes the rest literal (PostgreSQL's documentation, §9.7.3.6).
    _REPEATING: _Condition("text", f"tasks.search_text ~ ('***=' || call.{_REPEATING})"),
    "priorities": _Condition("text", f"coalesce(tasks.priority, '{NONE}') = any (call.priorities::text[])"),
    "tags": _Condition("text", "tasks.tag_keys @> call.tags::text[]"),
    "due_from": _Condition("text", "tasks.due_date >= call.due_from"),
    "due_before": _Condition("text", "tasks.due_date < call.due_before"),
    _INBOX: _Condition("boolean", "tasks.list_id is null"),
    "list_id": _Condition("uuid", "tasks.list_id = call.list_id"),
    _TOP: _Condition("boolean", "tasks.parent_id is null"),
    # Said twice: the planner does not see that an array's elements are not null, as the index's condition asks.
    "parents": _Condition("text", "tasks.parent_id is not null and tasks.parent_id = any (call.parents::uuid[])"),
}


class _Order(NamedTuple):
    """What tasks are compared by before their id, as a column or an expression of it, its type, whether it can miss."""

    column: str
    kind: str
    nullable: bool = False
    expression: str = "{}"

    def of(self, source: str) -> str:
        """The expression on that source's column."""
        return self.expression.format(f"{source}.{self.column}", source=source)


# By the fields of `todo_core.Sort`; the order of creation is that of the ids.
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
    """What tells one listing's statement from another's; the values in it do not."""

    sort: Sort
    filters: tuple[str, ...]
    continues: bool
    behind_the_missing: bool  # the page before ended among the tasks without the value

    @classmethod
    def of(cls, query: TaskQuery) -> Self:
        """The shape of that query."""
        order, after = _ORDERS[query.sort.field], query.after
        behind_the_missing = order is not None and after is not None and after.value is None
        return cls(query.sort, tuple(_filters(query)), after is not None, behind_the_missing)

    @property
    def is_bounded(self) -> bool:
        """Whether a key alone leads to the page. Otherwise all of the owner's tasks may be gone through for it."""
        return self.sort.field == "created_at" and self.filters in ((), (_OPEN,))


def _filters(query: TaskQuery) -> dict[str, Any]:
    """The query's filters by the names of their conditions."""
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
    statement = _statement(shape)

    async def pages(connection: AsyncConnection, listings: Sequence[Listing]) -> list[Page]:
        columns = _columns(shape, listings)
        rows = await execute(connection, *for_calls(connection, statement, columns))
        alone = len(listings) == 1  # only such a one may have no limit
        return await beside(len(rows) if alone else 0, _pages, listings, rows)

    return pages


def _pages(listings: Sequence[Listing], rows: Iterable[Sequence[Any]]) -> list[Page]:
    """The page of each listing, whose place each row begins with."""
    found: list[list[Task]] = [[] for _ in listings]
    for place, *row in rows:
        found[place - 1].append(task_of(listings[place - 1][0], row))
    return [query.page(ordered) for (_, query), ordered in zip(listings, found, strict=True)]


def _kinds(shape: Shape) -> dict[str, str]:
    """The columns of the calls, and their types."""
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
    """What comes behind the last page's last task; tasks without the value come last."""
    beyond, order = "<" if shape.sort.descending else ">", _ORDERS[shape.sort.field]
    by_id = f"tasks.id {beyond} call.after_id"
    if order is None:
        return by_id
    value = order.of("tasks")
    if shape.behind_the_missing:
        return f"{value} is null and {by_id}"
    behind = f"({value}, tasks.id) {beyond} (call.after_value, call.after_id)"
    return f"({behind} or {value} is null)" if order.nullable else behind


def _ordered(sort: Sort, source: str) -> str:
    direction, order = "desc" if sort.descending else "asc", _ORDERS[sort.field]
    by_id = f"{source}.id {direction}"
    return by_id if order is None else f"{order.of(source)} {direction} nulls last, {by_id}"
