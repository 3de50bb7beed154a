"""Concurrent statements of two replicas on several rows: all lock in one order, so they cannot deadlock."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import psycopg
import pytest
from adapters.statements import (
    CREATING,
    begun,
    commit,
    creation,
    delete,
    have_owners,
    holding,
    results,
    store,
    swap,
    waiting,
)
from factories import ANN, LATER, make_id, make_task

from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.writing import SWAPPING, Result, Write, Writing
from todo_core import Decision, OwnerId, Plan, Sees, Task, TaskNotFound

# Plans that the planner chooses for small tables, and for large ones.
HEAP_ORDER = ("enable_nestloop", "enable_mergejoin", "enable_indexscan", "enable_bitmapscan", "enable_indexonlyscan")
KEY_ORDER = ("enable_hashjoin", "enable_mergejoin", "enable_seqscan", "enable_bitmapscan")
OWNERS = [OwnerId(name) for name in ("a", "b", "c")]
DONE, LOST = Result.DONE, Result.LOST
Kind = Callable[[psycopg.AsyncConnection[Any], Sequence[Task]], Awaitable[list[Result]]]
Race = Callable[[Kind, Kind], Awaitable[list[dict[OwnerId, Result]]]]


def shared(writing: Writing, write: Callable[[Task], Write]) -> Kind:
    """All in one statement."""

    async def send(connection: psycopg.AsyncConnection[Any], tasks: Sequence[Task]) -> list[Result]:
        return results(await writing.waiting(connection, list(map(write, tasks))))

    return send


async def one_by_one(connection: psycopg.AsyncConnection[Any], tasks: Sequence[Task]) -> list[Result]:
    """Delete them, each in a transaction behind its owner's row."""
    return [await deleted(connection, task) for task in tasks]


async def deleted(connection: psycopg.AsyncConnection[Any], task: Task) -> Result:
    try:
        await delete(connection, task)
    except TaskNotFound:
        return LOST
    return DONE


CREATE = shared(CREATING, lambda task: creation(make_task(owner=task.owner)))
SWAP = shared(SWAPPING, lambda task: swap(task, task.toggled(at=LATER)))
DELETE = one_by_one


@pytest.fixture
async def replicas(engine: Engine) -> AsyncIterator[list[psycopg.AsyncConnection[Any]]]:
    """Two connections with plans of different kinds."""
    async with engine.connect() as one, engine.connect() as other:
        for connection, forbidden in ((one, HEAP_ORDER), (other, KEY_ORDER)):
            for setting in forbidden:
                await connection.execute(f"set {setting} = off")
        yield [one, other]


@pytest.fixture
async def tasks(replicas: list[psycopg.AsyncConnection[Any]]) -> list[Task]:
    """A task of each owner, in the order of their names; owners and tasks were stored in the opposite one."""
    tasks = [make_task(id=make_id(number), owner=owner) for number, owner in enumerate(OWNERS)]
    for task in reversed(tasks):
        await have_owners(replicas[0], task.owner)
        await store(replicas[0], [task])
    return tasks


@pytest.fixture(params=[False, True], ids=["in one order", "in opposite orders"])
def race(
    request: pytest.FixtureRequest, replicas: list[psycopg.AsyncConnection[Any]], tasks: list[Task], database_url: str
) -> Race:
    """What becomes of each owner's task where both wait for one owner at the same time."""
    orders: Sequence[Sequence[Task]] = (tasks, tasks[::-1] if request.param else tasks)

    async def meet(*kinds: Kind) -> list[dict[OwnerId, Result]]:
        async with holding(database_url, OWNERS[1]):
            writing = [
                asyncio.ensure_future(kind(replica, order))
                for kind, replica, order in zip(kinds, replicas, orders, strict=True)
            ]
            await waiting(database_url, 2)
        return [
            dict(zip([task.owner for task in order], await each, strict=True))
            for order, each in zip(orders, writing, strict=True)
        ]

    return meet


@pytest.mark.parametrize(("kind", "second"), [(CREATE, DONE), (SWAP, LOST)], ids=["creations", "swaps"])
async def test_writes_to_the_same_owners_do_not_deadlock_whatever_the_plans(
    race: Race, kind: Kind, second: Result
) -> None:
    outcomes = await race(kind, kind)
    assert sorted(map(sorted, (each.values() for each in outcomes))) == sorted([[DONE] * 3, [second] * 3])


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [(CREATE, [[DONE, DONE]]), (SWAP, [[DONE, DONE], [LOST, DONE]]), (DELETE, [[LOST, DONE], [DONE, LOST]])],
    ids=["creations", "swaps", "deletions"],
)
async def test_deletions_do_not_deadlock_with_what_else_is_written(
    race: Race, kind: Kind, allowed: Sequence[Sequence[Result]]
) -> None:
    one, deletions = await race(kind, DELETE)
    assert all([one[owner], deletions[owner]] in allowed for owner in OWNERS), (one, deletions)


async def test_a_plan_locks_its_tasks_in_the_order_of_their_ids(
    replicas: list[psycopg.AsyncConnection[Any]], database_url: str
) -> None:
    """Whoever locks tasks without their owner's row, as servers of an older version do, can do the same."""
    first, second = (make_task(id=make_id(number)) for number in range(2))
    for task in (second, first):
        await store(replicas[0], [task])
    plan = Plan(decide=lambda _: Decision(()), sees=Sees(frozenset({first.id, second.id})))
    lock = "select from tasks where id = %s for no key update nowait"
    async with await psycopg.AsyncConnection.connect(database_url) as rival:
        await rival.execute(lock, [first.id])
        committing = await begun(commit(replicas[0], ANN, plan), database_url)
        await rival.execute(lock, [second.id])
    await committing
