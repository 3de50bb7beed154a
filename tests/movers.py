"""Moves, deletes, restores and undoes the tasks and lists of one owner; as a program, in a process of its own.

`python movers.py DATABASE-URL SEED CLIENTS ACTIONS [FAULT]` prints "ready", waits for a line, acts, and prints how
many changes it was acknowledged.
"""

import asyncio
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from todo_adapters.postgres import PostgresTaskStore, create_engine, transaction
from todo_adapters.system import SystemClock, SystemIds
from todo_core import Committed, OwnerId, TaskQuery, TaskService, TodoError

OWNER: Final = OwnerId("mover")
FEW: Final = 9  # tasks, so that movers meet


class Mover:
    """Does what it likes with the tasks and lists that it sees; others do so as well."""

    def __init__(self, service: TaskService, seed: int) -> None:
        self._service = service
        self._random = random.Random(seed)
        self._number = 1

    async def act(self, times: int) -> int:
        """So many things, one after the other, refused ones included; how many of them were changes."""
        changes = 0
        for _ in range(times):
            tasks = [each.id for each in (await self._service.page(OWNER, TaskQuery(limit=200))).items]
            lists = [each.id for each in await self._service.lists(OWNER)]
            action = self._random.choices([self._move, self._create, self._delete, self._take_back], [6, 1, 1, 1])[0]
            try:
                committed = await action(tasks, lists)
            except TodoError:
                continue
            if committed.change is not None:
                self._number = committed.change
                changes += 1
        return changes

    async def _move(self, tasks: Sequence[Any], lists: Sequence[Any]) -> Committed:
        task_id, other = self._one(tasks), self._one(tasks)
        where: Any = self._random.choice([{"parent_id": other}, {"before": other}, {"after": other}, {"list_id": None}])
        if lists and not self._random.randrange(4):
            where = {"list_id": self._one(lists)}
        return await self._service.move(OWNER, task_id, **where)

    async def _create(self, tasks: Sequence[Any], lists: Sequence[Any]) -> Committed:
        if len(lists) < 2:
            return await self._service.create_list(OWNER, name="List")
        if len(tasks) > FEW:
            return await self._service.delete(OWNER, self._one(tasks))
        where: Any = self._random.choice([{"parent_id": self._one(tasks)}, {"list_id": self._one(lists)}])
        return await self._service.create(OWNER, title="Task", **where)

    async def _delete(self, tasks: Sequence[Any], lists: Sequence[Any]) -> Committed:
        if lists and not self._random.randrange(3):
            return await self._service.delete_list(OWNER, self._one(lists))
        return await self._service.delete(OWNER, self._one(tasks))

    async def _take_back(self, _tasks: Sequence[Any], _lists: Sequence[Any]) -> Committed:
        return await self._service.undo(OWNER, self._number - self._random.randrange(3))

    def _one(self, ids: Sequence[Any]) -> Any:
        return self._random.choice(ids) if ids else SystemIds().new(SystemClock().now())


async def fill(service: TaskService) -> int:
    """Two lists and some tasks, for movers to begin with; how many changes that is."""
    for _ in range(2):
        await service.create_list(OWNER, name="List")
    for _ in range(FEW):
        await service.create(OWNER, title="Task")
    return 2 + FEW


def no_lock() -> None:
    """Nobody locks the owner's row, and nobody the tasks that are read."""
    for name in ("_LOCK", "_LOCK_IF_FREE", "_READ"):
        setattr(
            transaction, name, getattr(transaction, name).replace("for no key update", "").replace("skip locked", "")
        )


FAULTS: Final[dict[str, Callable[[], None]]] = {no_lock.__name__: no_lock}


async def _main(url: str, seed: int, clients: int, actions: int) -> None:
    engine = create_engine(url)
    store = PostgresTaskStore(engine, deadline=30)
    service = TaskService(store, SystemClock(), SystemIds())
    await store.ready()
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    acting = [Mover(service, seed + number).act(actions) for number in range(clients)]
    changes = await asyncio.gather(*acting, return_exceptions=len(sys.argv) > 5)
    await store.aclose()
    await engine.dispose()
    print(sum(each for each in changes if isinstance(each, int)))  # noqa: T201


if __name__ == "__main__":
    for fault in sys.argv[5:]:
        FAULTS[fault]()
    asyncio.run(_main(sys.argv[1], *map(int, sys.argv[2:5])))
