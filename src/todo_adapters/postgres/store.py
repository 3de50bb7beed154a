"""Tasks kept in PostgreSQL."""

import asyncio
from collections.abc import Callable
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from todo_adapters.postgres.listing import Shape, pages_many
from todo_adapters.postgres.once import Once, insert_once_many
from todo_adapters.postgres.pruning import Pruning
from todo_adapters.postgres.sender import Sender
from todo_adapters.postgres.statements import (
    VERSION_MOST,
    Removal,
    Swap,
    answer_many,
    delete_many,
    insert_many,
    locked,
    read_many,
    swap_many,
)
from todo_core import (
    Expected,
    IdempotencyKey,
    KeyReused,
    OwnerId,
    Page,
    StoreUnavailable,
    Task,
    TaskExists,
    TaskId,
    TaskNotFound,
    TaskQuery,
    asks_for_the_same,
    owner_id,
)

_READY_WITHIN: Final = 2.0
_RACES: Final = 3
_CHARACTERS_OF_A_ROW: Final = 50


class PostgresTaskStore:
    """A `TaskStore` in the table that `migrations` makes. The engine's maker disposes of it, after `aclose`.

    A call that takes more than `deadline` seconds raises `StoreUnavailable`.
    """

    def __init__(self, engine: AsyncEngine, *, deadline: float = 5.0) -> None:
        self._sender = Sender(engine, deadline)
        self._pruning = Pruning(self._sender)

    def tasks_of(self, owner: OwnerId) -> "PostgresOwnedTasks":
        """As `TaskStore.tasks_of`."""
        return PostgresOwnedTasks(self._sender, self._pruning, owner_id(owner))

    async def aclose(self) -> None:
        """As `TaskStore.aclose`. The engine may be disposed of after it."""
        await self._pruning.aclose()
        await self._sender.drain()

    async def ready(self) -> None:
        """As `TaskStore.ready`, within two seconds."""
        asking = asyncio.ensure_future(self._sender.read(answer_many, None))
        asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            # A frozen server also keeps the driver from cancelling for some seconds: that is not waited for.
            if not (await asyncio.wait({asking}, timeout=_READY_WITHIN))[0]:
                raise StoreUnavailable
            asking.result()
        finally:
            asking.cancel()


class PostgresOwnedTasks:
    """One owner's tasks."""

    def __init__(self, sender: Sender, pruning: Pruning, owner: OwnerId) -> None:
        self._sender = sender
        self._pruning = pruning
        self._owner = owner

    async def add(self, task: Task) -> None:
        """As `OwnedTasks.add`."""
        self._begin(task)
        if not await self._sender.write(insert_many, task, owner=self._owner, weight=_weight(task)):
            raise TaskExists

    async def add_once(self, key: IdempotencyKey, task: Task) -> Task:
        """As `OwnedTasks.add_once`."""
        self._begin(task)
        once, weight = Once(key, task), _weight(task)
        while (
            first := await self._sender.write_once(insert_once_many, once, owner=self._owner, weight=weight)
        ) is None:
            pass  # the key was there, and has expired and been pruned in between
        if not asks_for_the_same(first, task):
            raise KeyReused
        return first

    def _begin(self, task: Task) -> None:
        if task.owner != self._owner:
            raise ValueError("this task belongs to another owner")
        self._pruning.begin_if_due()

    async def get(self, task_id: TaskId) -> Task:
        """As `OwnedTasks.get`."""
        task = await self._sender.read(read_many, (self._owner, task_id), owner=self._owner)
        if task is None:
            raise TaskNotFound
        return task

    async def edit(self, task_id: TaskId, change: Callable[[Task], Task]) -> Task:
        """As `OwnedTasks.edit`: by comparing and swapping; behind a lock where other processes keep coming first."""
        async with self._sender.edits.at((self._owner, task_id)):
            for _ in range(_RACES):
                task = await self.get(task_id)
                changed = task.after(change)
                if changed == task or await self._swap(Swap(task, changed)):
                    return changed
            return await self._edit_locked(task_id, change)

    async def _swap(self, swap: Swap) -> bool:
        return await self._sender.write(swap_many, swap, owner=self._owner, weight=_weight(swap.after))

    async def _edit_locked(self, task_id: TaskId, change: Callable[[Task], Task]) -> Task:
        async def work(connection: AsyncConnection) -> Task | Exception:
            task = await locked(connection, (self._owner, task_id))
            try:
                changed = _found(task).after(change)
            except Exception as refusal:  # handed on as it is, past what judges the database's failures
                return refusal
            if changed != task:
                await swap_many(connection, [Swap(_found(task), changed)])
            return changed

        outcome = await self._sender.in_transaction(work)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def remove(self, task_id: TaskId, *, expected: Expected = None) -> None:
        """As `OwnedTasks.remove`."""
        removal = Removal(self._owner, task_id, versions := _versions(expected))
        weight = max(1, len(versions or []))
        while not await self._sender.write(delete_many, removal, owner=self._owner, weight=weight):
            # Missing, at another version, or at an expected one only since: then once more.
            (await self.get(task_id)).expecting(expected)

    async def page(self, query: TaskQuery) -> Page:
        """As `OwnedTasks.page`."""
        shape = Shape.of(query)
        if shape.is_bounded:
            return await self._sender.read(
                pages_many(shape), (self._owner, query), owner=self._owner, weight=query.limit + 1
            )
        return await self._sender.read_alone(pages_many(shape), (self._owner, query), owner=self._owner)


def _found(task: Task | None) -> Task:
    if task is None:
        raise TaskNotFound
    return task


def _weight(task: Task) -> int:
    """What writing it costs, compared with a row of a listing."""
    return 1 + (len(task.title) + len(task.description or "")) // _CHARACTERS_OF_A_ROW


def _versions(expected: Expected) -> list[int] | None:
    """The versions that a task can be at; what a client names may be any number."""
    if expected is None:
        return None
    asked = [expected] if isinstance(expected, int) else expected
    return [version for version in asked if 1 <= version <= VERSION_MOST]
