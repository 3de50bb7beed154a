"""Calls that share a statement on a real PostgreSQL: what happens to one does not affect the others."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psycopg
import pytest
from adapters.statements import CREATING, A, behind_the_lock, holding, in_one_batch, table_locked, under_way, waiting
from factories import ANN, BOB, LATER, make_id, make_task

from todo_adapters.postgres import PostgresTaskStore, store
from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.writing import SWAPPING, Outcome, Result, Write, Writing
from todo_core import ChangeQuery, Committed, OwnerId, StoreUnavailable, Task, TaskNotFound, TaskQuery
from todo_core.testing.writing import add, edit, remove

C = TypeVar("C")


class Spy(Generic[C, A]):
    """Stands in for one of the store's statements and keeps what was asked and answered."""

    def __init__(self, send: Callable[[psycopg.AsyncConnection[Any], Sequence[C]], Awaitable[Sequence[A]]]) -> None:
        self._send = send
        self.asked: list[Sequence[C]] = []
        self.answered: list[Sequence[A]] = []

    async def __call__(self, connection: psycopg.AsyncConnection[Any], calls: Sequence[C]) -> Sequence[A]:
        self.asked.append(calls)
        self.answered.append(await self._send(connection, calls))
        return self.answered[-1]

    @property
    def sizes(self) -> list[int]:
        return list(map(len, self.asked))


@dataclass
class Spies:
    """Spies on both forms of the store's statement of one kind."""

    passing: Spy[Write, Outcome]
    waiting: Spy[Write, Outcome]

    @property
    def sizes(self) -> list[int]:
        return self.passing.sizes + self.waiting.sizes


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Spies]:
    def on(name: str) -> Spies:
        watched = Spies(*map(Spy, {"add": CREATING, "edit": SWAPPING}[name]))
        sent = Writing(watched.passing, watched.waiting)
        if name == "add":
            monkeypatch.setattr(store, "creating", lambda *_, **__: sent)
        else:
            monkeypatch.setattr(store, "SWAPPING", sent)
        return watched

    return on


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[OwnerId]:
    """The owners whose plans were decided under the lock."""
    return behind_the_lock(monkeypatch)


def rename(title: str) -> Callable[[Task], Task]:
    return lambda task: task.edited(title=task.title + title, at=LATER)


async def test_simultaneous_edits_of_one_task_make_one_swap_and_then_use_the_lock(
    postgres_store: PostgresTaskStore, spy: Callable[[str], Spies], transactions: list[OwnerId]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task(title="|"))
    swaps = spy("edit")
    edited = await asyncio.gather(*(edit(tasks, task.id, rename(f"{number:02}")) for number in range(20)))
    assert sum(outcome.result is Result.DONE for batch in swaps.passing.answered for outcome in batch) == 1
    assert (swaps.sizes, transactions) == ([20], [ANN] * 19)
    assert sorted(each.version for each in edited) == list(range(2, 22))
    final = await tasks.get(task.id)
    assert final == max(edited, key=lambda task: task.version)
    assert all(f"{number:02}" in final.title for number in range(20))


async def test_edits_of_different_tasks_share_statements(
    postgres_store: PostgresTaskStore, spy: Callable[[str], Spies], transactions: list[OwnerId]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    added = [make_task() for _ in range(30)]
    await asyncio.gather(*(add(tasks, task) for task in added))
    swaps = spy("edit")
    await asyncio.gather(*(edit(tasks, task.id, lambda task: task.toggled(at=LATER)) for task in added))
    assert swaps.sizes == [30]
    assert transactions == []


async def test_calls_that_wait_for_one_owner_share_a_statement(
    postgres_store: PostgresTaskStore, database_url: str, spy: Callable[[str], Spies]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, make_task())
    adds = spy("add")
    async with holding(database_url, ANN):
        first = asyncio.ensure_future(add(tasks, make_task()))
        await waiting(database_url)
        others = [asyncio.ensure_future(add(tasks, make_task())) for _ in range(30)]
        await asyncio.sleep(0.2)
    assert (await first).change == 2
    assert [(await each).change for each in others] == list(range(3, 33))
    assert (adds.passing.sizes[0], adds.waiting.sizes) == (1, [1, 30])


async def test_a_cancelled_edit_gives_its_turn_to_the_next(
    postgres_store: PostgresTaskStore, database_url: str, admin: psycopg.AsyncConnection[Any]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    with table_locked(database_url):
        edits = [asyncio.ensure_future(edit(tasks, task.id, rename(f"{number}"))) for number in range(4)]
        await under_way(admin)
        edits[0].cancel()
        edits[2].cancel()
    versions = [getattr(each, "version", None) for each in await in_one_batch(*edits)]
    assert (versions[0], versions[2], {versions[1], versions[3]}) == (None, None, {2, 3})


async def test_a_new_task_that_the_database_refuses_leaves_its_neighbours_alone(
    postgres_store: PostgresTaskStore, admin: psycopg.AsyncConnection[Any], spy: Callable[[str], Spies]
) -> None:
    await admin.execute("alter table tasks add check (title <> 'poison')")
    for owner in (ANN, BOB):  # or each would first have to be made a row
        await add(postgres_store.tasks_of(owner), there := make_task(owner=owner))
        await remove(postgres_store.tasks_of(owner), there.id)
    tasks = [make_task(owner=owner, title=title) for owner, title in ((ANN, "a"), (BOB, "poison"), (ANN, "c"))]
    inserts = spy("add")
    outcomes = await in_one_batch(*(add(postgres_store.tasks_of(task.owner), task) for task in tasks))
    assert inserts.sizes == [3, 1, 1, 1]
    assert [getattr(outcome, "change", None) for outcome in outcomes] == [3, None, 4]
    assert isinstance(outcomes[1], psycopg.errors.CheckViolation)
    assert (await postgres_store.tasks_of(ANN).page(TaskQuery())).items == (tasks[2], tasks[0])
    assert (await postgres_store.tasks_of(BOB).page(TaskQuery())).items == ()


async def test_an_edit_that_the_database_refuses_leaves_its_neighbours_alone(
    postgres_store: PostgresTaskStore, admin: psycopg.AsyncConnection[Any]
) -> None:
    await admin.execute("alter table tasks add check (title <> 'poison')")
    tasks = postgres_store.tasks_of(ANN)
    for task in (added := [make_task(title="t") for _ in range(3)]):
        await add(tasks, task)
    titles = ["a", "poison", "c"]
    changes = [lambda task, title=title: task.edited(title=title, at=LATER) for title in titles]
    outcomes = await in_one_batch(*(edit(tasks, task.id, change) for task, change in zip(added, changes, strict=True)))
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
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    reads: Spy[Any, Any] = Spy(store.read_many)
    monkeypatch.setattr(store, "read_many", reads)
    with table_locked(database_url):
        reading = asyncio.ensure_future(in_one_batch(tasks.get(task.id), tasks.get(make_id(-1)), tasks.get(task.id)))
        [first] = await under_way(admin)
        await admin.execute("select pg_terminate_backend(%s, 5000)", [first])
        assert await under_way(admin) != [first]
    outcomes = await reading
    assert outcomes[0] == outcomes[2] == task
    assert isinstance(outcomes[1], TaskNotFound)
    assert reads.sizes == [3, 3]


async def test_reads_that_are_cancelled_in_the_database_are_unavailable_and_not_asked_again(
    postgres_store: PostgresTaskStore,
    database_url: str,
    admin: psycopg.AsyncConnection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads: Spy[Any, Any] = Spy(store.read_many)
    monkeypatch.setattr(store, "read_many", reads)
    with table_locked(database_url):
        calls = [postgres_store.tasks_of(ANN).get(make_id(-1)) for _ in range(2)]
        reading = asyncio.gather(*calls, return_exceptions=True)
        [pid] = await under_way(admin)
        await admin.execute("select pg_cancel_backend(%s)", [pid])
        outcomes = await reading
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
    assert reads.sizes == [2]


@pytest.mark.parametrize("kind", ["add", "edit"])
async def test_writes_whose_connection_is_lost_are_unavailable_and_not_sent_again(
    postgres_store: PostgresTaskStore,
    database_url: str,
    admin: psycopg.AsyncConnection[Any],
    spy: Callable[[str], Spies],
    kind: str,
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    there, new = [make_task() for _ in range(3)], [make_task() for _ in range(3)]
    await asyncio.gather(*(add(tasks, task) for task in there))
    writes = spy(kind)
    write: Callable[[int], Awaitable[object]] = {
        "add": lambda place: add(tasks, new[place]),
        "edit": lambda place: edit(tasks, there[place].id, rename("!")),
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


async def test_a_deletion_whose_connection_is_lost_is_unavailable_and_not_sent_again(
    postgres_store: PostgresTaskStore,
    database_url: str,
    admin: psycopg.AsyncConnection[Any],
    transactions: list[OwnerId],
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    with psycopg.connect(database_url) as other:
        other.execute("lock table tasks in share mode")  # what reads still get past
        removing = asyncio.ensure_future(remove(tasks, task.id))
        [pid] = await under_way(admin)
        await admin.execute("select pg_terminate_backend(%s, 5000)", [pid])
        with pytest.raises(StoreUnavailable):
            await removing
    assert transactions == []
    assert (await tasks.page(TaskQuery())).items == (task,)
    await remove(tasks, task.id)  # the next call works


async def test_simultaneous_deletions_of_one_task_happen_once(
    postgres_store: PostgresTaskStore, engine: Engine, database_url: str
) -> None:
    other = PostgresTaskStore(engine)
    tasks, theirs = (each.tasks_of(ANN) for each in (postgres_store, other))
    await add(tasks, task := make_task())
    async with holding(database_url, ANN):
        calls = [remove(each, task.id) for each in (tasks, theirs) for _ in range(5)]
        removing = asyncio.gather(*calls, return_exceptions=True)
        await waiting(database_url, 2)
    outcomes = await removing
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, TaskNotFound) for outcome in outcomes) == 9
    assert [entry.action for entry in (await tasks.changes(ChangeQuery())).items] == ["created", "deleted"]
    await other.aclose()


async def test_a_cancelled_call_does_not_affect_calls_in_the_same_statement(
    engine: Engine,
    postgres_store: PostgresTaskStore,
    database_url: str,
    admin: psycopg.AsyncConnection[Any],
    spy: Callable[[str], Spies],
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, make_task())
    added = [make_task() for _ in range(3)]
    inserts = spy("add")
    with table_locked(database_url):
        adding = [asyncio.ensure_future(add(tasks, task)) for task in added]
        await under_way(admin)
        adding[1].cancel()
        later = [asyncio.ensure_future(add(tasks, make_task())) for _ in range(2)]
        await asyncio.sleep(0)
        later[0].cancel()
    outcomes = await in_one_batch(*adding, *later)
    assert [type(outcome) for outcome in outcomes] == [
        Committed, asyncio.CancelledError, Committed, asyncio.CancelledError, Committed,
    ]  # fmt: skip
    assert inserts.sizes == [3, 1]  # a call cancelled while it is sent is carried out, one cancelled before is not
    assert len((await tasks.page(TaskQuery())).items) == 5
    await postgres_store.aclose()
    assert engine.pool.checkedout() == 0


async def test_a_statement_whose_calls_are_all_cancelled_blocks_no_later_call(
    postgres_store: PostgresTaskStore, database_url: str, admin: psycopg.AsyncConnection[Any]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    with table_locked(database_url):
        reading = [asyncio.ensure_future(tasks.get(task.id)) for _ in range(5)]
        await under_way(admin)
        for each in reading:
            each.cancel()
        await asyncio.wait(reading)
        assert all(each.cancelled() for each in reading)
    assert await tasks.get(task.id) == task


async def test_statements_end_by_weight_and_owners_take_turns_in_them(
    postgres_store: PostgresTaskStore, spy: Callable[[str], Spies]
) -> None:
    ann, bob = postgres_store.tasks_of(ANN), postgres_store.tasks_of(BOB)
    for tasks, owner in ((ann, ANN), (bob, BOB)):
        await add(tasks, make_task(owner=owner))
    adds = spy("add")
    heavy = [add(ann, make_task(title="x" * 200, description="x" * 1000)) for _ in range(60)]
    await in_one_batch(*heavy, add(bob, make_task(owner=BOB, title="x")))
    assert max(adds.passing.sizes) <= 1000 // 25
    assert [write.task.owner for write in adds.passing.asked[0]][:3] == [ANN, BOB, ANN]
