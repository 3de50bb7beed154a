"""Statements that read: tasks by id, pages of the log, lists and summaries."""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from psycopg import AsyncConnection

from todo_adapters.postgres.batch import Batch, Columns, execute
from todo_adapters.postgres.rows import ENTRY, LIST_READ, READ, entry_of, list_of, task_of
from todo_adapters.postgres.sharding import for_calls
from todo_adapters.threads import consumed, in_thread_if_many
from todo_core import ChangePage, ChangeQuery, Entry, OwnerId, Summary, Task, TaskId, TaskList
from todo_core.queries import NONE
from todo_core.task import PRIORITIES

A = TypeVar("A")
Key: TypeAlias = tuple[OwnerId, TaskId]
LogCall: TypeAlias = tuple[OwnerId, ChangeQuery]


async def read_many(connection: AsyncConnection[Any], keys: Sequence[Key]) -> list[Task | None]:
    """The task for each key, or None."""
    owners, ids = zip(*keys, strict=True)
    rows = await execute(connection, *for_calls(connection, _READ_MANY, {"user_id": owners, "id": ids}))
    return [None if row[0] is None else task_of(key[0], row) for key, row in zip(keys, rows, strict=True)]


class AsOf(NamedTuple, Generic[A]):
    """What was found, with what its owner's row had at that moment; `number` is None if there was no row."""

    number: int | None
    live: int | None
    found: A


async def tasks_as_of(
    connection: AsyncConnection[Any], keys: Sequence[tuple[OwnerId, TaskId | None]]
) -> list[AsOf[Task | None]]:
    """As `read_many`, with each owner's number; a key without an id asks for the number alone."""
    owners, ids = zip(*keys, strict=True)
    rows = await execute(connection, *for_calls(connection, _TASKS_AS_OF, {"user_id": owners, "id": ids}))
    return [
        AsOf(number, live, None if row[0] is None else task_of(owner, row))
        for owner, (number, live, *row) in zip(owners, rows, strict=True)
    ]


async def lists_as_of(connection: AsyncConnection[Any], owners: Sequence[OwnerId]) -> list[AsOf[tuple[TaskList, ...]]]:
    """As `lists_of`, with each owner's number."""
    rows = await execute(connection, *for_calls(connection, _LISTS_AS_OF, {"user_id": owners}))
    found: list[AsOf[tuple[TaskList, ...]]] = []
    for place, group in groupby(rows, itemgetter(0)):
        of_call = list(group)
        _, number, live, *_ = of_call[0]
        lists = (list_of(owners[place - 1], row[3:]) for row in of_call if row[3] is not None)
        found.append(AsOf(number, live, tuple(lists)))
    return found


class LogShape(NamedTuple):
    """What determines the statement of a page of the log; the values are parameters."""

    of_one: bool
    trash: bool
    newest_first: bool
    continues: bool

    @property
    def is_bounded(self) -> bool:
        """Whether an index finds the page. That of the trash passes over whatever has left it, entry by entry."""
        return not self.trash


def shape_of(query: ChangeQuery) -> LogShape:
    """The shape of that query."""
    return LogShape(query.of is not None, query.trash, query.newest_first, query.after is not None)


@cache
def log_pages(shape: LogShape) -> Batch[LogCall, ChangePage]:
    """The statement for pages of the log of that shape, each found by an index."""
    statement = _log_statement(shape)

    async def pages(connection: AsyncConnection[Any], calls: Sequence[LogCall]) -> list[ChangePage]:
        columns: Columns = {
            "user_id": [owner for owner, _ in calls],
            "thing": [query.of for _, query in calls],
            "number": [query.after and query.after.number for _, query in calls],
            "id": [query.after and query.after.id for _, query in calls],
            "max": [query.limit + 1 for _, query in calls],
        }
        found: list[list[Entry]] = [[] for _ in calls]
        for row in await execute(connection, *for_calls(connection, statement, columns)):
            found[row[0] - 1].append(entry_of(row[1:]))
        return [query.page(entries) for (_, query), entries in zip(calls, found, strict=True)]

    return pages


def _log_statement(shape: LogShape) -> str:
    direction, beyond = ("desc", "<") if shape.newest_first else ("asc", ">")
    order = f"number {direction}, id {direction}"
    conditions = ["changes.user_id = call.user_id"]
    if shape.of_one:
        conditions.append("changes.id = call.thing")
    if shape.trash:
        conditions.append(f"changes.after is null and changes.root is null and changes.before <> '{{}}' and {_IS_LAST}")
    if shape.continues:
        conditions.append(f"(changes.number, changes.id) {beyond} (call.number, call.id)")
    return f"""
        select call.place, {", ".join(f"found.{name}" for name in ENTRY)}
        from unnest(%(user_id)s::text[], %(thing)s::uuid[], %(number)s::bigint[], %(id)s::uuid[], %(max)s::bigint[])
            with ordinality as call(user_id, thing, number, id, max, place)
        join lateral (
            select {", ".join(ENTRY)} from changes where {" and ".join(conditions)} order by {order} limit call.max
        ) as found on true order by call.place, {order}
    """


async def summaries(connection: AsyncConnection[Any], owners: Sequence[OwnerId]) -> list[Summary]:
    """Each owner's summary."""
    return [await _summary(connection, owner) for owner in owners]


async def _summary(connection: AsyncConnection[Any], owner: OwnerId) -> Summary:
    rows = await execute(connection, _SUMMARY, {"user_id": owner})
    return await in_thread_if_many(len(rows), _summed, consumed(rows))


def _summed(rows: Iterable[tuple[Any, ...]]) -> Summary:
    numbers: dict[str, dict[str, int]] = {kind: {} for kind in _COUNTED}
    for kind, name, count in rows:
        numbers[kind][name] = count
    opened, completed, tags, priorities, lists = numbers.values()
    by_priority = {name: priorities.get(name, 0) for name in (*PRIORITIES, NONE)}
    return Summary(opened[""], completed[""], tags, by_priority, lists)


async def lists_of(connection: AsyncConnection[Any], owners: Sequence[OwnerId]) -> list[tuple[TaskList, ...]]:
    """Each owner's lists, by position."""
    rows = await execute(connection, *for_calls(connection, _LISTS, {"user_id": owners}))
    return await in_thread_if_many(len(rows), _lists, owners, consumed(rows))


def _lists(owners: Sequence[OwnerId], rows: Iterable[tuple[Any, ...]]) -> list[tuple[TaskList, ...]]:
    found: list[list[TaskList]] = [[] for _ in owners]
    for place, *row in rows:
        found[place - 1].append(list_of(owners[place - 1], row))
    return list(map(tuple, found))


async def answer_many(connection: AsyncConnection[Any], calls: Sequence[None]) -> Sequence[None]:
    """Return if the database answers and has our tables."""
    await execute(connection, "select true from owners where user_id = ''", {})
    return calls


_COUNTED: Final = ("open", "completed", "tag", "priority", "list")
_LISTS: Final = f"""
select call.place, {", ".join(f"lists.{name}" for name in LIST_READ)}
from unnest(%(user_id)s::text[]) with ordinality as call(user_id, place)
join lists on lists.user_id = call.user_id order by call.place, lists.position, lists.id
"""


# Each look-up has a limit, which makes the planner look up key by key.
_ROW_OF: Final = """left join lateral (
    select number, live from owners where owners.user_id = call.user_id limit 1
) as owner on true"""
_LISTS_AS_OF: Final = f"""
select call.place, owner.number, owner.live, {", ".join(f"lists.{name}" for name in LIST_READ)}
from unnest(%(user_id)s::text[]) with ordinality as call(user_id, place) {_ROW_OF}
left join lists on lists.user_id = call.user_id order by call.place, lists.position, lists.id
"""
_TASKS_AS_OF: Final = f"""
select owner.number, owner.live, {", ".join(f"found.{name}" for name in READ)}
from unnest(%(user_id)s::text[], %(id)s::uuid[]) with ordinality as call(user_id, id, place) {_ROW_OF}
left join lateral (
    select {", ".join(READ)} from tasks where tasks.user_id = call.user_id and tasks.id = call.id limit 1
) as found on true order by call.place
"""
_IS_LAST: Final = """not exists (
    select from changes as later
    where later.user_id = call.user_id and later.id = changes.id and later.number > changes.number
)"""
# The limit makes the planner look up key by key.
_READ_MANY: Final = f"""
select {", ".join(f"found.{name}" for name in READ)}
from unnest(%(user_id)s::text[], %(id)s::uuid[]) with ordinality as call(user_id, id, place)
left join lateral (
    select {", ".join(READ)} from tasks where tasks.user_id = call.user_id and tasks.id = call.id limit 1
) as found on true order by call.place
"""
_SUMMARY: Final = f"""
with mine as materialized (
    select completed_at is null as open, priority, tags, tag_keys, list_id from tasks where user_id = %(user_id)s
)
select 'open', '', count(*) from mine where open
union all select 'completed', '', count(*) from mine where not open
union all (select 'priority', coalesce(priority, '{NONE}'), count(*) from mine where open group by priority)
union all (select 'list', coalesce(list_id::text, '{NONE}'), count(*) from mine where open group by list_id)
union all (
    select 'tag', min(tag.name), count(*) from mine, unnest(mine.tags, mine.tag_keys) as tag(name, key)
    where mine.open group by tag.key order by tag.key
)
"""
