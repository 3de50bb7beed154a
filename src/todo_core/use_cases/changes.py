"""Use cases of the log: history, sync, undo and the trash."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from todo_core.changes import LIMIT_DEFAULT, LIMIT_MAX, ChangePage, ChangeQuery, Entry
from todo_core.errors import ChangeNotFound, InvalidInput, NotInTrash, Problem
from todo_core.plans import Committed, Decision
from todo_core.seen import Seen, Sees
from todo_core.sync import SyncPage, SyncQuery, SyncToken
from todo_core.task import OwnerId, TaskId, exact, require_id
from todo_core.undoing import emptied, erased, restored, undone
from todo_core.use_cases.base import DEFAULTS, UseCases, WriteOptions

SYNC_MARGIN: Final = timedelta(hours=1)
"""Sync tokens expire this much earlier than changes are pruned, because clocks differ."""

NUMBER_RULE: Final = "must be a whole number"
_NUMBER_MAX: Final = 2**63 - 1
"""The greatest number of a change. A storage may be slow to find that there is none with a greater one."""


def _number(value: object) -> int:
    """`value` as the number of a change. Raises `ChangeNotFound` for one that no change can have."""
    if not isinstance(value, int):
        raise InvalidInput([Problem("number", NUMBER_RULE)])
    if not 1 <= value <= _NUMBER_MAX:  # not `in range`, which would count up to what is not exactly an `int`
        raise ChangeNotFound
    return exact(value)


class _MoreIsLeft(Exception):
    """Raised by a decision that would erase the last deletions of the trash, and finds more than it may erase."""


class ChangeUseCases(UseCases):
    """History, sync, undo and the trash."""

    __slots__ = ()

    async def history(self, owner: OwnerId, query: ChangeQuery) -> ChangePage:
        """One page of the log, of the task or list that `query.of` names; also after its deletion."""
        tasks = self.store.tasks_of(owner)
        page = await tasks.changes(query)
        if not page.items and query.of is not None:
            await tasks.get(TaskId(query.of))  # it may exist without history, which is pruned by age
        return page

    async def sync(self, owner: OwnerId, since: SyncToken | None = None, *, limit: int = LIMIT_DEFAULT) -> SyncPage:
        """One page of what changed after `since`; without it, of everything.

        A client that follows `next` until `more` is false has an exact copy. Raises `ResyncRequired`, and
        `InvalidInput` for a limit outside 1 to 200.
        """
        now = self.clock.now()
        kept_since = now - self.history_kept + SYNC_MARGIN
        query = SyncQuery(now=now, kept_since=kept_since, since=since, limit=limit)
        return await self.store.tasks_of(owner).sync(query)

    async def undo(
        self, owner: OwnerId, number: int, options: WriteOptions = DEFAULTS, *, may_delete: bool = True
    ) -> Committed:
        """Undo the change with that number, as a new change, which can be undone in turn.

        Raises `ChangeNotFound` and `UndoConflict`, and `InsufficientScope` if that deletes something and not
        `may_delete`.
        """
        number = _number(number)
        now = self.clock.now()
        fresh = self._fresh(now)

        def decide(seen: Seen) -> Decision:
            if self._are_forgotten(seen.change(number), now):
                raise ChangeNotFound
            return undone(seen, number, at=now, fresh=fresh, may_delete=may_delete)

        return await self._commit(owner, Sees(entries=frozenset({number})), decide, options)

    def _are_forgotten(self, entries: Iterable[Entry], now: datetime) -> bool:
        """Whether a part of that change may have been pruned: a store prunes entry by entry, not whole changes."""
        return any(entry.at < now - self.history_kept for entry in entries)

    async def trash(self, owner: OwnerId, query: ChangeQuery) -> ChangePage:
        """One page of the owner's trash: deletions that have not been undone or restored."""
        return await self.store.tasks_of(owner).changes(replace(query, trash=True))

    async def restore(
        self, owner: OwnerId, thing_id: UUID, options: WriteOptions = DEFAULTS, *, answers_whole: bool = True
    ) -> Committed:
        """Restore everything that was deleted with that thing. Raises `NotInTrash` and `TooMany`.

        Returns all of it, or without `answers_whole` that thing alone.
        """
        require_id(thing_id, "thing_id")
        now = self.clock.now()
        fresh = self._fresh(now)

        def decide(seen: Seen) -> Decision:
            if self._are_forgotten(filter(None, seen.last_of([thing_id])), now):
                raise NotInTrash
            decision = restored(seen, thing_id, at=now, fresh=fresh)
            if answers_whole:
                return decision
            return replace(decision, answer=tuple(each for each in decision.answer if each.id == thing_id))

        return await self._commit(owner, Sees(last_entries=frozenset({thing_id})), decide, options)

    async def erase(self, owner: OwnerId, thing_id: UUID, options: WriteOptions = DEFAULTS) -> Committed:
        """Erase everything that was deleted with that thing, from the history too. Raises `NotInTrash`."""
        require_id(thing_id, "thing_id")
        return await self._commit(
            owner, Sees(last_entries=frozenset({thing_id})), lambda seen: erased(seen, thing_id), options
        )

    async def empty_trash(self, owner: OwnerId, options: WriteOptions = DEFAULTS) -> Committed:
        """Erase everything that is in the trash now, up to 200 deletions at a time, and nothing deleted later.

        The key is stored with the last of them: after a failure the repetition erases the rest. Under a key that was
        used before, nothing is erased.
        """
        newest = await self.trash(owner, ChangeQuery(newest_first=True, limit=1))
        until = max((entry.number for entry in newest.items), default=0)
        page = ChangeQuery(trash=True, limit=LIMIT_MAX)
        sees = Sees(log=frozenset({page}))

        def some(seen: Seen) -> Decision:
            return emptied(seen, [entry for entry in seen.logged(page) if entry.number <= until])

        def last(seen: Seen) -> Decision:
            deletions = seen.logged(page)
            if len(deletions) == LIMIT_MAX and deletions[-1].number <= until:
                raise _MoreIsLeft
            return some(seen)

        while True:
            try:
                return await self._commit(owner, sees, last, options)
            except _MoreIsLeft:
                await self._commit(owner, sees, some, WriteOptions(client=options.client))
