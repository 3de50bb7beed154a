"""Use cases of tasks."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, Unpack

from todo_core.changes import Pair, merged
from todo_core.families import deleted
from todo_core.merging import require_mergeable
from todo_core.own_ids import made_before, sees_own_id, with_own_id
from todo_core.places import WHERE, Where, is_there, moved, placed, require_where
from todo_core.plans import Committed, Decision
from todo_core.queries import Page, Summary, TaskQuery
from todo_core.recurring import OCCURRENCES_DEFAULT, Now, Step, brought_along
from todo_core.seen import Seen, Sees
from todo_core.task import NewTask, OwnerId, Settable, Task, TaskId, require_id
from todo_core.use_cases.base import DEFAULTS, UseCases, WriteOptions

_NOBODY: Final = OwnerId("nobody")
"""The owner of a preview, which is never stored."""


def _seeing(task_id: TaskId) -> Sees:
    require_id(task_id, "task_id")
    return Sees(frozenset({task_id}))


class TaskUseCases(UseCases):
    """Reading and writing tasks."""

    __slots__ = ()

    async def create(
        self,
        owner: OwnerId,
        options: WriteOptions = DEFAULTS,
        *,
        own_id: TaskId | None = None,
        **members: Unpack[NewTask],
    ) -> Committed:
        """Create a task, the last of its siblings. Raises `InvalidInput` and `TooMany`.

        `own_id`: an id that the client chose. If it was already created with the same members, nothing changes and the
        task is returned; raises `TaskExists` if another thing has or had the id.
        """
        now = self.clock.now()
        fresh = self.ids.new(now)
        task = with_own_id(
            own_id, now, lambda: self._course().checked(Task.new(id=own_id or fresh, owner=owner, at=now, **members))
        )
        task = task if own_id is None else replace(task, position=fresh.hex)

        def decide(seen: Seen) -> Decision:
            if own_id is not None and (there := made_before(seen, task)) is not None:
                return Decision((), (there,))
            pairs = placed(seen, task)
            return Decision(tuple(pairs), (pairs[-1].thing,))

        sees = Sees() if own_id is None else sees_own_id(task)
        return await self._commit(owner, sees, decide, options)

    async def get(self, owner: OwnerId, task_id: TaskId) -> Task:
        """The task with that id."""
        require_id(task_id, "task_id")
        return await self.store.tasks_of(owner).get(task_id)

    async def page(self, owner: OwnerId, query: TaskQuery) -> Page:
        """One page of the owner's tasks."""
        return await self.store.tasks_of(owner).page(query)

    async def summary(self, owner: OwnerId) -> Summary:
        """How many tasks are open and completed, and the open ones by tag, priority and list."""
        return await self.store.tasks_of(owner).summary()

    async def edit(
        self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS, **members: Unpack[Settable]
    ) -> Committed:
        """Set these members; the others stay. Raises `InvalidInput` and `MergeConflict`.

        Completing a task that recurs completes its current occurrence: it moves to the next one and stays open. With
        another `list_id` or `parent_id` it moves to the end there, as `move` does.
        """
        plain = members.copy()
        where: Where = {}
        if "list_id" in plain:
            where["list_id"] = plain.pop("list_id")
        if "parent_id" in plain:
            where["parent_id"] = plain.pop("parent_id")
        require_where(where, WHERE)
        return await self._change(
            owner,
            task_id,
            lambda task, now: self._course().edited(task, now, **plain),
            options,
            where or None,
            only_elsewhere=True,
            members=members,
        )

    async def move(
        self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS, **where: Unpack[Where]
    ) -> Committed:
        """Move the task with its subtasks. Raises `InvalidInput`, naming the members of `where` at fault."""
        require_where(where, WHERE)
        return await self._change(owner, task_id, lambda task, _: Step(task), options, where)

    async def toggle(self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS) -> Committed:
        """Complete the task, or its current occurrence, if it is open; reopen it if it is completed."""
        return await self._change(
            owner, task_id, lambda task, now: self._course().toggled(task.expecting(options.expected), now), options
        )

    async def complete(
        self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS, *, occurrence: str | None = None
    ) -> Committed:
        """Complete the task. Of one that recurs each call completes an occurrence; otherwise repeating changes nothing.

        With `occurrence`, the due date that the caller saw, nothing changes if the task has moved on since.
        """
        return await self._change(
            owner, task_id, lambda task, now: self._course().completed(task, now, occurrence), options
        )

    async def skip(
        self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS, *, occurrence: str | None = None
    ) -> Committed:
        """Move to the next occurrence without completing this one. `occurrence` as in `complete`.

        Raises `InvalidInput` for a task that does not recur.
        """
        return await self._change(
            owner, task_id, lambda task, now: self._course().skipped(task, now, occurrence), options
        )

    async def reschedule(
        self,
        owner: OwnerId,
        task_id: TaskId,
        options: WriteOptions = DEFAULTS,
        *,
        due_date: str,
        start_date: str | None = None,
    ) -> Committed:
        """Move the current occurrence to another date; later ones stay where they are. Raises `InvalidInput`.

        Without `start_date`, the start date keeps its distance from the due date. With it, later ones keep the new
        distance.
        """
        return await self._change(
            owner, task_id, lambda task, now: self._course().rescheduled(task, now, due_date, start_date), options
        )

    async def occurrences(
        self, owner: OwnerId, task_id: TaskId, *, limit: int = OCCURRENCES_DEFAULT, zone: str | None = None
    ) -> list[str]:
        """The task's next due dates, current one first. Raises `InvalidInput` for a limit outside 1 to 100."""
        return self.occurrences_of(await self.get(owner, task_id), limit=limit, zone=zone)

    def occurrences_of(self, task: Task, *, limit: int = OCCURRENCES_DEFAULT, zone: str | None = None) -> list[str]:
        """The next due dates of a task as it was read. Raises as `occurrences` does."""
        return self._course().occurrences(task, Now(self.clock.now(), zone), limit)

    async def preview(
        self, *, limit: int = OCCURRENCES_DEFAULT, zone: str | None = None, **members: Unpack[Settable]
    ) -> list[str]:
        """The due dates that a new task with these members would have. Raises as `occurrences` does.

        Also raises `InvalidInput` as `create` does; but it looks for neither the list nor the parent.
        """
        now = self.clock.now()
        new: NewTask = {"title": "preview", **members}
        task = Task.new(id=self.ids.new(now), owner=_NOBODY, at=now, **new)
        return self._course().occurrences(self._course().checked(task), Now(now, zone), limit)

    async def reopen(self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS) -> Committed:
        """Reopen the task. Repeating it changes nothing."""
        return await self.edit(owner, task_id, options, completed=False)

    async def delete(self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS) -> Committed:
        """Move the task and its subtasks to the trash. The answer has no task."""

        def decide(seen: Seen) -> Decision:
            return Decision(tuple(deleted(seen, seen.task(task_id).expecting(options.expected))))

        return await self._commit(owner, _seeing(task_id), decide, options)

    def _change(
        self,
        owner: OwnerId,
        task_id: TaskId,
        change: Callable[[Task, Now], Step],
        options: WriteOptions,
        where: Where | None = None,
        *,
        only_elsewhere: bool = False,
        members: Mapping[str, object] = MappingProxyType({}),
    ) -> Awaitable[Committed]:
        """Change one task, which sets `members`, and move it; `only_elsewhere`: unless it is there already."""
        now = self._now(options)
        fresh = None if where is None else self._fresh(now.at)

        def decide(seen: Seen) -> Decision:
            before = seen.task(task_id)
            step = change(before, now)
            if options.base is not None:
                require_mergeable(seen, before, step.task, members, options.base)
            pairs = [Pair(before, step.task, step.explicit_action)] if step.task != before else []
            if where is not None and fresh and not (only_elsewhere and is_there(before, where)):
                pairs = merged(moved(seen, before, where, at=now.at, fresh=fresh), pairs)
            if step.moves_on:
                pairs = merged(pairs, brought_along(before, step.task, seen.below([task_id]), at=now.at))
            before.expecting(options.expected)  # last, so that what is wrong at any version is reported first
            after = next((pair.thing for pair in pairs if pair.thing.id == task_id), before)
            return Decision(tuple(pairs), (after,))

        return self._commit(owner, _seeing(task_id), decide, options)
