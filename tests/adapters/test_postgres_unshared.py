"""Transactions and expensive listings, which share no statement: they leave connections to others."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from factories import ANN, BOB
from psycopg import AsyncConnection

from todo_adapters.postgres import PostgresTaskStore, sender, store
from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.listing import Shape
from todo_adapters.postgres.reading import LogCall, log_pages, shape_of
from todo_core import ChangePage, ChangeQuery, Sort, StoreUnavailable, TaskQuery


async def test_transactions_leave_connections_to_the_rest(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = most = 0

    async def work(connection: AsyncConnection[Any], waits: bool) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1

    sending = sender.Sender(engine, deadline=5)
    await asyncio.gather(*(sending.in_transaction(work, owner=f"{number}") for number in range(20)))
    assert most == sender.MAX_TRANSACTIONS
    await sending.drain()


async def test_calls_without_a_bound_are_sent_alone_and_leave_connections_for_others(engine: Engine) -> None:
    sizes: list[int] = []
    under_way = most = 0
    full = asyncio.Event()  # opening connections may take longer than a turn

    async def batch(connection: AsyncConnection[Any], calls: Sequence[int]) -> Sequence[int]:
        nonlocal under_way, most
        sizes.append(len(calls))
        under_way += 1
        most = max(most, under_way)
        if most == sender.MAX_UNSHARED:
            full.set()
        await full.wait()
        await asyncio.sleep(0.02)
        under_way -= 1
        return calls

    alone = sender.Sender(engine, deadline=20)
    asking = (alone.read_unshared(batch, number, owner=f"user {number % 10}") for number in range(20))
    assert await asyncio.gather(*asking) == list(range(20))
    assert sizes == [1] * 20
    assert most == sender.MAX_UNSHARED
    await alone.drain()


@pytest.mark.parametrize(("trash", "sizes"), [(True, [1, 1]), (False, [2])])
async def test_pages_of_the_trash_which_have_no_bound_share_no_statement_and_other_pages_of_the_log_do(
    postgres_store: PostgresTaskStore, monkeypatch: pytest.MonkeyPatch, trash: bool, sizes: list[int]
) -> None:
    sent: list[int] = []

    async def pages(connection: AsyncConnection[Any], calls: Sequence[LogCall]) -> list[ChangePage]:
        sent.append(len(calls))
        return await log_pages(shape_of(query))(connection, calls)

    query = ChangeQuery(trash=trash)
    monkeypatch.setattr(store, "log_pages", lambda _: pages)
    await asyncio.gather(*(postgres_store.tasks_of(owner).changes(query) for owner in (ANN, BOB)))
    assert sent == sizes


async def test_expensive_listings_of_one_owner_queue_behind_each_other_and_not_before_others(
    engine: Engine,
) -> None:
    begun: list[str] = []
    first, gate = asyncio.Event(), asyncio.Event()

    async def batch(connection: AsyncConnection[Any], calls: Sequence[str]) -> Sequence[str]:
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


async def test_owners_whose_listings_never_end_do_not_keep_others_from_theirs(engine: Engine) -> None:
    async def batch(connection: AsyncConnection[Any], calls: Sequence[str]) -> Sequence[str]:
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


async def test_draining_waits_for_what_is_not_shared(engine: Engine) -> None:
    gate = asyncio.Event()

    async def batch(connection: AsyncConnection[Any], calls: Sequence[str]) -> Sequence[str]:
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
