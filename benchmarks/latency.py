"""What a call costs a single client: through the store, through one that shares no statements, and in plain SQL."""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import Any, LiteralString, cast
from uuid import UUID

from psycopg import AsyncConnection

from benchmarks import limit, report
from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_adapters.postgres.batch import Batch
from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.sender import Sender
from todo_adapters.system import SystemIds
from todo_core import Decision, OwnedTasks, OwnerId, Pair, Plan, Seen, Sees, Task, TaskId, TaskQuery

_NOW = datetime(2026, 11, 5, tzinfo=UTC)


class _Unshared(Sender):
    """Sends each call immediately, in a statement of its own."""

    async def read(self, batch: Batch, call: object, **_: object) -> object:  # type: ignore[override, type-arg]
        return await self._once(batch, call, repeatable=True)

    async def write(self, batch: Batch, call: object, **_: object) -> object:  # type: ignore[override, type-arg]
        return await self._once(batch, call, repeatable=False)

    async def write_waiting(self, batch: Batch, call: object, **_: object) -> object:  # type: ignore[override, type-arg]
        return await self._once(batch, call, repeatable=False)

    async def _once(self, batch: Batch, call: object, *, repeatable: bool) -> object:  # type: ignore[type-arg]
        work = lambda connection: batch(connection, [call])  # noqa: E731
        return (await self._run(work, repeatable=repeatable))[0]


async def measure(url: str, calls: int) -> str:
    """A table of p50s: one caller, one call at a time, in each way in turns."""
    limit.fill(url, users=1, tasks=20)
    engine = create_engine(url)
    senders = {"shared": Sender(engine, 5.0), "plain": _Unshared(engine, 5.0)}
    ways = {OwnerId(way): _tasks(engine, sender, OwnerId(way)) for way, sender in senders.items()}
    for owner, tasks in ways.items():
        for number in range(1, 21):
            await _create(tasks, owner, TaskId(UUID(int=number)))
    rows = []
    async with engine.connect() as connection:
        for kind, act in _ACTS.items():
            acts = [
                *(partial(act, tasks, owner) for owner, tasks in ways.items()),
                partial(_plain, connection, limit.plain(kind)),
            ]
            took: list[list[float]] = [[] for _ in acts]
            for _ in range(calls):
                for way, each in enumerate(acts):  # in turns: what else the machine does hits all
                    began = perf_counter()
                    await each()
                    took[way].append(perf_counter() - began)
            shared, unshared, plain = (statistics.median(each) * 1e6 for each in took)
            rows.append([kind, shared, unshared, plain, (shared - plain) / 1e3])
    for sender in senders.values():
        await sender.drain()
    await engine.dispose()
    head = ["one call at a time, p50", "as it is, µs", "without sharing, µs", "plain SQL by the driver, µs"]
    return report.table([*head, "as it is − plain SQL, ms"], rows)


async def _plain(connection: AsyncConnection[Any], statements: Sequence[str]) -> None:
    found: dict[str, Any] = {"owner": "bench-1", "id": "01980000-0000-7000-8000-000000000001"}
    for statement in statements:
        cursor = await connection.execute(cast("LiteralString", statement), found, prepare=True, binary=True)
        [row, *_] = await cursor.fetchall()
        found |= {column.name: value for column, value in zip(cursor.description or (), row, strict=True)}
        found["updated_at"] = str(found.get("updated_at"))


def _tasks(engine: Engine, sender: Sender, owner: OwnerId) -> OwnedTasks:
    store = PostgresTaskStore(engine)
    store._sender = sender
    return store.tasks_of(owner)


_FIRST = TaskId(UUID(int=1))
_IDS = SystemIds()


async def _create(tasks: OwnedTasks, owner: OwnerId, task_id: TaskId | None = None) -> None:
    task = Task.new(id=task_id or _IDS.new(datetime.now(UTC)), owner=owner, title="Buy oat milk", at=_NOW)
    await tasks.commit(Plan(decide=lambda _: Decision((Pair(None, task),), (task,))))


def _toggled(seen: Seen) -> Decision:
    before = seen.task(_FIRST)
    after = before.toggled(at=_NOW)
    return Decision((Pair(before, after),), (after,))


_Act = Callable[[OwnedTasks, OwnerId], Awaitable[object]]


_ACTS: dict[str, _Act] = {
    "get": lambda tasks, _: tasks.get(_FIRST),
    "list": lambda tasks, _: tasks.page(TaskQuery(limit=20)),
    "create": _create,
    "toggle": lambda tasks, _: tasks.commit(Plan(decide=_toggled, sees=Sees(frozenset({_FIRST})))),
}
