"""What an owner can do with tasks."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, Unpack

from todo_core.changes import Pair, together
from todo_core.merging import require_mergeable
from todo_core.own_ids import made_before, require_own_id, sees_own_id
from todo_core.places import Where, deleted, is_there, moved, placed
from todo_core.plans import Committed, Decision
from todo_core.queries import Page, Summary, TaskQuery
from todo_core.recurring import OCCURRENCES_DEFAULT, Now, Step, brought_along
from todo_core.seen import Seen, Sees
from todo_core.task import NewTask, OwnerId, Settable, Task, TaskId
from todo_core.use_cases.base import DEFAULTS, UseCases, WriteOptions

_NOBODY: Final = OwnerId("nobody")
"""Whose a task is that is never stored."""


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
        """A new task of that owner, the last of its siblings. Raises `InvalidInput` and `TooMany`.

        `own_id`: its id, which its client made. Made alike before, it is there already, and nothing happens; raises
        `TaskExists` where the id is another thing's, or was.
        """
        now = self.clock.now()
        fresh = self.ids.new(now)
        if own_id is not None:
            require_own_id(own_id, now)
        task = Task.new(id=own_id or fresh, owner=owner, at=now, **members)
        task = self._course().checked(task if own_id is None else replace(task, position=fresh.hex))

        def decide(seen: Seen) -> Decision:
            if own_id is not None and (there := made_before(seen, task)) is not None:
                return Decision((), (there,))
            pairs = placed(seen, task)
            return Decision(tuple(pairs), (pairs[-1].thing,))

        sees = Sees() if own_id is None else sees_own_id(task)
        return await self._commit(owner, sees, decide, options)

    async def get(self, owner: OwnerId, task_id: TaskId) -> Task:
        """The task as it is now."""
        return await self.store.tasks_of(owner).get(task_id)

    async def page(self, owner: OwnerId, query: TaskQuery) -> Page:
        """One page of the owner's tasks."""
        return await self.store.tasks_of(owner).page(query)

    async def summary(self, owner: OwnerId) -> Summary:
        """How many tasks the owner has."""
        return await self.store.tasks_of(owner).summary()

    async def edit(
        self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS, **members: Unpack[Settable]
    ) -> Committed:
        """The task with these members; the others stay. Raises `InvalidInput`.

        To complete a task that recurs is to complete this occurrence: it moves on to its next one, and stays open. With
        another `list_id` or `parent_id` it moves to the end there, as by `move`.
        """
        now, plain = self._now(options), members.copy()
        where: Where = {}
        if "list_id" in plain:
            where["list_id"] = plain.pop("list_id")
        if "parent_id" in plain:
            where["parent_id"] = plain.pop("parent_id")
        return await self._change(
            owner,
            task_id,
            lambda task: self._course().edited(task, now, **plain),
            options,
            where or None,
            only_elsewhere=True,
            members=members,
        )

    async def move(
        self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS, **where: Unpack[Where]
    ) -> Committed:
        """The task there, with all that is below it. Raises `InvalidInput`, naming what is wrong with that place."""
        return await self._change(owner, task_id, Step, options, where)

    async def toggle(self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS) -> Committed:
        """The task, done if it was open and open if it was done; of one that recurs this occurrence is done."""
        now = self._now(options)
        return await self._change(
            owner, task_id, lambda task: self._course().toggled(task.expecting(options.expected), now), options
        )

    async def complete(
        self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS, *, occurrence: str | None = None
    ) -> Committed:
        """The task, done. Repeating it changes nothing, unless the task recurs: then each completes one occurrence.

        With `occurrence`, the due date that was seen, that one only: where the task has moved on nothing happens.
        """
        now = self._now(options)
        return await self._change(owner, task_id, lambda task: self._course().completed(task, now, occurrence), options)

    async def skip(
        self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS, *, occurrence: str | None = None
    ) -> Committed:
        """As `complete`, without having been done. Raises `InvalidInput` for a task that does not recur."""
        now = self._now(options)
        return await self._change(owner, task_id, lambda task: self._course().skipped(task, now, occurrence), options)

    async def reschedule(
        self,
        owner: OwnerId,
        task_id: TaskId,
        options: WriteOptions = DEFAULTS,
        *,
        due_date: str,
        start_date: str | None = None,
    ) -> Committed:
        """This occurrence at another date; those after it stay where they are. Raises `InvalidInput`."""
        now = self._now(options)
        return await self._change(
            owner, task_id, lambda task: self._course().rescheduled(task, now, due_date, start_date), options
        )

    async def occurrences(
        self, owner: OwnerId, task_id: TaskId, *, limit: int = OCCURRENCES_DEFAULT, zone: str | None = None
    ) -> list[str]:
        """When the task will be due, this time first. Raises `InvalidInput` for a limit that is not 1 to 100."""
        task = await self.store.tasks_of(owner).get(task_id)
        return self._course().occurrences(task, Now(self.clock.now(), zone), limit)

    async def preview(
        self, *, limit: int = OCCURRENCES_DEFAULT, zone: str | None = None, **members: Unpack[Settable]
    ) -> list[str]:
        """When a new task with these members would be due, this time first. Raises as `create` and `occurrences` do."""
        now = self.clock.now()
        new: NewTask = {"title": "preview", **members}
        task = Task.new(id=self.ids.new(now), owner=_NOBODY, at=now, **new)
        return self._course().occurrences(self._course().checked(task), Now(now, zone), limit)

    async def reopen(self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS) -> Committed:
        """The task, not done. Repeating it changes nothing."""
        return await self.edit(owner, task_id, options, completed=False)

    async def delete(self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS) -> Committed:
        """The task is in the trash, and all that is below it; what is returned has no task."""

        def decide(seen: Seen) -> Decision:
            return Decision(tuple(deleted(seen, seen.task(task_id).expecting(options.expected))))

        return await self._commit(owner, Sees(frozenset({task_id})), decide, options)

    async def _change(
        self,
        owner: OwnerId,
        task_id: TaskId,
        change: Callable[[Task], Step],
        options: WriteOptions,
        where: Where | None = None,
        *,
        only_elsewhere: bool = False,
        members: Mapping[str, object] = MappingProxyType({}),
    ) -> Committed:
        """A change of one task, which sets `members`, and moves; `only_elsewhere`: unless it is there already."""
        now = self._now(options)
        fresh = None if where is None else self._fresh(now.at)

        def decide(seen: Seen) -> Decision:
            before = seen.task(task_id)
            step = change(before)
            if options.base is not None:
                require_mergeable(seen, before, members, options.base)
            pairs = [Pair(before, step.task, step.named)] if step.task != before else []
            if where is not None and fresh and not (only_elsewhere and is_there(before, where)):
                pairs = together(moved(seen, before, where, at=now.at, fresh=fresh), pairs)
            if step.moves_on:
                pairs = together(pairs, brought_along(before, step.task, seen.below([task_id]), at=now.at))
            before.expecting(options.expected)  # after the rules: what is wrong at any version is reported first
            after = next((pair.thing for pair in pairs if pair.thing.id == task_id), before)
            return Decision(tuple(pairs), (after,))

        return await self._commit(owner, Sees(frozenset({task_id})), decide, options)
