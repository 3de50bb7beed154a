"""Kinds of listings: what a process remembers of them."""

import gc
import tracemalloc
from itertools import product
from typing import Any, LiteralString

import pytest
from factories import ANN, make_id
from psycopg import AsyncConnection

from todo_adapters.postgres import PostgresTaskStore, batch, listing
from todo_adapters.postgres.batch import STATEMENTS_KEPT
from todo_adapters.postgres.listing import PagesOf, Shape
from todo_core import Page, Sort, TaskQuery

FILTERS: dict[str, tuple[Any, ...]] = {
    "search": (None, "a", "a" * 99),
    "priorities": (None, frozenset({"high"})),
    "tags": ((), ("home",)),
    "due_from": (None, "2026-11-28"),
    "list_id": (None, "none", make_id(1)),
    "parents": (None, "none"),
}


def filtered(*sorts: Sort) -> list[TaskQuery]:
    """Queries in these orders, with every combination of filters."""
    return [
        TaskQuery(sort=sort, **dict(zip(FILTERS, wanted, strict=True)))
        for sort in sorts
        for wanted in product(*FILTERS.values())
    ]


@pytest.mark.parametrize("sharded", [False, True])
async def test_the_many_kinds_of_listings_take_a_limited_amount_of_memory(
    sharded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def execute(connection: AsyncConnection[Any], statement: LiteralString, *_: Any, **__: Any) -> list[Any]:
        batch._numbered(statement)
        return []

    monkeypatch.setattr(listing, "execute", execute)
    monkeypatch.setattr("todo_adapters.postgres.sharding.is_sharded", lambda _: sharded)
    queries = filtered(*Sort)
    connection: Any = None

    async def held_after(asked: list[TaskQuery]) -> int:
        for query in asked:
            await PagesOf(Shape.of(query))(connection, [(ANN, query)])
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        half = len(queries) // 2
        assert half > STATEMENTS_KEPT
        before = await held_after(queries[:half])
        assert await held_after(queries[half:]) - before < 400_000  # bytes
    finally:
        tracemalloc.stop()


async def test_listings_that_may_read_everything_have_no_queue(
    postgres_store: PostgresTaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def execute(*_: Any, **__: Any) -> list[Any]:
        return []

    monkeypatch.setattr(listing, "execute", execute)
    for query in filtered(Sort.NEWEST, Sort.TITLE):
        for _ in range(2):
            assert await postgres_store.tasks_of(ANN).page(query) == Page((), None)
    assert len(postgres_store._sender._coalescers) == 1  # of the newest tasks, without filters
