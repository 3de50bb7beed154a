"""Concurrently commits plans of every kind to a few owners; as a program, in its own process, sabotaged on request.

`python writers.py DATABASE-URL SEED CLIENTS ACTIONS [FAULT]` prints "ready", waits for a line, and writes what was
acknowledged, pickled: a number and an owner for each change.
"""

import asyncio
import pickle
import random
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from psycopg import AsyncConnection

from todo_adapters.postgres import PostgresTaskStore, create_engine, store, transaction, writing
from todo_adapters.postgres.batch import execute
from todo_core import (
    IdempotencyKey,
    Once,
    OwnedTasks,
    OwnerId,
    Plan,
    StoreUnavailable,
    Task,
    TaskId,
    TodoError,
    composed,
)
from todo_core.testing.examples import NOON
from todo_core.testing.writing import changing, creating, deleting

OWNERS = [OwnerId(f"owner {number}") for number in range(3)]
FEW = 6  # tasks of each owner, so that plans meet
CANCELLED = 0.1
Acknowledged = list[tuple[OwnerId, int]]


class Writer:
    """Commits random plans, one after the other; some are cancelled on their way."""

    def __init__(self, tasks: dict[OwnerId, OwnedTasks], seed: int) -> None:
        self._tasks = tasks
        self._random = random.Random(seed)
        self.acknowledged: Acknowledged = []

    async def act(self, times: int) -> None:
        for _ in range(times):
            owner = self._random.choice(OWNERS)
            committing = asyncio.ensure_future(self._tasks[owner].commit(self._plan(owner)))
            if self._random.random() < CANCELLED:
                await asyncio.sleep(self._random.random() / 100)
                committing.cancel()
            try:
                change = (await committing).change
            except (TodoError, StoreUnavailable, asyncio.CancelledError):
                continue
            if change is not None:
                self.acknowledged.append((owner, change))

    def _plan(self, owner: OwnerId) -> Plan:
        kind = self._random.choice(["create", "create", "change", "change", "delete", "batch", "batch of changes"])
        if kind == "batch":
            return composed([creating(self._task(owner)), deleting(self._id()), creating(self._task(owner))])
        if kind == "batch of changes":
            return composed([changing(task_id, self._change) for task_id in {self._id(), self._id()}])
        if kind == "create":
            key = IdempotencyKey(f"{uuid4()}")
            return creating(self._task(owner), self._random.choice([None, Once(key, "same")]))
        once = self._random.choice([None, Once(IdempotencyKey(f"{uuid4()}"), "same")])
        return changing(self._id(), self._change, once) if kind == "change" else deleting(self._id(), once=once)

    def _id(self) -> TaskId:
        return TaskId(UUID(int=self._random.randrange(FEW)))

    def _task(self, owner: OwnerId) -> Task:
        title = f"{self._random.random()}"
        at = NOON + timedelta(seconds=self._random.random())
        return Task.new(
            id=self._id(), owner=owner, title=title, priority=self._random.choice([None, None, "high"]), at=at
        )

    def _change(self, task: Task) -> Task:
        return task.edited(title=f"{self._random.random()}", at=NOON + timedelta(seconds=self._random.random()))


def _rebuilt() -> None:
    """Have the store send the statements as they are patched."""
    store.SWAPPING, store.SWAPPING_ONCE = writing._swapping(), writing._swapping(keyed=True)
    store.REMOVING, store.REMOVING_ONCE = writing._removing(), writing._removing(keyed=True)
    writing.creating.cache_clear()


def _replace(module: object, name: str, old: str, new: str) -> None:
    text = getattr(module, name)
    assert old in text, (name, old)
    setattr(module, name, text.replace(old, new))


def number_beside_the_lock() -> None:
    """The number comes from the statement's snapshot, not from what was locked."""
    beside = "(select number from owners as beside where beside.user_id = {}.user_id)"
    _replace(writing, "_CREATE", "held.number, held.live", f"{beside.format('held')} as number, held.live")
    _replace(writing, "_CHANGE", "held.number", beside.format("held"))


def no_lock() -> None:
    """Nobody locks the owner's row, and all else is as it is."""
    _replace(writing, "_HELD", " for no key update{skip_locked}", "")
    _replace(transaction, "_LOCK", " for no key update", "")
    transaction._LOCK_IF_FREE = transaction._LOCK


def tasks_before_the_owner() -> None:
    """Behind the lock, the owner's tasks are locked first, and the owner's row then."""
    locked = transaction._locked

    async def other_order(connection: AsyncConnection[Any], owner: OwnerId, *, waits: bool) -> transaction.Row:
        await execute(connection, "select id from tasks where user_id = %(owner)s for update", {"owner": owner})
        await asyncio.sleep(0.01)
        return await locked(connection, owner, waits=True)

    transaction._locked = other_order


def no_raise() -> None:
    """The owner's number is not raised by what changes one task."""
    _replace(writing, "_RAISED", "set number = done.number", "set number = owners.number")


FAULTS: dict[str, Callable[[], None]] = {
    each.__name__: each for each in (number_beside_the_lock, no_lock, tasks_before_the_owner, no_raise)
}


async def _main(url: str, seed: int, clients: int, actions: int) -> None:
    engine = create_engine(url)
    writers_store = PostgresTaskStore(engine)
    tasks: dict[OwnerId, OwnedTasks] = {owner: writers_store.tasks_of(owner) for owner in OWNERS}
    await writers_store.ready()
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    writers = [Writer(tasks, seed + number) for number in range(clients)]
    await asyncio.gather(*(writer.act(actions) for writer in writers), return_exceptions=len(sys.argv) > 5)
    await writers_store.aclose()
    await engine.dispose()
    sys.stdout.buffer.write(pickle.dumps([each for writer in writers for each in writer.acknowledged]))


if __name__ == "__main__":
    for fault in sys.argv[5:]:
        FAULTS[fault]()
        _rebuilt()
    asyncio.run(_main(sys.argv[1], *map(int, sys.argv[2:5])))
