"""What an owner can do with tasks: one method an action, the owner first."""

from dataclasses import dataclass

from todo_core.idempotency import Creation, IdempotencyKey
from todo_core.ports import Clock, IdGenerator, TaskStore
from todo_core.queries import Page, TaskQuery
from todo_core.task import UNSET, Expected, OwnerId, Task, TaskId, Unset


@dataclass(frozen=True, slots=True)
class TaskService:
    """Everything that can be done with tasks.

    Every method may raise `StoreUnavailable`; those that take a task's id raise `TaskNotFound`; those that take
    `expected` raise `VersionConflict` where the task is not at that version. A refused call changes nothing.
    """

    store: TaskStore
    clock: Clock
    ids: IdGenerator

    async def create(
        self, owner: OwnerId, *, title: str, description: str | None = None, completed: bool = False
    ) -> Task:
        """A new task of that owner. Raises `InvalidInput`."""
        task = self._new(owner, title, description, completed)
        await self.store.tasks_of(owner).add(task)
        return task

    async def create_once(
        self,
        owner: OwnerId,
        key: IdempotencyKey,
        *,
        title: str,
        description: str | None = None,
        completed: bool = False,
    ) -> Creation:
        """As `create`, but repeating it under the same key creates nothing: it gives the first one's outcome.

        It may be repeated after any failure, from any process. Raises `InvalidInput`, and `KeyReused` where the first
        call asked for another task.
        """
        task = self._new(owner, title, description, completed)
        stored = await self.store.tasks_of(owner).add_once(key, task)
        return Creation(stored, replayed=stored.id != task.id)

    def _new(self, owner: OwnerId, title: str, description: str | None, completed: bool) -> Task:
        now = self.clock.now()
        return Task.new(
            id=self.ids.new(now), owner=owner, title=title, description=description, completed=completed, at=now
        )

    async def get(self, owner: OwnerId, task_id: TaskId) -> Task:
        """The task as it is now."""
        return await self.store.tasks_of(owner).get(task_id)

    async def page(self, owner: OwnerId, query: TaskQuery) -> Page:
        """One page of the owner's tasks."""
        return await self.store.tasks_of(owner).page(query)

    async def edit(
        self,
        owner: OwnerId,
        task_id: TaskId,
        *,
        title: str | Unset = UNSET,
        description: str | Unset | None = UNSET,
        completed: bool | Unset = UNSET,
        expected: Expected = None,
    ) -> Task:
        """The task with the given values; the others stay. Raises `InvalidInput`."""
        now = self.clock.now()

        def change(task: Task) -> Task:
            edited = task.edited(title=title, description=description, completed=completed, at=now)
            task.expecting(expected)  # after the rules: a value that is wrong at any version is told first
            return edited

        return await self.store.tasks_of(owner).edit(task_id, change)

    async def toggle(self, owner: OwnerId, task_id: TaskId, *, expected: Expected = None) -> Task:
        """The task, done if it was open and open if it was done."""
        now = self.clock.now()
        return await self.store.tasks_of(owner).edit(task_id, lambda task: task.expecting(expected).toggled(at=now))

    async def complete(self, owner: OwnerId, task_id: TaskId, *, expected: Expected = None) -> Task:
        """The task, done. Repeating it changes nothing."""
        return await self.edit(owner, task_id, completed=True, expected=expected)

    async def reopen(self, owner: OwnerId, task_id: TaskId, *, expected: Expected = None) -> Task:
        """The task, not done. Repeating it changes nothing."""
        return await self.edit(owner, task_id, completed=False, expected=expected)

    async def delete(self, owner: OwnerId, task_id: TaskId, *, expected: Expected = None) -> None:
        """The task is gone."""
        await self.store.tasks_of(owner).remove(task_id, expected=expected)
