"""What an owner can do with tasks: one method an action, the owner first."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, Unpack

from todo_core.changes import LIMIT_MAX, ChangePage, ChangeQuery, Pair
from todo_core.errors import NotInTrash
from todo_core.idempotency import Once
from todo_core.plans import Committed, Decision, Plan, Seen, Sees
from todo_core.ports import Clock, IdGenerator, RecurrenceCalendar, TaskStore
from todo_core.queries import Page, Summary, TaskQuery
from todo_core.recurring import OCCURRENCES_DEFAULT, Course, NoCalendar, Now, Step
from todo_core.task import Expected, NewTask, OwnerId, Settable, Task, TaskId
from todo_core.undoing import erased, restored, undone


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """On which terms something is written.

    `expected`: the version(s) at which the task must be. `once`: the key under which a repetition changes nothing.
    `client`: the program that asks, as the log is to name it. `zone`: the user's time zone, for tasks that have none.
    """

    expected: Expected = None
    once: Once | None = None
    client: str | None = None
    zone: str | None = None


DEFAULTS: Final = WriteOptions()


@dataclass(frozen=True, slots=True)
class TaskService:
    """Everything that can be done with tasks.

    Every method may raise `StoreUnavailable`; those that take a task's id raise `TaskNotFound`; those that take
    `options` raise `VersionConflict` where the task is not at the version expected, and `KeyReused`. A refused call
    changes nothing. What writes returns the task as it is then, and the number of its change, if it changed anything.
    Without a `calendar` no task can recur: what needs one raises `RuntimeError`.
    """

    store: TaskStore
    clock: Clock
    ids: IdGenerator
    history_kept: timedelta = timedelta(days=30)
    """For how long the store keeps changes, and with them what was deleted."""
    calendar: RecurrenceCalendar = field(default_factory=NoCalendar)

    async def create(self, owner: OwnerId, options: WriteOptions = DEFAULTS, **members: Unpack[NewTask]) -> Committed:
        """A new task of that owner. Raises `InvalidInput` and `TooMany`."""
        now = self.clock.now()
        task = self._course().checked(Task.new(id=self.ids.new(now), owner=owner, at=now, **members))
        decision = Decision((Pair(None, task),), (task,))
        return await self._commit(owner, Sees(), lambda _: decision, options)

    async def get(self, owner: OwnerId, task_id: TaskId) -> Task:
        """The task as it is now."""
        return await self.store.tasks_of(owner).get(task_id)

    async def page(self, owner: OwnerId, query: TaskQuery) -> Page:
        """One page of the owner's tasks."""
        return await self.store.tasks_of(owner).page(query)

    async def summary(self, owner: OwnerId) -> Summary:
        """How many tasks the owner has."""
        return await self.store.tasks_of(owner).summary()

    async def history(self, owner: OwnerId, query: ChangeQuery) -> ChangePage:
        """One page of what happened to the task that `query.of` names, also after its deletion."""
        tasks = self.store.tasks_of(owner)
        page = await tasks.changes(query)
        if not page.items and query.of is not None:
            await tasks.get(query.of)  # without a history, but there: from before the log, or unchanged for long
        return page

    async def edit(
        self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS, **members: Unpack[Settable]
    ) -> Committed:
        """The task with these members; the others stay. Raises `InvalidInput`.

        To complete a task that recurs is to complete this occurrence: it moves on to its next one, and stays open.
        """
        now = self._now(options)
        return await self._change(owner, task_id, lambda task: self._course().edited(task, now, **members), options)

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

    async def reopen(self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS) -> Committed:
        """The task, not done. Repeating it changes nothing."""
        return await self.edit(owner, task_id, options, completed=False)

    async def delete(self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS) -> Committed:
        """The task is gone; what is returned has no task."""

        def decide(seen: Seen) -> Decision:
            return Decision((Pair(seen.task(task_id).expecting(options.expected), None),))

        return await self._commit(owner, Sees(frozenset({task_id})), decide, options)

    async def undo(
        self, owner: OwnerId, number: int, options: WriteOptions = DEFAULTS, *, may_delete: bool = True
    ) -> Committed:
        """The owner's change with that number taken back; undoing that one does it again.

        Raises `ChangeNotFound` and `UndoConflict`, and `InsufficientScope` where that deletes and `may_delete` is not
        given.
        """
        now = self.clock.now()

        def decide(seen: Seen) -> Decision:
            return undone(seen, number, at=now, may_delete=may_delete)

        return await self._commit(owner, Sees(entries=frozenset({number})), decide, options)

    async def trash(self, owner: OwnerId, query: ChangeQuery) -> ChangePage:
        """One page of the owner's deletions that nothing has taken back."""
        return await self.store.tasks_of(owner).changes(replace(query, trash=True))

    async def restore(self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS) -> Committed:
        """What the deletion of that task took is back. Raises `NotInTrash`."""
        now = self.clock.now()
        return await self._commit(
            owner, Sees(history=frozenset({task_id})), lambda seen: restored(seen, task_id, at=now), options
        )

    async def erase(self, owner: OwnerId, task_id: TaskId, options: WriteOptions = DEFAULTS) -> Committed:
        """What the deletion of that task took is gone for good, from its history too. Raises `NotInTrash`."""
        return await self._commit(
            owner, Sees(history=frozenset({task_id})), lambda seen: erased(seen, task_id), options
        )

    async def empty_trash(self, owner: OwnerId) -> None:
        """Erase everything that is in the trash now; what is deleted meanwhile may stay."""
        page = await self.trash(owner, ChangeQuery(limit=LIMIT_MAX))
        while page.items:
            for entry in page.items:
                with suppress(NotInTrash):  # somebody has restored or erased it meanwhile
                    await self.erase(owner, entry.id)
            if page.next is None:
                return
            page = await self.trash(owner, ChangeQuery(after=page.next, limit=LIMIT_MAX))

    def _course(self) -> Course:
        return Course(self.calendar)

    def _now(self, options: WriteOptions) -> Now:
        return Now(self.clock.now(), options.zone)

    async def _change(
        self, owner: OwnerId, task_id: TaskId, change: Callable[[Task], Step], options: WriteOptions
    ) -> Committed:
        def decide(seen: Seen) -> Decision:
            before = seen.task(task_id)
            after, named = change(before)
            before.expecting(options.expected)  # after the rules: what is wrong at any version is reported first
            return Decision((Pair(before, after, named),) if after != before else (), (after,))

        return await self._commit(owner, Sees(frozenset({task_id})), decide, options)

    async def _commit(
        self, owner: OwnerId, sees: Sees, decide: Callable[[Seen], Decision], options: WriteOptions
    ) -> Committed:
        plan = Plan(decide=decide, sees=sees, once=options.once, client=options.client)
        return await self.store.tasks_of(owner).commit(plan)
