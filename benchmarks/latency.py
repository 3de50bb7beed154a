"""What sharing statements costs a single client: a call through the store as it is, and through one without sharing."""

import statistics
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import perf_counter
from uuid import UUID

from benchmarks import report
from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_adapters.postgres.batch import Batch
from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.sender import Sender
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
    """A table of p50s: one caller, one call at a time, both ways in turns."""
    engine = create_engine(url)
    senders = {"shared": Sender(engine, 5.0), "plain": _Unshared(engine, 5.0)}
    ways = {way: _tasks(engine, sender, owner) for (way, sender), owner in zip(senders.items(), "ab", strict=True)}
    for tasks, owner in zip(ways.values(), "ab", strict=True):
        for number in range(1, 21):
            task_id, name = TaskId(UUID(int=number)), OwnerId(f"latency-{owner}")
            created = Decision((Pair(None, task := Task.new(id=task_id, owner=name, title="Late", at=_NOW)),), (task,))
            await tasks.commit(Plan(decide=lambda _, created=created: created))
    rows = []
    for name, act in _ACTS.items():
        took: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(calls):
            for way, tasks in ways.items():  # in turns: what else the machine does hits both
                began = perf_counter()
                await act(tasks)
                took[way].append(perf_counter() - began)
        shared, plain = (statistics.median(took[way]) * 1e6 for way in ways)
        rows.append([name, shared, plain, shared / plain])
    for sender in senders.values():
        await sender.drain()
    await engine.dispose()
    return report.table(["one call at a time, p50", "shared µs", "plain µs", "shared ÷ plain"], rows)


def _tasks(engine: Engine, sender: Sender, owner: str) -> OwnedTasks:
    store = PostgresTaskStore(engine)
    store._sender = sender
    return store.tasks_of(OwnerId(f"latency-{owner}"))


_FIRST = TaskId(UUID(int=1))


def _toggled(seen: Seen) -> Decision:
    before = seen.task(_FIRST)
    after = before.toggled(at=_NOW)
    return Decision((Pair(before, after),), (after,))


_Act = Callable[[OwnedTasks], Awaitable[object]]


_ACTS: dict[str, _Act] = {
    "get": lambda tasks: tasks.get(_FIRST),
    "first page of 20": lambda tasks: tasks.page(TaskQuery(limit=20)),
    "toggle": lambda tasks: tasks.commit(Plan(decide=_toggled, sees=Sees(frozenset({_FIRST})))),
}
