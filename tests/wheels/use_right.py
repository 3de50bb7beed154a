"""What a type checker accepts of the installed packages: a storage that fits its port, and a use of the service."""

from todo_adapters.memory import MemoryTaskStore
from todo_adapters.system import SystemClock, SystemIds
from todo_core import (
    Committed,
    Decision,
    OwnedTasks,
    Pair,
    Plan,
    Task,
    TaskId,
    TaskService,
    TaskStore,
    composed,
    owner_id,
)

store: TaskStore = MemoryTaskStore()
tasks = TaskService(store, SystemClock(), SystemIds())


async def rename(task_id: TaskId) -> str:
    edited: Committed = await tasks.edit(owner_id("ann"), task_id, title="Bread", description=None, tags=["home"])
    return edited.task.title


async def in_one_change(owned: OwnedTasks, one: Task, other: Task) -> int | None:
    return (await owned.commit(composed([creating(one), creating(other)]))).change


def creating(task: Task) -> Plan:
    return Plan(decide=lambda _: Decision((Pair(None, task),), (task,)))
