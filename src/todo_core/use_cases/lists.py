"""Use cases of lists."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Unpack

from todo_core.changes import Pair, changed
from todo_core.errors import ListNotFound
from todo_core.families import deleted
from todo_core.lists import ListSettable, NewList, TaskList
from todo_core.merging import require_mergeable
from todo_core.own_ids import made_before, sees_own_id, with_own_id
from todo_core.places import WHERE_OF_LISTS, moved_list, require_where
from todo_core.plans import Committed, Decision
from todo_core.seen import Seen, Sees
from todo_core.task import ListId, OwnerId, require_id
from todo_core.use_cases.base import DEFAULTS, UseCases, WriteOptions


class ListUseCases(UseCases):
    """Reading and writing lists."""

    __slots__ = ()

    async def lists(self, owner: OwnerId) -> Sequence[TaskList]:
        """All of the owner's lists, by position."""
        return await self.store.tasks_of(owner).lists()

    async def get_list(self, owner: OwnerId, list_id: ListId) -> TaskList:
        """The list with that id."""
        require_id(list_id, "list_id")
        for task_list in await self.lists(owner):
            if task_list.id == list_id:
                return task_list
        raise ListNotFound

    async def create_list(
        self,
        owner: OwnerId,
        options: WriteOptions = DEFAULTS,
        *,
        own_id: ListId | None = None,
        **members: Unpack[NewList],
    ) -> Committed:
        """Create a list, after all others. `own_id` as in `create`. Raises `InvalidInput`, `TooMany`, `TaskExists`."""
        now = self.clock.now()
        fresh = self.ids.new(now)
        new = partial(TaskList.new, id=own_id or ListId(fresh), owner=owner, at=now, **members)
        task_list = with_own_id(own_id, now, new)
        task_list = replace(task_list, position=fresh.hex)

        def decide(seen: Seen) -> Decision:
            if own_id is not None and (there := made_before(seen, task_list)) is not None:
                return Decision((), (there,))
            return Decision((Pair(None, task_list),), (task_list,))

        sees = Sees(lists=True) if own_id is None else sees_own_id(task_list)
        return await self._commit(owner, sees, decide, options)

    async def edit_list(
        self, owner: OwnerId, list_id: ListId, options: WriteOptions = DEFAULTS, **members: Unpack[ListSettable]
    ) -> Committed:
        """Set these members; the others stay. Raises `InvalidInput` and `MergeConflict`."""
        now = self.clock.now()

        def pairs(_: Seen, before: TaskList) -> list[Pair]:
            return changed([(before, before.edited(at=now, **members))])

        return await self._change_list(owner, list_id, pairs, options, members)

    async def move_list(
        self, owner: OwnerId, list_id: ListId, options: WriteOptions = DEFAULTS, **where: ListId
    ) -> Committed:
        """Move the list `before` or `after` another one, or to the end. Raises `InvalidInput`."""
        require_where(where, WHERE_OF_LISTS)
        now = self.clock.now()
        fresh = self._fresh(now)

        def pairs(seen: Seen, before: TaskList) -> list[Pair]:
            return moved_list(seen, before, where, at=now, fresh=fresh)

        return await self._change_list(owner, list_id, pairs, options)

    async def delete_list(self, owner: OwnerId, list_id: ListId, options: WriteOptions = DEFAULTS) -> Committed:
        """Move the list and its tasks to the trash. The answer has no list."""
        require_id(list_id, "list_id")

        def decide(seen: Seen) -> Decision:
            return Decision(tuple(deleted(seen, seen.task_list(list_id).expecting(options.expected))))

        return await self._commit(owner, Sees(lists=True), decide, options)

    async def _change_list(
        self,
        owner: OwnerId,
        list_id: ListId,
        change: Callable[[Seen, TaskList], list[Pair]],
        options: WriteOptions,
        members: Mapping[str, object] = MappingProxyType({}),
    ) -> Committed:
        require_id(list_id, "list_id")

        def decide(seen: Seen) -> Decision:
            before = seen.task_list(list_id)
            pairs = change(seen, before)
            after = next((pair.thing for pair in pairs if pair.thing.id == list_id), before)
            if options.base is not None:
                require_mergeable(seen, before, after, members, options.base)
            before.expecting(options.expected)  # last, so that what is wrong at any version is reported first
            return Decision(tuple(pairs), (after,))

        return await self._commit(owner, Sees(lists=True), decide, options)
