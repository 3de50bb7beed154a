"""Statements on PostgreSQL whose snapshot is older than their lock: they see what was committed in between."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from adapters.statements import (
    CREATING_ONCE,
    ONCE,
    begun,
    commit,
    creation,
    delete,
    have_owners,
    out_of_step,
    removal,
    store,
    swap,
)
from factories import ANN, LATER, NOON, make_task

from todo_adapters.postgres import PostgresTaskStore, writing
from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.writing import Outcome, Result, Write, Writing
from todo_core import InvalidInput, Plan, Task, TaskNotFound, TaskQuery, TodoError, VersionConflict
from todo_core.testing.log import replayed, whole_log
from todo_core.testing.writing import changing, creating, deleting

GATE = """
    create function passes_the_gate() returns boolean language plpgsql volatile as
    'begin perform pg_advisory_xact_lock_shared(1); return true; end'
"""


@pytest.fixture
async def rival(engine: Engine) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Another replica's connection."""
    async with engine.connect() as connection:
        yield connection


@pytest.fixture
def gated(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Writing]]:
    """The statements, each of which passes the gate after its snapshot is taken and before it locks."""
    with psycopg.connect(database_url) as connection:
        connection.execute(GATE)
    held = writing._HELD.replace("::text[])", "::text[]) and passes_the_gate()")
    assert held != writing._HELD
    monkeypatch.setattr(writing, "_HELD", held)

    def make() -> dict[str, Writing]:
        return {
            "create": writing.creating.__wrapped__(2, keyed=False),
            "create once": writing.creating.__wrapped__(2, keyed=True),
            "swap": writing._swapping(),
            "remove": writing._removing(),
        }

    return make


@asynccontextmanager
async def gate(url: str) -> AsyncIterator[None]:
    """While the gate is shut."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("select pg_advisory_xact_lock(1)")
        yield


TASK = make_task()
OTHER = make_task()
WHOLE = make_task(priority="high")  # goes in the statement with all columns
SWAPPED = TASK.edited(title="By the rival", at=LATER)
Kind = tuple[str, Write]
Rival = Callable[[psycopg.AsyncConnection[Any]], Awaitable[object]]


def sent(shared: Writing, write: Write) -> Rival:
    async def send(connection: psycopg.AsyncConnection[Any]) -> None:
        [outcome] = await shared.waiting(connection, [write])
        assert outcome.result is Result.DONE

    return send


def deleted(task: Task) -> Rival:
    return lambda connection: delete(connection, task)


def meanwhile(*rivals: Rival) -> Rival:
    async def write(connection: psycopg.AsyncConnection[Any]) -> None:
        for rival in rivals:
            await rival(connection)

    return write


CREATING = writing.creating(10_000, keyed=False)
RACES: dict[str, tuple[Rival, Kind, Outcome]] = {
    "the number is the newest": (
        meanwhile(sent(writing.SWAPPING, swap(TASK, SWAPPED)), deleted(SWAPPED)),
        ("create", creation(OTHER)),
        Outcome(Result.DONE, 4),
    ),
    "the number is the newest, of a task with all members too": (
        meanwhile(sent(writing.SWAPPING, swap(TASK, SWAPPED)), deleted(SWAPPED)),
        ("create", creation(WHOLE)),
        Outcome(Result.DONE, 4),
    ),
    "the number of a swap is the newest": (
        sent(CREATING, creation(OTHER)),
        ("swap", swap(TASK, SWAPPED)),
        Outcome(Result.DONE, 3),
    ),
    "a swap of what was swapped is lost": (
        sent(writing.SWAPPING, swap(TASK, SWAPPED)),
        ("swap", swap(TASK, TASK.toggled(at=LATER))),
        Outcome(Result.LOST, None),
    ),
    "a swap of what was swapped at the very moment of its last change is lost": (
        sent(writing.SWAPPING, swap(TASK, TASK.edited(title="By the rival", at=NOON))),
        ("swap", swap(TASK, TASK.toggled(at=LATER))),
        Outcome(Result.LOST, None),
    ),
    "a swap of what was deleted is lost": (
        deleted(TASK),
        ("swap", swap(TASK, TASK.toggled(at=LATER))),
        Outcome(Result.LOST, None),
    ),
    "a limit that was reached is kept": (
        sent(CREATING, creation(OTHER)),
        ("create", creation(make_task())),
        Outcome(Result.TOO_MANY, None),
    ),
    "a limit that was reached is kept, for a task with all members too": (
        sent(CREATING, creation(OTHER)),
        ("create", creation(WHOLE)),
        Outcome(Result.TOO_MANY, None),
    ),
    "a removal of what has a subtask now is lost": (
        lambda connection: commit(connection, ANN, creating(make_task(parent_id=TASK.id))),
        ("remove", removal(TASK)),
        Outcome(Result.LOST, None),
    ),
    "a removal of what was swapped is lost": (
        sent(writing.SWAPPING, swap(TASK, SWAPPED)),
        ("remove", removal(TASK)),
        Outcome(Result.LOST, None),
    ),
    "an id that was used exists": (
        meanwhile(deleted(TASK), sent(CREATING, creation(OTHER))),
        ("create", creation(OTHER)),
        Outcome(Result.EXISTS, None),
    ),
}


@pytest.mark.parametrize("form", ["passing", "waiting"])
@pytest.mark.parametrize(("rivals", "kind", "expected"), RACES.values(), ids=RACES)
async def test_changes_committed_between_snapshot_and_lock_are_seen(
    engine: Engine,
    rival: psycopg.AsyncConnection[Any],
    database_url: str,
    gated: Callable[[], dict[str, Writing]],
    rivals: Rival,
    kind: Kind,
    expected: Outcome,
    form: str,
) -> None:
    await store(rival, [TASK])
    async with engine.connect() as connection:
        async with gate(database_url):
            name, write = kind
            doing = await begun(getattr(gated()[name], form)(connection, [write]), database_url)
            await rivals(rival)
        assert await doing == [expected]
    with psycopg.connect(database_url) as looking:
        assert out_of_step(looking) == []


@pytest.mark.parametrize(("rivals", "kind", "expected"), RACES.values(), ids=RACES)
async def test_changes_committed_while_a_statement_waited_are_seen(
    engine: Engine, rival: psycopg.AsyncConnection[Any], database_url: str, rivals: Rival, kind: Kind, expected: Outcome
) -> None:
    await store(rival, [TASK])
    name, write = kind
    statement = {"create": writing.creating(2, keyed=False), "swap": writing.SWAPPING, "remove": writing.REMOVING}[name]
    async with engine.connect() as connection:
        async with rival.transaction():
            await rivals(rival)
            doing = await begun(statement.waiting(connection, [write]), database_url)
        assert await doing == [expected]


def renamed(task: Task) -> Task:
    return task.edited(title="Renamed", at=LATER)


BELOW = make_task(title="Below", parent_id=TASK.id)
WAITED: dict[str, tuple[Plan, Plan, type[TodoError] | None, list[str]]] = {
    "a deletion takes what has been put below": (creating(BELOW), deleting(TASK.id), None, []),
    "a deletion is of the task as it is": (changing(TASK.id, renamed), deleting(TASK.id), None, []),
    "a deletion of another version is refused": (
        changing(TASK.id, renamed), deleting(TASK.id, expected=TASK.version), VersionConflict, ["Renamed"],
    ),
    "a deletion of what is gone is refused": (deleting(TASK.id), deleting(TASK.id), TaskNotFound, []),
    "a swap of what is gone is refused": (deleting(TASK.id), changing(TASK.id, renamed), TaskNotFound, []),
    "nothing is created below what is gone": (deleting(TASK.id), creating(BELOW), InvalidInput, []),
}  # fmt: skip


@pytest.mark.parametrize(("first", "second", "refusal", "left"), WAITED.values(), ids=WAITED)
async def test_a_plan_that_waited_for_another_sees_the_result_of_that_one(
    postgres_store: PostgresTaskStore,
    rival: psycopg.AsyncConnection[Any],
    database_url: str,
    first: Plan,
    second: Plan,
    refusal: type[TodoError] | None,
    left: Sequence[str],
) -> None:
    await store(rival, [TASK])
    tasks = postgres_store.tasks_of(ANN)
    async with rival.transaction():
        await commit(rival, ANN, first)
        doing = await begun(tasks.commit(second), database_url)
    [outcome] = await asyncio.gather(doing, return_exceptions=True)
    assert outcome.change == 3 if refusal is None else type(outcome) is refusal, outcome
    page = await tasks.page(TaskQuery())
    assert [task.title for task in page.items] == left
    assert replayed(ANN, await whole_log(tasks)) == {task.id: task for task in page.items}
    with psycopg.connect(database_url) as looking:
        assert out_of_step(looking) == []


async def test_a_key_that_was_used_between_snapshot_and_lock_stores_nothing(
    engine: Engine, rival: psycopg.AsyncConnection[Any], database_url: str, gated: Callable[[], dict[str, Writing]]
) -> None:
    await have_owners(rival, ANN)
    async with engine.connect() as connection:
        async with gate(database_url):
            write = creation(make_task(), ONCE)
            doing = await begun(gated()["create once"].passing(connection, [write]), database_url)
            assert await CREATING_ONCE.waiting(rival, [creation(TASK, ONCE)]) == [(Result.DONE, 1)]
        with pytest.raises(psycopg.errors.UniqueViolation, match="used_keys_pkey"):
            await doing
    with psycopg.connect(database_url) as looking:
        assert out_of_step(looking) == []
