"""The published contract on your own storage: every promise of `todo_core.ports`, and the same answers as memory."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlite_store import SqliteTaskStore

from todo_adapters.memory import MemoryTaskStore
from todo_core import OwnerId, TaskStore
from todo_core.testing import TaskStoreContract, assert_stores_agree
from todo_core.testing.examples import ANN, make_task
from todo_core.testing.writing import add


class TestSqliteTaskStore(TaskStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[TaskStore]:
        store = SqliteTaskStore(tmp_path / "tasks.db")
        yield store
        await store.aclose()


async def test_one_call_asks_about_any_number_of_owners(tmp_path: Path) -> None:
    store = SqliteTaskStore(tmp_path / "tasks.db")
    await add(store.tasks_of(ANN), make_task())
    assert await store.changed({OwnerId(f"{number}"): 0 for number in range(300_000)} | {ANN: 0}) == {ANN: 1}
    await store.aclose()


def test_the_example_store_answers_as_memory_does(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        store = SqliteTaskStore(tmp_path / "tasks.db")
        assert_stores_agree(MemoryTaskStore(), store, run=runner.run, examples=10)
        runner.run(store.aclose())
