"""What migrations keep: keys and tasks from before the log, and all that a downgrade need not lose."""

import asyncio
from dataclasses import replace

import psycopg
from adapters.old_rows import INSERT, KEEP_WHOLE, TITLES, rows
from factories import ANN, LATER, NOON, make_id, make_task

from todo_adapters.postgres import PostgresTaskStore
from todo_adapters.postgres import create_engine as create_async
from todo_adapters.postgres.migrations import migrate
from todo_core import Committed, Decision, IdempotencyKey, ListId, Once, Pair, Plan, TaskList, TaskQuery
from todo_core.testing.log import replayed, whole_log
from todo_core.testing.writing import changing, creating, edit


async def test_keys_from_before_the_log_still_replay_and_survive_a_downgrade(empty_database_url: str) -> None:
    url = empty_database_url
    await asyncio.to_thread(migrate, url, "0002")
    tasks = [make_task(title=title, completed_at=LATER, description="x\ny") for title in TITLES]
    with psycopg.connect(url) as old_server:
        for task in tasks:
            old_server.execute(INSERT, {name: getattr(task, name) for name in task.__slots__})
            old_server.execute(KEEP_WHOLE, {name: getattr(task, name) for name in task.__slots__})
    before = rows(url, "select * from idempotency_keys order by key")
    await asyncio.to_thread(migrate, url)
    engine = create_async(url)
    store = PostgresTaskStore(engine)
    for task in tasks:
        plan = creating(make_task(title=task.title), Once(IdempotencyKey(f"of {task.id}"), "of another kind"))
        assert await store.tasks_of(ANN).commit(plan) == Committed((task,), None, replayed=True)
    assert {task.id for task in (await store.tasks_of(ANN).page(TaskQuery())).items} == {task.id for task in tasks}
    await store.aclose()
    await engine.dispose()
    await asyncio.to_thread(migrate, url, "0002")
    assert rows(url, "select * from idempotency_keys order by key") == before


async def test_tasks_from_before_the_log_are_served_and_get_history_at_their_first_change(
    empty_database_url: str,
) -> None:
    url = empty_database_url
    await asyncio.to_thread(migrate, url, "0002")
    old = [make_task(title=title) for title in TITLES]
    with psycopg.connect(url) as old_server:
        for task in old:
            old_server.execute(INSERT, {name: getattr(task, name) for name in task.__slots__})
    await asyncio.to_thread(migrate, url)
    engine = create_async(url)
    tasks = (store := PostgresTaskStore(engine)).tasks_of(ANN)
    assert {task.id: task for task in (await tasks.page(TaskQuery())).items} == {task.id: task for task in old}
    edited = await edit(tasks, old[0].id, lambda task: task.edited(priority="high", tags=["a"], at=LATER))
    assert replayed(ANN, await whole_log(tasks)) == {task.id: task for task in [edited, *old[1:]]}
    await store.aclose()
    await engine.dispose()


async def test_downgrading_loses_only_lists_and_the_places_of_tasks(empty_database_url: str) -> None:
    url = empty_database_url
    await asyncio.to_thread(migrate, url)
    engine = create_async(url)
    tasks = (store := PostgresTaskStore(engine)).tasks_of(ANN)
    home = TaskList.new(id=ListId(make_id(-1)), owner=ANN, name="Home", at=NOON)
    parent = make_task(list_id=home.id, position="i")
    for pair in (Pair(None, home), Pair(None, parent), Pair(None, make_task(list_id=home.id, parent_id=parent.id))):
        await tasks.commit(Plan(decide=lambda _, pair=pair: Decision((pair,), (pair.thing,)), once=once_for(pair)))  # type: ignore[misc]
    await edit(tasks, parent.id, lambda task: task.edited(title="New", at=LATER))
    await tasks.commit(changing(parent.id, lambda task: task.with_stored(LATER, {"position": "z"})))
    whole = {task.id: task for task in (await tasks.page(TaskQuery())).items}
    await asyncio.to_thread(migrate, url, "0003")
    assert rows(url, "select count(*) from changes where before ?| %s or after ?| %s", WHERE, WHERE) == [(0,)]
    assert rows(url, "select count(*) from changes where id = %s", home.id) == [(0,)]
    assert rows(url, "select count(*) from used_keys where answer::text similar to '%%(list_id|Home)%%'") == [(0,)]
    await asyncio.to_thread(migrate, url)
    assert await tasks.lists() == ()
    left = {task.id: task for task in (await tasks.page(TaskQuery())).items}
    nowhere = {"list_id": None, "parent_id": None, "position": ""}
    assert left == {task.id: replace(task, **nowhere) for task in whole.values()}
    assert replayed(ANN, await whole_log(tasks)) == left
    await store.aclose()
    await engine.dispose()


WHERE = ["list_id", "parent_id", "position"]


def once_for(pair: Pair) -> Once:
    return Once(IdempotencyKey(f"{pair.thing.id}"), "same")
