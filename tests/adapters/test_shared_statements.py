"""Calls that share a statement on a real PostgreSQL: what happens to one does not affect the others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import psycopg
import pytest
from adapters.statements import CREATING, behind_the_lock, holding, waiting
from factories import ANN, BOB, LATER, NOON, make_id, make_task
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from todo_adapters.postgres import PostgresTaskStore, sender, store
from todo_adapters.postgres.coalescer import Coalescer
from todo_adapters.postgres.listing import Shape
from todo_adapters.postgres.writing import SWAPPING, Outcome, Result, Write, Writing
from todo_core import (
    ChangeQuery,
    Committed,
    Decision,
    OwnerId,
    Pair,
    Plan,
    Seen,
    Sort,
    StoreUnavailable,
    SyncQuery,
    SyncToken,
    Task,
    TaskNotFound,
    TaskQuery,
)
from todo_core.sync import Mark
from todo_core.testing.writing import add, edit, remove

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
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many calls each shared statement had."""
    sizes: list[int] = []

    class Watched(Coalescer[C, A]):
        def __init__(self, send: Callable[[Sequence[C]], Awaitable[Sequence[A]]], **bounds: Any) -> None:
            async def watched(calls: Sequence[C]) -> Sequence[A]:
                sizes.append(len(calls))
                return await send(calls)

            super().__init__(watched, **bounds)

    monkeypatch.setattr(sender, "Coalescer", Watched)
    return sizes


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[OwnerId]:
    """The owners whose plans were decided under the lock."""
    return behind_the_lock(monkeypatch)


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Another connection to the store's database."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


@contextmanager
def table_locked(url: str) -> Iterator[None]:
    """Block every statement on the table meanwhile."""
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


async def test_transactions_leave_connections_to_the_rest(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = most = 0

    async def work(connection: AsyncConnection, waits: bool) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1

    sending = sender.Sender(engine, deadline=5)
    await asyncio.gather(*(sending.in_transaction(work, owner=f"{number}") for number in range(20)))
    assert most == sender.MAX_TRANSACTIONS
    await sending.drain()


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
    postgres_store: PostgresTaskStore, engine: AsyncEngine, database_url: str
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
    engine: AsyncEngine,
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
    assert engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_a_statement_whose_calls_are_all_cancelled_frees_the_way(
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


async def test_closing_waits_for_the_answers_under_way_and_waiting(
    engine: AsyncEngine, database_url: str, admin: psycopg.AsyncConnection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "MAX_CALLS", 2)
    closed = PostgresTaskStore(engine)
    tasks, added = closed.tasks_of(ANN), [make_task() for _ in range(5)]
    with table_locked(database_url):
        adding = [asyncio.ensure_future(add(tasks, task)) for task in added]
        await under_way(admin)
        closing = asyncio.ensure_future(closed.aclose())
        await asyncio.sleep(0.05)
        assert not closing.done()
    await closing
    assert [each.done() and each.exception() for each in adding] == [None] * 5
    assert await (await admin.execute("select count(*) from tasks")).fetchone() == (5,)


async def test_only_the_stated_number_of_statements_of_each_kind_is_under_way(
    postgres_store: PostgresTaskStore, database_url: str, admin: psycopg.AsyncConnection[Any]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    added = [make_task() for _ in range(50)]
    await asyncio.gather(*(add(tasks, task) for task in added))
    with table_locked(database_url):
        asking: list[asyncio.Future[object]] = []
        for task in added:
            calls = [tasks.get(task.id), remove(tasks, task.id), add(tasks, make_task()), tasks.page(TaskQuery())]
            asking += map(asyncio.ensure_future, calls)
        await under_way(admin, 3 * sender.MAX_CONCURRENT)
        await asyncio.sleep(0.1)
        assert len(await under_way(admin)) == 3 * sender.MAX_CONCURRENT  # what removes reads first
    await in_one_batch(*asking)


async def test_the_configured_number_of_statements_is_under_way(
    postgres_store: PostgresTaskStore,
    database_url: str,
    admin: psycopg.AsyncConnection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sender, "MAX_CALLS", 3)
    monkeypatch.setattr(sender, "MAX_CONCURRENT", 2)
    tasks = postgres_store.tasks_of(ANN)
    with table_locked(database_url):
        asking = [asyncio.ensure_future(add(tasks, make_task())) for _ in range(20)]
        await under_way(admin, 2)
        await asyncio.sleep(0.1)
        assert len(await under_way(admin)) == 2
    assert sorted(each.change for each in await asyncio.gather(*asking)) == list(range(1, 21))


async def test_calls_without_a_bound_are_sent_alone_and_leave_connections_for_others(engine: AsyncEngine) -> None:
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
    asking = (alone.read_unshared(batch, number, owner=f"user {number % 10}") for number in range(20))
    assert await asyncio.gather(*asking) == list(range(20))
    assert sizes == [1] * 20
    assert most == sender.MAX_UNSHARED
    await alone.drain()


async def test_expensive_listings_of_one_owner_queue_behind_each_other_and_not_before_others(
    engine: AsyncEngine,
) -> None:
    begun: list[str] = []
    first, gate = asyncio.Event(), asyncio.Event()

    async def batch(connection: AsyncConnection, calls: Sequence[str]) -> Sequence[str]:
        begun.extend(calls)
        if calls[0].startswith("ann"):
            first.set()
            await gate.wait()
        return calls

    alone = sender.Sender(engine, deadline=10)
    anns = [asyncio.ensure_future(alone.read_unshared(batch, f"ann {number}", owner="ann")) for number in range(20)]
    await first.wait()  # it has a connection: to open one may take longer than all of Bob's
    for number in range(5):
        assert await alone.read_unshared(batch, f"bob {number}", owner="bob") == f"bob {number}"
    assert [each for each in begun if each.startswith("ann")] == ["ann 0"]
    gate.set()
    assert await asyncio.gather(*anns) == [f"ann {number}" for number in range(20)]
    await alone.drain()
    assert not alone._owners._places  # owners come and go: they must not pile up


async def test_owners_whose_listings_never_end_do_not_keep_others_from_theirs(engine: AsyncEngine) -> None:
    async def batch(connection: AsyncConnection, calls: Sequence[str]) -> Sequence[str]:
        if calls[0] != "victim":
            await asyncio.Event().wait()
        return calls

    alone = sender.Sender(engine, deadline=2)

    async def attack(owner: str) -> None:
        while True:
            with pytest.raises(StoreUnavailable):
                await alone.read_unshared(batch, owner, owner=owner)

    attacks = [asyncio.ensure_future(attack(f"owner {number}")) for number in range(sender.MAX_UNSHARED)]
    await asyncio.sleep(0)
    for _ in range(3):
        assert await alone.read_unshared(batch, "victim", owner="victim") == "victim"
    for each in attacks:
        each.cancel()
    await asyncio.wait(attacks)
    await alone.drain()


async def test_draining_waits_for_what_is_not_shared(engine: AsyncEngine) -> None:
    gate = asyncio.Event()

    async def batch(connection: AsyncConnection, calls: Sequence[str]) -> Sequence[str]:
        await gate.wait()
        return calls

    sending = sender.Sender(engine, deadline=10)
    reading = [asyncio.ensure_future(sending.read_unshared(batch, "x", owner="ann")) for _ in range(3)]
    await asyncio.sleep(0)
    draining = asyncio.ensure_future(sending.drain())
    await asyncio.wait([draining], timeout=0.05)
    assert not draining.done()
    gate.set()
    await draining
    assert await asyncio.gather(*reading) == ["x"] * 3


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


FIRST_SYNC = SyncQuery(now=LATER, kept_since=NOON, limit=100)
NEXT_SYNC = SyncQuery(now=LATER, kept_since=NOON, limit=100, since=SyncToken(Mark(0, None, NOON)))


@pytest.mark.parametrize(
    ("read", "weight"),
    [
        (lambda store: store.tasks_of(ANN).page(TaskQuery(limit=100)), 101),  # one more tells whether there are more
        (lambda store: store.tasks_of(ANN).changes(ChangeQuery(limit=100)), 100),
        (lambda store: store.tasks_of(ANN).sync(FIRST_SYNC), 100),
        (lambda store: store.tasks_of(ANN).sync(NEXT_SYNC), 100),
        (lambda store: store.tasks_of(ANN).lists(), 20),
        (lambda store: store.changed({OwnerId(f"{number}"): 0 for number in range(100)}), 100),
    ],
    ids=["page", "changes", "first sync", "next sync", "lists", "changed owners"],
)
async def test_statements_that_read_end_by_weight(
    postgres_store: PostgresTaskStore,
    batches: list[int],
    read: Callable[[PostgresTaskStore], Awaitable[object]],
    weight: int,
) -> None:
    await asyncio.gather(*(read(postgres_store) for _ in range(50)))
    assert (batches[0], sum(batches)) == (sender.MAX_WEIGHT // weight, 50)


@pytest.mark.parametrize(
    ("query", "bounded"),
    [
        (TaskQuery(), True),
        (TaskQuery(sort=Sort.CREATED_AT, limit=200), True),
        (TaskQuery(search="milk"), False),
        (TaskQuery(completed=False), True),
        (TaskQuery(completed=True), False),
        (TaskQuery(sort=Sort.TITLE), False),
        (TaskQuery(sort=Sort.LAST_UPDATED), False),
    ],
)
def test_only_a_listing_by_the_key_alone_is_bounded(query: TaskQuery, bounded: bool) -> None:
    assert Shape.of(query).is_bounded is bounded


async def test_long_texts_of_a_change_are_folded_beside_the_event_loop(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = (whole := PostgresTaskStore(engine)).tasks_of(ANN)
    beside = list[object]()

    async def to_thread(work: Callable[..., object], *arguments: object) -> object:
        beside.append(work)
        return work(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    for length, count in ((10, 0), (1000, 1)):
        beside.clear()
        made = [make_task(id=make_id(1000 * length + each), description="\ufdfa" * length) for each in range(30)]
        decision = Decision(tuple(Pair(None, task) for task in made))
        await tasks.commit(Plan(decide=partial(always, decision)))
        assert len(beside) == count
    await whole.aclose()


def always(decision: Decision, _: Seen) -> Decision:
    return decision
