"""What a type checker accepts of the installed packages: a storage that fits its port, and a use of the service."""

from todo_adapters.memory import MemoryTaskStore
from todo_adapters.system import SystemClock, SystemIds
from todo_core import Task, TaskId, TaskService, TaskStore, owner_id
from todo_core.testing.writing import edit

store: TaskStore = MemoryTaskStore()
tasks = TaskService(store, SystemClock(), SystemIds())


async def rename(task_id: TaskId) -> str:
    task: Task = await edit(tasks, owner_id("ann"), task_id, title="Bread", description=None)
    return task.title
