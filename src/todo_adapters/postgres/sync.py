"""Statements of sync: pages of changes with the things' present state, and pages of all things."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, TypeAlias

from psycopg import AsyncConnection

from todo_adapters.postgres.batch import Columns, array_literal, execute
from todo_adapters.postgres.rows import LIST_READ, READ, list_of, task_of
from todo_adapters.postgres.sharding import for_calls, is_sharded
from todo_core import OwnerId, SyncItem, SyncPage, SyncQuery, Thing, TodoError
from todo_core.sync import LogState, Mark

SyncCall: TypeAlias = tuple[OwnerId, SyncQuery]
Row: TypeAlias = tuple[Any, ...]


async def changed_pages(
    connection: AsyncConnection[Any], calls: Sequence[SyncCall]
) -> list[SyncPage | TodoError | None]:
    """The changes after each mark; None if a listing is shorter; or the error of that call."""

    def page(owner: OwnerId, query: SyncQuery, state: LogState, rows: Sequence[Row]) -> SyncPage | None:
        if query.is_far_behind(state):
            return None
        marks = [Mark(number, thing, _utc(at)) for number, thing, at, *_ in rows]
        items = [SyncItem(row[3], row[1], _thing(owner, row[4:])) for row in rows]
        return query.changed(state, list(zip(marks, items, strict=True)))

    return await _pages(connection, _CHANGED, calls, page, beyond=0)


async def listed_pages(
    connection: AsyncConnection[Any], calls: Sequence[SyncCall]
) -> list[SyncPage | TodoError | None]:
    """A page of all things for each call, or the error of that call."""

    def page(owner: OwnerId, query: SyncQuery, state: LogState, rows: Sequence[Row]) -> SyncPage:
        return query.listing(state, [thing for row in rows if (thing := _thing(owner, row[1:])) is not None])

    return await _pages(connection, _LISTED, calls, page, beyond=1)


async def changed_owners(
    connection: AsyncConnection[Any], calls: Sequence[Mapping[OwnerId, int]]
) -> list[Mapping[OwnerId, int]]:
    """As `TaskStore.changed`, for each call."""
    found: list[Mapping[OwnerId, int]] = []
    # With shards the numbers are compared here, so that the statement can be split by shard.
    statement = _NUMBERS_OF_ALL if is_sharded(connection) else _NUMBERS
    for seen in calls:
        values = {"user_id": array_literal(list(seen)), "number": array_literal(list(seen.values()))}
        rows = await execute(connection, statement, values)
        found.append({OwnerId(owner): number for owner, number in rows if number != seen[owner]})
    return found


async def _pages(
    connection: AsyncConnection[Any],
    statement: str,
    calls: Sequence[SyncCall],
    page: Callable[[OwnerId, SyncQuery, LogState, Sequence[Row]], SyncPage | None],
    *,
    beyond: int,
) -> list[SyncPage | TodoError | None]:
    columns: Columns = {
        "user_id": [owner for owner, _ in calls],
        "number": [query.behind[0] for _, query in calls],
        "id": [query.behind[1] for _, query in calls],
        "listed": [query.listed for _, query in calls],
        "max": [query.limit + beyond for _, query in calls],
    }
    rows = await execute(connection, *for_calls(connection, statement, columns))
    answers: list[SyncPage | TodoError | None] = []
    for place, (state, found) in _by_call(rows):
        owner, query = calls[place - 1]
        try:
            answers.append(page(owner, query, state, found))
        except TodoError as refusal:  # concerns this call only
            answers.append(refusal)
    return answers


def _by_call(rows: Sequence[Row]) -> Iterator[tuple[int, tuple[LogState, list[Row]]]]:
    for place, group in groupby(rows, itemgetter(0)):
        of_call = list(group)
        number, live, *entries = of_call[0][1:_STATE]
        state = LogState(number or 0, live or 0, _mark(entries[:3]), _mark(entries[3:]))
        yield place, (state, [row[_STATE:] for row in of_call if row[_STATE] is not None])


def _mark(columns: Sequence[Any]) -> Mark | None:
    number, thing, at = columns
    return None if number is None else Mark(number, thing, _utc(at))


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)  # behind a pooler, the connection's time zone may not be ours


def _thing(owner: OwnerId, row: Row) -> Thing | None:
    """The thing from the columns of a task and those of a list, of which one set is null."""
    if row[0] is not None:
        return task_of(owner, row[: len(READ)])
    return None if row[len(READ)] is None else list_of(owner, row[len(READ) :])


_STATE: Final = 9  # columns of the log's state, before those of `found`
_THING: Final = ", ".join([*(f"task.{name}" for name in READ), *(f"list.{name}" for name in LIST_READ)])
# Each look-up has a limit, which makes the planner look up key by key.
_STATE_OF: Final = """
from unnest(%(user_id)s::text[], %(number)s::bigint[], %(id)s::uuid[], %(listed)s::uuid[], %(max)s::bigint[])
    with ordinality as call(user_id, number, id, listed, max, place)
left join lateral (
    select number, live + lists as live from owners where owners.user_id = call.user_id limit 1
) as owner on true
left join lateral (
    select number, id, at from changes where changes.user_id = call.user_id order by number desc, id desc limit 1
) as last on true
left join lateral (
    select number, id, at from changes where changes.user_id = call.user_id and changes.number <= call.number
    order by number desc, id desc limit 1
) as near on true
"""
_THING_OF: Final = f"""
left join lateral (
    select {", ".join(READ)} from tasks
    where tasks.user_id = call.user_id and tasks.id = found.id and found.kind = 'task' limit 1
) as task on true
left join lateral (
    select {", ".join(LIST_READ)} from lists
    where lists.user_id = call.user_id and lists.id = found.id and found.kind = 'list' limit 1
) as list on true
"""
_SELECT: Final = """
select call.place, owner.number, owner.live, last.number, last.id, last.at, near.number, near.id, near.at
"""
# Of each thing only its last entry on the page. The page's last entry is always among them.
_CHANGED: Final = f"""{_SELECT}, found.number, found.id, found.at, found.kind, {_THING} {_STATE_OF}
left join lateral (
    select page.*, row_number() over (partition by id, kind order by number desc) as nth from (
        select number, id, at, kind from changes
        where changes.user_id = call.user_id and (changes.number, changes.id) > (call.number, call.id)
        order by number, id limit call.max
    ) as page
) as found on found.nth = 1 {_THING_OF}
order by call.place, found.number, found.id
"""
_LISTED: Final = f"""{_SELECT}, found.kind, {_THING} {_STATE_OF}
left join lateral (
    (
        select 'task' as kind, id from tasks where tasks.user_id = call.user_id and tasks.id > call.listed
        order by id limit call.max
    ) union all (
        select 'list', id from lists where lists.user_id = call.user_id and lists.id > call.listed
        order by id limit call.max
    ) order by id limit call.max
) as found on true {_THING_OF}
order by call.place, found.id
"""
_NUMBERS: Final = """
select call.user_id, owner.number from unnest(%(user_id)s::text[], %(number)s::bigint[]) as call(user_id, number)
join lateral (
    select number from owners where owners.user_id = call.user_id limit 1
) as owner on owner.number <> call.number
"""
_NUMBERS_OF_ALL: Final = "select user_id, number from owners where user_id = any(%(user_id)s::text[])"
