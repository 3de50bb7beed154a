"""A plan behind its owner's row: what it sees, what it decides and what is stored of it, in one transaction."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from todo_adapters.postgres.batch import array_literal, execute
from todo_adapters.postgres.rows import (
    CHANGING,
    ENTRY,
    LOGGED_ROW,
    READ,
    WRITTEN,
    answer_of,
    answer_text,
    entry_of,
    from_call,
    json_text,
    task_columns,
    task_of,
    unnested,
)
from todo_adapters.postgres.sender import Held
from todo_core import (
    Committed,
    Decision,
    Entry,
    KeyReused,
    NotSeen,
    Once,
    OwnerId,
    Pair,
    Plan,
    Seen,
    Sees,
    Task,
    TaskExists,
    TaskId,
    TooMany,
    decided,
)
from todo_core.changes import difference


class Refused(Exception):
    """A refusal of the plan's own, on its way past what judges the database's failures."""

    def __init__(self, refusal: Exception) -> None:
        self.refusal = refusal


class Row(NamedTuple):
    """What stands in an owner's row."""

    number: int
    live: int


async def commit_behind_the_lock(
    connection: AsyncConnection, owner: OwnerId, plan: Plan, sees: Sees, *, most: int, waits: bool
) -> Committed:
    """Carry out the plan, inside of a transaction (READ COMMITTED). Raises as `OwnedTasks.commit` does, but

    for what `plan.decide` raises, which is `Refused`; and `Held` where it would have to wait, and may not.
    """
    row = await _locked(connection, owner, waits=waits)
    if plan.once is not None and (outcome := await replayed(connection, owner, plan.once)) is not None:
        return outcome
    decision, seen = await _decided(connection, owner, plan, sees)
    pairs = decision.pairs
    growth = sum((pair.before is None) - (pair.after is None) for pair in pairs)
    await _require_free(connection, seen, [pair.thing.id for pair in pairs if pair.before is None])
    if growth > 0 and row.live + growth > most:
        raise TooMany("tasks", most)
    number = row.number + 1 if pairs else None
    if number is not None:
        await _store(connection, owner, plan.client, pairs, Row(number, row.live + growth))
    if decision.erased:
        await execute(connection, _ERASE, {"user_id": owner, "ids": array_literal(list(decision.erased))})
    if plan.once is not None:
        kept = {"user_id": owner, "key": plan.once.key, "fingerprint": plan.once.fingerprint, "number": number}
        await execute(connection, _KEEP, kept | {"answer": answer_text(decision.answer)})
    return Committed(decision.answer, number)


async def replayed(connection: AsyncConnection, owner: OwnerId, once: Once) -> Committed | None:
    """What was done under that key; None for a fresh one. Raises `KeyReused` where it was something else."""
    rows = await execute(connection, _READ_KEY, {"user_id": owner, "key": once.key})
    if not rows:
        return None
    [(fingerprint, number, answer)] = rows
    if fingerprint not in (None, once.fingerprint):
        raise KeyReused
    return Committed(answer_of(owner, answer), number, replayed=True)


async def make_owner(connection: AsyncConnection, owner: OwnerId) -> bool:
    """Make the owner's row, unless it is there. Tasks from before there were such rows are their first change."""
    made = bool(await execute(connection, _MAKE_OWNER, {"user_id": owner}))
    if made:
        await execute(connection, _ADOPT, {"user_id": owner})
    return made


async def _locked(connection: AsyncConnection, owner: OwnerId, *, waits: bool) -> Row:
    lock = _LOCK if waits else _LOCK_IF_FREE
    while not (rows := await execute(connection, lock, {"user_id": owner})):
        if not await make_owner(connection, owner) and not waits:
            raise Held
    return Row(*rows[0])


async def _decided(connection: AsyncConnection, owner: OwnerId, plan: Plan, sees: Sees) -> tuple[Decision, Seen]:
    seen, wanted = Seen(owner, {}), sees
    while True:
        wanted = seen.missing(wanted)
        seen = seen.with_tasks(await _read(connection, owner, wanted.tasks))
        if wanted.entries or wanted.history:
            seen = seen.with_log(*await _read_log(connection, owner, wanted))
        try:
            return decided(plan, seen), seen
        except NotSeen as more:
            wanted = more.wanted
        except Exception as refusal:
            raise Refused(refusal) from refusal


async def _read(connection: AsyncConnection, owner: OwnerId, ids: Iterable[TaskId]) -> dict[TaskId, Task | None]:
    found: dict[TaskId, Task | None] = dict.fromkeys(ids)
    if found:
        for row in await execute(connection, _READ, {"user_id": owner, "ids": array_literal(list(found))}):
            task = task_of(owner, row)
            found[task.id] = task
    return found


async def _read_log(
    connection: AsyncConnection, owner: OwnerId, sees: Sees
) -> tuple[dict[int, tuple[Entry, ...]], dict[TaskId, Entry | None]]:
    entries: dict[int, tuple[Entry, ...]] = dict.fromkeys(sees.entries, ())
    last: dict[TaskId, Entry | None] = dict.fromkeys(sees.history)
    for number in sees.entries:
        rows = await execute(connection, _READ_CHANGE, {"user_id": owner, "number": number})
        entries[number] = tuple(map(entry_of, rows))
    for task_id in sees.history:
        for row in await execute(connection, _READ_LAST, {"user_id": owner, "id": task_id}):
            last[task_id] = entry_of(row)
    return entries, last


async def _require_free(connection: AsyncConnection, seen: Seen, ids: Sequence[TaskId]) -> None:
    if any((await _read(connection, seen.owner, set(ids) - seen.tasks.keys())).values()):
        raise TaskExists


async def _store(
    connection: AsyncConnection, owner: OwnerId, client: str | None, pairs: Sequence[Pair], row: Row
) -> None:
    """Store the pairs, their entries and the owner's row by one statement: no two pairs are of one task."""
    written = [pair.after for pair in pairs if pair.after is not None]
    gone = [pair.thing.id for pair in pairs if pair.after is None]
    differences = [difference(pair) for pair in pairs]
    columns = task_columns(WRITTEN, written) | {
        "gone": gone,
        "thing": [pair.thing.id for pair in pairs],
        "action": [pair.action for pair in pairs],
        "before": [json_text(before) for before, _ in differences],
        "after": [json_text(after) for _, after in differences],
    }
    values: dict[str, Any] = {name: array_literal(each) for name, each in columns.items()}
    await execute(connection, _STORE, values | {"owner": owner, "number": row.number, "live": row.live, "by": client})


_LOCK: Final = "select number, live from owners where user_id = %(user_id)s for no key update"
_LOCK_IF_FREE: Final = f"{_LOCK} skip locked"
_MAKE_OWNER: Final = "insert into owners (user_id) values (%(user_id)s) on conflict do nothing returning true"
_ADOPT: Final = f"""
with adopted as (
    insert into changes (user_id, number, id, at, action, after)
    select tasks.user_id, 1, tasks.id, (select clock_timestamp()), 'created', {LOGGED_ROW}
    from tasks where tasks.user_id = %(user_id)s returning 1
), counted as (select count(*) as live from adopted)
update owners set number = least(counted.live, 1), live = counted.live from counted
where owners.user_id = %(user_id)s returning true
"""
# Servers of the version before change tasks without the owner's row: what is decided on stays as it was read.
_READ: Final = f"""
select {", ".join(READ)} from tasks where user_id = %(user_id)s and id = any (%(ids)s::uuid[])
order by id for no key update
"""
_READ_CHANGE: Final = f"""
select {", ".join(ENTRY)} from changes where user_id = %(user_id)s and number = %(number)s order by id
"""
_READ_LAST: Final = f"""
select {", ".join(ENTRY)} from changes where user_id = %(user_id)s and id = %(id)s order by number desc limit 1
"""
# Of each erased thing the last entry stays, without its members; so do the keys, without what they were answered with.
_ERASE: Final = """
with last as materialized (
    select id, max(number) as number from changes where user_id = %(user_id)s and id = any (%(ids)s::uuid[]) group by id
), forgotten as (
    delete from changes using last
    where changes.user_id = %(user_id)s and changes.id = last.id and changes.number < last.number
), unkeyed as (
    update used_keys set answer = '[]' where user_id = %(user_id)s and exists (
        select from jsonb_array_elements(answer) as thing where (thing ->> 'id')::uuid = any (%(ids)s::uuid[])
    )
)
update changes set before = '{}' from last
where changes.user_id = %(user_id)s and changes.id = last.id and changes.number = last.number
returning true
"""
_READ_KEY: Final = "select fingerprint, number, answer from used_keys where user_id = %(user_id)s and key = %(key)s"
_KEEP: Final = """
insert into used_keys (user_id, key, fingerprint, number, answer)
values (%(user_id)s, %(key)s, %(fingerprint)s, %(number)s, %(answer)s::jsonb) returning true
"""
_ASSIGNED: Final = ", ".join(f"{name} = excluded.{name}" for name in CHANGING)
_STORE: Final = f"""
with written as (
    insert into tasks ({", ".join(WRITTEN)}) select {", ".join(from_call(WRITTEN))} from {unnested(WRITTEN)}
    on conflict on constraint tasks_pkey do update set {_ASSIGNED}
), gone as (
    delete from tasks where user_id = %(owner)s and id = any (%(gone)s::uuid[])
), raised as (
    update owners set number = %(number)s, live = %(live)s where user_id = %(owner)s
)
insert into changes (user_id, number, id, at, action, client, before, after)
select %(owner)s::text, %(number)s::bigint, entry.thing, (select clock_timestamp()), entry.action, %(by)s::text,
       entry.before::jsonb, entry.after::jsonb
from unnest(%(thing)s::uuid[], %(action)s::text[], %(before)s::text[], %(after)s::text[])
    as entry(thing, action, before, after)
returning true
"""
