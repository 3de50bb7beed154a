"""Statements on several owners, from two replicas at once: they lock in one order, and so cannot deadlock."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from adapters.statements import CREATING, creation, deletion, have_owners, holding, results, store, swap, waiting
from factories import LATER, make_id, make_task
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from todo_adapters.postgres.writing import DELETING, SWAPPING, Result, Write, Writing
from todo_core import OwnerId, Task

# Plans that the planner chooses for small tables, and for large ones.
HEAP_ORDER = ("enable_nestloop", "enable_mergejoin", "enable_indexscan", "enable_bitmapscan", "enable_indexonlyscan")
KEY_ORDER = ("enable_hashjoin", "enable_mergejoin", "enable_seqscan")
OWNERS = [OwnerId(name) for name in ("a", "b", "c")]
Kind = tuple[Writing, Callable[[Task], Write]]
CREATE: Kind = (CREATING, lambda task: creation(make_task(owner=task.owner)))
SWAP: Kind = (SWAPPING, lambda task: swap(task, task.toggled(at=LATER)))
DELETE: Kind = (DELETING, deletion)


@pytest.fixture
async def replicas(engine: AsyncEngine) -> AsyncIterator[list[AsyncConnection]]:
    """Two connections with plans of different kinds."""
    async with engine.connect() as one, engine.connect() as other:
        for connection, forbidden in ((one, HEAP_ORDER), (other, KEY_ORDER)):
            for setting in forbidden:
                await connection.execute(text(f"set {setting} = off"))
        yield [one, other]


@pytest.fixture
async def tasks(replicas: list[AsyncConnection]) -> list[Task]:
    """A task of each owner, in the order of their names; owners and tasks were stored in the opposite one."""
    tasks = [make_task(id=make_id(number), owner=owner) for number, owner in enumerate(OWNERS)]
    for task in reversed(tasks):
        await have_owners(replicas[0], task.owner)
        await store(replicas[0], [task])
    return tasks


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("one", "other"), [(CREATE, CREATE), (SWAP, SWAP), (DELETE, DELETE), (SWAP, DELETE), (CREATE, DELETE)]
)
async def test_writes_to_the_same_owners_do_not_deadlock_whatever_the_plans(
    replicas: list[AsyncConnection], tasks: list[Task], database_url: str, one: Kind, other: Kind, turned: bool
) -> None:
    orders: Sequence[Sequence[Task]] = (tasks, tasks[::-1] if turned else tasks)
    async with holding(database_url, OWNERS[1]):
        writing = [
            asyncio.ensure_future(kind[0].waiting(replica, list(map(kind[1], order))))
            for kind, replica, order in zip((one, other), replicas, orders, strict=True)
        ]
        await waiting(database_url, 2)
    outcomes = [results(await each) for each in writing]
    meet = CREATE not in (one, other)
    assert sorted(outcomes) == sorted([[Result.DONE] * 3, [Result.LOST if meet else Result.DONE] * 3])
