"""The plans that the contract tests use, and functions that commit them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Unpack
from uuid import UUID

from todo_core.changes import Pair
from todo_core.families import deleted
from todo_core.idempotency import IdempotencyKey, Once
from todo_core.lists import TaskList
from todo_core.places import Where, moved, moved_list, placed
from todo_core.plans import Committed, Decision, Plan
from todo_core.ports import OwnedTasks
from todo_core.seen import Seen, Sees
from todo_core.task import ListId, Task, TaskId
from todo_core.testing.examples import LATER, make_fresh
from todo_core.undoing import erased, restored, undone
from todo_core.versioned import Expected


def creating(task: Task, once: Once | None = None) -> Plan:
    """Store a new task."""
    decision = Decision((Pair(None, task),), (task,))
    return Plan(decide=lambda _: decision, once=once)


def changing(task_id: TaskId, change: Callable[[Task], Task], once: Once | None = None) -> Plan:
    """Store what `change` returns for a task, unless it is equal."""

    def decide(seen: Seen) -> Decision:
        before = seen.task(task_id)
        after = change(before)
        return Decision((Pair(before, after),) if after != before else (), (after,))

    return Plan(decide=decide, sees=Sees(frozenset({task_id})), once=once)


def deleting(task_id: TaskId, expected: Expected = None, once: Once | None = None) -> Plan:
    """Delete a task, if it has an expected version."""

    def decide(seen: Seen) -> Decision:
        return Decision(tuple(deleted(seen, seen.task(task_id).expecting(expected))))

    return Plan(decide=decide, sees=Sees(frozenset({task_id})), once=once)


def placing(task: Task) -> Plan:
    """Store a new task, the last of its siblings."""

    def decide(seen: Seen) -> Decision:
        pairs = placed(seen, task)
        return Decision(tuple(pairs), (pairs[-1].thing,))

    return Plan(decide=decide)


def moving(task_id: TaskId, where: Where, at: datetime) -> Plan:
    """Move a task with its subtasks."""
    fresh = make_fresh()

    def decide(seen: Seen) -> Decision:
        before = seen.task(task_id)
        pairs = moved(seen, before, where, at=at, fresh=fresh)
        return Decision(tuple(pairs), (next((pair.thing for pair in pairs if pair.thing.id == task_id), before),))

    return Plan(decide=decide, sees=Sees(frozenset({task_id})))


def creating_list(task_list: TaskList) -> Plan:
    """Store a new list."""
    decision = Decision((Pair(None, task_list),), (task_list,))
    return Plan(decide=lambda _: decision, sees=Sees(lists=True))


def changing_list(list_id: ListId, change: Callable[[TaskList], TaskList]) -> Plan:
    """Store what `change` returns for a list, unless it is equal."""

    def decide(seen: Seen) -> Decision:
        before = seen.task_list(list_id)
        after = change(before)
        return Decision((Pair(before, after),) if after != before else (), (after,))

    return Plan(decide=decide, sees=Sees(lists=True))


def moving_list(list_id: ListId, where: Mapping[str, ListId], at: datetime) -> Plan:
    """Move a list before or after another one, or to the end."""
    fresh = make_fresh()

    def decide(seen: Seen) -> Decision:
        before = seen.task_list(list_id)
        pairs = moved_list(seen, before, where, at=at, fresh=fresh)
        return Decision(tuple(pairs), (next((pair.thing for pair in pairs if pair.thing.id == list_id), before),))

    return Plan(decide=decide, sees=Sees(lists=True))


def deleting_list(list_id: ListId) -> Plan:
    """Delete a list with its tasks."""
    return Plan(decide=lambda seen: Decision(tuple(deleted(seen, seen.task_list(list_id)))), sees=Sees(lists=True))


def undoing(number: int, at: datetime) -> Plan:
    """Undo that change."""
    fresh = make_fresh()
    return Plan(decide=lambda seen: undone(seen, number, at=at, fresh=fresh))


def restoring(thing_id: UUID, at: datetime) -> Plan:
    """Restore everything that was deleted with that thing."""
    fresh = make_fresh()
    return Plan(decide=lambda seen: restored(seen, thing_id, at=at, fresh=fresh))


def erasing(thing_id: UUID) -> Plan:
    """Erase everything that was deleted with that thing."""
    return Plan(decide=lambda seen: erased(seen, thing_id))


def once_for(key: IdempotencyKey, task: Task) -> Once:
    """That key for the creation of such a task, whatever its id and times."""
    asked = (task.title, task.description, task.completed)
    return Once(key, sha256(repr(asked).encode("utf-8", "surrogatepass")).hexdigest())


async def add(tasks: OwnedTasks, task: Task) -> Committed:
    """Commit `creating`."""
    return await tasks.commit(creating(task))


async def add_once(tasks: OwnedTasks, key: IdempotencyKey, task: Task) -> Task:
    """Commit `creating` under that key; returns the task created under it."""
    return (await tasks.commit(creating(task, once_for(key, task)))).task


async def edit(tasks: OwnedTasks, task_id: TaskId, change: Callable[[Task], Task]) -> Task:
    """Commit `changing`; returns the task after it."""
    return (await tasks.commit(changing(task_id, change))).task


async def move(tasks: OwnedTasks, task_id: TaskId, **where: Unpack[Where]) -> Task:
    """Commit `moving`; returns the task after it."""
    return (await tasks.commit(moving(task_id, where, LATER))).task


async def remove(tasks: OwnedTasks, task_id: TaskId, *, expected: Expected = None) -> Committed:
    """Commit `deleting`."""
    return await tasks.commit(deleting(task_id, expected))
