"""Every storage keeps the same promises, and gives the same answers."""

import asyncio

import pytest

from todo_adapters.memory import MemoryTaskStore
from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_core import TaskStore
from todo_core.testing import TaskStoreContract, assert_stores_agree


class TestMemory(TaskStoreContract):
    @pytest.fixture
    def store(self) -> TaskStore:
        return MemoryTaskStore()


class TestPostgres(TaskStoreContract):
    @pytest.fixture
    def store(self, postgres_store: PostgresTaskStore) -> TaskStore:
        return postgres_store


def test_memory_and_postgres_answer_alike(database_url: str) -> None:
    with asyncio.Runner() as runner:
        engine = create_engine(database_url)
        store = PostgresTaskStore(engine)
        assert_stores_agree(MemoryTaskStore(), store, run=runner.run, examples=50)
        runner.run(store.aclose())
        runner.run(engine.dispose())
