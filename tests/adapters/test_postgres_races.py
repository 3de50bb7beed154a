"""Concurrent writers of one task in PostgreSQL: each race is forced; then two whole processes."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg
import pytest
from adapters.statements import ADD, begun, columns, holding
from factories import ANN, BOB, LATER, make_task

from todo_adapters.postgres import PostgresTaskStore
from todo_core import OwnerId, Task, TaskExists, TaskNotFound, Version, VersionConflict
from todo_core.testing.writing import add, edit, remove

A = TypeVar("A")
LOCK = "select from owners where user_id = %s for no key update"
RENAME = "update tasks set title = %s, version = version + 1 where id = %s"


def interrupted(
    url: str, statement: str, *parameters: object, times: int = 1, owner: OwnerId = ANN
) -> Callable[[Task], Task]:
    """A toggle that is overtaken `times` times: between its read and its write, a rival executes the statement."""
    left = times

    def change(task: Task) -> Task:
        nonlocal left
        if left:
            left -= 1
            with psycopg.connect(url) as connection:
                connection.execute("set lock_timeout = '200ms'")
                connection.execute(LOCK, [owner])
                connection.execute(statement, parameters)  # type: ignore[arg-type]
        return task.toggled(at=LATER)

    return change


async def test_an_edit_that_was_overtaken_is_applied_to_the_newer_task(
    postgres_store: PostgresTaskStore, database_url: str
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    edited = await edit(tasks, task.id, interrupted(database_url, RENAME, "Renamed", task.id))
    assert (edited.title, edited.completed, edited.version) == ("Renamed", True, 3)
    assert await tasks.get(task.id) == edited


async def test_an_edit_that_was_overtaken_locks_its_owner(postgres_store: PostgresTaskStore, database_url: str) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    with pytest.raises(psycopg.errors.LockNotAvailable):  # what the second rival gets
        await edit(tasks, task.id, interrupted(database_url, RENAME, "Renamed", task.id, times=100))
    assert (await tasks.get(task.id)).version == 2
    await edit(tasks, task.id, lambda task: task.toggled(at=LATER))


async def test_a_refusal_under_the_lock_releases_the_lock(postgres_store: PostgresTaskStore, database_url: str) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    overtaken = interrupted(database_url, RENAME, "Renamed", task.id)
    with pytest.raises(VersionConflict):
        await edit(tasks, task.id, lambda task: overtaken(task).expecting(Version(task.version + (task.version < 2))))
    with pytest.raises(VersionConflict):
        await edit(tasks, task.id, lambda task: task.expecting(Version(1)))
    assert (await edit(tasks, task.id, lambda task: task.toggled(at=LATER))).version == 3


async def test_the_lock_is_on_that_owner_alone(postgres_store: PostgresTaskStore, database_url: str) -> None:
    await add(postgres_store.tasks_of(BOB), bobs := make_task(owner=BOB))
    mine = postgres_store.tasks_of(ANN)
    await add(mine, make_task(id=bobs.id))
    overtaken = interrupted(database_url, f"{RENAME} and user_id = 'ann'", "Renamed", bobs.id)
    beside = interrupted(database_url, f"{RENAME} and user_id = 'bob'", "Bob's", bobs.id, times=2, owner=BOB)
    edited = await edit(mine, bobs.id, lambda task: (beside(task), overtaken(task))[1])
    assert edited == await mine.get(bobs.id)
    assert (edited.title, edited.version) == ("Renamed", 3)
    stored = await postgres_store.tasks_of(BOB).get(bobs.id)
    assert (stored.title, stored.version) == ("Bob's", 3)


async def test_an_edit_does_not_overwrite_a_task_that_was_removed_and_added_anew(
    postgres_store: PostgresTaskStore, database_url: str
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task(title="Old"))
    anew = "update tasks set title = 'New', updated_at = updated_at + interval '1 s' where id = %s"
    edited = await edit(tasks, task.id, interrupted(database_url, anew, task.id))
    assert (edited.title, edited.completed, edited.version) == ("New", True, 2)


async def test_editing_a_task_that_is_removed_meanwhile_finds_no_task(
    postgres_store: PostgresTaskStore, database_url: str
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    with pytest.raises(TaskNotFound):
        await edit(tasks, task.id, interrupted(database_url, "delete from tasks where id = %s", task.id))


async def while_renamed(url: str, task: Task, write: Awaitable[A]) -> A:
    """Begin to write while somebody else's change of the task is not committed yet."""
    async with holding(url, ANN) as rival:
        await rival.execute(RENAME, ["Renamed", task.id])
        writing = await begun(write, url)
    return await writing


async def test_a_removal_waits_for_the_change_under_way_and_respects_it(
    postgres_store: PostgresTaskStore, database_url: str
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    with pytest.raises(VersionConflict) as conflict:
        await while_renamed(database_url, task, remove(tasks, task.id, expected=Version(1)))
    assert conflict.value.current == 2
    await while_renamed(database_url, task, remove(tasks, task.id))
    with pytest.raises(TaskNotFound):
        await tasks.get(task.id)


async def test_an_edit_waits_for_the_change_under_way_and_builds_on_it(
    postgres_store: PostgresTaskStore, database_url: str
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    edited = await while_renamed(database_url, task, edit(tasks, task.id, lambda task: task.toggled(at=LATER)))
    assert (edited.title, edited.completed, edited.version) == ("Renamed", True, 3)
    with pytest.raises(VersionConflict):
        await while_renamed(
            database_url, task, edit(tasks, task.id, lambda task: task.expecting(Version(3)).toggled(at=LATER))
        )


async def test_changes_that_an_older_server_makes_meanwhile_are_not_overwritten(
    postgres_store: PostgresTaskStore, database_url: str
) -> None:
    """It takes no owner's row: it may come between what a plan behind the lock reads and what it stores."""
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    overtaken = interrupted(database_url, RENAME, "Renamed", task.id)
    seen: list[Version] = []

    def change(task: Task) -> Task:
        seen.append(task.version)
        if len(seen) == 2:
            with psycopg.connect(database_url) as old_server:
                old_server.execute("set lock_timeout = '200ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):  # it waits, and then finds another version
                    old_server.execute(RENAME, ["Too early", task.id])
        return overtaken(task)

    edited = await edit(tasks, task.id, change)
    assert seen == [1, 2]
    assert (edited.title, edited.completed, edited.version) == ("Renamed", True, 3)


@pytest.mark.parametrize("holds_the_owner", [True, False])
async def test_an_id_that_another_transaction_is_adding_is_taken_after_its_commit(
    postgres_store: PostgresTaskStore, database_url: str, holds_the_owner: bool
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, make_task())
    task = make_task(title="Rival")
    async with holding(database_url, *[ANN][:holds_the_owner]) as rival:
        await rival.execute(ADD, columns(task))
        adding = await begun(add(tasks, make_task(id=task.id)), database_url)
    with pytest.raises(TaskExists):
        await adding
    assert (await tasks.get(task.id)).title == "Rival"


WORKER = """
import asyncio, sys
from uuid import UUID
from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_core import OwnerId, TaskId
from datetime import UTC, datetime
from todo_core.testing.writing import add, edit, remove

async def main(url, task_id, word, times):
    engine = create_engine(url)
    tasks = (store := PostgresTaskStore(engine)).tasks_of(OwnerId("ann"))
    await tasks.get(task_id)
    print("ready", flush=True)
    sys.stdin.readline()
    change = lambda task: task.edited(
        title=task.title + word, completed=not task.completed, at=datetime(2026, 11, 6, tzinfo=UTC)
    )
    await asyncio.gather(*(edit(tasks, task_id, change) for _ in range(times)))
    await store.aclose()
    await engine.dispose()

asyncio.run(main(sys.argv[1], TaskId(UUID(sys.argv[2])), sys.argv[3], int(sys.argv[4])))
"""


async def worker(*arguments: str) -> asyncio.subprocess.Process:
    """A process that is ready to begin when it reads a line."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, *arguments, stdin=pipe, stdout=pipe)
    assert process.stdout
    assert await process.stdout.readline() == b"ready\n"
    return process


async def test_concurrent_edits_from_two_processes_are_all_applied(
    postgres_store: PostgresTaskStore, database_url: str
) -> None:
    await add(postgres_store.tasks_of(ANN), task := make_task(title="|"))
    workers = [await worker(database_url, str(task.id), word, str(times)) for word, times in (("a", 40), ("b", 41))]
    await asyncio.gather(*(each.communicate(b"go\n") for each in workers))
    assert [each.returncode for each in workers] == [0, 0]
    final = await postgres_store.tasks_of(ANN).get(task.id)
    assert (final.completed, final.version) == (True, 82)
    assert (final.title.count("a"), final.title.count("b")) == (40, 41)
