"""Records the answers to concurrent clients of one owner's few tasks; as a program, in a process of its own.

`python histories.py DATABASE-URL whole|sharded SEED CLIENTS ACTIONS` says "ready", waits for a line, and writes the
history, pickled.
"""

import asyncio
import pickle
import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from time import monotonic
from uuid import UUID

from linearizability import EPOCH, Action, Call

from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_core import Cursor, OwnerId, Page, Sort, Task, TaskId, TaskQuery, TaskStore, Version

KINDS = {"get": 30, "toggle": 20, "rename": 20, "page": 16, "remove": 6, "add": 8}
FEW = 3
History = list[Call[Action]]
CarryOut = Callable[[Action], Awaitable[tuple[Action, object]]]
"""Carries it out. Returns the action, with what was decided elsewhere, such as the moment; and the answer."""


class Client:
    """Does random things, one after the other, and remembers what it saw."""

    def __init__(self, carry_out: CarryOut, ids: list[TaskId], number: int) -> None:
        self._ids = ids
        self._number = number
        self._do = carry_out
        self._random = random.Random(number)
        self._seen: dict[object, Version] = {}
        self._after: Cursor | None = None
        self.history: History = []

    async def act(self, times: int) -> None:
        for count in range(times):
            await self._carry_out(self._action(count))
            if self._random.random() < 0.3:
                await asyncio.sleep(self._random.random() / 500)

    async def _carry_out(self, action: Action) -> None:
        began = monotonic()
        action, answer = await self._do(action)
        self.history.append(Call(action, answer, began, monotonic()))
        if isinstance(answer, Task):
            self._seen[answer.id] = answer.version
        if isinstance(answer, Page):
            self._after = answer.next

    def _action(self, count: int) -> Action:
        [kind] = self._random.choices([*KINDS], [*KINDS.values()])
        task_id = self._random.choice(self._ids[-FEW:])
        # No two writes have a title or a moment in common: what is read shows which write it is of.
        return Action(
            kind=kind,
            id=task_id,
            title=f"{self._number}/{count}",
            at=EPOCH + timedelta(microseconds=count * 10_000 + self._number),
            expected=self._random.choice([None, None, self._seen.get(task_id)]),
            query=self._query(),
        )

    def _query(self) -> TaskQuery:
        if self._after is not None and self._random.random() < 0.5:
            return TaskQuery(limit=1, sort=self._after.sort, after=self._after)
        sort = self._random.choice([Sort.NEWEST, Sort.UPDATED_AT])
        return TaskQuery(
            sort=sort, limit=self._random.choice([1, 3]), completed=self._random.choice([None, None, True])
        )


async def record(
    carry_out: CarryOut, ids: list[TaskId], *, seed: int = 0, clients: int = 10, actions: int = 30
) -> History:
    """What so many concurrent clients see. Seeds that differ by `clients` make different people."""
    people = [Client(carry_out, ids, seed + number) for number in range(clients)]
    async with asyncio.TaskGroup() as acting:
        for person in people:
            acting.create_task(person.act(actions))
    return [call for person in people for call in person.history]


async def record_store(store: TaskStore, owner: str = "ann", *, seed: int = 0, **numbers: int) -> History:
    """What clients of a store see of one owner's few tasks."""
    tasks = store.tasks_of(OwnerId(owner))

    async def carry_out(action: Action) -> tuple[Action, object]:
        action = replace(action, owner=OwnerId(owner))
        return action, await action.carried_out(tasks)

    return await record(carry_out, [TaskId(UUID(int=number)) for number in range(FEW)], seed=seed, **numbers)


async def _main(url: str, sharded: str, numbers: Sequence[str]) -> None:
    seed, clients, actions = map(int, numbers)
    engine = create_engine(url, sharded=sharded == "sharded")
    store = PostgresTaskStore(engine)
    await store.ready()
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    history = await record_store(store, seed=seed, clients=clients, actions=actions)
    await store.aclose()
    await engine.dispose()
    sys.stdout.buffer.write(pickle.dumps(history))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:3], sys.argv[3:]))
