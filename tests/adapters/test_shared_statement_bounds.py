"""Shared statements on a real PostgreSQL are bounded in number and weight; closing waits for them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeVar

import psycopg
import pytest
from adapters.statements import A, in_one_batch, table_locked, under_way
from factories import ANN, LATER, NOON, make_id, make_task

from todo_adapters.postgres import PostgresTaskStore, listing, rows, sender
from todo_adapters.postgres.coalescer import Coalescer
from todo_adapters.postgres.engine import Engine
from todo_core import ChangeQuery, Decision, OwnerId, Pair, Plan, Seen, SyncQuery, SyncToken, TaskQuery
from todo_core.sync import Mark
from todo_core.testing.writing import add, remove

C = TypeVar("C")


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


async def test_closing_waits_for_the_answers_under_way_and_waiting(
    engine: Engine, database_url: str, admin: psycopg.AsyncConnection[Any], monkeypatch: pytest.MonkeyPatch
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


FIRST_SYNC = SyncQuery(now=LATER, kept_since=NOON, limit=100)
NEXT_SYNC = SyncQuery(now=LATER, kept_since=NOON, limit=100, since=SyncToken(Mark(0, None, NOON)))


@pytest.mark.parametrize(
    ("read", "weight"),
    [
        (lambda store: store.tasks_of(ANN).page(TaskQuery(limit=100)), 101),  # one more shows whether there are more
        (lambda store: store.tasks_of(ANN).changes(ChangeQuery(limit=100)), 200),  # each has a thing twice, as JSON
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


async def test_a_light_read_neither_waits_for_a_heavy_one_nor_shares_its_statement(
    postgres_store: PostgresTaskStore, batches: list[int], database_url: str, admin: psycopg.AsyncConnection[Any]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    with table_locked(database_url):
        limits = [100, 10, 100, sender.APART - 1]  # one more shows whether there are more
        asking = [asyncio.ensure_future(tasks.page(TaskQuery(limit=limit))) for limit in limits]
        await under_way(admin, 2)
        assert batches == [2, 2]
    await asyncio.gather(*asking)


@pytest.mark.parametrize(("limit", "pauses"), [(64, 0), (65, 1), (None, 1)])
async def test_other_work_comes_in_before_a_page_of_many_tasks(
    postgres_store: PostgresTaskStore, monkeypatch: pytest.MonkeyPatch, limit: int | None, pauses: int
) -> None:
    slept = list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(listing, "asyncio", SimpleNamespace(sleep=sleep))
    await postgres_store.tasks_of(ANN).page(TaskQuery(limit=limit))
    assert len(slept) == pauses


async def test_long_texts_of_a_change_are_folded_beside_the_event_loop(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = (whole := PostgresTaskStore(engine)).tasks_of(ANN)
    beside = list[object]()

    async def to_thread(work: Callable[..., object], *arguments: object) -> object:
        beside.append(work)
        return work(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    for length, count in ((10, 0), (1000, 3)):
        beside.clear()
        made = [make_task(id=make_id(1000 * length + each), description="\ufdfa" * length) for each in range(30)]
        decision = Decision(tuple(Pair(None, task) for task in made))
        await tasks.commit(Plan(decide=partial(always, decision)))
        assert len(beside) == count
    await whole.aclose()


def always(decision: Decision, _: Seen) -> Decision:
    return decision


@pytest.mark.parametrize(
    ("text", "weight", "of_tags"),
    [
        ("x" * 1000, 21, 11),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}" * 1000, 21, 11),
        ("\N{GREEK SMALL LETTER ALPHA WITH PERISPOMENI AND YPOGEGRAMMENI}" * 1000, 61, 29),
        ("e\N{COMBINING ACUTE ACCENT}" * 500, 221, 111),
        ("\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 1000, 221, 111),
    ],
    ids=["ASCII", "composed", "composed, grows by two", "decomposed", "grows by seventeen"],
)
async def test_a_task_that_takes_long_to_fold_weighs_more(text: str, weight: int, of_tags: int) -> None:
    assert rows.weight_of(make_task(title="x", description=text)) == weight
    tagged = make_task(title="x", description="", tags=tuple(f"{text[:49]}{number:x}" for number in range(10)))
    assert rows.weight_of(tagged) == of_tags


async def test_creations_of_what_takes_long_to_fold_share_no_statement(
    postgres_store: PostgresTaskStore, batches: list[int]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, make_task())
    for text, expected in (("x" * 1000, [9]), ("e\N{COMBINING ACUTE ACCENT}" * 500, [1] * 9)):
        batches.clear()
        await asyncio.gather(*(add(tasks, make_task(description=text)) for _ in range(9)))
        assert batches == expected
