"""Change numbers and the log on PostgreSQL: without gaps, in commit order, also if writers wait or are killed."""

import asyncio
import pickle
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import writers
from adapters.statements import (
    ADD,
    CREATING_ONCE,
    begun,
    columns,
    commit,
    creation,
    delete,
    have_owners,
    holding,
    removal,
    store,
    swap,
    waiting,
)
from effort import IN_CI
from factories import ANN, BOB, LATER, NOON, make_id, make_task
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from writers import Acknowledged

from todo_adapters.postgres import PostgresTaskStore, writing
from todo_adapters.postgres.batch import driver_of
from todo_adapters.postgres.writing import Outcome, Result, Write, Writing
from todo_core import (
    ChangeQuery,
    IdempotencyKey,
    InvalidInput,
    Once,
    OwnedTasks,
    OwnerId,
    Plan,
    Sort,
    StoreUnavailable,
    Task,
    TaskNotFound,
    TaskQuery,
    TodoError,
    VersionConflict,
    composed,
)
from todo_core.testing.log import replayed, whole_log
from todo_core.testing.writing import add, changing, creating, deleting, edit, remove

ONCE = Once(IdempotencyKey("key"), "same")

# What every reader sees of each owner in one snapshot, at every moment.
IN_STEP = """
    select owners.user_id, owners.number, log.newest, log.numbers, owners.live,
           (select count(*) from tasks where tasks.user_id = owners.user_id)
    from owners left join lateral (
        select coalesce(max(number), 0) as newest, count(distinct number) as numbers
        from changes where changes.user_id = owners.user_id
    ) as log on true
"""


ACTIONS = 40 if IN_CI else 10  # of each client of each process


def out_of_step(connection: psycopg.Connection[Any]) -> list[tuple[object, ...]]:
    """Owners whose number, log or count of tasks differ from each other."""
    rows = connection.execute(IN_STEP).fetchall()
    return [row for row in rows if not (row[1] == row[2] == row[3] and row[4] == row[5])]


async def writer(url: str, seed: int, *fault: str) -> asyncio.subprocess.Process:
    """A process that is ready to write when it reads a line."""
    pipe = asyncio.subprocess.PIPE
    arguments = [str(Path(writers.__file__)), url, str(seed), "6", str(ACTIONS), *fault]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdout
    assert await process.stdout.readline() == b"ready\n"
    return process


async def written(url: str, *fault: str, beside: Callable[[psycopg.Connection[Any]], None]) -> Acknowledged:
    """The changes that were acknowledged to three processes; `beside` is called meanwhile."""
    processes = [await writer(url, 100 * seed, *fault) for seed in range(3)]
    writing = asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    with psycopg.connect(url, autocommit=True) as connection:
        while not writing.done():
            beside(connection)
            await asyncio.wait([writing], timeout=0.02)
    outputs = await writing
    assert [process.returncode for process in processes] == [0] * 3, [error.decode()[-2000:] for _, error in outputs]
    return [each for output, _ in outputs for each in pickle.loads(output)]  # noqa: S301  (our own)


async def assert_whole(url: str, engine: AsyncEngine, acknowledged: Acknowledged) -> None:
    """All that is promised of numbers and the log, once nobody writes."""
    with psycopg.connect(url) as connection:
        assert out_of_step(connection) == []
    async with opened(engine) as stored:
        for owner in writers.OWNERS:
            await assert_log(stored.tasks_of(owner), owner, acknowledged)


@asynccontextmanager
async def opened(engine: AsyncEngine) -> AsyncIterator[PostgresTaskStore]:
    stored = PostgresTaskStore(engine)
    try:
        yield stored
    finally:
        await stored.aclose()


async def assert_log(tasks: OwnedTasks, owner: OwnerId, acknowledged: Acknowledged) -> None:
    log = await whole_log(tasks)
    assert log
    page = await tasks.page(TaskQuery(sort=Sort.CREATED_AT, limit=200))
    assert replayed(owner, log) == {task.id: task for task in page.items}
    moments = [entry.at for entry in log]
    assert moments == sorted(moments)
    counted = Counter(number for whose, number in acknowledged if whose == owner)
    assert set(counted.values()) == {1}, "two changes have one number"
    assert set(counted) <= {entry.number for entry in log}, "an acknowledged change is not in the log"


def deadlocks(url: str) -> int:
    with psycopg.connect(url) as connection:
        statement = (
            "select pg_stat_force_next_flush(), deadlocks from pg_stat_database where datname = current_database()"
        )
        return int(connection.execute(statement).fetchall()[0][1])


@pytest.mark.timeout(300)
async def test_three_processes_leave_no_gap_no_double_and_no_deadlock(database_url: str, engine: AsyncEngine) -> None:
    seen: list[tuple[object, ...]] = []
    polls = 0

    def poll(connection: psycopg.Connection[Any]) -> None:
        nonlocal polls
        polls += 1
        seen.extend(out_of_step(connection))

    acknowledged = await written(database_url, beside=poll)
    assert seen == []
    assert polls > (10 if IN_CI else 3)
    assert len(acknowledged) > 5 * ACTIONS
    await assert_whole(database_url, engine, acknowledged)
    assert deadlocks(database_url) == 0


@pytest.mark.timeout(300)
async def test_lost_connections_leave_no_gap_and_no_half_of_a_change(database_url: str, engine: AsyncEngine) -> None:
    lost = 0

    def terminate(connection: psycopg.Connection[Any]) -> None:
        nonlocal lost
        statement = """
            select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle' order by random() limit 1
        """
        lost += connection.execute(statement).rowcount

    acknowledged = await written(database_url, beside=terminate)
    assert lost > (5 if IN_CI else 3)
    await assert_whole(database_url, engine, acknowledged)


@pytest.mark.ci
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", sorted(writers.FAULTS))
async def test_a_storage_without_one_of_the_mechanisms_is_detected(
    database_url: str, engine: AsyncEngine, fault: str
) -> None:
    seen: list[tuple[object, ...]] = []
    try:
        acknowledged = await written(
            database_url, fault, beside=lambda connection: seen.extend(out_of_step(connection))
        )
        await assert_whole(database_url, engine, acknowledged)
    except AssertionError:
        return
    assert seen or deadlocks(database_url), "the fault was not detected"


# A statement whose snapshot is older than its lock: between the two it waits for somebody's advisory lock.

GATE = """
    create function passes_the_gate() returns boolean language plpgsql volatile as
    'begin perform pg_advisory_xact_lock_shared(1); return true; end'
"""


@pytest.fixture
async def rival(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
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
Rival = Callable[[AsyncConnection], Awaitable[object]]


def sent(shared: Writing, write: Write) -> Rival:
    async def send(connection: AsyncConnection) -> None:
        [outcome] = await shared.waiting(connection, [write])
        assert outcome.result is Result.DONE

    return send


def deleted(task: Task) -> Rival:
    return lambda connection: delete(connection, task)


def meanwhile(*rivals: Rival) -> Rival:
    async def write(connection: AsyncConnection) -> None:
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
    engine: AsyncEngine,
    rival: AsyncConnection,
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
    engine: AsyncEngine, rival: AsyncConnection, database_url: str, rivals: Rival, kind: Kind, expected: Outcome
) -> None:
    await store(rival, [TASK])
    name, write = kind
    statement = {"create": writing.creating(2, keyed=False), "swap": writing.SWAPPING, "remove": writing.REMOVING}[name]
    async with engine.connect() as connection:
        async with driver_of(rival).transaction():
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
    rival: AsyncConnection,
    database_url: str,
    first: Plan,
    second: Plan,
    refusal: type[TodoError] | None,
    left: Sequence[str],
) -> None:
    await store(rival, [TASK])
    tasks = postgres_store.tasks_of(ANN)
    async with driver_of(rival).transaction():
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
    engine: AsyncEngine, rival: AsyncConnection, database_url: str, gated: Callable[[], dict[str, Writing]]
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


# One owner's long transaction, and the others.


async def every_kind(stored: PostgresTaskStore, owner: OwnerId, task: Task) -> None:
    """Writes of every kind, and a read."""
    tasks = stored.tasks_of(owner)
    await add(tasks, new := make_task(owner=owner))
    await tasks.commit(creating(make_task(owner=owner), ONCE))
    await edit(tasks, task.id, lambda task: task.toggled(at=LATER))
    await tasks.commit(composed([deleting(new.id), creating(make_task(owner=owner))]))
    await remove(tasks, task.id)


async def test_owners_with_locked_rows_delay_nobody_else(engine: AsyncEngine, database_url: str) -> None:
    stored = PostgresTaskStore(engine, deadline=30)
    held = [OwnerId(f"held {number}") for number in range(6)]
    strangers = [OwnerId(f"stranger {number}") for number in range(4)]
    theirs = {owner: make_task(owner=owner) for owner in (*held, *strangers)}
    for owner, task in theirs.items():
        await add(stored.tasks_of(owner), task)
    async with holding(database_url, *held):
        stuck = [asyncio.ensure_future(every_kind(stored, owner, theirs[owner])) for owner in held for _ in range(3)]
        stuck += [
            asyncio.ensure_future(stored.tasks_of(owner).commit(composed([creating(make_task(owner=owner))] * 1)))
            for owner in held
        ]
        await waiting(database_url, 2)
        async with asyncio.timeout(20):
            await asyncio.gather(*(every_kind(stored, owner, theirs[owner]) for owner in strangers))
            newcomers = [OwnerId(f"newcomer {number}") for number in range(4)]
            await asyncio.gather(*(add(stored.tasks_of(owner), make_task(owner=owner)) for owner in newcomers))
        assert not any(each.done() for each in stuck)
    outcomes = await asyncio.gather(*stuck, return_exceptions=True)
    assert not any(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    await stored.aclose()
    with psycopg.connect(database_url) as looking:
        assert out_of_step(looking) == []


async def test_owners_whose_first_rows_are_not_committed_yet_delay_nobody_else(
    engine: AsyncEngine, database_url: str
) -> None:
    stored = PostgresTaskStore(engine, deadline=30)
    await add(stored.tasks_of(BOB), task := make_task(owner=BOB))
    newcomers = [OwnerId(f"newcomer {number}") for number in range(4)]
    async with await psycopg.AsyncConnection.connect(database_url) as rival:
        for owner in newcomers:
            await rival.execute("insert into owners (user_id) values (%s)", [owner])
        stuck = [asyncio.ensure_future(add(stored.tasks_of(owner), make_task(owner=owner))) for owner in newcomers]
        await waiting(database_url, 2)
        async with asyncio.timeout(20):
            await every_kind(stored, BOB, task)
        assert not any(each.done() for each in stuck)
    await asyncio.gather(*stuck)
    await stored.aclose()


async def test_calls_of_a_held_owner_and_of_others_share_a_statement_and_only_the_held_ones_wait(
    engine: AsyncEngine, database_url: str
) -> None:
    stored = PostgresTaskStore(engine)
    for owner in (ANN, BOB):
        await add(stored.tasks_of(owner), make_task(owner=owner))
    async with holding(database_url, ANN):
        anns = [asyncio.ensure_future(add(stored.tasks_of(ANN), make_task())) for _ in range(5)]
        bobs = [asyncio.ensure_future(add(stored.tasks_of(BOB), make_task(owner=BOB))) for _ in range(5)]
        assert [each.change for each in await asyncio.gather(*bobs)] == [2, 3, 4, 5, 6]
        await waiting(database_url, 1)
        assert not any(each.done() for each in anns)
    assert [each.change for each in await asyncio.gather(*anns)] == [2, 3, 4, 5, 6]
    await stored.aclose()


async def test_a_cancelled_wait_for_an_owner_takes_no_number(engine: AsyncEngine, database_url: str) -> None:
    stored = PostgresTaskStore(engine)
    tasks = stored.tasks_of(ANN)
    await add(tasks, task := make_task())
    async with holding(database_url, ANN):
        doing = [
            asyncio.ensure_future(each)
            for each in (
                add(tasks, make_task()),
                edit(tasks, task.id, lambda task: task.toggled(at=LATER)),
                tasks.commit(composed([creating(make_task()), deleting(task.id)])),
            )
        ]
        await waiting(database_url, 1)
        for each in doing:
            each.cancel()
        await asyncio.wait(doing)
    await stored.aclose()
    with psycopg.connect(database_url) as looking:
        assert out_of_step(looking) == []
    again = PostgresTaskStore(engine)
    log = await whole_log(again.tasks_of(ANN))
    assert [entry.number for entry in log] == list(range(1, len(log) + 1))
    await again.aclose()


# Tasks from before the log.


async def test_tasks_from_before_the_log_are_its_first_change_when_their_owner_first_writes(
    postgres_store: PostgresTaskStore, database_url: str
) -> None:
    old = [make_task(id=make_id(number), title=f"{number}") for number in range(3)]
    with psycopg.connect(database_url) as before:
        for task in (*old, make_task(owner=BOB)):
            before.execute(ADD, columns(task))
    tasks = postgres_store.tasks_of(ANN)
    assert (await tasks.changes(ChangeQuery())).items == ()
    assert (await tasks.commit(changing(old[0].id, lambda task: task.toggled(at=LATER)))).change == 2
    log = await whole_log(tasks)
    assert [(entry.number, entry.id, entry.action) for entry in log] == [
        *((1, task.id, "created") for task in old),
        (2, old[0].id, "completed"),
    ]
    assert len({entry.at for entry in log if entry.number == 1}) == 1
    assert replayed(ANN, log) == {task.id: task for task in (old[0].toggled(at=LATER), *old[1:])}
    with psycopg.connect(database_url) as looking:
        assert looking.execute("select user_id, number, live from owners").fetchall() == [("ann", 2, 3)]


def two_creations() -> Plan:
    return composed([creating(make_task()), creating(make_task())])


@pytest.mark.parametrize("times", [1, 2])
async def test_an_owner_is_adopted_once_whoever_writes_first(
    engine: AsyncEngine, database_url: str, times: int
) -> None:
    old = [make_task(id=make_id(number)) for number in range(20)]
    with psycopg.connect(database_url) as before:
        for task in old:
            before.execute(ADD, columns(task))
    stores = [PostgresTaskStore(engine) for _ in range(3)]
    commits = [
        commit
        for stored in stores
        for commit in (
            *(add(stored.tasks_of(ANN), make_task()) for _ in range(times)),
            *(stored.tasks_of(ANN).commit(two_creations()) for _ in range(times)),
        )
    ]
    edits = [edit(stores[0].tasks_of(ANN), task.id, lambda task: task.toggled(at=LATER)) for task in old[:5]]
    await asyncio.gather(*commits, *edits)
    log = await whole_log(stores[0].tasks_of(ANN))
    assert [entry.id for entry in log if entry.number == 1] == [task.id for task in old]
    page = await stores[0].tasks_of(ANN).page(TaskQuery(limit=200))
    assert replayed(ANN, log) == {task.id: task for task in page.items}
    with psycopg.connect(database_url) as looking:
        assert out_of_step(looking) == []
        assert looking.execute("select number, live from owners").fetchall() == [
            (1 + len(commits) + len(edits), len(page.items))
        ]
    for stored in stores:
        await stored.aclose()


async def test_an_interrupted_adoption_is_repeated(engine: AsyncEngine, database_url: str) -> None:
    with psycopg.connect(database_url) as before:
        before.execute(ADD, columns(old := make_task(created_at=NOON)))
    async with await psycopg.AsyncConnection.connect(database_url) as holder:
        await holder.execute("lock table changes in access exclusive mode")
        stored = PostgresTaskStore(engine, deadline=0.5)
        with pytest.raises(StoreUnavailable):
            await add(stored.tasks_of(ANN), make_task())
        with suppress(StoreUnavailable):
            await stored.aclose()
    stored = PostgresTaskStore(engine)
    await add(stored.tasks_of(ANN), make_task())
    assert [(entry.number, entry.id == old.id) for entry in await whole_log(stored.tasks_of(ANN))] == [
        (1, True),
        (2, False),
    ]
    await stored.aclose()
