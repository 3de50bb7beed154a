"""The task store in PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

from psycopg import AsyncConnection

from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.listing import PagesOf, Shape
from todo_adapters.postgres.one_task import decided_on_one_task, is_of_one_task, write_of
from todo_adapters.postgres.pruning import Pruning
from todo_adapters.postgres.reading import answer_many, lists_of, log_pages, read_many, shape_of, summaries
from todo_adapters.postgres.rows import WEIGHT_OF_LISTS, weight_of
from todo_adapters.postgres.sender import Sender
from todo_adapters.postgres.sync import changed_owners, changed_pages, listed_pages
from todo_adapters.postgres.transaction import Refused, commit_behind_the_lock, make_owner
from todo_adapters.postgres.unlocked import create_unlocked, may_create
from todo_adapters.postgres.writing import (
    REMOVING,
    REMOVING_ONCE,
    SWAPPING,
    SWAPPING_ONCE,
    Outcome,
    Result,
    Write,
    Writing,
    creating,
)
from todo_core import (
    ChangePage,
    ChangeQuery,
    Committed,
    Decision,
    NotSeen,
    OwnerId,
    Page,
    Plan,
    Seen,
    Sees,
    StoreUnavailable,
    Summary,
    SyncPage,
    SyncQuery,
    Task,
    TaskId,
    TaskList,
    TaskNotFound,
    TaskQuery,
    TodoError,
    owner_id,
)

_READY_WITHIN: Final = 2.0
_TASKS_MAX: Final = 10_000
_HISTORY: Final = timedelta(days=30)


class PostgresTaskStore:
    """A `TaskStore` in the tables of `migrations`. The caller disposes of the engine, after `aclose`.

    A call that takes more than twice `deadline` seconds raises `StoreUnavailable`. An owner may have at most
    `max_tasks` tasks. Changes are kept for `history`. `on_outage` is called with the cause of each statement's
    temporary failure: an error of the driver or the pool, or a timeout.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        deadline: float = 5.0,
        max_tasks: int = _TASKS_MAX,
        history: timedelta = _HISTORY,
        on_outage: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        self._sender = Sender(engine, deadline, on_outage)
        self._pruning = Pruning(self._sender, history)
        self._max_tasks = max_tasks

    def tasks_of(self, owner: OwnerId) -> "PostgresOwnedTasks":
        """As `TaskStore.tasks_of`."""
        return PostgresOwnedTasks(self._sender, self._pruning, owner_id(owner), self._max_tasks)

    async def changed(self, seen: Mapping[OwnerId, int]) -> Mapping[OwnerId, int]:
        """As `TaskStore.changed`."""
        return await self._sender.read(changed_owners, seen, weight=len(seen))

    async def aclose(self) -> None:
        """As `TaskStore.aclose`."""
        await self._pruning.aclose()
        await self._sender.drain()

    async def ready(self) -> None:
        """As `TaskStore.ready`, within two seconds."""
        asking = asyncio.ensure_future(self._sender.read(answer_many, None))
        asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            # If the server hangs, cancelling takes some seconds too: do not wait for it.
            if not (await asyncio.wait({asking}, timeout=_READY_WITHIN))[0]:
                raise StoreUnavailable
            asking.result()
        finally:
            asking.cancel()


class PostgresOwnedTasks:
    """One owner's tasks."""

    def __init__(self, sender: Sender, pruning: Pruning, owner: OwnerId, max_tasks: int) -> None:
        self._sender = sender
        self._pruning = pruning
        self._owner = owner
        self._max_tasks = max_tasks

    async def get(self, task_id: TaskId) -> Task:
        """As `OwnedTasks.get`."""
        if (task := await self._find(task_id)) is None:
            raise TaskNotFound
        return task

    async def page(self, query: TaskQuery) -> Page:
        """As `OwnedTasks.page`."""
        shape = Shape.of(query)
        if shape.is_bounded and query.limit is not None:
            return await self._sender.read(
                PagesOf(shape), (self._owner, query), owner=self._owner, weight=query.limit + 1
            )
        return await self._sender.read_unshared(PagesOf(shape), (self._owner, query), owner=self._owner)

    async def lists(self) -> tuple[TaskList, ...]:
        """As `OwnedTasks.lists`."""
        return await self._sender.read(lists_of, self._owner, owner=self._owner, weight=WEIGHT_OF_LISTS)

    async def summary(self) -> Summary:
        """As `OwnedTasks.summary`."""
        return await self._sender.read_unshared(summaries, self._owner, owner=self._owner)

    async def changes(self, query: ChangeQuery) -> ChangePage:
        """As `OwnedTasks.changes`."""
        shape = shape_of(query)
        pages = log_pages(shape)
        if shape.is_bounded:
            return await self._sender.read(pages, (self._owner, query), owner=self._owner, weight=2 * query.limit)
        return await self._sender.read_unshared(pages, (self._owner, query), owner=self._owner)

    async def sync(self, query: SyncQuery) -> SyncPage:
        """As `OwnedTasks.sync`."""
        page = None
        if not query.lists:
            page = await self._sender.read(changed_pages, (self._owner, query), owner=self._owner, weight=query.limit)
        if page is None:
            anew = query if query.lists else replace(query, since=None)
            page = await self._sender.read(listed_pages, (self._owner, anew), owner=self._owner, weight=query.limit)
        if page is None or isinstance(page, TodoError):
            raise page or RuntimeError("a listing is always a page")
        return page

    async def commit(self, plan: Plan) -> Committed:
        """As `OwnedTasks.commit`. Plans that create, change or delete one task, and no other, share statements.

        A change is decided on the task as it was read, and stored if that has not changed since; a creation among other
        tasks, if nothing of its owner has. Otherwise, and for a key that was used before, it is decided again behind
        the owner's lock. All other plans are carried out there.
        """
        self._pruning.begin_if_due()
        limit = self._sender.limits.one()
        self._sender.begin_call()
        try:
            with limit:
                return await self._commit(plan)
        except TimeoutError as problem:
            if not limit.expired:  # raised by the plan itself
                raise
            raise StoreUnavailable from problem
        finally:
            self._sender.end_call()

    async def _commit(self, plan: Plan) -> Committed:
        sees, committed = plan.sees, None
        if plan.parts <= 1 and is_of_one_task(sees):
            tasks = {task_id: await self._find(task_id) for task_id in sees.tasks}
            try:
                decision = decided_on_one_task(plan, Seen(self._owner, tasks))
            except NotSeen as more:
                sees |= more.wanted
            except Exception:
                if plan.once is None:
                    raise
                return await self._commit_behind_the_lock(plan, sees)  # where a used key takes precedence
            else:
                committed = await self._commit_one_task(plan, decision, sees)
                return committed or await self._commit_behind_the_lock(plan, sees)
        if may_create(plan):
            committed = await create_unlocked(self._sender, self._owner, plan, sees, max_tasks=self._max_tasks)
        return committed or await self._commit_behind_the_lock(plan, sees)

    def _find(self, task_id: TaskId) -> Awaitable[Task | None]:
        return self._sender.read(read_many, (self._owner, task_id), owner=self._owner)

    async def _commit_one_task(self, plan: Plan, decision: Decision, sees: Sees) -> Committed | None:
        """Store a decision of at most one pair in a shared statement; None if it must go behind the lock."""
        if not decision.pairs and not decision.erased and plan.once is None:
            return Committed(decision.answer, None)
        if (write := write_of(plan, decision, sees)) is None:
            return None
        outcome = await self._write(self._writing_of(write), write)
        # Anything else than DONE is found with the other calls of the batch, and decided exactly behind the lock.
        return Committed(decision.answer, outcome.number) if outcome.result is Result.DONE else None

    def _writing_of(self, write: Write) -> Writing:
        keyed, pair = write.once is not None, write.pair
        if pair.before is None:
            return creating(self._max_tasks, keyed=keyed)
        if pair.after is None:
            return REMOVING_ONCE if keyed else REMOVING
        return SWAPPING_ONCE if keyed else SWAPPING

    async def _write(self, writing: Writing, write: Write) -> Outcome:
        repeatable, weight = write.once is not None, weight_of(write.task)
        send = partial(self._sender.write, owner=self._owner, weight=weight, repeatable=repeatable)
        outcome = await send(writing.passing, write)
        if outcome.result is Result.NO_OWNER:
            await self._sender.in_transaction(
                lambda connection, waits: make_owner(connection, self._owner, waits=waits),
                owner=self._owner,
                repeatable=True,
            )
            outcome = await send(writing.passing, write)
        if outcome.result is Result.HELD and write.pair.after is not None:  # after a wait, a removal is lost
            return await self._sender.write_waiting(
                writing.waiting, write, owner=self._owner, weight=weight, repeatable=repeatable
            )
        return outcome

    async def _commit_behind_the_lock(self, plan: Plan, sees: Sees) -> Committed:
        async def work(connection: AsyncConnection[Any], waits: bool) -> Committed:
            return await commit_behind_the_lock(
                connection, self._owner, plan, sees, max_tasks=self._max_tasks, waits=waits
            )

        repeatable = plan.once is not None
        try:
            return await self._sender.in_transaction(work, owner=self._owner, repeatable=repeatable)
        except Refused as refused:
            refusals = [refused.refusal]
        raise refusals.pop()  # not in the handler: the two would refer to each other
