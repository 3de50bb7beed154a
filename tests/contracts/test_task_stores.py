"""Every storage keeps the same promises, and gives the same answers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import pytest_asyncio
from effort import examples
from sqlite_store import SqliteTaskStore

from todo_adapters.memory import MemoryTaskStore
from todo_adapters.postgres import PostgresTaskStore, create_engine, writing
from todo_adapters.postgres.sharding import for_calls
from todo_core import TaskStore
from todo_core.testing import TaskStoreContract, assert_families_hold, assert_stores_agree

pytestmark = pytest.mark.timeout(300)  # long random histories, on a busy machine


class TestMemory(TaskStoreContract):
    @pytest.fixture
    def store(self) -> TaskStore:
        return MemoryTaskStore()


@contextmanager
def without_the_forms_for_one_call() -> Iterator[None]:
    """Writes are sent as those of several calls are, whoever is alone too."""

    def shared(*call: Any, **_: object) -> tuple[Any, dict[str, Any]]:
        return for_calls(*call)

    with patch.object(writing, "for_calls", shared):
        yield


@pytest.mark.asyncio(loop_scope="class")  # one loop, so that all tests share the connections too
class TestPostgres(TaskStoreContract):
    form: Callable[[], AbstractContextManager[None]] = nullcontext

    @pytest_asyncio.fixture(loop_scope="class", scope="class")
    @classmethod
    async def store(cls, shared_database_url: str) -> AsyncIterator[TaskStore]:
        engine = create_engine(shared_database_url)
        store = PostgresTaskStore(engine)
        with cls.form():
            yield store
        await store.aclose()
        await engine.dispose()


class TestPostgresInSharedStatements(TestPostgres):
    form = staticmethod(without_the_forms_for_one_call)


@pytest.mark.parametrize("form", [nullcontext, without_the_forms_for_one_call])
def test_memory_and_postgres_answer_alike(
    shared_database_url: str, form: Callable[[], AbstractContextManager[None]]
) -> None:
    with asyncio.Runner() as runner, form():
        engine = create_engine(shared_database_url)
        store = PostgresTaskStore(engine)
        assert_stores_agree(MemoryTaskStore(), store, run=runner.run, examples=examples(50))
        runner.run(store.aclose())
        runner.run(engine.dispose())


@pytest.mark.ci
def test_memory_and_the_example_on_sqlite_answer_alike(tmp_path: Path) -> None:
    store = SqliteTaskStore(tmp_path / "tasks.db")
    with asyncio.Runner() as runner:
        assert_stores_agree(MemoryTaskStore(), store, run=runner.run, examples=50)
        runner.run(store.aclose())


def test_families_of_tasks_stay_consistent_in_memory() -> None:
    with asyncio.Runner() as runner:
        assert_families_hold(MemoryTaskStore(), run=runner.run, examples=examples(50))


def test_families_of_tasks_stay_consistent_in_postgres(shared_database_url: str) -> None:
    with asyncio.Runner() as runner:
        engine = create_engine(shared_database_url, pool_timeout=30)
        store = PostgresTaskStore(engine, deadline=30)  # a busy machine takes its time
        assert_families_hold(store, run=runner.run, examples=examples(25))
        runner.run(store.aclose())
        runner.run(engine.dispose())


@pytest.mark.ci
def test_families_of_tasks_stay_consistent_in_the_example_on_sqlite(tmp_path: Path) -> None:
    store = SqliteTaskStore(tmp_path / "tasks.db")
    with asyncio.Runner() as runner:
        assert_families_hold(store, run=runner.run, examples=25)
        runner.run(store.aclose())
