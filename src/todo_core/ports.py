"""What the core needs from the world. The docstrings are the contract; `todo_core.testing` proves a storage."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from todo_core.idempotency import IdempotencyKey
from todo_core.queries import Page, TaskQuery
from todo_core.task import Expected, OwnerId, Task, TaskId


class OwnedTasks(Protocol):
    """One owner's tasks. There is no way to reach another owner's from here.

    Every method may raise `StoreUnavailable`. What a method has returned from is durable, and every later call, from
    any process, sees it (linearizability, Herlihy & Wing 1990). A cancelled write is stored wholly or not at all.
    """

    async def add(self, task: Task) -> None:
        """Store a new task. Raises `TaskExists` for an id that the owner has, `ValueError` for another's task."""
        ...

    async def add_once(self, key: IdempotencyKey, task: Task) -> Task:
        """Store a new task unless this owner has used `key`; the task that was stored under it first, as it was then.

        One of those who use a key at once stores, the others wait for it. What becomes of the task later, its removal
        included, changes nothing here. A key is kept together with its task or not at all, for `KEY_LIFE` at least.
        Another's task is refused first, with `ValueError`, whether the key is used or not. Raises `KeyReused` where the
        first task's title, description or state differ; otherwise as `add`.
        """
        ...

    async def get(self, task_id: TaskId) -> Task:
        """The task as last written. Raises `TaskNotFound`."""
        ...

    async def edit(self, task_id: TaskId, change: Callable[[Task], Task]) -> Task:
        """Apply `change` atomically: no other edit of this task falls between its read and its write.

        `change` is pure: it may be called several times, the last call counts. Where it gives back an equal task,
        nothing is written. Returns what is stored now. Raises `TaskNotFound`, and whatever `change` raises, leaving the
        task as it was; `ValueError` as `Task.after` says.
        """
        ...

    async def remove(self, task_id: TaskId, *, expected: Expected = None) -> None:
        """Delete the task, atomically with the check of its version. Raises `TaskNotFound` or `VersionConflict`."""
        ...

    async def page(self, query: TaskQuery) -> Page:
        """What `query.page_of` says of all the owner's tasks, as of one moment."""
        ...


class TaskStore(Protocol):
    """Where tasks are kept, reachable only owner by owner."""

    def tasks_of(self, owner: OwnerId) -> OwnedTasks:
        """That owner's tasks and nothing else; touches no storage yet. Raises `InvalidInput` as `owner_id` does."""
        ...

    async def ready(self) -> None:
        """Return if the storage can answer now; raise `StoreUnavailable` within a few seconds if not."""
        ...

    async def aclose(self) -> None:
        """Return when every call so far has its answer; none may follow."""
        ...


class Clock(Protocol):
    """What time it is."""

    def now(self) -> datetime:
        """The present moment, in UTC."""
        ...


class IdGenerator(Protocol):
    """Where identities come from."""

    def new(self, at: datetime) -> TaskId:
        """A fresh UUIDv7 for a task created `at` that moment: ids sort as the moments do, to the microsecond."""
        ...


class Authenticator(Protocol):
    """Who is calling."""

    async def authenticate(self, token: str) -> OwnerId:
        """The owner whom a bearer token proves. Raises `NotAuthenticated`, or `IdentityUnavailable`."""
        ...
