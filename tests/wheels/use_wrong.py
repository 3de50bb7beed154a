"""What a type checker refuses: each line at fault names the error that it must get."""

from uuid import uuid4

from todo_adapters.system import SystemClock, SystemIds
from todo_core import OwnerId, Task, TaskId, TaskService, TaskStore, owner_id


class Forgetful:
    def tasks_of(self, owner: str) -> None: ...


store: TaskStore = Forgetful()  # expected: assignment
tasks = TaskService(Forgetful(), SystemClock(), SystemIds())  # expected: arg-type


async def use(task: Task) -> int:
    await tasks.get("ann", task.id)  # expected: arg-type
    await tasks.get(owner_id("ann"), uuid4())  # expected: arg-type
    await tasks.create(OwnerId("ann"), titel="Milk")  # expected: call-arg
    await tasks.edit(OwnerId("ann"), TaskId(uuid4()), title=None)  # expected: arg-type
    task.title = "Bread"  # expected: misc
    return task.description  # expected: return-value
