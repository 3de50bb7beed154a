"""Creations among other tasks are decided without a lock: whatever comes in between, what is stored is right."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from adapters.statements import begun, behind_the_lock, holding
from factories import ANN, BOB, LATER, NOON, make_id, make_list, make_owner, make_task

from todo_adapters.postgres import PostgresTaskStore, turns, unlocked
from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.turns import Lately
from todo_adapters.system import SystemClock, SystemIds
from todo_core import (
    Committed,
    Decision,
    IdempotencyKey,
    InvalidInput,
    Once,
    OwnedTasks,
    OwnerId,
    Pair,
    Plan,
    Seen,
    Task,
    TaskExists,
    TaskId,
    TaskQuery,
    TaskService,
    composed,
)
from todo_core.testing.belongings import Belongings, assert_in_place, assert_log
from todo_core.testing.writing import (
    add,
    changing,
    creating_list,
    deleting,
    deleting_list,
    edit,
    moving,
    placing,
    remove,
)
from todo_core.use_cases.base import WriteOptions

Act: TypeAlias = Callable[[], Awaitable[object]]
Between: TypeAlias = Callable[[int, Act], None]


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> list[OwnerId]:
    """The owners whose plans went behind the lock."""
    return behind_the_lock(monkeypatch)


@pytest.fixture
async def rival(engine: Engine) -> AsyncIterator[PostgresTaskStore]:
    """The storage in another process."""
    rival = PostgresTaskStore(engine)
    yield rival
    await rival.aclose()


@pytest.fixture
def between(postgres_store: PostgresTaskStore, monkeypatch: pytest.MonkeyPatch) -> Between:
    """Have something done before the given call, counted from 0, that the store shares with others."""
    sending, calls, acts = postgres_store._sender, [0], dict[int, Act]()

    def counting(send: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*arguments: Any, **others: Any) -> Any:
            act = acts.pop(calls[0], None)
            calls[0] += 1
            if act is not None:
                await act()
            return await send(*arguments, **others)

        return counted

    monkeypatch.setattr(sending, "read", counting(sending.read))
    monkeypatch.setattr(sending, "write", counting(sending.write))

    def set_up(place: int, act: Act) -> None:
        sending.overtaken = Lately(1.0)
        calls[0] = 0
        acts[place] = act

    return set_up


@pytest.fixture
def service(postgres_store: PostgresTaskStore) -> TaskService:
    return TaskService(postgres_store, SystemClock(), SystemIds())


def key(name: str) -> Once:
    return Once(IdempotencyKey(name), "same")


async def order_in(tasks: OwnedTasks, list_id: Any) -> list[TaskId]:
    """The tasks of a list, by position; no two have the same."""
    found = (await tasks.page(TaskQuery(list_id=list_id))).items
    assert len({each.position for each in found}) == len(found)
    return [each.id for each in sorted(found, key=lambda each: each.position)]


async def assert_sound(of: PostgresTaskStore, owner: OwnerId = ANN) -> Belongings:
    found = await Belongings.read(of.tasks_of(owner), owner)
    assert_in_place(found)
    assert_log(found)
    assert sorted({entry.number for entry in found.log}) == list(range(1, found.number + 1))
    return found


@pytest.mark.parametrize("options", [WriteOptions(), WriteOptions(once=key("key"))], ids=["plain", "keyed"])
@pytest.mark.parametrize(
    "write",
    [
        lambda service, home, parent, options: service.create(ANN, options, title="a", list_id=home),
        lambda service, home, parent, options: service.create(ANN, options, title="a", parent_id=parent),
        lambda service, home, parent, options: service.create(
            ANN, options, own_id=SystemIds().new(SystemClock().now()), title="a"
        ),
        lambda service, home, parent, options: service.create(
            ANN, options, own_id=SystemIds().new(SystemClock().now()), title="a", list_id=home
        ),
    ],
    ids=["list", "subtask", "own id", "own id in a list"],
)
async def test_a_creation_among_others_needs_no_lock(
    service: TaskService,
    postgres_store: PostgresTaskStore,
    locked: list[OwnerId],
    write: Callable[..., Awaitable[Committed]],
    options: WriteOptions,
) -> None:
    home = (await service.create_list(ANN, name="Home")).task_list.id
    parent = (await service.create(ANN, title="parent")).task.id
    await service.create(ANN, title="there", list_id=home)
    await service.create(ANN, title="below", parent_id=parent)
    locked.clear()
    committed = await write(service, home, parent, options)
    assert locked == []
    assert (committed.change, committed.replayed) == (5, False)
    assert await postgres_store.tasks_of(ANN).get(committed.task.id) == committed.task
    if options.once is not None:
        again = await write(service, home, parent, options)
        assert again == replace(committed, replayed=True)
    assert len((await assert_sound(postgres_store)).log) == 5


async def test_an_owner_of_many_tasks_needs_the_lock(
    service: TaskService, locked: list[OwnerId], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = (await service.create_list(ANN, name="Home")).task_list.id
    monkeypatch.setattr(unlocked, "LIVE_MAX", 1)
    locked.clear()
    for _ in range(3):
        await service.create(ANN, title="a", list_id=home)
    assert locked == [ANN]


@pytest.mark.parametrize("place", range(3))
async def test_a_task_that_others_overtake_is_created_after_theirs(
    postgres_store: PostgresTaskStore, rival: PostgresTaskStore, between: Between, locked: list[OwnerId], place: int
) -> None:
    tasks, theirs = (each.tasks_of(ANN) for each in (postgres_store, rival))
    await tasks.commit(creating_list(home := make_list()))
    await tasks.commit(placing(first := make_task(list_id=home.id)))
    mine, other = (make_task(list_id=home.id) for _ in range(2))
    locked.clear()
    between(place, lambda: theirs.commit(placing(other)))
    committed = await tasks.commit(placing(mine))
    assert (await order_in(tasks, home.id), committed.change) == ([first.id, other.id, mine.id], 4)
    assert locked == [ANN] * (place > 0)  # only what is known already can be outdated
    await assert_sound(postgres_store)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("once", [None, key("key")], ids=["plain", "keyed"])
async def test_no_task_comes_into_a_list_or_below_a_task_that_is_deleted_meanwhile(
    postgres_store: PostgresTaskStore, rival: PostgresTaskStore, between: Between, place: int, once: Once | None
) -> None:
    tasks, theirs = (each.tasks_of(ANN) for each in (postgres_store, rival))
    await tasks.commit(creating_list(home := make_list()))
    await tasks.commit(placing(parent := make_task(list_id=home.id)))
    for where, deletion in (
        ({"parent_id": parent.id}, deleting(parent.id)),
        ({"list_id": home.id}, deleting_list(home.id)),
    ):
        between(place, lambda deletion=deletion: theirs.commit(deletion))  # type: ignore[misc]
        with pytest.raises(InvalidInput) as refused:
            await tasks.commit(replace(placing(make_task(**where)), once=once))
        assert [each.field for each in refused.value.problems] == [*where]
    assert (await assert_sound(postgres_store)).things == {}


def alike(one: Task, other: Task, *, answers: bool) -> Plan:
    """Creates, refuses or answers without a change, by the titles of two tasks, which are alike at any moment."""

    def decide(seen: Seen) -> Decision:
        found = (seen.task(one.id), seen.task(other.id))
        if answers:
            return Decision((), found)
        if found[0].title != found[1].title:
            raise TaskExists
        return Decision((Pair(None, new := make_task(title=found[0].title)),), (new,))

    return Plan(decide=decide)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("answers", [False, True])
async def test_nothing_is_refused_or_answered_for_what_was_read_at_several_moments(
    postgres_store: PostgresTaskStore, rival: PostgresTaskStore, between: Between, place: int, answers: bool
) -> None:
    tasks, theirs = (each.tasks_of(ANN) for each in (postgres_store, rival))
    pair = [make_task(title="old") for _ in range(2)]
    for each in pair:
        await add(tasks, each)
    rename = [changing(each.id, lambda task: task.edited(title="new", at=NOON)) for each in pair]
    between(place, lambda: theirs.commit(composed(rename)))
    committed = await tasks.commit(alike(*pair, answers=answers))
    assert len({each.title for each in committed.things if isinstance(each, Task)}) == 1


@pytest.mark.parametrize("where", [{"list_id": make_id(-1)}, {"parent_id": make_id(-1)}], ids=["list", "parent"])
async def test_a_refusal_for_what_was_read_at_one_moment_needs_no_lock(
    postgres_store: PostgresTaskStore, locked: list[OwnerId], where: dict[str, Any]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, make_task())
    for once, needs in ((None, []), (key("key"), [ANN])):
        with pytest.raises(InvalidInput):
            await tasks.commit(replace(placing(make_task(**where)), once=once))
        assert locked == needs


async def test_a_refusal_of_an_owners_first_task_needs_the_lock(
    postgres_store: PostgresTaskStore, locked: list[OwnerId]
) -> None:
    with pytest.raises(InvalidInput):
        await postgres_store.tasks_of(ANN).commit(placing(make_task(list_id=make_list().id)))
    assert locked == [ANN]  # tasks from before revision 0003 are not counted, without a row


async def test_a_key_that_is_used_meanwhile_creates_nothing(
    postgres_store: PostgresTaskStore, rival: PostgresTaskStore, between: Between
) -> None:
    tasks, theirs = (each.tasks_of(ANN) for each in (postgres_store, rival))
    await tasks.commit(creating_list(home := make_list()))
    plans = [replace(placing(make_task(list_id=home.id)), once=key("key")) for _ in range(2)]
    outcomes: list[Committed] = []

    async def first() -> None:
        outcomes.append(await theirs.commit(plans[0]))

    for place in range(3):
        between(place, first)
        assert await tasks.commit(plans[1]) == replace(outcomes[0], replayed=True)
    assert len((await assert_sound(postgres_store)).tasks) == 1


async def test_an_own_id_that_is_used_and_deleted_meanwhile_is_not_used_again(
    service: TaskService, postgres_store: PostgresTaskStore, rival: PostgresTaskStore, between: Between
) -> None:
    theirs = rival.tasks_of(ANN)
    await add(postgres_store.tasks_of(ANN), make_task())

    async def use(own_id: TaskId) -> None:
        await add(theirs, make_task(id=own_id))
        await remove(theirs, own_id)

    for place in range(3):
        own_id = SystemIds().new(SystemClock().now())
        between(place, lambda own_id=own_id: use(own_id))  # type: ignore[misc]
        with pytest.raises(TaskExists):
            await service.create(ANN, own_id=own_id, title="a")
    await assert_sound(postgres_store)


async def test_a_decision_overtaken_by_another_write_is_made_again_under_the_lock(
    postgres_store: PostgresTaskStore,
    rival: PostgresTaskStore,
    between: Between,
    locked: list[OwnerId],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks, theirs = (each.tasks_of(ANN) for each in (postgres_store, rival))
    await tasks.commit(creating_list(home := make_list()))
    sent: list[object] = []
    write = postgres_store._sender.write

    async def counted(*arguments: Any, **others: Any) -> Any:
        if others.get("owner") == ANN:  # not the pruning that the first write began
            sent.append(arguments)
        return await write(*arguments, **others)

    monkeypatch.setattr(postgres_store._sender, "write", counted)
    locked.clear()
    between(2, lambda: add(theirs, make_task()))
    assert (await tasks.commit(placing(make_task(list_id=home.id)))).change == 3
    assert (len(sent), locked) == (1, [ANN])


async def test_after_a_lost_decision_its_owners_next_ones_need_the_lock_for_a_second(
    postgres_store: PostgresTaskStore,
    rival: PostgresTaskStore,
    between: Between,
    locked: list[OwnerId],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(turns, "monotonic", lambda: now[0])
    tasks, bobs, theirs = postgres_store.tasks_of(ANN), postgres_store.tasks_of(BOB), rival.tasks_of(ANN)
    await tasks.commit(creating_list(home := make_list()))
    await bobs.commit(creating_list(other := make_list(owner=BOB)))
    locked.clear()
    between(2, lambda: add(theirs, make_task()))
    for _ in range(2):
        await tasks.commit(placing(make_task(list_id=home.id)))
    await bobs.commit(placing(make_task(owner=BOB, list_id=other.id)))
    assert locked == [ANN, ANN]
    now[0] = 1.0
    await tasks.commit(placing(make_task(list_id=home.id)))
    assert locked == [ANN, ANN]


async def test_simultaneous_creations_of_one_owner_take_turns_and_need_no_lock(
    postgres_store: PostgresTaskStore, locked: list[OwnerId]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await tasks.commit(creating_list(home := make_list()))
    await tasks.commit(placing(first := make_task(list_id=home.id)))
    locked.clear()
    new = [make_task(list_id=home.id) for _ in range(16)]
    committed = await asyncio.gather(*(tasks.commit(placing(task)) for task in new))
    assert locked == []
    assert [each.change for each in committed] == list(range(3, 19))
    assert await order_in(tasks, home.id) == [first.id, *(task.id for task in new)]


async def test_a_creation_waits_for_whoever_has_its_owner_and_others_do_not_wait_for_it(
    postgres_store: PostgresTaskStore, database_url: str
) -> None:
    both = {owner: postgres_store.tasks_of(owner) for owner in (ANN, BOB)}
    homes = {owner: make_list(owner=owner) for owner in both}
    for owner, tasks in both.items():
        await tasks.commit(creating_list(homes[owner]))
    async with holding(database_url, ANN):
        waiting = await begun(both[ANN].commit(placing(make_task(list_id=homes[ANN].id))), database_url)
        assert (await both[BOB].commit(placing(make_task(owner=BOB, list_id=homes[BOB].id)))).change == 2
    assert (await waiting).change == 2


@pytest.mark.parametrize("clients", [1, 4])
async def test_many_owners_and_stores_create_in_lists_in_the_order_of_changes(
    postgres_store: PostgresTaskStore, rival: PostgresTaskStore, clients: int
) -> None:
    owners = [make_owner(f"owner {number}") for number in range(12)]
    homes = {owner: make_list(owner=owner) for owner in owners}
    for owner in owners:
        await rival.tasks_of(owner).commit(creating_list(homes[owner]))

    async def create(of: PostgresTaskStore, owner: OwnerId) -> None:
        tasks = of.tasks_of(owner)
        for _ in range(4):
            await tasks.commit(placing(task := make_task(owner=owner, list_id=homes[owner].id)))
            await edit(tasks, task.id, lambda task: task.toggled(at=LATER))
            await tasks.commit(moving(task.id, {"list_id": None}, LATER))
            await tasks.commit(moving(task.id, {"list_id": homes[owner].id}, LATER))

    await asyncio.gather(*(create(of, owner) for of in (postgres_store, rival) for owner in owners * clients))
    for owner in owners:
        found = await assert_sound(rival, owner)
        assert found.number == 1 + 4 * 4 * 2 * clients
        last_put = {entry.id: entry.number for entry in found.log if "list_id" in (entry.after or {})}
        order = await order_in(rival.tasks_of(owner), homes[owner].id)
        assert order == sorted(order, key=lambda each: last_put[each])
