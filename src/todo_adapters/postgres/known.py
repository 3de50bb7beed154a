"""The tasks that this process saw last: what changes one of them is decided on it first, without reading it."""

from collections import OrderedDict
from typing import Final

from todo_core import OwnerId, Task, TaskId

_MOST: Final = 2000  # some 3 MiB


class Known:
    """Tasks as they were: nothing is answered from them before the database has found one to be still the same."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._tasks: OrderedDict[tuple[OwnerId, TaskId], Task] = OrderedDict()

    def get(self, owner: OwnerId, task_id: TaskId) -> Task | None:
        """That task as it was seen last, if it is known."""
        return self._tasks.get((owner, task_id))

    def saw(self, owner: OwnerId, task_id: TaskId, task: Task | None) -> None:
        """Keep that task, and forget the one that was not seen for longest; None: forget what was known of it."""
        self._tasks.pop((owner, task_id), None)
        if task is not None:
            self._tasks[owner, task_id] = task
            if len(self._tasks) > self._most:
                self._tasks.popitem(last=False)
