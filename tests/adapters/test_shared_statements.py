"""Calls that share a statement on a real PostgreSQL: what one of them meets is no other's affair."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import psycopg
import pytest
from factories import ANN, BOB, LATER, make_id, make_task
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from todo_adapters.postgres import PostgresTaskStore, sender, store
from todo_adapters.postgres.listing import Shape
from todo_core import Sort, StoreUnavailable, Task, TaskNotFound, TaskQuery

C = TypeVar("C")
A = TypeVar("A")


class Spy(Generic[C, A]):
    """Stands in for one of the store's statements and keeps what was asked and answered."""

    def __init__(self, send: Callable[[AsyncConnection, Sequence[C]], Awaitable[Sequence[A]]]) -> None:
        self._send = send
        self.asked: list[Sequence[C]] = []
        self.answered: list[Sequence[A]] = []

    async def __call__(self, connection: AsyncConnection, calls: Sequence[C]) -> Sequence[A]:
        self.asked.append(calls)
        self.answered.append(await self._send(connection, calls))
        return self.answered[-1]

    @property
    def sizes(self) -> list[int]:
        return list(map(len, self.asked))


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Spy[Any, Any]]:
    def on(name: str) -> Spy[Any, Any]:
        watched: Spy[Any, Any] = Spy(getattr(store, name))
        monkeypatch.setattr(store, name, watched)
        return watched

    return on


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Another connection to the store's database."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


@contextmanager
def table_locked(url: str) -> Iterator[None]:
    """While no statement on the table gets anywhere."""
    with psycopg.connect(url) as other:
        other.execute("lock table tasks in access exclusive mode")
        yield


async def under_way(admin: psycopg.AsyncConnection[Any], count: int = 1) -> list[int]:
    """The processes of the store's statements, once there are `count` that wait for a lock."""
    waiting = """
        select pid from pg_stat_activity
            where datname = current_database() and state = 'active' and wait_event_type = 'Lock'
    """
    async with asyncio.timeout(5):
        while len(found := await (await admin.execute(waiting)).fetchall()) < count:  # noqa: ASYNC110  (nobody could set an event)
            await asyncio.sleep(0.01)
    return [pid for (pid,) in found]


async def in_one_batch(*calls: Awaitable[A]) -> "list[A | BaseException]":
    return await asyncio.gather(*calls, return_exceptions=True)


def rename(title: str) -> Callable[[Task], Task]:
    return lambda task: task.edited(title=task.title + title, at=LATER)


async def test_of_two_edits_in_one_batch_one_wins_and_the_other_is_applied_after_it(
    postgres_store: PostgresTaskStore, spy: Callable[[str], Spy[Any, Any]]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await tasks.add(task := make_task(title="|"))
    swaps = spy("swap_many")
    one, two = await asyncio.gather(tasks.edit(task.id, rename("a")), tasks.edit(task.id, rename("b")))
    assert swaps.sizes == [2, 1]
    assert sorted(swaps.answered[0]) == [False, True]
    assert swaps.answered[1] == [True]
    assert {one.version, two.version} == {2, 3}
    last = max(one, two, key=lambda each: each.version)
    assert await tasks.get(task.id) == last
    assert sorted(last.title) == ["a", "b", "|"]


async def test_thirty_edits_of_one_task_are_all_applied(postgres_store: PostgresTaskStore) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await tasks.add(task := make_task())
    edited = await asyncio.gather(*(tasks.edit(task.id, lambda task: task.toggled(at=LATER)) for _ in range(30)))
    assert sorted(each.version for each in edited) == list(range(2, 32))


async def test_a_new_task_that_the_database_refuses_leaves_its_neighbours_alone(
    postgres_store: PostgresTaskStore, admin: psycopg.AsyncConnection[Any], spy: Callable[[str], Spy[Any, Any]]
) -> None:
    await admin.execute("alter table tasks add check (title <> 'poison')")
    tasks = [make_task(owner=owner, title=title) for owner, title in ((ANN, "a"), (BOB, "poison"), (ANN, "c"))]
    inserts = spy("insert_many")
    outcomes = await in_one_batch(*(postgres_store.tasks_of(task.owner).add(task) for task in tasks))
    assert inserts.sizes == [3, 1, 1, 1]
    assert outcomes[0] is outcomes[2] is None
    assert isinstance(outcomes[1], psycopg.errors.CheckViolation)
    assert (await postgres_store.tasks_of(ANN).page(TaskQuery())).items == (tasks[2], tasks[0])
    assert (await postgres_store.tasks_of(BOB).page(TaskQuery())).items == ()


async def test_an_edit_that_the_database_refuses_leaves_its_neighbours_alone(
    postgres_store: PostgresTaskStore, admin: psycopg.AsyncConnection[Any]
) -> None:
    await admin.execute("alter table tasks add check (title <> 'poison')")
    tasks = postgres_store.tasks_of(ANN)
    for task in (added := [make_task(title="t") for _ in range(3)]):
        await tasks.add(task)
    titles = ["a", "poison", "c"]
    changes = [lambda task, title=title: task.edited(title=title, at=LATER) for title in titles]
    outcomes = await in_one_batch(*(tasks.edit(task.id, change) for task, change in zip(added, changes, strict=True)))
    assert [getattr(outcome, "title", type(outcome)) for outcome in outcomes] == [
        "a",
        psycopg.errors.CheckViolation,
        "c",
    ]
    assert [(await tasks.get(task.id)).title for task in added] == ["a", "t", "c"]


async def test_reads_whose_connection_is_lost_are_asked_again(
    postgres_store: PostgresTaskStore,
    database_url: str,
    admin: psycopg.AsyncConnection[Any],
    spy: Callable[[str], Spy[Any, Any]],
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await tasks.add(task := make_task())
    reads = spy("read_many")
    with table_locked(database_url):
        reading = asyncio.ensure_future(in_one_batch(tasks.get(task.id), tasks.get(make_id(-1)), tasks.get(task.id)))
        [first] = await under_way(admin)
        await admin.execute("select pg_terminate_backend(%s, 5000)", [first])
        assert await under_way(admin) != [first]
    outcomes = await reading
    assert outcomes[0] == outcomes[2] == task
    assert isinstance(outcomes[1], TaskNotFound)
    assert reads.sizes == [3, 3]


@pytest.mark.parametrize("kind", ["add", "remove", "edit"])
async def test_writes_whose_connection_is_lost_are_unavailable_and_not_sent_again(
    postgres_store: PostgresTaskStore,
    database_url: str,
    admin: psycopg.AsyncConnection[Any],
    spy: Callable[[str], Spy[Any, Any]],
    kind: str,
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    there, new = [make_task() for _ in range(3)], [make_task() for _ in range(3)]
    await asyncio.gather(*map(tasks.add, there))
    writes = spy({"add": "insert_many", "remove": "delete_many", "edit": "swap_many"}[kind])
    write: Callable[[int], Awaitable[object]] = {
        "add": lambda place: tasks.add(new[place]),
        "remove": lambda place: tasks.remove(there[place].id),
        "edit": lambda place: tasks.edit(there[place].id, rename("!")),
    }[kind]
    with psycopg.connect(database_url) as other:
        other.execute("lock table tasks in share mode")  # what reads still get past
        writing = asyncio.ensure_future(in_one_batch(*map(write, range(3))))
        [pid] = await under_way(admin)
        await admin.execute("select pg_terminate_backend(%s, 5000)", [pid])
        outcomes = await writing
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3
    assert writes.sizes == [3]
    assert set((await tasks.page(TaskQuery())).items) == set(there)
    await write(0)  # the next call works
    assert writes.sizes == [3, 1]


async def test_a_cancelled_call_takes_nothing_from_those_it_shares_a_statement_with(
    engine: AsyncEngine,
    postgres_store: PostgresTaskStore,
    database_url: str,
    admin: psycopg.AsyncConnection[Any],
    spy: Callable[[str], Spy[Any, Any]],
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    added = [make_task() for _ in range(3)]
    inserts = spy("insert_many")
    with table_locked(database_url):
        adding = [asyncio.ensure_future(tasks.add(task)) for task in added]
        await under_way(admin)
        adding[1].cancel()
        later = [asyncio.ensure_future(tasks.add(make_task())) for _ in range(2)]
        await asyncio.sleep(0)
        later[0].cancel()
    outcomes = await in_one_batch(*adding, *later)
    assert [type(outcome) for outcome in outcomes] == [
        type(None), asyncio.CancelledError, type(None), asyncio.CancelledError, type(None),
    ]  # fmt: skip
    assert inserts.sizes == [3, 1]  # who is cancelled on the way is carried out, who is before is not
    assert len((await tasks.page(TaskQuery())).items) == 4
    await postgres_store.aclose()
    assert engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_a_statement_whose_calls_are_all_cancelled_frees_the_way(
    postgres_store: PostgresTaskStore, database_url: str, admin: psycopg.AsyncConnection[Any]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await tasks.add(task := make_task())
    with table_locked(database_url):
        reading = [asyncio.ensure_future(tasks.get(task.id)) for _ in range(5)]
        await under_way(admin)
        for each in reading:
            each.cancel()
        await asyncio.wait(reading)
        assert all(each.cancelled() for each in reading)
    assert await tasks.get(task.id) == task


async def test_closing_waits_for_the_answers_under_way_and_waiting(
    engine: AsyncEngine, database_url: str, admin: psycopg.AsyncConnection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "MOST_CALLS", 2)
    closed = PostgresTaskStore(engine)
    tasks, added = closed.tasks_of(ANN), [make_task() for _ in range(5)]
    with table_locked(database_url):
        adding = [asyncio.ensure_future(tasks.add(task)) for task in added]
        await under_way(admin)
        closing = asyncio.ensure_future(closed.aclose())
        await asyncio.sleep(0.05)
        assert not closing.done()
    await closing
    assert [each.done() and each.exception() for each in adding] == [None] * 5
    assert await (await admin.execute("select count(*) from tasks")).fetchone() == (5,)


async def test_of_each_kind_only_the_stated_number_of_statements_is_under_way(
    postgres_store: PostgresTaskStore, database_url: str, admin: psycopg.AsyncConnection[Any]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await asyncio.gather(*map(tasks.add, added := [make_task() for _ in range(50)]))
    with table_locked(database_url):
        asking: list[asyncio.Future[object]] = []
        for task in added:
            calls = [tasks.get(task.id), tasks.remove(task.id), tasks.add(make_task()), tasks.page(TaskQuery())]
            asking += map(asyncio.ensure_future, calls)
        await under_way(admin, 4 * sender.AT_ONCE)
        await asyncio.sleep(0.1)
        assert len(await under_way(admin)) == 4 * sender.AT_ONCE
    await in_one_batch(*asking)


async def test_the_bound_is_the_one_that_is_set(
    postgres_store: PostgresTaskStore,
    database_url: str,
    admin: psycopg.AsyncConnection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sender, "MOST_CALLS", 3)
    monkeypatch.setattr(sender, "AT_ONCE", 2)
    tasks = postgres_store.tasks_of(ANN)
    with table_locked(database_url):
        asking = [asyncio.ensure_future(tasks.add(make_task())) for _ in range(20)]
        await under_way(admin, 2)
        await asyncio.sleep(0.1)
        assert len(await under_way(admin)) == 2
    assert await in_one_batch(*asking) == [None] * 20


async def test_what_has_no_bound_is_sent_alone_and_leaves_connections_to_the_rest(engine: AsyncEngine) -> None:
    sizes: list[int] = []
    under_way = most = 0

    async def batch(connection: AsyncConnection, calls: Sequence[int]) -> Sequence[int]:
        nonlocal under_way, most
        sizes.append(len(calls))
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.02)
        under_way -= 1
        return calls

    alone = sender.Sender(engine, deadline=5)
    asking = (alone.read_alone(batch, number, whose=f"user {number % 10}") for number in range(20))
    assert await asyncio.gather(*asking) == list(range(20))
    assert sizes == [1] * 20
    assert most == sender.ALONE_AT_ONCE
    await alone.drain()


async def test_who_asks_for_many_without_bound_waits_for_oneself_and_others_do_not(engine: AsyncEngine) -> None:
    begun: list[str] = []
    gate = asyncio.Event()

    async def batch(connection: AsyncConnection, calls: Sequence[str]) -> Sequence[str]:
        begun.extend(calls)
        if calls[0].startswith("ann"):
            await gate.wait()
        return calls

    alone = sender.Sender(engine, deadline=10)
    anns = [asyncio.ensure_future(alone.read_alone(batch, f"ann {number}", whose="ann")) for number in range(20)]
    for number in range(5):
        assert await alone.read_alone(batch, f"bob {number}", whose="bob") == f"bob {number}"
    assert [each for each in begun if each.startswith("ann")] == ["ann 0"]
    gate.set()
    assert await asyncio.gather(*anns) == [f"ann {number}" for number in range(20)]
    await alone.drain()
    assert not alone._queues  # owners come and go: they must not pile up


@pytest.mark.parametrize(
    ("query", "bounded"),
    [
        (TaskQuery(), True),
        (TaskQuery(sort=Sort.CREATED_AT, limit=200), True),
        (TaskQuery(search="milk"), False),
        (TaskQuery(completed=False), False),
        (TaskQuery(sort=Sort.TITLE), False),
        (TaskQuery(sort=Sort.LAST_UPDATED), False),
    ],
)
def test_only_a_listing_by_the_key_alone_is_bounded(query: TaskQuery, bounded: bool) -> None:
    assert Shape.of(query).is_bounded is bounded
