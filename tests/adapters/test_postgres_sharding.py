"""On tables that are sharded by owner, each statement names one owner: tested on partitions, by the planner's choice.

What is planned with one partition of each table has one task on Citus.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from unittest.mock import patch

import psycopg
import pytest
import pytest_asyncio
from adapters.statements import (
    ADD,
    CREATING_ONCE,
    DONE,
    begun,
    columns,
    creation,
    executing,
    have_owners,
    holding,
    once,
    results,
    waiting,
)
from factories import ANN, BOB, LATER, NOON, make_task
from partitions import partition, partitions_in_plan

from todo_adapters.memory import MemoryTaskStore
from todo_adapters.postgres import PostgresTaskStore, batch, create_engine, reading, sender, store, sync, transaction
from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.migrations import head, migrate
from todo_adapters.postgres.sharding import of_one_owner
from todo_adapters.postgres.table import metadata
from todo_adapters.postgres.writing import Write
from todo_core import (
    ChangeQuery,
    IdempotencyKey,
    Once,
    OwnedTasks,
    OwnerId,
    StoreUnavailable,
    SyncQuery,
    Task,
    TaskNotFound,
    TaskQuery,
    TaskStore,
)
from todo_core.testing import TaskStoreContract, assert_stores_agree
from todo_core.testing.examples import make_list
from todo_core.testing.writing import (
    add,
    add_once,
    changing,
    creating_list,
    deleting,
    edit,
    erasing,
    move,
    placing,
    remove,
    restoring,
    undoing,
)

Sent = dict[str, Mapping[str, Any]]
"""Texts of statements, with the values of the last time."""

OF_TABLES: Final = re.compile(rf"\b(?:{'|'.join(metadata.tables)})\b")
INSERT: Final = re.compile(r"insert into (\w+) \((\w+)[^)]*\)\s+(?:select|values \()\s*([^,\s]*[^,\s)])")
OLDEST: Final = re.compile(r"select user_id\s+from \w+ where \w+ < now\(\) - %\(life\)s\s+order by \w+ limit 1000\s*")
"""What pruning asks of all shards."""
EVERYTHING: Final = OwnerId("everything")
KEY, KEY_OF_DELETION = IdempotencyKey("key"), IdempotencyKey("key of deletion")
PARTS: Final = ("_SELECT", "_NUMBERS", "_LIMIT_WAITS")
"""What is no statement of its own, is sent where tables are not sharded, or looks at no table."""
OF_OWNER: Final = "select from tasks where user_id = %(owner)s"
OWNER: Final = frozenset({"%(owner)s::text", "%(user_id)s", "tasks.user_id"})
"""What an insert may name as the owner; the last stands for one that is read by a parameter."""


@contextmanager
def recording() -> Iterator[Sent]:
    """While every statement about our tables is kept; the driver gets no other."""
    sent: Sent = {}
    given: set[str] = set()
    execute = psycopg.AsyncCursor.execute

    async def kept(
        connection: psycopg.AsyncConnection[Any], statement: str, values: Mapping[str, Any], **others: Any
    ) -> list[Any]:
        if OF_TABLES.search(statement):
            sent[statement] = values
        return await batch.execute(connection, statement, values, **others)  # type: ignore[arg-type]

    async def counted(cursor: Any, statement: Any, *values: Any, **others: Any) -> Any:
        name = cursor.connection.info.parameter_status("application_name")
        if OF_TABLES.search(str(statement)) and name == "todo-api":
            given.add(statement)
        return await execute(cursor, statement, *values, **others)

    with executing(kept), patch.object(psycopg.AsyncCursor, "execute", counted):
        yield sent
    assert len(given) == len(sent)


def assert_each_is_of_one_owner(url: str, sent: Sent) -> None:
    with psycopg.connect(url) as connection:
        for statement, values in sent.items():
            if statement == sync._NUMBERS_OF_ALL or OLDEST.fullmatch(statement):
                continue
            found = partitions_in_plan(connection, statement, values)
            assert len({name.rpartition("_")[2] for name in found}) <= 1, (statement, found)
            # A list of one is planned alike, and not routed alike.
            assert "any(%(user_id)s" not in statement, statement
            inserts = INSERT.findall(statement)
            assert len(inserts) == statement.count("insert into"), statement
            assert {(column, value in OWNER) for _, column, value in inserts} <= {("user_id", True)}, statement


@pytest.mark.ci  # by default the random agreement with the store in memory says it, below
@pytest.mark.asyncio(loop_scope="class")
class TestSharded(TaskStoreContract):
    """The contract, by statements of one owner each."""

    @pytest_asyncio.fixture(loop_scope="class", scope="class")
    @classmethod
    async def sharded(cls, shared_partitioned_database_url: str) -> AsyncIterator[TaskStore]:
        engine = create_engine(shared_partitioned_database_url, sharded=True)
        store = PostgresTaskStore(engine)
        yield store
        await store.aclose()
        await engine.dispose()

    @pytest_asyncio.fixture(loop_scope="class")
    async def store(self, sharded: TaskStore, shared_partitioned_database_url: str) -> AsyncIterator[TaskStore]:
        with recording() as sent:
            yield sharded
        assert_each_is_of_one_owner(shared_partitioned_database_url, sent)


def test_memory_and_a_sharded_store_answer_alike(shared_partitioned_database_url: str) -> None:
    with asyncio.Runner() as runner, recording() as sent:
        engine = create_engine(shared_partitioned_database_url, sharded=True)
        store = PostgresTaskStore(engine)
        assert_stores_agree(MemoryTaskStore(), store, run=runner.run, examples=15)
        runner.run(store.aclose())
        runner.run(engine.dispose())
    assert_each_is_of_one_owner(shared_partitioned_database_url, sent)


@pytest.fixture
async def engine(partitioned_database_url: str) -> AsyncIterator[Engine]:
    engine = create_engine(partitioned_database_url, sharded=True)
    yield engine
    await engine.dispose()


async def test_calls_of_one_owner_share_a_statement_and_those_of_two_run_in_parallel(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[list[OwnerId]] = []

    async def read_many(connection: psycopg.AsyncConnection[Any], keys: Sequence[reading.Key]) -> Sequence[Task | None]:
        sent.append([owner for owner, _ in keys])
        return await reading.read_many(connection, keys)

    monkeypatch.setattr(store, "read_many", read_many)
    tasks = PostgresTaskStore(engine)
    missing = [tasks.tasks_of(owner).get(make_task().id) for owner in (ANN, BOB) * 5]
    assert {type(each) for each in await asyncio.gather(*missing, return_exceptions=True)} == {TaskNotFound}
    await tasks.aclose()
    assert sorted(sent) == [[ANN] * 5, [BOB] * 5]


async def test_a_statement_for_several_owners_is_refused_before_it_is_sent(engine: Engine) -> None:
    async with engine.connect() as connection:
        with recording() as sent, pytest.raises(ValueError, match="values to unpack"):
            await reading.read_many(connection, [(owner, make_task().id) for owner in (ANN, BOB)])
    assert sent == {}


@pytest.mark.parametrize(
    "statement",
    [
        "select count(*) from tasks",
        "delete from owners where number = 0 returning true",
        "select from tasks where user_id = any(array['ann', 'bob'])",
        "select from tasks join lists using (id) where tasks.user_id = 'ann'",
    ],
)
async def test_a_statement_that_names_no_owner_or_several_is_noticed(
    engine: Engine, partitioned_database_url: str, statement: str
) -> None:
    async with engine.connect() as connection:
        with recording() as sent:
            await reading.execute(connection, statement, {})  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match=r"_\d"):
        assert_each_is_of_one_owner(partitioned_database_url, sent)


async def test_a_limited_number_of_owners_runs_in_parallel_and_the_others_wait(
    engine: Engine, partitioned_database_url: str
) -> None:
    tasks = PostgresTaskStore(engine)
    owners = [OwnerId(f"owner {number}") for number in range(3 * sender.MAX_SIDE_BY_SIDE)]
    with psycopg.connect(partitioned_database_url) as other:
        other.execute("lock table tasks in access exclusive mode")
        pages = asyncio.gather(*(tasks.tasks_of(owner).page(TaskQuery()) for owner in owners))
        await waiting(partitioned_database_url, sender.MAX_SIDE_BY_SIDE)
        await asyncio.sleep(0.2)
        assert len(await waiting(partitioned_database_url)) == sender.MAX_SIDE_BY_SIDE
    assert [page.items for page in await pages] == [()] * len(owners)
    await tasks.aclose()
    assert not tasks._sender._coalescers


async def test_an_owner_whose_statements_never_end_fails_alone_and_in_time(
    engine: Engine, partitioned_database_url: str
) -> None:
    tasks = PostgresTaskStore(engine, deadline=0.5)
    await add(tasks.tasks_of(BOB), mine := make_task(owner=BOB))
    with psycopg.connect(partitioned_database_url) as other:
        # Of Ann's partition alone.
        [number] = {name.rpartition("_")[2] for name in partitions_in_plan(other, OF_OWNER, {"owner": ANN})}
        other.execute(f"lock table tasks_{number} in access exclusive mode")
        stuck = asyncio.gather(*(tasks.tasks_of(ANN).page(TaskQuery()) for _ in range(9)), return_exceptions=True)
        await waiting(partitioned_database_url)
        assert await tasks.tasks_of(BOB).get(mine.id) == mine
        assert {type(each) for each in await stuck} == {StoreUnavailable}
    assert (await tasks.tasks_of(ANN).page(TaskQuery(limit=1))).next is None
    await tasks.aclose()


@pytest.mark.parametrize(("sharded", "error"), [(True, StoreUnavailable), (False, psycopg.errors.InternalError_)])
async def test_an_error_of_citus_about_a_lost_machine_is_unavailable_and_without_citus_a_bug(
    partitioned_database_url: str, sharded: bool, error: type[Exception]
) -> None:
    async def failing(connection: psycopg.AsyncConnection[Any], calls: Sequence[None]) -> Sequence[None]:
        await batch.execute(connection, "do $$ begin raise exception 'lost' using errcode = 'XX000'; end $$", {})
        return calls

    engine = create_engine(partitioned_database_url, sharded=sharded)
    sending = sender.Sender(engine, 5.0)
    with pytest.raises(error):
        await sending.read(failing, None, owner=ANN)
    await sending.drain()
    await engine.dispose()


@pytest.mark.parametrize(("sharded", "mode"), [(True, "auto"), (False, "force_generic_plan")])
async def test_plans_are_made_for_the_owner_only_where_tables_are_sharded(
    database_url: str, sharded: bool, mode: str
) -> None:
    engine = create_engine(database_url, sharded=sharded)
    async with engine.connect() as connection:
        assert await (await connection.execute("show plan_cache_mode")).fetchone() == (mode,)
    await engine.dispose()


async def test_a_statement_of_several_owners_that_waited_does_not_end_the_database_with_partitions(
    partitioned_database_url: str,
) -> None:
    owners = [OwnerId(f"owner {number}") for number in range(8)]

    def creations(key: str) -> list[Write]:
        return [creation(make_task(owner=owner), once(key)) for owner in owners]

    engine = create_engine(partitioned_database_url)
    async with engine.connect() as connection:
        await have_owners(connection, *owners)
        await CREATING_ONCE.waiting(connection, creations("first"))
        async with holding(partitioned_database_url, *owners) as rival:
            await rival.execute("update owners set number = number")
            doing = await begun(CREATING_ONCE.waiting(connection, creations("second")), partitioned_database_url)
            await rival.commit()
        assert {*results(await doing)} == {DONE}
    await engine.dispose()


async def test_every_statement_is_covered_by_the_proof(engine: Engine, partitioned_database_url: str) -> None:
    with psycopg.connect(partitioned_database_url) as connection:
        connection.execute("insert into used_keys select 'old', 'k', now() - interval '25 h', 'x', 1, '[]'")
    tasks = PostgresTaskStore(engine)
    with recording() as sent:
        await write_in_every_way(tasks, partitioned_database_url)
        await read_in_every_way(tasks)
        await tasks.aclose()
    assert_each_is_of_one_owner(partitioned_database_url, sent)
    for module in (transaction, reading, sync):
        for name, each in vars(module).items():
            if isinstance(each, str) and re.match(r"\s*(select|with|insert|update)\b", each) and name not in PARTS:
                assert {each, of_one_owner(each)} & sent.keys(), name
    kinds = (
        "updated_at, search_text) select",
        "updated_at, search_text, priority",
        "insert into tasks (user_id, id, title, description, priority",
        "insert into used_keys",
        "update tasks set title",
        "update tasks set completed_at",
    )
    of_writing = [each for each in sent if "held as materialized" in each]
    for kind in kinds:
        assert {" skip locked" in each for each in of_writing if kind in each} == {True, False}, kind
    assert {" skip locked" in each for each in of_writing if "delete from tasks" in each} == {True}  # it never waits
    assert sum("delete from used_keys" in each for each in sent) == 1


async def write_in_every_way(of_all: TaskStore, url: str) -> None:
    tasks = of_all.tasks_of(EVERYTHING)
    task, other, kept = (make_task(owner=EVERYTHING, priority=priority) for priority in (None, "high", None))
    for each in (task, other, make_task(owner=EVERYTHING, recurrence_from="completion")):
        await add(tasks, each)
    await add_once(tasks, KEY, kept)
    await add(tasks, make_task(owner=EVERYTHING, parent_id=kept.id))  # so it is deleted behind the lock
    await asyncio.gather(
        *(edit(tasks, task.id, lambda task, word=word: task.edited(title=word, at=LATER)) for word in "ab")  # type: ignore[misc]
    )
    await edit(tasks, task.id, lambda task: task.toggled(at=LATER))
    await tasks.commit(creating_list(home := make_list(owner=EVERYTHING)))
    for where in ({"list_id": home.id}, {"parent_id": kept.id}):
        for under in (None, Once(IdempotencyKey(f"into {where}"), "")):
            await tasks.commit(replace(placing(make_task(owner=EVERYTHING, **where)), once=under))  # type: ignore[arg-type]
    await move(tasks, task.id, list_id=home.id)
    await tasks.commit(deleting(kept.id, once=Once(KEY_OF_DELETION, "")))
    await tasks.commit(restoring(kept.id, LATER))
    number = (await remove(tasks, kept.id)).change
    assert number is not None
    await tasks.commit(undoing(number, LATER))
    await remove(tasks, kept.id)
    await tasks.commit(erasing(kept.id))
    await write_while_others_hold_the_owner(tasks, task, other, url)


async def write_while_others_hold_the_owner(tasks: OwnedTasks, task: Task, other: Task, url: str) -> None:
    waits: list[Coroutine[Any, Any, object]] = [
        remove(tasks, other.id),
        tasks.commit(changing(task.id, lambda task: task.toggled(at=LATER), Once(IdempotencyKey("toggle"), ""))),
        tasks.commit(
            changing(task.id, lambda task: task.edited(title="d", at=LATER), Once(IdempotencyKey("edit"), ""))
        ),
        add(tasks, make_task(owner=EVERYTHING)),
        add(tasks, make_task(owner=EVERYTHING, priority="high")),
        add(tasks, make_task(owner=EVERYTHING, recurrence_from="completion")),
        add_once(tasks, IdempotencyKey("other"), make_task(owner=EVERYTHING)),
        edit(tasks, task.id, lambda task: task.edited(title="c", at=LATER)),
        edit(tasks, task.id, lambda task: task.toggled(at=LATER)),
    ]
    for each in waits:
        async with holding(url, EVERYTHING) as rival:
            doing = await begun(each, url)
            await rival.commit()
            await doing


async def read_in_every_way(of_all: TaskStore) -> None:
    tasks = of_all.tasks_of(EVERYTHING)
    await tasks.page(TaskQuery())
    await tasks.lists()
    await tasks.summary()
    for trash in (True, False):
        await tasks.changes(ChangeQuery(trash=trash))
    page = await tasks.sync(SyncQuery(now=LATER, kept_since=NOON))
    await tasks.sync(SyncQuery(now=LATER, kept_since=NOON, since=page.next))
    await of_all.changed({EVERYTHING: 0, ANN: 0})


SCHEMA: Final = """
    select conrelid::regclass::text, conname, replace(pg_get_constraintdef(oid), ' NOT VALID', '') from pg_constraint
    where conrelid = any(%(tables)s::regclass[]) and contype in ('p', 'c')
    union all select indrelid::regclass::text, indexrelid::regclass::text,
        replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ')
    from pg_index where indrelid = any(%(tables)s::regclass[])
    union all select attrelid::regclass::text, attname,
        concat_ws(' ', atttypid::regtype, attnotnull, attcollation::regcollation, pg_get_expr(adbin, adrelid))
    from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where attrelid = any(%(tables)s::regclass[]) and attnum > 0 and not attisdropped
    order by 1, 2, 3
"""


def test_partitioned_tables_keep_schema_and_rows_and_are_migrated_like_others(database_url: str) -> None:
    tables = {"tables": list(metadata.tables)}
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(ADD, columns(task := make_task()) | {"owner": ANN})
        before = connection.execute(SCHEMA, tables).fetchall()
        assert {name for name, *_ in before} == set(metadata.tables)
        partition(database_url)
        assert connection.execute(SCHEMA, tables).fetchall() == before
        assert connection.execute("select id from tasks").fetchall() == [(task.id,)]
        for revision in (f"{int(head()) - 1:04}", "head"):
            migrate(database_url, revision)
        assert connection.execute(SCHEMA, tables).fetchall() == before
        assert connection.execute("select id from tasks").fetchall() == [(task.id,)]
