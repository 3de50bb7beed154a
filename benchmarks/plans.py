"""Asserts that PostgreSQL uses the primary key in every statement on tasks and their log."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Unpack
from unittest.mock import patch
from uuid import UUID

from psycopg import AsyncConnection

from todo_adapters.postgres import batch, create_engine, listing, pruning, reading, sync, transaction, writing
from todo_adapters.postgres.listing import PagesOf, Shape
from todo_adapters.postgres.reading import lists_as_of, log_pages, read_many, shape_of, tasks_as_of
from todo_adapters.postgres.table import changes, used_keys
from todo_adapters.postgres.writing import (
    REMOVING,
    REMOVING_ONCE,
    SWAPPING,
    SWAPPING_ONCE,
    Write,
    Writing,
    creating,
)
from todo_core import (
    KEY_LIFE,
    ChangeQuery,
    Cursor,
    ListId,
    Once,
    OwnerId,
    Pair,
    Sort,
    SyncQuery,
    SyncToken,
    Task,
    TaskId,
    TaskQuery,
    idempotency_key,
)
from todo_core.changes import Place
from todo_core.sync import Mark
from todo_core.task import Settable

_NOW = datetime(2026, 11, 5, tzinfo=UTC)
_PARAMETER = re.compile(r"%\((\w+)\)s")
_BATCHES = (1, 64)
_FORGETTING = {
    "forget used_keys": pruning.pruning(used_keys, used_keys.c.used_at, KEY_LIFE),
    "forget changes": pruning.pruning(changes, changes.c.at, KEY_LIFE),
}
_ROW = transaction.Row(number=1, live=0, lists=0)
Ask = Callable[[AsyncConnection[Any]], Awaitable[object]]


# Members of tasks: a batch of new ones sends only columns that some of them need, so each has a statement of its own.
_FORMS: dict[str, Settable] = {"": {}, ", tagged": {"tags": ("plan",)}, ", whole": {"recurrence_from": "completion"}}


def _tasks(count: int, **members: Unpack[Settable]) -> list[Task]:
    owner = OwnerId("bench-1")
    plain = [Task.new(id=TaskId(UUID(int=number)), owner=owner, title="Plan", at=_NOW) for number in range(count)]
    return [replace(task, **members) for task in plain] if members else plain


def _writes(count: int) -> Iterator[tuple[str, Ask]]:
    tasks = _tasks(count)
    onces = [Once(idempotency_key(f"{task.id}"), "plan") for task in tasks]
    kinds: dict[str, tuple[Writing, list[Write]]] = {}
    for form, members in _FORMS.items():
        new = [Pair(None, task) for task in _tasks(count, **members)]
        kinds[f"create{form}"] = (creating(10_000, keyed=False), list(map(Write, new)))
        under_keys = [Write(pair, once=once) for pair, once in zip(new, onces, strict=True)]
        kinds[f"create under a key{form}"] = (creating(10_000, keyed=True), under_keys)
    kinds |= {
        "complete": (SWAPPING, [Write(Pair(task, task.toggled(at=_NOW))) for task in tasks]),
        "remove": (REMOVING, [Write(Pair(task, None)) for task in tasks]),
        "edit": (SWAPPING, [Write(Pair(task, task.edited(at=_NOW, title="Other"))) for task in tasks]),
    }
    for name, keyed in (("complete", SWAPPING_ONCE), ("edit", SWAPPING_ONCE), ("remove", REMOVING_ONCE)):
        under_keys = [replace(write, once=once) for write, once in zip(kinds[name][1], onces, strict=True)]
        kinds[f"{name} under a key"] = (keyed, under_keys)
    for name, statement in (
        ("create", creating(10_000, keyed=False, as_of=True)),
        ("create, whole", creating(10_000, keyed=False, as_of=True)),
        ("create under a key", creating(10_000, keyed=True, as_of=True)),
    ):
        kinds[f"{name}, as of a number"] = (statement, [replace(write, as_of=1) for write in kinds[name][1]])
    for name, (statement, calls) in kinds.items():
        yield name, lambda connection, send=statement.passing, calls=calls: send(connection, calls)
        yield f"{name}, waiting", lambda connection, send=statement.waiting, calls=calls: send(connection, calls)
    for name, lock in (("lock", transaction._LOCK), ("lock where it is free", transaction._LOCK_IF_FREE)):
        yield name, lambda connection, lock=lock: transaction.execute(connection, lock, {"user_id": tasks[0].owner})
    yield "see", lambda connection: transaction._read(connection, tasks[0].owner, [task.id for task in tasks])
    deletions = [Pair(task, None) for task in tasks]
    yield "delete", lambda connection: transaction._store(connection, tasks[0].owner, None, deletions, _ROW)
    yield "replay", lambda connection: transaction.replayed(connection, tasks[0].owner, onces[0])


def _reads(count: int) -> Iterator[tuple[str, Ask]]:
    tasks = _tasks(count)
    yield "get", lambda connection: read_many(connection, [(task.owner, task.id) for task in tasks])
    yield "get, as of", lambda connection: tasks_as_of(connection, [(task.owner, task.id) for task in tasks])
    yield "lists, as of", lambda connection: lists_as_of(connection, [task.owner for task in tasks])
    for of, newest_first, after in product((None, tasks[0].id), (False, True), (None, Place(9, tasks[0].id))):
        query = ChangeQuery(of=of, newest_first=newest_first, after=after)
        calls = [(task.owner, query) for task in tasks]
        name = f"log{' of one' * bool(of)}{' newest first' * newest_first}{' continued' * bool(after)}"
        yield name, lambda connection, query=query, calls=calls: log_pages(shape_of(query))(connection, calls)
    token = SyncToken(Mark(9, tasks[0].id, _NOW))
    for name, ask, since in (("changed", sync.changed_pages, token), ("first sync", sync.listed_pages, None)):
        synced = [(task.owner, SyncQuery(now=_NOW, kept_since=_NOW, since=since)) for task in tasks]
        yield name, lambda connection, ask=ask, synced=synced: ask(connection, synced)
    yield "who changed", lambda connection: sync.changed_owners(connection, [{tasks[0].owner: 1}])
    for name, forget in _FORGETTING.items():
        yield name, lambda connection, forget=forget: forget(connection, [None])


def _listings(count: int) -> Iterator[tuple[str, Ask]]:
    [task] = _tasks(1)
    for sort, completed, search, after in product(Sort, (None, True), (None, "milk"), (False, True)):
        cursor = Cursor.behind(task, sort) if after else None
        query = TaskQuery(sort=sort, completed=completed, search=search, after=cursor, limit=50)
        calls = [(task.owner, query)] * count
        name = f"page by {sort}{' filtered' * bool(completed)}{' searched' * bool(search)}{' continued' * after}"
        yield name, lambda connection, query=query, calls=calls: PagesOf(Shape.of(query))(connection, calls)


def _families(count: int) -> Iterator[tuple[str, Ask]]:
    tasks = _tasks(count)
    parents, list_id = frozenset(task.id for task in tasks), ListId(tasks[0].id)
    for name, query in (
        ("below", TaskQuery(parents=parents, sort=Sort.CREATED_AT, limit=None)),
        ("in a list", TaskQuery(list_id=list_id, sort=Sort.CREATED_AT, limit=None)),
        ("last of a list", TaskQuery(list_id=list_id, parents="none", sort=Sort.POSITION_DESCENDING, limit=2)),
        ("last of the inbox", TaskQuery(list_id="none", parents="none", sort=Sort.POSITION_DESCENDING, limit=2)),
    ):
        calls = [(task.owner, query) for task in tasks]
        yield name, lambda connection, query=query, calls=calls: PagesOf(Shape.of(query))(connection, calls)


@contextmanager
def _explaining(plans: list[str]) -> Iterator[None]:
    """Every statement is explained instead of carried out: with its values, and as a prepared one for any values."""
    execute = batch.execute

    async def explain(
        connection: AsyncConnection[Any], statement: Any, parameters: Mapping[str, Any], **_: object
    ) -> list[Any]:
        plans.append(_lines(await execute(connection, f"explain {statement}", parameters)))
        names = dict.fromkeys(_PARAMETER.findall(statement))
        # The driver names the type of an interval; a generic plan has no value from which to infer it.
        kinds = {name: "::interval" if isinstance(parameters[name], timedelta) else "" for name in names}
        numbers = {name: f"${number}{kinds[name]}" for number, name in enumerate(names, 1)}
        general = _PARAMETER.sub(lambda found: numbers[found[1]], statement)
        cursor = await connection.execute(f"explain (generic_plan) {general}", prepare=False)
        plans.append(_lines(await cursor.fetchall()))
        return []

    modules = (writing, reading, listing, sync, transaction, pruning)
    with ExitStack() as patched:
        for module in modules:
            patched.enter_context(patch.object(module, "execute", explain))
        yield


def _lines(rows: list[Any]) -> str:
    return "\n".join(line for (line,) in rows)


async def check(url: str, rows: int) -> str:
    """A sentence that says what was found. Raises `SystemExit`, with the plan, for a statement that scans the table."""
    engine, checked = create_engine(url), 0
    async with engine.connect() as connection:
        for count in _BATCHES:
            for name, ask in [*_writes(count), *_reads(count), *_listings(count), *_families(count)]:
                plans: list[str] = []
                with _explaining(plans):
                    await _answerless(ask, connection)
                for plan in plans:
                    _require_key(name, plan)
                    checked += 1
    await engine.dispose()
    return f"{checked} plans at {rows:,} rows: what has expired is found by its age, all else by an index on the owner."


async def _answerless(ask: Ask, connection: AsyncConnection[Any]) -> None:
    try:
        await ask(connection)
    except ValueError:  # no rows come back: pairing them with the calls is refused
        return


def _require_key(name: str, plan: str) -> None:
    # What is forgotten is found by its age, for which there is an index; everything else by a key of its table.
    index = {"forget used_keys": "used_keys_used_at", "forget changes": "changes_at", "who changed": "owners_pkey"}.get(
        name, "_pkey|changes_of_one|tasks_(open|below|in_list)"
    )
    if re.search(r"Seq Scan on (tasks|owners|changes|used_keys)", plan) or not re.search(index, plan):
        raise SystemExit(f"{name} does not go by {index}:\n{plan}")
