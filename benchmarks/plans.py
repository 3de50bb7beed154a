"""Asserts that PostgreSQL goes by a key for every statement that is sent for one owner."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from todo_adapters.postgres import batch, create_engine, listing, pruning, reading, writing
from todo_adapters.postgres.listing import Shape, pages_many
from todo_adapters.postgres.reading import log_pages, read_many, shape_of
from todo_adapters.postgres.writing import DELETING, SWAPPING, Write, creating
from todo_core import ChangeQuery, Cursor, Once, OwnerId, Pair, Sort, Task, TaskId, TaskQuery, idempotency_key

_NOW = datetime(2026, 11, 5, tzinfo=UTC)
_PARAMETER = re.compile(r"%\((\w+)\)s")
_BATCHES = (1, 64)
_INDEXES = ("_pkey", "tasks_open", "changes_of_one", "changes_trash")
Ask = Callable[[AsyncConnection], Awaitable[object]]


def _tasks(count: int) -> list[Task]:
    return [
        Task.new(id=TaskId(UUID(int=number)), owner=OwnerId("bench-1"), title="Plan", at=_NOW)
        for number in range(count)
    ]


def _writes(count: int) -> Iterator[tuple[str, Ask]]:
    tasks = _tasks(count)
    keys = [(task.owner, task.id) for task in tasks]
    creations = [Write(Pair(None, task)) for task in tasks]
    swaps = [Write(Pair(task, task.toggled(at=_NOW))) for task in tasks]
    deletions = [Write(Pair(task, None)) for task in tasks]
    keyed = [Write(Pair(None, task), once=Once(idempotency_key(f"{task.id}"), "")) for task in tasks]
    logs = {name: [(tasks[0].owner, query)] * count for name, query in _LOGS.items()}
    yield "get", lambda connection: read_many(connection, keys)
    yield "create", lambda connection: creating(10_000, keyed=False).passing(connection, creations)
    yield "create under a key", lambda connection: creating(10_000, keyed=True).passing(connection, keyed)
    yield "change", lambda connection: SWAPPING.passing(connection, swaps)
    yield "delete", lambda connection: DELETING.passing(connection, deletions)
    for name, calls in logs.items():
        yield name, lambda connection, calls=calls: log_pages(shape_of(calls[0][1]))(connection, calls)


_LOGS = {
    "the log": ChangeQuery(),
    "one task's history": ChangeQuery(of=TaskId(UUID(int=1)), newest_first=True),
    "the trash": ChangeQuery(trash=True, newest_first=True),
}


def _listings(count: int) -> Iterator[tuple[str, Ask]]:
    [task] = _tasks(1)
    for sort, completed, search, after in product(Sort, (None, False), (None, "milk"), (False, True)):
        cursor = Cursor.behind(task, sort) if after else None
        query = TaskQuery(sort=sort, completed=completed, search=search, after=cursor, limit=50)
        calls = [(task.owner, query)] * count
        name = f"page by {sort}{' open' * (completed is False)}{' searched' * bool(search)}{' continued' * after}"
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

    modules = (batch, listing, pruning, reading, writing)
    for module in modules:
        module.execute = explain  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in modules:
            module.execute = execute  # type: ignore[attr-defined]


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
    return f"{checked} plans at {rows:,} rows: each goes by a key that begins with the owner."


async def _answerless(ask: Ask, connection: AsyncConnection) -> None:
    try:
        await ask(connection)
    except ValueError:  # no rows come back: pairing them with the calls is refused
        return


def _require_key(name: str, plan: str) -> None:
    if "Seq Scan" in plan or not any(index in plan for index in _INDEXES):
        raise SystemExit(f"{name} does not go by an index:\n{plan}")
