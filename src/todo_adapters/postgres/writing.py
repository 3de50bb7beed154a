"""Shared statements that write one task each for many calls: owner's row, task, number and log entry together.

Every statement locks the owners' rows first and in the same order, so that no two can deadlock. After the wait for a
lock, the statement's snapshot is outdated. Only three things are current: what the locked row holds, the conditions on
the row that is updated, and the primary key that is inserted into. Nothing else that a statement reads is reliable.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property
from typing import Final, LiteralString, NamedTuple, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from todo_adapters.postgres.batch import Batch, Columns, execute
from todo_adapters.postgres.rows import (
    CHANGING,
    COMPLETING,
    JSON,
    LOGGED_ROW,
    WRITTEN,
    from_call,
    task_columns,
    unnested,
)
from todo_adapters.postgres.sharding import for_calls
from todo_core import Once, Pair, Task
from todo_core.changes import Members, difference


class Result(StrEnum):
    """The result of a write."""

    DONE = "done"
    LOST = "lost"
    """The task has changed since it was read."""
    EXISTS = "exists"
    TOO_MANY = "too_many"
    USED = "used"
    """Its key was used before, or by another of the same batch."""
    HELD = "held"
    """Another transaction holds the owner's row: send again, in the form that waits."""
    NO_OWNER = "no_owner"
    """The owner has no row yet: make it, then send again."""


@dataclass(frozen=True)
class Write:
    """One pair of a task, to be stored as one change; a creation may have a key."""

    pair: Pair
    client: str | None = None
    once: Once | None = None

    @cached_property
    def difference(self) -> tuple[Members | None, Members | None]:
        """The members for the log."""
        return difference(self.pair)

    @property
    def task(self) -> Task:
        """The task after the change."""
        return cast("Task", self.pair.after)


class Outcome(NamedTuple):
    """The result of a write, and the number of its change, if it was done."""

    result: Result
    number: int | None


class Writing(NamedTuple):
    """The two forms of one statement: `passing` skips calls whose owner's row is locked, `waiting` waits for it."""

    passing: Batch[Write, Outcome]
    waiting: Batch[Write, Outcome]


_HELD: Final = """held as materialized (
    select owners.user_id, owners.number, owners.live, owners.lists from owners
    where owners.user_id = any(%(user_id)s::text[]) order by owners.user_id for no key update{skip_locked}
)"""
# A scalar subquery rather than `exists`, which the planner may answer by reading all owners.
_HAS_ROW: Final = "(select true from owners where owners.user_id = asked.user_id)"
_ASKED: Final = "unnest(%(user_id)s::text[]) with ordinality as asked(user_id, place)"
_RAISED: Final = """raised as (
    update owners set number = last.number, live = owners.live + last.growth from (
        select user_id, max(number) as number, (count(*) * {growth})::int as growth from done group by user_id
    ) as last where owners.user_id = last.user_id
)"""

_CREATE: Final = """
with {held},
call as materialized (
    select call.*, {used} as used, held.number, held.live,
           held.lists > 0 and (select true from lists where lists.user_id = call.user_id and lists.id = call.id)
           is true as is_list,
           row_number() over (partition by call.user_id order by call.place) as rank
    from {calls} join held on held.user_id = call.user_id {keys}
), stored as (
    insert into tasks ({columns}) select {values} from call
    where call.live + call.rank <= {max_tasks} and not call.used and not call.is_list
    on conflict on constraint tasks_pkey do nothing returning user_id, id, {logged} as after
), done as materialized (
    select first.user_id, first.id, first.place, first.client, {kept_columns} first.after,
           first.old_number + row_number() over (partition by first.user_id order by first.place) as number
    from (
        select distinct on (call.user_id, call.id) call.*, call.number as old_number, stored.after
        from stored join call using (user_id, id) order by call.user_id, call.id, call.place
    ) as first
), {raised}, logged as (
    insert into changes (user_id, number, id, at, action, client, after)
    select done.user_id, number, id, clock_timestamp(), 'created', client, after from done
){keep}
select asked.place, done.number, case
    when done.place is not null then 'done'
    when call.place is null then case when {has_row} then 'held' else 'no_owner' end
    when call.used then 'used'
    when call.live + call.rank > {max_tasks} then 'too_many'
    else 'exists' end
from {asked} left join call using (place) left join done using (place) order by asked.place
"""
_KEYS: Final = "left join used_keys as old on old.user_id = call.user_id and old.key = call.key"
# Of several calls of a batch under one key the first comes first.
_USED: Final = """old.key is not null
           or row_number() over (partition by call.user_id, call.key order by call.place) > 1"""
# Nobody reads what is returned, but only with it does Citus report which constraint was violated.
_KEEP: Final = """, kept as (
    insert into used_keys (user_id, key, fingerprint, number, answer)
    select done.user_id, key, fingerprint, number, jsonb_build_array(after || jsonb_build_object('id', id)) from done
    returning true
)"""

_CHANGE: Final = """
with {held},
written as (
    {write} returning call.place, tasks.user_id, tasks.id, held.number, call.client, call.action,
    %(differences)s::jsonb -> (2 * call.place - 2)::int as before,
    %(differences)s::jsonb -> (2 * call.place - 1)::int as after
), done as materialized (
    select place, user_id, id, client, action, before, after,
           number + row_number() over (partition by user_id order by place) as number from written
), {raised}, logged as (
    insert into changes (user_id, number, id, at, action, client, before, after)
    select done.user_id, number, id, clock_timestamp(), action, client, before, after from done
)
select asked.place, done.number, case
    when done.place is not null then 'done'
    when held.number is not null then 'lost'
    when {has_row} then 'held'
    else 'no_owner' end
from {asked} left join held on held.user_id = asked.user_id left join done using (place) order by asked.place
"""
# The version detects every change of a task; the time also detects one that was deleted and created again.
_SAME: Final = """held.user_id = call.user_id and tasks.user_id = call.user_id and tasks.id = call.id
    and tasks.version = call.was_version and tasks.updated_at = call.was_updated_at"""
_WAS: Final = {"was_version": "bigint", "was_updated_at": "timestamptz", "client": "text", "action": "text"}


@cache
def creating(max_tasks: int, *, keyed: bool) -> Writing:
    """Create tasks whose ids are free and whose owners have fewer than `max_tasks` tasks; `keyed`: each under a key.

    If another transaction stores the same key at that moment, psycopg's `UniqueViolation` is raised and nothing is
    stored.
    """
    others = {"client": "text"} | ({"key": "text", "fingerprint": "text"} if keyed else {})
    parts = {
        "calls": unnested(WRITTEN, **others),
        "used": _USED if keyed else "false",
        "keys": _KEYS if keyed else "",
        "columns": ", ".join(WRITTEN),
        "values": ", ".join(from_call(WRITTEN)),
        "max_tasks": str(max_tasks),
        "logged": LOGGED_ROW,
        "kept_columns": "first.key, first.fingerprint," if keyed else "",
        "raised": _RAISED.format(growth=1),
        "keep": _KEEP if keyed else "",
    }
    return _writing(_CREATE, parts, _keyed_creations if keyed else _creations)


def _creations(writes: Sequence[Write]) -> Columns:
    columns = task_columns(WRITTEN, [write.task for write in writes])
    return columns | {"client": [write.client for write in writes]}


def _keyed_creations(writes: Sequence[Write]) -> Columns:
    keys = [cast("Once", write.once) for write in writes]
    return _creations(writes) | {"key": [each.key for each in keys], "fingerprint": [each.fingerprint for each in keys]}


def _swapping() -> Writing:
    """Two statements for each form: a batch that only completes and reopens sends fewer columns."""
    short, whole = _swapping_these(COMPLETING), _swapping_these(CHANGING)

    def either(short: Batch[Write, Outcome], whole: Batch[Write, Outcome]) -> Batch[Write, Outcome]:
        async def write(connection: AsyncConnection, writes: Sequence[Write]) -> Sequence[Outcome]:
            return await (short if all(map(_only_completes, writes)) else whole)(connection, writes)

        return write

    return Writing(*map(either, short, whole))


def _swapping_these(columns: Sequence[str]) -> Writing:
    assigned = ", ".join(f"{name} = {value}" for name, value in zip(columns, from_call(columns), strict=True))
    sent = ("user_id", "id", *columns)
    write = f"update tasks set {assigned} from {unnested(sent, **_WAS)}, held where {_SAME}"

    def swaps(writes: Sequence[Write]) -> Columns:
        return task_columns(sent, [write.task for write in writes]) | _was(writes)

    return _writing(_CHANGE, {"write": write, "raised": _RAISED.format(growth=0)}, swaps)


def _only_completes(write: Write) -> bool:
    return set(write.difference[1] or ()).issubset(COMPLETING)


def _was(writes: Sequence[Write]) -> Columns:
    befores = [cast("Task", write.pair.before) for write in writes]
    return {
        "was_version": [before.version for before in befores],
        "was_updated_at": [before.updated_at for before in befores],
        "client": [write.client for write in writes],
        "action": [write.pair.action for write in writes],
        "differences": JSON.encode([members for write in writes for members in write.difference]),
    }


def _writing(template: str, parts: dict[str, str], columns: Callable[[Sequence[Write]], Columns]) -> Writing:
    def form(skip_locked: str) -> Batch[Write, Outcome]:
        held = _HELD.format(skip_locked=skip_locked)
        text = template.format(held=held, has_row=_HAS_ROW, asked=_ASKED, **parts)
        return _batch(text, columns)

    return Writing(passing=form(" skip locked"), waiting=form(""))


def _batch(statement: LiteralString, columns: Callable[[Sequence[Write]], Columns]) -> Batch[Write, Outcome]:
    async def write(connection: AsyncConnection, writes: Sequence[Write]) -> list[Outcome]:
        rows = await execute(connection, *for_calls(connection, statement, columns(writes)))
        return [Outcome(Result(result), number) for _, number, result in rows]

    return write


SWAPPING: Final = _swapping()
