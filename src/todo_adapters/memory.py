"""Tasks kept in this process's memory: for tests, demonstrations, and programs that need them only while they run."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import TypeAlias

from todo_core import (
    KEY_LIFE,
    Expected,
    IdempotencyKey,
    KeyReused,
    OwnerId,
    Page,
    Task,
    TaskExists,
    TaskId,
    TaskNotFound,
    TaskQuery,
    asks_for_the_same,
    owner_id,
)

_Tasks: TypeAlias = dict[TaskId, Task]
_Keys: TypeAlias = OrderedDict[tuple[OwnerId, IdempotencyKey], tuple[float, Task]]


class MemoryTaskStore:
    """A `TaskStore` that forgets everything with its process. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tasks: dict[OwnerId, _Tasks] = {}
        self._keys: _Keys = OrderedDict()  # the oldest first

    def tasks_of(self, owner: OwnerId) -> "MemoryOwnedTasks":
        """As `TaskStore.tasks_of`."""
        return MemoryOwnedTasks(self._tasks, self._keys, self._lock, owner_id(owner))

    async def ready(self) -> None:
        """Memory always is."""

    async def aclose(self) -> None:
        """As `TaskStore.aclose`: every call has its answer at once."""


class MemoryOwnedTasks:
    """One owner's tasks."""

    def __init__(self, everyones: dict[OwnerId, _Tasks], keys: _Keys, lock: Lock, owner: OwnerId) -> None:
        self._everyones = everyones
        self._keys = keys
        self._lock = lock
        self._owner = owner

    async def add(self, task: Task) -> None:
        """As `OwnedTasks.add`."""
        self._require_mine(task)
        with self._lock:
            self._add(task)

    async def add_once(self, key: IdempotencyKey, task: Task) -> Task:
        """As `OwnedTasks.add_once`."""
        self._require_mine(task)
        with self._lock:
            self._forget_old_keys()
            if (kept := self._keys.get((self._owner, key))) is None:
                self._add(task)
                self._keys[self._owner, key] = monotonic(), task
                return task
        if not asks_for_the_same(kept[1], task):
            raise KeyReused
        return kept[1]

    async def get(self, task_id: TaskId) -> Task:
        """As `OwnedTasks.get`."""
        with self._lock:
            return self._found(task_id)

    async def edit(self, task_id: TaskId, change: Callable[[Task], Task]) -> Task:
        """As `OwnedTasks.edit`."""
        with self._lock:
            task = self._found(task_id)
            changed = task.after(change)
            if changed != task:
                self._everyones[self._owner][task_id] = changed
            return changed

    async def remove(self, task_id: TaskId, *, expected: Expected = None) -> None:
        """As `OwnedTasks.remove`."""
        with self._lock:
            self._found(task_id).expecting(expected)
            mine = self._everyones[self._owner]
            del mine[task_id]
            if not mine:  # owners come and go: those without tasks must not pile up
                del self._everyones[self._owner]

    async def page(self, query: TaskQuery) -> Page:
        """As `OwnedTasks.page`."""
        with self._lock:
            mine = list(self._everyones.get(self._owner, {}).values())
        return query.page_of(mine)

    def _require_mine(self, task: Task) -> None:
        if task.owner != self._owner:
            raise ValueError("this task belongs to another owner")

    def _add(self, task: Task) -> None:
        mine = self._everyones.setdefault(self._owner, {})
        if task.id in mine:
            raise TaskExists
        mine[task.id] = task

    def _forget_old_keys(self) -> None:
        expired = monotonic() - KEY_LIFE.total_seconds()
        while self._keys and next(iter(self._keys.values()))[0] < expired:
            self._keys.popitem(last=False)

    def _found(self, task_id: TaskId) -> Task:
        task = self._everyones.get(self._owner, {}).get(task_id)
        if task is None:
            raise TaskNotFound
        return task
