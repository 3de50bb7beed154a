"""What `test_member.py` runs on a copy of the sources in which a task has a `color`: collected only there."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import sqlite_store
from asking import make_service

import todo_core
from todo_adapters.memory import MemoryTaskStore
from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_app.api.openapi import openapi
from todo_core import ChangeQuery, Settable, TaskStore
from todo_core.testing import assert_stores_agree
from todo_core.testing.examples import SETTABLE, make_owner, make_task
from todo_core.testing.log import LogContract
from todo_core.testing.once import OnceContract
from todo_core.testing.writing import add, edit, remove

URL = os.environ["COLOR_DATABASE_URL"]
RED = "#ff0000"


def test_the_tests_import_the_changed_sources() -> None:
    assert Path(todo_core.__file__).is_relative_to(os.environ["COLOR_SOURCES"])
    assert "color" in Settable.__annotations__
    assert "color" in SETTABLE


class TestMemory(LogContract):
    @pytest.fixture
    def store(self) -> TaskStore:
        return MemoryTaskStore()


@pytest.mark.asyncio(loop_scope="class")
class TestPostgres(LogContract, OnceContract):
    @pytest_asyncio.fixture(loop_scope="class", scope="class")
    @classmethod
    async def store(cls) -> AsyncIterator[TaskStore]:
        engine = create_engine(URL)
        store = PostgresTaskStore(engine)
        yield store
        await store.aclose()
        await engine.dispose()

    async def test_the_color_is_stored_changed_and_logged(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner, color=RED))
        assert await tasks.get(task.id) == task
        cleared = await edit(tasks, task.id, lambda seen: seen.edited(at=seen.updated_at, color=None))
        assert (await tasks.get(task.id)).color is cleared.color is None
        await remove(tasks, task.id)
        entries = (await tasks.changes(ChangeQuery(of=task.id))).items
        assert [(entry.before or {}).get("color") for entry in entries] == [None, RED, None]


def test_the_storages_answer_alike(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        engine = create_engine(URL)
        postgres = PostgresTaskStore(engine)
        sqlite = sqlite_store.SqliteTaskStore(tmp_path / "tasks.db")
        assert_stores_agree(MemoryTaskStore(), postgres, run=runner.run, examples=5, steps=12)
        assert_stores_agree(MemoryTaskStore(), sqlite, run=runner.run, examples=3, steps=12)
        for store in (postgres, sqlite):
            runner.run(store.aclose())
        runner.run(engine.dispose())


async def test_the_color_is_read_answered_and_documented() -> None:
    service = make_service()
    made = await service.ask("POST", "/api/ann/tasks", json_={"title": "x", "color": RED})
    assert (made.status_code, made.json()["color"]) == (201, RED)
    place = made.headers["location"]
    sent_back = await service.ask("PUT", place, json_=made.json() | {"color": None})
    assert (sent_back.status_code, sent_back.json()["color"]) == (200, None)
    assert (await service.ask("PATCH", place, json_={"color": RED})).json()["color"] == RED
    history = (await service.ask("GET", f"{place}/history")).json()["items"]
    assert [change["fields"]["color"] for change in history] == [[None, RED], [RED, None], [None, RED]]
    wrong = await service.ask("PATCH", place, json_={"color": "red", "colour": RED})
    assert {(error["pointer"], error["detail"].split(":")[0]) for error in wrong.json()["errors"]} == {
        ("/color", "must be like #ff8800, or null"),
        ("/colour", "is unknown"),
    }
    schemas = json.loads(json.dumps(openapi()["components"]["schemas"]))
    members = {name: schema.get("properties", {}).keys() for name, schema in schemas.items()}  # lists have colors too
    assert {name for name in members if {"title", "color"} <= members[name]} == {
        *("NewTask", "Task", "TaskPatch", "TaskPut"),
    }
