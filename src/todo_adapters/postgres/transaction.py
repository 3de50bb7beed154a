"""Carries out a plan in one transaction behind the owner's lock: reads what it sees, decides, and stores the result."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from threading import Event
from traceback import clear_frames
from typing import Any, Final, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable

from todo_adapters.postgres.batch import array_literal, execute
from todo_adapters.postgres.listing import PagesOf, Shape
from todo_adapters.postgres.reading import lists_of, log_pages, shape_of
from todo_adapters.postgres.rows import (
    CHANGING,
    ENTRY,
    LIST_READ,
    LOGGED_LIST,
    LOGGED_ROW,
    READ,
    WRITTEN,
    answer_of,
    entry_of,
    from_call,
    json_text,
    kind_of_column,
    task_columns,
    task_of,
    unnested,
    weight_of,
)
from todo_adapters.postgres.sender import Held, Unwritten
from todo_adapters.postgres.sharding import of_one_owner
from todo_adapters.postgres.table import lists
from todo_adapters.threads import consumed, in_thread_if_many, let_go
from todo_core import (
    LISTS_MAX,
    ChangeQuery,
    Committed,
    Decision,
    Entry,
    KeyReused,
    Kind,
    NotSeen,
    Once,
    OwnerId,
    Pair,
    Plan,
    Seen,
    Sees,
    SyncItem,
    Task,
    TaskExists,
    TaskId,
    TaskList,
    TaskQuery,
    Thing,
    TooMany,
    decided,
)
from todo_core.changes import difference, growth_of, kind_of

_PORTION: Final = 2000  # rows, by weight, that one statement stores
_THINGS_A_PART: Final = 63  # deciding one operation of a batch takes up to a millisecond, where a task recurs


class Refused(Unwritten):
    """Wraps an error for the caller, so that it is not taken for a database error."""

    def __init__(self, refusal: Exception) -> None:
        self.refusal = refusal


class _Abandoned(Exception):
    """Nobody waits for the decision any longer."""


@dataclass(frozen=True, slots=True)
class _Seen(Seen):
    """As `Seen`, in a thread, which cannot be cancelled: the parts of a batch may take half a minute together."""

    abandoned: Event = field(default_factory=Event)

    def go_on(self) -> None:
        if self.abandoned.is_set():
            raise _Abandoned


class Row(NamedTuple):
    """An owner's row."""

    number: int
    live: int
    lists: int


async def commit_behind_the_lock(
    connection: AsyncConnection[Any], owner: OwnerId, plan: Plan, sees: Sees, *, max_tasks: int, waits: bool
) -> Committed:
    """Carry out the plan inside a transaction (READ COMMITTED). Raises as `OwnedTasks.commit` does.

    A refusal, and what `plan.decide` raises, is wrapped in `Refused`. Raises `Held` if it would have to wait for the
    lock and not `waits`.
    """
    row = await _locked(connection, owner, waits=waits)
    if plan.once is not None and (outcome := await replayed(connection, owner, plan.once)) is not None:
        return outcome
    decision = await _decided(connection, owner, plan, sees)
    pairs = decision.pairs
    await _require_free(connection, owner, pairs)
    after = _raised(row, pairs, max_tasks)
    if pairs:
        await _store(connection, owner, plan.client, pairs, after)
    number = after.number if pairs else None
    if decision.erased:
        await execute(connection, _ERASE, {"user_id": owner, "ids": array_literal(list(decision.erased))})
    if plan.once is not None:
        kept = {"owner": owner, "key": plan.once.key, "fingerprint": plan.once.fingerprint, "number": number}
        await execute(connection, _KEEP, kept | await in_thread_if_many(len(decision.answer), _named, decision.answer))
    committed, held = Committed(decision.answer, number), list(pairs)
    del decision, pairs
    let_go(held)
    return committed


async def replayed(connection: AsyncConnection[Any], owner: OwnerId, once: Once) -> Committed | None:
    """The outcome of the write under that key, or None. Raises `Refused` if it was another request."""
    rows = await execute(connection, _READ_KEY, {"user_id": owner, "key": once.key})
    if not rows:
        return None
    fingerprint, number, _ = rows[0]
    if fingerprint not in (None, once.fingerprint):
        raise Refused(KeyReused())
    things = [thing for *_, thing in consumed(rows) if thing is not None]
    answer = await in_thread_if_many(len(things), lambda: answer_of(owner, consumed(things)))
    return Committed(answer, number, replayed=True)


async def make_owner(connection: AsyncConnection[Any], owner: OwnerId, *, waits: bool = True) -> bool:
    """Make the owner's row unless it exists. Tasks from before revision 0003 become the owner's first change.

    Without `waits` it raises `Held` if another transaction is making it.
    """
    if waits:
        made = bool(await execute(connection, _MAKE_OWNER, {"user_id": owner}))
    else:
        made = await _made_without_waiting(connection, owner)
    if made:
        await execute(connection, _ADOPT, {"user_id": owner})
    return made


async def _made_without_waiting(connection: AsyncConnection[Any], owner: OwnerId) -> bool:
    [(usual, _)] = await execute(connection, _LIMIT_WAITS, {"limit": _SOON})
    try:
        made = bool(await execute(connection, _MAKE_OWNER, {"user_id": owner}))
    except LockNotAvailable:
        raise Held from None
    await execute(connection, _LIMIT_WAITS, {"limit": usual})
    return made


async def _locked(connection: AsyncConnection[Any], owner: OwnerId, *, waits: bool) -> Row:
    lock = _LOCK if waits else _LOCK_IF_FREE
    while not (rows := await execute(connection, lock, {"user_id": owner})):
        if not await make_owner(connection, owner, waits=waits) and not waits:
            raise Held
    return Row(*rows[0])


def _raised(row: Row, pairs: Sequence[Pair], max_tasks: int) -> Row:
    """The owner's row after these pairs. Raises `Refused` if they are too many."""
    limits = {"task": max_tasks, "list": LISTS_MAX}
    counts: dict[Kind, int] = {"task": row.live, "list": row.lists}
    for kind, growth in growth_of(pairs).items():
        counts[kind] += growth
        if growth > 0 and counts[kind] > limits[kind]:
            raise Refused(TooMany(f"{kind}s", limits[kind]))
    return Row(row.number + 1, counts["task"], counts["list"])


async def _decided(connection: AsyncConnection[Any], owner: OwnerId, plan: Plan, sees: Sees) -> Decision:
    seen, wanted = _Seen(owner, {}), sees
    try:
        while True:
            seen = await _with_read(connection, seen, seen.missing(wanted))
            try:
                return await in_thread_if_many(max(seen.size, _THINGS_A_PART * plan.parts), decided, plan, seen)
            except NotSeen as more:
                wanted = more.wanted
            except Exception as refusal:
                clear_frames(refusal.__traceback__)  # they hold what has been seen
                raise Refused(refusal) from refusal
    finally:
        seen.abandoned.set()
        held = _things(seen)
        del seen
        let_go(held)


def _things(seen: Seen) -> list[Any]:
    several = (*seen.pages.values(), *seen.entries.values(), *seen.log.values())
    return [*seen.tasks.values(), *seen.last_entries.values(), *chain.from_iterable(several)]


async def _with_read(connection: AsyncConnection[Any], seen: _Seen, wanted: Sees) -> _Seen:
    """Read what is wanted, and return `seen` with it."""
    owner = seen.owner
    pages: dict[TaskQuery, tuple[Task, ...]] = {}
    for query in wanted.pages:
        [page] = await PagesOf(Shape.of(query))(connection, [(owner, query)])
        pages[query] = page.items
    return seen.with_read(
        tasks=await _read(connection, owner, wanted.tasks),
        entries={number: await _read_change(connection, owner, number) for number in wanted.entries},
        last_entries=await _read_last(connection, seen, wanted.last_entries),
        pages=pages,
        lists=(await lists_of(connection, [owner]))[0] if wanted.lists else None,
        log={query: await _read_page(connection, owner, query) for query in wanted.log},
    )


async def _read(connection: AsyncConnection[Any], owner: OwnerId, ids: Collection[TaskId]) -> dict[TaskId, Task | None]:
    if not ids:
        return {}
    rows = await execute(connection, _READ, {"user_id": owner, "ids": await _array(ids)})
    found = await in_thread_if_many(len(rows), lambda: [task_of(owner, row) for row in consumed(rows)])
    return dict.fromkeys(ids) | {task.id: task for task in found}


async def _array(ids: Collection[UUID]) -> str:
    return await in_thread_if_many(len(ids), lambda: array_literal(list(ids)))


async def _read_change(connection: AsyncConnection[Any], owner: OwnerId, number: int) -> tuple[Entry, ...]:
    return await _entries(await execute(connection, _READ_CHANGE, {"user_id": owner, "number": number}))


async def _read_page(connection: AsyncConnection[Any], owner: OwnerId, query: ChangeQuery) -> tuple[Entry, ...]:
    [page] = await log_pages(shape_of(query))(connection, [(owner, query)])
    return page.items


async def _entries(rows: list[Any]) -> tuple[Entry, ...]:
    return await in_thread_if_many(len(rows), lambda: tuple(map(entry_of, consumed(rows))))


async def _read_last(connection: AsyncConnection[Any], seen: Seen, ids: Collection[UUID]) -> dict[UUID, Entry | None]:
    if not ids:
        return {}
    numbers = await execute(connection, _READ_LAST_NUMBERS, {"user_id": seen.owner, "ids": await _array(ids)})
    last = await in_thread_if_many(len(ids), _seen_already, seen, ids, numbers)
    others = [thing_id for thing_id, entry in last.items() if entry is None]
    asked = {"user_id": seen.owner, "ids": await _array(others)}
    entries = await _entries(await execute(connection, _READ_LAST, asked)) if others else ()
    return last | {entry.id: entry for entry in entries}


def _seen_already(seen: Seen, ids: Iterable[UUID], numbers: Iterable[Any]) -> dict[UUID, Entry | None]:
    """For each of these things the entry with that number, if it was read with its change."""
    entries = {(each.id, each.number): each for several in seen.entries.values() for each in several}
    return dict.fromkeys(ids) | {thing_id: entries.get((thing_id, number)) for thing_id, number in numbers}


async def _require_free(connection: AsyncConnection[Any], owner: OwnerId, pairs: Sequence[Pair]) -> None:
    ids = [pair.thing.id for pair in pairs if pair.before is None]
    if ids and await execute(connection, _READ_TAKEN, {"user_id": owner, "ids": await _array(ids)}):
        raise Refused(TaskExists())


async def _store(
    connection: AsyncConnection[Any], owner: OwnerId, client: str | None, pairs: Sequence[Pair], row: Row
) -> None:
    """Store the pairs, their entries and the owner's row. No two pairs may be of one thing."""
    same = {"owner": owner, "by": client, "number": row.number, "live": row.live, "lists": row.lists}
    at = None
    for portion, size in _portions(pairs):
        values = await in_thread_if_many(size, _values, portion)  # folding long texts takes a millisecond each
        [(at,), *_] = await execute(connection, _STORE, values | same | {"at": at})
    lists = [pair.after for pair in pairs if isinstance(pair.after, TaskList)]
    if lists:
        kept = {name: array_literal([getattr(each, name) for each in lists]) for name in LIST_READ}
        await execute(connection, _STORE_LISTS, kept | {"owner": owner})


def _portions(pairs: Sequence[Pair]) -> Iterator[tuple[list[Pair], int]]:
    """The pairs in portions, with the weight of each: the event loop does nothing else while the driver sends one."""
    portion, size = list[Pair](), 0
    for pair in pairs:
        portion.append(pair)
        size += weight_of(pair.before if isinstance(pair.before, Task) else None)
        size += weight_of(pair.after if isinstance(pair.after, Task) else None)
        if size >= _PORTION:
            yield portion, size
            portion, size = [], 0
    if portion:
        yield portion, size


def _values(pairs: Sequence[Pair]) -> dict[str, Any]:
    """The arrays that `_STORE` takes."""
    written = [pair.after for pair in pairs if isinstance(pair.after, Task)]
    differences = [difference(pair) for pair in pairs]
    columns = task_columns(WRITTEN, written) | {
        "gone": [pair.thing.id for pair in pairs if pair.after is None],
        "kind": [kind_of(pair.thing) for pair in pairs],
        "thing": [pair.thing.id for pair in pairs],
        "action": [pair.action for pair in pairs],
        "before": [json_text(before) for before, _ in differences],
        "after": [json_text(after) for _, after in differences],
        "root": [pair.root for pair in pairs],
        "took": [pair.took for pair in pairs],
    }
    return {name: array_literal(each) for name, each in columns.items()}


def _named(answer: Sequence[Thing | SyncItem]) -> dict[str, str]:
    """Which things those are, as `_KEEP` takes them."""
    kinds = [each.kind if isinstance(each, SyncItem) else kind_of(each) for each in answer]
    return {"kinds": array_literal(kinds), "ids": array_literal([each.id for each in answer])}


_LOCK: Final = "select number, live, lists from owners where user_id = %(user_id)s for no key update"
_LOCK_IF_FREE: Final = f"{_LOCK} skip locked"
_SOON: Final = "100ms"
_LIMIT_WAITS: Final = "select current_setting('lock_timeout'), set_config('lock_timeout', %(limit)s, true)"
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
# Locked, since servers of an older version change tasks without locking the owner's row.
_READ: Final = f"""
select {", ".join(READ)} from tasks where user_id = %(user_id)s and id = any (%(ids)s::uuid[])
order by id for no key update
"""
_READ_CHANGE: Final = f"""
select {", ".join(ENTRY)} from changes where user_id = %(user_id)s and number = %(number)s order by id
"""
_READ_LAST: Final = f"""
select {", ".join(f"found.{name}" for name in ENTRY)} from unnest(%(ids)s::uuid[]) as wanted(id)
join lateral (
    select {", ".join(ENTRY)} from changes where user_id = %(user_id)s and changes.id = wanted.id
    order by number desc limit 1
) as found on true
"""
_READ_TAKEN: Final = """
select true from tasks where user_id = %(user_id)s and id = any (%(ids)s::uuid[])
union all select true from lists where user_id = %(user_id)s and id = any (%(ids)s::uuid[]) limit 1
"""
_READ_LAST_NUMBERS: Final = """
select wanted.id, found.number from unnest(%(ids)s::uuid[]) as wanted(id)
join lateral (
    select number from changes where user_id = %(user_id)s and changes.id = wanted.id order by number desc limit 1
) as found on true
"""
# The last entry of an erased thing stays, without its members; its keys stay, with its kind and id.
_ERASE: Final = """
with last as materialized (
    select id, max(number) as number from changes where user_id = %(user_id)s and id = any (%(ids)s::uuid[]) group by id
), forgotten as (
    delete from changes using last
    where changes.user_id = %(user_id)s and changes.id = last.id and changes.number < last.number
), unkeyed as (
    update used_keys set answer = (
        select jsonb_agg(case when (thing ->> 'id')::uuid = any (%(ids)s::uuid[])
            then jsonb_build_object('kind', coalesce(thing ->> 'kind', 'task'), 'id', thing -> 'id') else thing
        end order by place) from jsonb_array_elements(answer) with ordinality as kept(thing, place)
    ) where user_id = %(user_id)s and exists (
        select from jsonb_array_elements(answer) as thing where (thing ->> 'id')::uuid = any (%(ids)s::uuid[])
    )
)
update changes set before = '{}' from last
where changes.user_id = %(user_id)s and changes.id = last.id and changes.number = last.number
returning true
"""
# A row for each thing: a whole answer may be so large that reading it would block the event loop.
_READ_KEY: Final = """
select fingerprint, number, kept.thing from used_keys
left join lateral jsonb_array_elements(answer) with ordinality as kept(thing, place) on true
where user_id = %(user_id)s and key = %(key)s order by kept.place
"""
# The things are as they have just been stored: an answer may have 90 MB, and sending it would block the event loop.
_KEEP: Final = f"""
insert into used_keys (user_id, key, fingerprint, number, answer)
select %(owner)s::text, %(key)s::text, %(fingerprint)s::text, %(number)s::bigint, coalesce(jsonb_agg(
    coalesce(stored.thing, '{{}}') || jsonb_build_object('kind', named.kind, 'id', named.id) order by named.place
), '[]')
from unnest(%(kinds)s::text[], %(ids)s::uuid[]) with ordinality as named(kind, id, place)
left join lateral (
    select {LOGGED_ROW} as thing from tasks where tasks.user_id = %(owner)s and tasks.id = named.id
    union all
    select {LOGGED_LIST} from lists where lists.user_id = %(owner)s and lists.id = named.id limit 1
) as stored on true
returning true
"""
_ASSIGNED: Final = ", ".join(f"{name} = excluded.{name}" for name in CHANGING)
_STORE: Final = of_one_owner(f"""
with written as (
    insert into tasks ({", ".join(WRITTEN)}) select {", ".join(from_call(WRITTEN))} from {unnested(WRITTEN)}
    on conflict on constraint tasks_pkey do update set {_ASSIGNED}
), gone as (
    delete from tasks where user_id = %(owner)s and id = any (%(gone)s::uuid[])
), gone_lists as (
    delete from lists where user_id = %(owner)s and id = any (%(gone)s::uuid[])
), raised as (
    update owners set number = %(number)s, live = %(live)s, lists = %(lists)s where user_id = %(owner)s
)
insert into changes (user_id, number, kind, id, at, action, client, before, after, root, took)
select %(owner)s::text, %(number)s::bigint, entry.kind, entry.thing,
       coalesce(%(at)s::timestamptz, (select clock_timestamp())), entry.action,
       %(by)s::text, entry.before::jsonb, entry.after::jsonb, entry.root, entry.took
from unnest(
    %(kind)s::text[], %(thing)s::uuid[], %(action)s::text[], %(before)s::text[], %(after)s::text[], %(root)s::uuid[],
    %(took)s::int[]
) as entry(kind, thing, action, before, after, root, took)
returning at
""")
_STORE_LISTS: Final = f"""
insert into lists (user_id, {", ".join(LIST_READ)})
select %(owner)s::text, {", ".join(f"call.{name}" for name in LIST_READ)} from unnest(
    {", ".join(f"%({name})s::{kind_of_column(lists.c[name])}[]" for name in LIST_READ)}
) as call({", ".join(LIST_READ)})
on conflict on constraint lists_pkey do update set {", ".join(f"{name} = excluded.{name}" for name in LIST_READ)}
returning true
"""
