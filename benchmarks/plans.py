"""Asserts that PostgreSQL goes by the primary key for every statement that is ever sent for tasks."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from todo_adapters.postgres import batch, create_engine, pruning, statements
from todo_adapters.postgres.listing import Shape, pages_many
from todo_adapters.postgres.once import Once, insert_once_many
from todo_adapters.postgres.statements import Removal, Swap, delete_many, insert_many, locked, read_many, swap_many
from todo_core import Cursor, OwnerId, Sort, Task, TaskId, TaskQuery, idempotency_key

_NOW = datetime(2026, 11, 5, tzinfo=UTC)
_PARAMETER = re.compile(r"%\((\w+)\)s")
_BATCHES = (1, 64)
Ask = Callable[[AsyncConnection], Awaitable[object]]


def _tasks(count: int) -> list[Task]:
    return [
        Task.new(id=TaskId(UUID(int=number)), owner=OwnerId("bench-1"), title="Plan", at=_NOW)
        for number in range(count)
    ]


def _writes(count: int) -> Iterator[tuple[str, Ask]]:
    tasks = _tasks(count)
    keys = [(task.owner, task.id) for task in tasks]
    swaps = [Swap(task, task.toggled(at=_NOW)) for task in tasks]
    removals = [Removal(*key, [1, 2]) for key in keys]
    yield "get", lambda connection: read_many(connection, keys)
    yield "add", lambda connection: insert_many(connection, tasks)
    yield "edit", lambda connection: swap_many(connection, swaps)
    yield "remove", lambda connection: delete_many(connection, removals)
    onces = [Once(idempotency_key(f"{task.id}"), task) for task in tasks]
    yield "add under a key", lambda connection: insert_once_many(connection, onces)
    yield "forget keys", lambda connection: pruning.prune_keys(connection, [None])
    yield "lock", lambda connection: locked(connection, keys[0])


def _listings(count: int) -> Iterator[tuple[str, Ask]]:
    [task] = _tasks(1)
    for sort, completed, search, after in product(Sort, (None, True), (None, "milk"), (False, True)):
        cursor = Cursor.behind(task, sort) if after else None
        query = TaskQuery(sort=sort, completed=completed, search=search, after=cursor, limit=50)
        calls = [(task.owner, query)] * count
        name = f"page by {sort}{' filtered' * bool(completed)}{' searched' * bool(search)}{' continued' * after}"
        yield name, lambda connection, query=query, calls=calls: pages_many(Shape.of(query))(connection, calls)


@contextmanager
def _explaining(plans: list[str]) -> Iterator[None]:
    """Every statement is explained instead of carried out: with its values, and as a prepared one for any values."""
    execute = batch.execute

    async def explain(connection: AsyncConnection, statement: Any, parameters: Mapping[str, Any]) -> list[Any]:
        plans.append(_lines(await execute(connection, f"explain {statement}", parameters)))
        names = dict.fromkeys(_PARAMETER.findall(statement))
        # The driver names the type of an interval; a plan for any values has no value to tell it by.
        kinds = {name: "::interval" if isinstance(parameters[name], timedelta) else "" for name in names}
        numbers = {name: f"${number}{kinds[name]}" for number, name in enumerate(names, 1)}
        general = _PARAMETER.sub(lambda found: numbers[found[1]], statement)
        cursor = await batch.driver_of(connection).execute(f"explain (generic_plan) {general}")
        plans.append(_lines(await cursor.fetchall()))
        return []

    batch.execute = statements.execute = pruning.execute = explain
    try:
        yield
    finally:
        batch.execute = statements.execute = pruning.execute = execute


def _lines(rows: list[Any]) -> str:
    return "\n".join(line for (line,) in rows)


async def check(url: str, rows: int) -> str:
    """A sentence that says what was found. Raises `SystemExit`, with the plan, for a statement that scans the table."""
    engine, checked = create_engine(url), 0
    async with engine.connect() as connection:
        for count in _BATCHES:
            for name, ask in [*_writes(count), *_listings(count)]:
                plans: list[str] = []
                with _explaining(plans):
                    await _answerless(ask, connection)
                for plan in plans:
                    _require_key(name, plan)
                    checked += 1
    await engine.dispose()
    return f"{checked} plans at {rows:,} rows: expired keys go by their age, all else by the primary key."


async def _answerless(ask: Ask, connection: AsyncConnection) -> None:
    try:
        await ask(connection)
    except ValueError:  # no rows come back: pairing them with the calls is refused
        return


def _require_key(name: str, plan: str) -> None:
    # Keys are forgotten by their age, for which there is an index; everything else is found by its primary key.
    index = "idempotency_keys_used_at" if name == "forget keys" else "_pkey"
    if "Seq Scan" in plan or index not in plan:
        raise SystemExit(f"{name} does not go by {index}:\n{plan}")
