"""Families, orders and limits on PostgreSQL: consistent after concurrent writes, and bounded in cost."""

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

import movers
import psycopg
import pytest
from effort import IN_CI
from factories import ANN, make_list, make_task

from todo_adapters.postgres import PostgresTaskStore, transaction
from todo_adapters.postgres.batch import execute
from todo_adapters.postgres.engine import Engine
from todo_adapters.system import SystemClock, SystemIds
from todo_core import Decision, OwnedTasks, Pair, Plan, Seen, Sees, TaskNotFound, TaskQuery, TaskService, TooMany
from todo_core.testing.belongings import Belongings, assert_in_place, assert_log
from todo_core.testing.examples import LATER
from todo_core.testing.writing import add, creating_list, deleting_list, placing, restoring, undoing

MANY = 600


async def mover(url: str, seed: int, *fault: str) -> asyncio.subprocess.Process:
    """A process that is ready to move things when it reads a line."""
    pipe = asyncio.subprocess.PIPE
    arguments = [str(Path(movers.__file__)), url, str(seed), "4", "40" if IN_CI else "20", *fault]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdout
    assert await process.stdout.readline() == b"ready\n"
    return process


async def moved_by_two_processes(store: PostgresTaskStore, url: str, *fault: str) -> Belongings:
    """All things in their places, after two processes with several clients each have moved them."""
    before = await movers.fill(TaskService(store, SystemClock(), SystemIds()))
    processes = [await mover(url, 100 * seed, *fault) for seed in range(2)]
    outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0, 0], [error.decode()[-2000:] for _, error in outputs]
    found = await Belongings.read(store.tasks_of(movers.OWNER), movers.OWNER)
    assert_in_place(found)
    assert_log(found)
    assert found.number == before + sum(int(output) for output, _ in outputs), (
        "a number belongs to two changes, or to none"
    )
    return found


@pytest.mark.timeout(300)
async def test_concurrent_moves_make_no_cycle_no_orphan_and_no_split_family(
    postgres_store: PostgresTaskStore, database_url: str
) -> None:
    found = await moved_by_two_processes(postgres_store, database_url)
    assert found.number > (60 if IN_CI else 30)
    assert {"moved", "deleted", "undone"} <= {entry.action for entry in found.log}


@pytest.mark.ci
@pytest.mark.timeout(300)
async def test_a_storage_without_the_owner_lock_is_detected(
    postgres_store: PostgresTaskStore, database_url: str
) -> None:
    with pytest.raises(AssertionError):
        await moved_by_two_processes(postgres_store, database_url, "no_lock")


async def test_limits_are_exact_whoever_writes_at_the_same_time(engine: Engine, database_url: str) -> None:
    stores = [PostgresTaskStore(engine, max_tasks=7, deadline=30) for _ in range(2)]
    both = [store.tasks_of(ANN) for store in stores]
    await both[0].commit(creating_list(task_list := make_list()))
    await both[0].commit(placing(make_task(list_id=task_list.id)))
    plans = [placing(make_task(list_id=[None, task_list.id][number % 2])) for number in range(20)]
    outcomes = await asyncio.gather(
        *(both[number % 2].commit(plan) for number, plan in enumerate(plans)), return_exceptions=True
    )
    assert sum(isinstance(outcome, TooMany) for outcome in outcomes) == 14
    taken = (await both[0].commit(deleting_list(task_list.id))).change or 0
    room = 7 - len((await both[0].page(TaskQuery())).items)
    await asyncio.gather(*(both[number % 2].commit(placing(make_task())) for number in range(room)))
    for plan in (undoing(taken, LATER), restoring(task_list.id, LATER)):
        with pytest.raises(TooMany):
            await both[1].commit(plan)
    with psycopg.connect(database_url) as looking:
        assert looking.execute("select live, lists from owners").fetchall() == [(7, 0)]
    for store in stores:
        await store.aclose()


async def stored_list(tasks: OwnedTasks, count: int) -> Any:
    """A list that has so many tasks, and the number of the change that made them."""
    await tasks.commit(creating_list(task_list := make_list()))
    made = tuple(Pair(None, make_task(list_id=task_list.id)) for _ in range(count))
    return task_list.id, (await tasks.commit(Plan(decide=lambda _: Decision(made)))).change


async def test_deleting_a_list_and_undoing_it_takes_the_same_statements_for_any_size(
    postgres_store: PostgresTaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, sent = postgres_store.tasks_of(ANN), [0]

    async def counting(*arguments: Any) -> Any:
        sent[0] += 1
        return await execute(*arguments)

    monkeypatch.setattr(transaction, "execute", counting)
    counts: list[list[int]] = []
    for size in (3, MANY):
        list_id, made = await stored_list(tasks, size)
        counts.append([])
        for plan in (
            deleting_list(list_id),
            undoing(made + 1, LATER),
            deleting_list(list_id),
            restoring(list_id, LATER),
        ):
            sent[0] = 0
            await tasks.commit(plan)
            counts[-1].append(sent[0])
    assert counts[0] == counts[1]
    assert max(counts[0]) < 15


async def test_decisions_about_many_things_do_not_block_the_event_loop(postgres_store: PostgresTaskStore) -> None:
    tasks = postgres_store.tasks_of(ANN)
    list_id, _ = await stored_list(tasks, MANY)
    in_main_thread: dict[int, bool] = {}

    def looking_at(limit: int | None) -> Plan:
        def decide(seen: Seen) -> Decision:
            found = seen.page(TaskQuery(list_id=list_id, limit=limit))
            in_main_thread[len(found)] = threading.current_thread() is threading.main_thread()
            return Decision()

        return Plan(decide=decide)

    for limit in (3, None):
        await tasks.commit(looking_at(limit))
    assert in_main_thread == {3: True, MANY: False}


@pytest.mark.parametrize("without_subtasks", ["refuse", "delete", "edit"])
async def test_a_plan_that_looks_at_subtasks_sees_those_that_are_stored(
    postgres_store: PostgresTaskStore, without_subtasks: str
) -> None:
    """A deletion is decided as if there were none, and only if its statement finds none is it carried out."""
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    await add(tasks, below := make_task(parent_id=task.id))

    def decide(seen: Seen) -> Decision:
        before, found = seen.task(task.id), seen.below([task.id])
        if not found and without_subtasks == "refuse":
            raise TaskNotFound
        is_kept = found or without_subtasks == "edit"
        after = before.edited(at=LATER, title=f"{len(found)} below") if is_kept else None
        return Decision((Pair(before, after),), (after,) if after else ())

    committed = await tasks.commit(Plan(decide=decide, sees=Sees(frozenset({task.id}))))
    assert committed.task.title == "1 below"
    assert {each.id for each in (await tasks.page(TaskQuery())).items} == {task.id, below.id}
