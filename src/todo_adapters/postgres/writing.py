"""Shared statements that write one task each for many calls: owner's row, task, number and log entry together.

Every statement locks the owners' rows first and in the same order, so that no two can deadlock. After the wait for a
lock, the statement's snapshot is outdated. Only three things are current: what the locked row holds, the conditions on
the row that is updated, and the primary key that is inserted into. Nothing else that a statement reads is reliable.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property
from itertools import count
from typing import Any, Final, LiteralString, NamedTuple, cast

from psycopg import AsyncConnection

from todo_adapters.postgres.batch import Batch, Columns, execute, of_one_call
from todo_adapters.postgres.rows import (
    CHANGING,
    COMMON,
    COMPLETING,
    JSON,
    PLACED,
    PLAIN,
    WRITTEN,
    answer_text,
    fitting,
    from_call,
    logged,
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
    """The task has changed since it was read; or, of a creation as of a number, its owner's number has."""
    EXISTS = "exists"
    TOO_MANY = "too_many"
    USED = "used"
    """Its key was used before, or its key or id by another of the same batch, which only the lock can judge."""
    HELD = "held"
    """Another transaction holds the owner's row: send again, in the form that waits."""
    NO_OWNER = "no_owner"
    """The owner has no row yet: make it, then send again."""


@dataclass(frozen=True)
class Write:
    """One pair of a task, to be stored as one change, under a key or not."""

    pair: Pair
    client: str | None = None
    once: Once | None = None
    as_of: int | None = None
    """The owner's number that was read before all that a creation was decided on; None if it rests on nothing."""

    @cached_property
    def difference(self) -> tuple[Members | None, Members | None]:
        """The members for the log."""
        return difference(self.pair)

    @property
    def task(self) -> Task:
        """The task after the change, or before its deletion."""
        return self.pair.thing  # type: ignore[return-value]  # a task

    @property
    def answer(self) -> tuple[Task, ...]:
        """The answer that is kept under its key."""
        return () if self.pair.after is None else (self.task,)


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
_HAS_ROW: Final = "(select true from owners where owners.user_id = call.user_id)"
# Of an owner's calls only the last has the owner's new number, and the growth is how far it is from the old one.
_RAISED: Final = """raised as (
    update owners set number = done.number{growth} from done where done.is_last and owners.user_id = done.user_id
)"""
_NUMBERED: Final = "number + row_number() over owner as number, lead(place) over owner is null as is_last"
_OWNERS: Final = "window owner as (partition by user_id order by place)"
_NUMBERED_ALONE: Final = "number + 1 as number, true as is_last"

# A list that was stored while the statement waited is not seen, but the old number is, which is not the locked row's.
# `rank` counts the calls of an owner; `again`: the id, or the key, is that of an earlier call of the batch. Calls whose
# owner is not held stay in `call`, without a number.
_CREATE: Final = """
with {held},
call as materialized (
    select call.*, {used} as used, held.number, held.live,
           held.lists > 0 and (
               (select true from lists where lists.user_id = call.user_id and lists.id = call.id) is true
               or (select number from owners where owners.user_id = call.user_id) < held.number
           ) as may_be_list
    from {calls} left join held on held.user_id = call.user_id {keys}
), stored as (
    insert into tasks ({columns}) select {values} from call
    where call.live + call.rank <= {max_tasks} and not call.used and not call.again and not call.may_be_list{current}
    on conflict on constraint tasks_pkey do nothing returning user_id, id, {logged} as after
), done as materialized (
    select call.user_id, call.id, call.place, call.client, {kept_columns} stored.after, {numbered}
    from stored join call using (user_id, id) where not call.again {owners}
), {raised}, logged as (
    insert into changes (user_id, number, id, at, action, client, after)
    select done.user_id, number, id, clock_timestamp(), 'created', client, after from done
){keep}
select call.place, done.number, case
    when done.place is not null then 'done'
    when call.number is null then case when {has_row} then 'held' else 'no_owner' end
    when call.used then 'used'{lost}
    when call.live + call.rank > {max_tasks} then 'too_many'
    else 'exists' end
from call left join done using (place)
"""
_KEYS: Final = "left join used_keys as old on old.user_id = call.user_id and old.key = call.key"
_USED: Final = "old.key is not null or call.again"
# Nobody reads what is returned, but only with it does Citus report which constraint was violated.
_KEEP: Final = """, kept as (
    insert into used_keys (user_id, key, fingerprint, number, answer)
    select done.user_id, key, fingerprint, number, {answer} from done
    returning true
)"""

_CHANGE: Final = """
with {held},
call as materialized (
    select call.*, {used} as used, held.number from {calls} left join held on held.user_id = call.user_id {keys}
), written as (
    {change} call where {same}
    returning call.place, tasks.user_id, tasks.id, call.number, call.client, call.action, {kept_columns}
              %(differences)s::jsonb -> (2 * call.place - 2)::int as before,
              {after} as after
), done as materialized (
    select user_id, id, place, client, action, {kept_columns} before, after, {numbered}
    from written {owners}
), {raised}, logged as (
    insert into changes (user_id, number, id, at, action, client, before, after)
    select done.user_id, number, id, clock_timestamp(), action, client, before, after from done
){keep}
select call.place, done.number, case
    when done.place is not null then 'done'
    when call.number is null then case when {has_row} then 'held' else 'no_owner' end
    when call.used then 'used'
    else 'lost' end
from call left join done using (place)
"""
# The version detects every change of a task; the time also detects one that was deleted and created again.
_SAME: Final = """call.number is not null and not call.used and tasks.user_id = call.user_id and tasks.id = call.id
    and tasks.version = call.was_version and tasks.updated_at = call.was_updated_at"""
# A subtask that was stored while the statement waited is not seen; but then the seen number is not the locked row's.
# By a range rather than `=`, for which the planner may read all tasks, where few have many subtasks.
_IS_LEAF: Final = """ and (select number from owners where owners.user_id = call.user_id) = call.number and (
        select true from tasks as below where below.user_id = call.user_id
        and below.parent_id >= call.id and below.parent_id <= call.id limit 1
    ) is null"""
# Every change raises the number of the row that is locked here: if it is the one that was read first, all that was read
# after it is as it was.
_CURRENT: Final = " and call.number = call.as_of"
_NOT_CURRENT: Final = "\n    when (call.number = call.as_of) is not true then 'lost'"
_WAS: Final = {"was_version": "bigint", "was_updated_at": "timestamptz", "client": "text", "action": "text"}


@cache
def creating(max_tasks: int, *, keyed: bool, as_of: bool = False) -> Writing:
    """Create tasks whose ids are free and whose owners have fewer than `max_tasks` tasks; `keyed`: each under a key.

    `as_of`: each only if its owner has not changed since the number `Write.as_of`.
    If another transaction stores the same key at that moment, psycopg's `UniqueViolation` is raised and nothing is
    stored.
    """
    shorter = (PLACED,) if as_of else (PLAIN, COMMON)
    forms = ((_fits(columns), _creating_these(columns, max_tasks, keyed=keyed, as_of=as_of)) for columns in shorter)
    return _shortest(*forms, (_fits_any, _creating_these(tuple(WRITTEN), max_tasks, keyed=keyed, as_of=as_of)))


def _creating_these(columns: Sequence[str], max_tasks: int, *, keyed: bool, as_of: bool) -> Writing:
    with_key = {"key": "text", "fingerprint": "text"} if keyed else {}
    with_number = {"as_of": "bigint"} if as_of else {}
    answer = "jsonb_build_array(after || jsonb_build_object('id', id))"
    parts = _key_parts(*with_key, answer=answer, keyed=keyed) | {
        "calls": unnested(columns, client="text", rank="int", again="bool", **with_key, **with_number),
        "columns": ", ".join(columns),
        "values": ", ".join(from_call(columns)),
        "max_tasks": str(max_tasks),
        "logged": logged(columns),
        "current": _CURRENT * as_of,
        "lost": _NOT_CURRENT * as_of,
        "raised": _RAISED.format(growth=", live = owners.live + done.number - owners.number"),
    }

    def creations(writes: Sequence[Write]) -> Columns:
        sent = task_columns(columns, [write.task for write in writes]) | _of_calls(writes, keyed=keyed)
        return sent | _as_of(writes) if as_of else sent

    return _writing(_CREATE, parts, creations)


def _key_parts(*sent: str, answer: str, keyed: bool) -> dict[str, str]:
    """The parts of a statement that look up its calls' keys, and keep each, what is `sent` with it, and its answer."""
    if not keyed:
        return {"used": "false", "keys": "", "kept_columns": "", "keep": ""}
    kept_columns = "".join(f"{name}, " for name in sent)
    return {"used": _USED, "keys": _KEYS, "kept_columns": kept_columns, "keep": _KEEP.format(answer=answer)}


def _of_calls(writes: Sequence[Write], *, keyed: bool) -> Columns:
    owners = [write.task.owner for write in writes]
    columns: Columns = {"client": [write.client for write in writes], "rank": _counted(owners)}
    of_ids = _counted(zip(owners, [write.task.id for write in writes], strict=True))
    if not keyed:
        return columns | {"again": [times > 1 for times in of_ids]}
    keys = _keys(writes)
    again = [times > 1 or of_key for times, of_key in zip(of_ids, keys["again"], strict=True)]
    return columns | keys | {"again": again}


def _keys(writes: Sequence[Write]) -> dict[str, list[Any]]:
    """The calls' keys; `again`: it is that of an earlier call of the batch."""
    onces = [cast("Once", write.once) for write in writes]
    counts = _counted((write.task.owner, once.key) for write, once in zip(writes, onces, strict=True))
    return {
        "key": [once.key for once in onces],
        "fingerprint": [once.fingerprint for once in onces],
        "again": [times > 1 for times in counts],
    }


def _counted(values: Iterable[object]) -> list[int]:
    """For each value, how often it has come so far, itself included."""
    counts: defaultdict[object, Iterator[int]] = defaultdict(lambda: count(1))
    return [next(counts[value]) for value in values]


def _as_of(writes: Sequence[Write]) -> Columns:
    """The numbers; null after an earlier call of that owner, which may raise the number in this very statement."""
    turns = _counted(write.task.owner for write in writes)
    return {"as_of": [write.as_of if turn == 1 else None for write, turn in zip(writes, turns, strict=True)]}


def _swapping(*, keyed: bool = False) -> Writing:
    short, whole = (_swapping_these(columns, keyed=keyed) for columns in (COMPLETING, CHANGING))
    return _shortest((_only_completes, short), (_fits_any, whole))


def _swapping_these(columns: Sequence[str], *, keyed: bool) -> Writing:
    assigned = ", ".join(f"{name} = {value}" for name, value in zip(columns, from_call(columns), strict=True))
    after = "%(differences)s::jsonb -> (2 * call.place - 1)::int"
    parts = {"change": f"update tasks set {assigned} from", "after": after, "same": _SAME}
    return _changing_these(columns, parts | {"raised": _RAISED.format(growth="")}, keyed=keyed)


def _removing(*, keyed: bool = False) -> Writing:
    parts = {"change": "delete from tasks using", "after": "null::jsonb", "same": _SAME + _IS_LEAF}
    raised = _RAISED.format(growth=", live = owners.live + owners.number - done.number")
    return _changing_these((), parts | {"raised": raised}, keyed=keyed)


def _changing_these(columns: Sequence[str], parts: dict[str, str], *, keyed: bool) -> Writing:
    sent = ("user_id", "id", *columns)
    with_key = {"key": "text", "fingerprint": "text", "answer": "text"} if keyed else {}
    calls = unnested(sent, **_WAS, **with_key, **({"again": "bool"} if keyed else {}))
    parts = parts | _key_parts(*with_key, answer="answer::jsonb", keyed=keyed) | {"calls": calls}

    def changes(writes: Sequence[Write]) -> Columns:
        columns = task_columns(sent, [write.task for write in writes]) | _was(writes)
        return columns | _keys(writes) | _answers(writes) if keyed else columns

    return _writing(_CHANGE, parts, changes)


def _answers(writes: Sequence[Write]) -> Columns:
    return {"answer": [answer_text(write.answer) for write in writes]}


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


def _fits(columns: Sequence[str]) -> Callable[[Write], bool]:
    fits = fitting(columns)
    return lambda write: fits(write.task)


def _fits_any(_: Write) -> bool:
    return True


def _shortest(*choices: tuple[Callable[[Write], bool], Writing]) -> Writing:
    """A batch goes into the first statement that fits all its writes: the first sends the fewest columns."""

    def form(*batches: Batch[Write, Outcome]) -> Batch[Write, Outcome]:
        async def write(connection: AsyncConnection[Any], writes: Sequence[Write]) -> Sequence[Outcome]:
            fit = (batch for (fits, _), batch in zip(choices, batches, strict=True) if all(map(fits, writes)))
            return await next(fit)(connection, writes)

        return write

    return Writing(*map(form, *(writing for _, writing in choices)))


def _writing(template: str, parts: dict[str, str], columns: Callable[[Sequence[Write]], Columns]) -> Writing:
    def form(skip_locked: str) -> Batch[Write, Outcome]:
        common = parts | {"held": _HELD.format(skip_locked=skip_locked), "has_row": _HAS_ROW}
        shared = template.format(numbered=_NUMBERED, owners=_OWNERS, **common)
        alone = of_one_call(template.format(numbered=_NUMBERED_ALONE, owners="", **common))
        return _batch(shared, alone, columns)

    return Writing(passing=form(" skip locked"), waiting=form(""))


def _batch(
    shared: LiteralString, alone: LiteralString, columns: Callable[[Sequence[Write]], Columns]
) -> Batch[Write, Outcome]:
    async def write(connection: AsyncConnection[Any], writes: Sequence[Write]) -> list[Outcome]:
        rows = await execute(connection, *for_calls(connection, shared, columns(writes), alone=alone))
        return [Outcome(Result(result), number) for _, number, result in sorted(rows)]

    return write


SWAPPING: Final = _swapping()
SWAPPING_ONCE: Final = _swapping(keyed=True)
"""Each under a key; `psycopg`'s `UniqueViolation` as in `creating`."""
REMOVING: Final = _removing()
"""Deletes tasks that have not changed and have no subtasks."""
REMOVING_ONCE: Final = _removing(keyed=True)
