"""What changes a task is decided on it as it was seen last, where that is still so, and is not read again."""

from collections.abc import AsyncIterator

import pytest
from adapters.test_shared_statements import Spy
from factories import ANN, BOB, LATER, make_id, make_task
from sqlalchemy.ext.asyncio import AsyncEngine

from todo_adapters.postgres import PostgresTaskStore, store
from todo_adapters.postgres.known import Known
from todo_adapters.postgres.reading import Key, read_many
from todo_core import IdempotencyKey, Once, OwnedTasks, Task, TaskNotFound, Version
from todo_core.testing.writing import add, changing, edit, remove


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Spy[Key, Task | None]:
    """The statements that read tasks by their ids."""
    spy = Spy(read_many)
    monkeypatch.setattr(store, "read_many", spy)
    return spy


@pytest.fixture
async def elsewhere(engine: AsyncEngine) -> AsyncIterator[OwnedTasks]:
    """Ann's tasks in another process, on the same database."""
    other = PostgresTaskStore(engine)
    yield other.tasks_of(ANN)
    await other.aclose()


async def test_what_was_written_or_read_here_is_changed_without_being_read(
    postgres_store: PostgresTaskStore, elsewhere: OwnedTasks, reads: Spy[Key, Task | None]
) -> None:
    tasks, mine, others = postgres_store.tasks_of(ANN), make_task(), make_task(id=make_id(2))
    await add(tasks, mine)
    for title in ("First", "Second"):
        mine = await edit(tasks, mine.id, lambda task, title=title: task.edited(title=title, at=LATER))
    assert reads.asked == []
    await add(elsewhere, others)
    await tasks.get(others.id)
    others = await edit(tasks, others.id, lambda task: task.toggled(at=LATER))
    assert reads.asked == [[(ANN, others.id)]]
    assert [await elsewhere.get(each.id) for each in (mine, others)] == [mine, others]
    assert (mine.version, others.version) == (3, 2)


async def test_what_was_changed_or_deleted_behind_the_lock_is_not_known(
    postgres_store: PostgresTaskStore, reads: Spy[Key, Task | None]
) -> None:
    tasks, task = postgres_store.tasks_of(ANN), make_task()
    await add(tasks, task)
    once = Once(IdempotencyKey("k"), "")
    await tasks.commit(changing(task.id, lambda task: task.edited(title="Keyed", at=LATER), once))
    edited = await edit(tasks, task.id, lambda task: task.toggled(at=LATER))
    assert reads.asked == [[(ANN, task.id)]]
    assert (edited.title, edited.version) == ("Keyed", 3)
    await remove(tasks, task.id)
    assert postgres_store._known.get(ANN, task.id) is None


async def test_what_was_changed_elsewhere_is_decided_on_as_it_is_now(
    postgres_store: PostgresTaskStore, elsewhere: OwnedTasks
) -> None:
    tasks, task = postgres_store.tasks_of(ANN), make_task()
    await add(tasks, task)
    await edit(elsewhere, task.id, lambda task: task.edited(title="Theirs", at=LATER))
    edited = await edit(tasks, task.id, lambda task: task.toggled(at=LATER))
    assert (edited.title, edited.completed, edited.version) == ("Theirs", True, 3)


async def test_no_refusal_and_no_answer_without_a_change_comes_of_what_is_known(
    postgres_store: PostgresTaskStore, elsewhere: OwnedTasks
) -> None:
    tasks, task = postgres_store.tasks_of(ANN), make_task()
    await add(tasks, task)
    await edit(elsewhere, task.id, lambda task: task.edited(title="Theirs", at=LATER))
    edited = await edit(tasks, task.id, lambda task: task.expecting(Version(2)).edited(title="Mine", at=LATER))
    assert edited.version == 3
    await edit(elsewhere, task.id, lambda task: task.edited(title="Theirs", at=LATER))
    unchanged = await edit(tasks, task.id, lambda task: task.edited(title="Mine", at=LATER))
    assert (unchanged.title, unchanged.version) == ("Mine", 5)  # known as "Mine", it would have been left as it was
    await remove(elsewhere, task.id)
    with pytest.raises(TaskNotFound):
        await edit(tasks, task.id, lambda task: task.toggled(at=LATER))


def test_a_few_are_known_those_that_were_seen_last_and_each_to_its_owner() -> None:
    known, tasks = Known(most=2), [make_task(id=make_id(number)) for number in range(3)]
    for task in tasks[:2]:
        known.saw(ANN, task.id, task)
    known.saw(ANN, tasks[0].id, tasks[0])
    known.saw(ANN, tasks[2].id, tasks[2])
    assert [known.get(ANN, task.id) for task in tasks] == [tasks[0], None, tasks[2]]
    assert known.get(BOB, tasks[0].id) is None
    known.saw(ANN, tasks[0].id, None)
    assert known.get(ANN, tasks[0].id) is None
