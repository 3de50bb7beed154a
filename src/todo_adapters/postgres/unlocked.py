"""Creates a task among others without a lock: it is stored if the owner's number is still the one that was read first.

Every change of an owner raises the number, in the transaction that makes the change. So if the number of the locked row
is the one that was read before all else, everything that was read since is as it was, whatever the moments of reading.
"""

from dataclasses import replace
from typing import Final
from uuid import UUID

from todo_adapters.postgres.listing import PagesOf, Shape
from todo_adapters.postgres.one_task import write_of
from todo_adapters.postgres.reading import (
    AsOf,
    lists_as_of,
    lists_of,
    log_pages,
    read_many,
    shape_of,
    tasks_as_of,
)
from todo_adapters.postgres.rows import WEIGHT_OF_LISTS, weight_of
from todo_adapters.postgres.sender import Sender
from todo_adapters.postgres.writing import Result, creating
from todo_core import (
    ChangeQuery,
    Committed,
    Decision,
    Entry,
    NotSeen,
    OwnerId,
    Plan,
    Seen,
    Sees,
    Task,
    TaskQuery,
    decided,
)

# Siblings have no index by position: their first ones are found by looking at all, of which there are at most so many.
LIVE_MAX: Final = 5000
_LOOKED_AT: Final = 20  # tasks, for the cost of a row that is returned


class _OnlyBehindTheLock(Exception):
    """What the plan wants cannot be read in shared statements."""


def may_create(plan: Plan) -> bool:
    """Whether it may create one task among others, as far as is known before anything of them is read."""
    # At first a creation asks for nothing, or for what has or had the id that the client chose.
    return plan.parts <= 1 and plan.sees == Sees(plan.sees.tasks, last_entries=frozenset(plan.sees.tasks))


async def create_unlocked(
    sender: Sender, owner: OwnerId, plan: Plan, sees: Sees, *, max_tasks: int
) -> Committed | None:
    """Carry out the plan, which wants `sees`; None if that needs the lock.

    Of one owner only one is under way, since of two that have read the same number one is in vain. Raises what the plan
    raises if that is certain: if it has no key, and has seen one moment only.
    """
    async with sender.owners_writing.at(owner):
        if owner in sender.overtaken or (decision := await _decided(sender, owner, plan, sees)) is None:
            return None
        write = write_of(plan, decision.found, Sees())
        if write is None or write.pair.before is not None:
            return None
        outcome = await sender.write(
            creating(max_tasks, keyed=write.once is not None, as_of=True).passing,
            replace(write, as_of=decision.number),
            owner=owner,
            weight=weight_of(write.task),
            repeatable=write.once is not None,
        )
    if outcome.result is Result.LOST:
        sender.overtaken.add(owner)
    return Committed(decision.found.answer, outcome.number) if outcome.result is Result.DONE else None


async def _decided(sender: Sender, owner: OwnerId, plan: Plan, sees: Sees) -> AsOf[Decision] | None:
    first = await _first_look(sender, owner, sees)
    if first.number is None or first.live is None or first.live > LIVE_MAX:
        return None
    seen, wanted, moments = first.found, sees, 1
    while True:
        try:
            if (missing := seen.missing(wanted)) != Sees():
                seen, moments = await _look(sender, seen, missing, first.live), moments + 1
        except _OnlyBehindTheLock:
            return None
        try:
            return AsOf(first.number, first.live, decided(plan, seen))
        except NotSeen as more:
            wanted = more.wanted
        except Exception:
            if _is_certain(plan, moments):
                raise
            return None


def _is_certain(plan: Plan, moments: int) -> bool:
    """Whether a refusal needs no second look: not under a key, which may be used, nor of several moments."""
    return plan.once is None and moments == 1


async def _first_look(sender: Sender, owner: OwnerId, wanted: Sees) -> AsOf[Seen]:
    """The owner's number, and some of what is wanted in the same statement."""
    if wanted.lists:
        lists = await sender.read(lists_as_of, owner, owner=owner, weight=WEIGHT_OF_LISTS)
        return AsOf(lists.number, lists.live, Seen(owner, {}, lists={each.id: each for each in lists.found}))
    task_id = next(iter(wanted.tasks), None)
    task = await sender.read(tasks_as_of, (owner, task_id), owner=owner)
    return AsOf(task.number, task.live, Seen(owner, {} if task_id is None else {task_id: task.found}))


async def _look(sender: Sender, seen: Seen, wanted: Sees, live: int) -> Seen:
    """What is wanted, and `seen`. Raises `_OnlyBehindTheLock`."""
    if wanted.entries or wanted.log:
        raise _OnlyBehindTheLock
    owner = seen.owner
    tasks = {each: await sender.read(read_many, (owner, each), owner=owner) for each in wanted.tasks}
    last = {each: await _last(sender, owner, each) for each in wanted.last_entries}
    pages = {each: await _page(sender, owner, each, live) for each in wanted.pages}
    lists = await sender.read(lists_of, owner, owner=owner, weight=WEIGHT_OF_LISTS) if wanted.lists else None
    return seen.with_read(tasks=tasks, entries={}, last_entries=last, pages=pages, lists=lists, log={})


async def _last(sender: Sender, owner: OwnerId, thing_id: UUID) -> Entry | None:
    query = ChangeQuery(of=thing_id, newest_first=True, limit=1)
    page = await sender.read(log_pages(shape_of(query)), (owner, query), owner=owner)
    return next(iter(page.items), None)


async def _page(sender: Sender, owner: OwnerId, query: TaskQuery, live: int) -> tuple[Task, ...]:
    """The page. Raises `_OnlyBehindTheLock` for one without a limit: all siblings get new positions then."""
    if query.limit is None:
        raise _OnlyBehindTheLock
    weight = 2 + query.limit + live // _LOOKED_AT
    return (await sender.read(PagesOf(Shape.of(query)), (owner, query), owner=owner, weight=weight)).items
