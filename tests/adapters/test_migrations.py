"""Migrations on a real database: up, down, simultaneous, and to the same schema as `table.py`."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from databases import ScratchCluster
from effort import code_points
from factories import ANN, LATER, NOON, make_id, make_task
from psycopg import sql
from serving import eventually
from sqlalchemy import NullPool, create_engine

import todo_adapters
from todo_adapters.postgres import PostgresTaskStore
from todo_adapters.postgres import create_engine as create_async
from todo_adapters.postgres.migrations import (
    UnfitDatabase,
    configuration,
    current_revision,
    head,
    is_current,
    migrate,
)
from todo_adapters.postgres.table import metadata
from todo_core import (
    Committed,
    Decision,
    IdempotencyKey,
    ListId,
    Once,
    Pair,
    Plan,
    StoreUnavailable,
    Task,
    TaskList,
    TaskQuery,
    searchable,
)
from todo_core.task import is_description, is_owner, is_title
from todo_core.testing.log import replayed, whole_log
from todo_core.testing.writing import changing, creating, edit

SCHEMA = """
    with ours as (
        select to_regclass(name) as id from unnest(array['tasks', 'lists', 'owners', 'changes', 'used_keys']) as name
    )
    select 'column', attrelid::regclass || '.' || attname,
            format_type(atttypid, atttypmod) || ' ' || attnotnull || ' ' || coalesce(collname, '')
        from pg_attribute left join pg_collation on pg_collation.oid = attcollation
        where attrelid in (select id from ours) and attnum > 0 and not attisdropped
    union all
    select 'default', attrelid::regclass || '.' || attname, pg_get_expr(adbin, adrelid)
        from pg_attrdef join pg_attribute on attrelid = adrelid and attnum = adnum
        where adrelid in (select id from ours)
    union all
    select 'constraint', conname, replace(pg_get_constraintdef(oid), ' NOT VALID', '')
        from pg_constraint where conrelid in (select id from ours)
    union all
    select 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid)
        from pg_index where indrelid in (select id from ours)
    order by 1, 2
"""
FURTHER = """
import sqlalchemy as sa
from alembic import op

revision = "{further}"
down_revision = "{last}"

def upgrade():
    op.add_column("tasks", sa.Column("further", sa.Text(collation="C"), nullable=False, server_default="none"))

def downgrade():
    op.drop_column("tasks", "further")
"""
REVISIONS = sorted(revision.revision for revision in ScriptDirectory.from_config(configuration()).walk_revisions())


def rows(url: str, statement: Any, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement, parameters).fetchall()


@contextmanager
def connected(url: str) -> Iterator[Any]:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)
    with engine.begin() as connection:
        yield connection


def test_an_empty_database_is_brought_up_to_date_once(empty_database_url: str) -> None:
    assert current_revision(empty_database_url) is None
    assert not is_current(empty_database_url)
    migrate(empty_database_url)
    assert current_revision(empty_database_url) == head()
    assert is_current(empty_database_url)
    migrate(empty_database_url)
    assert is_current(empty_database_url)


def test_downgrading_removes_everything_and_upgrading_gives_the_same_schema_again(empty_database_url: str) -> None:
    migrate(empty_database_url)
    schema = rows(empty_database_url, SCHEMA)
    assert len(schema) > 30
    migrate(empty_database_url, "base")
    assert rows(empty_database_url, SCHEMA) == []
    assert current_revision(empty_database_url) is None
    migrate(empty_database_url)
    assert rows(empty_database_url, SCHEMA) == schema
    for revision in reversed(REVISIONS[:-1]):
        migrate(empty_database_url, revision)
        assert current_revision(empty_database_url) == revision
    migrate(empty_database_url)
    assert rows(empty_database_url, SCHEMA) == schema


def test_revisions_are_numbered_one_by_one() -> None:
    assert [f"{number:04}" for number in range(1, len(REVISIONS) + 1)] == REVISIONS
    assert head() == REVISIONS[-1]


def at_revision(url: str, ahead: int) -> str:
    """Mark the schema as that many revisions newer than what this version knows."""
    revision = f"{int(head()) + ahead:04}"
    with psycopg.connect(url) as connection:
        connection.execute("update todo_schema_version set version_num = %s", [revision])
    return revision


def test_an_older_schema_is_not_served_and_one_that_is_a_revision_newer_is(empty_database_url: str) -> None:
    for revision in REVISIONS[:-1]:
        migrate(empty_database_url, revision)
        assert not is_current(empty_database_url)
    migrate(empty_database_url)
    assert is_current(empty_database_url)
    newer = at_revision(empty_database_url, 1)
    assert is_current(empty_database_url)
    migrate(empty_database_url)  # what a replica of this version does that starts meanwhile
    assert current_revision(empty_database_url) == newer


def test_a_schema_that_is_further_ahead_is_not_touched(empty_database_url: str) -> None:
    migrate(empty_database_url)
    newer = at_revision(empty_database_url, 2)
    for ask in (migrate, is_current):
        with pytest.raises(UnfitDatabase, match=f"at revision {newer}, .* knows {head()}"):
            ask(empty_database_url)
    assert current_revision(empty_database_url) == newer


def test_a_migration_gives_up_on_a_table_that_somebody_keeps_locked(empty_database_url: str) -> None:
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("lock table tasks in access share mode")
        with pytest.raises(StoreUnavailable):
            migrate(empty_database_url, "base")
    assert is_current(empty_database_url)


@pytest.mark.parametrize("target", REVISIONS)
def test_every_revision_is_reached_from_every_other(empty_database_url: str, target: str) -> None:
    earlier = ["base", *REVISIONS[: REVISIONS.index(target)]]
    for revision in [step for start in earlier for step in (start, target)] + ["base"]:  # each way between each two
        migrate(empty_database_url, revision)
        assert current_revision(empty_database_url) == (None if revision == "base" else revision)


def kept(url: str, columns: dict[str, list[str]]) -> dict[str, list[tuple[Any, ...]]]:
    """What these columns of these tables hold."""
    tables = {name: sql.SQL(", ").join(map(sql.Identifier, names)) for name, names in columns.items()}
    select = sql.SQL("select {} from {} order by user_id, id")
    return {name: rows(url, select.format(names, sql.Identifier(name))) for name, names in tables.items()}


def columns_of(url: str) -> dict[str, list[str]]:
    """The columns of each table of ours, without those that are derived from others."""
    found: dict[str, list[str]] = {}
    listed = "select table_name, column_name from information_schema.columns where table_name = any(%s)"
    for table, column in rows(url, listed, [*ROWS]):
        if column != "search_text":
            found.setdefault(table, []).append(column)
    return found


@pytest.mark.parametrize("start", REVISIONS)
def test_rows_survive_every_upgrade_and_downgrade_unchanged(empty_database_url: str, start: str) -> None:
    migrate(empty_database_url, start)
    columns = columns_of(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        for title in TITLES:
            for table in columns:
                connection.execute(ROWS[table], row(title=title))
    before = kept(empty_database_url, columns)
    assert all(len(found) == len(TITLES) for found in before.values())
    for revision in [later for later in REVISIONS if later > start]:
        migrate(empty_database_url, revision)
        assert kept(empty_database_url, columns) == before
    for revision in [between for between in reversed(REVISIONS) if between >= start]:
        migrate(empty_database_url, revision)
        assert kept(empty_database_url, columns) == before
    migrate(empty_database_url)
    assert kept(empty_database_url, columns) == before


OLD_TEXTS = """
    insert into tasks (user_id, id, title, version, created_at, updated_at, search_text)
    select 'user ' || n % 7, gen_random_uuid(), 'Cafe\u0301 ' || n, 1, now(), now(), 'cafe\u0301 ' || n || chr(31)
    from generate_series(1, 2500) n
"""


def fill_with_old_texts(url: str) -> list[tuple[Any, ...]]:
    """Tasks as a server of revision 0002 writes them; what they are searched by."""
    migrate(url, "0002")
    with psycopg.connect(url) as connection:
        connection.execute(OLD_TEXTS)
    return rows(url, TEXTS)


WAITING = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
TEXTS = "select user_id, id, search_text from tasks order by user_id, id"
TASKS = "select user_id, id, title, description, completed_at, version, created_at, updated_at from tasks order by 1, 2"


def expected(url: str) -> list[tuple[Any, ...]]:
    """What the tasks should be searched by now."""
    names = ("owner", "id", "title", "description", "completed_at", "version", "created_at", "updated_at")
    stored = [Task(**dict(zip(names, row, strict=True))) for row in rows(url, TASKS)]
    return [(task.owner, task.id, searchable(task)) for task in stored]


def test_search_texts_are_rebuilt_in_bounded_pieces_in_both_directions(empty_database_url: str) -> None:
    old = fill_with_old_texts(empty_database_url)
    tasks = rows(empty_database_url, TASKS)
    migrate(empty_database_url, "0003")
    assert rows(empty_database_url, TEXTS) == expected(empty_database_url) != old
    pieces = rows(empty_database_url, "select count(*) from tasks group by xmin::text")
    assert sorted(size for (size,) in pieces) == [500, 1000, 1000]
    migrate(empty_database_url, "0002")
    assert rows(empty_database_url, TEXTS) == old
    assert rows(empty_database_url, TASKS) == tasks


def test_rows_written_by_older_servers_meanwhile_are_rebuilt_the_next_time(empty_database_url: str) -> None:
    fill_with_old_texts(empty_database_url)
    with psycopg.connect(empty_database_url) as server:
        late = "update tasks set title = title || '!', search_text = search_text || '!' where title like '%%7'"
        assert server.execute(late).rowcount == 250
        with ThreadPoolExecutor(1) as pool:
            migrating = pool.submit(migrate, empty_database_url, "0003")
            # It skips the rows that are locked, and waits for the table.
            eventually(lambda: migrating.done() or bool(rows(empty_database_url, WAITING)))
            server.commit()
            migrating.result()
    wanted = expected(empty_database_url)
    assert sum(found != right for found, right in zip(rows(empty_database_url, TEXTS), wanted, strict=True)) == 250
    migrate(empty_database_url)
    assert rows(empty_database_url, TEXTS) != wanted
    migrate(empty_database_url, again=True)
    assert rows(empty_database_url, TEXTS) == wanted


@pytest.mark.parametrize("change", ["alter table tasks drop column priority", "drop table used_keys"])
def test_a_schema_that_lacks_what_this_version_uses_is_refused(empty_database_url: str, change: str) -> None:
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(change)
    for ask in (is_current, migrate):
        with pytest.raises(
            UnfitDatabase, match=r"has no (tasks\.priority|used_keys\.user_id, .*): .* another database\."
        ):
            ask(empty_database_url)


def test_a_change_of_rows_that_was_interrupted_goes_on_where_it_stopped(empty_database_url: str) -> None:
    fill_with_old_texts(empty_database_url)
    halt = "create function halt() returns trigger language plpgsql as 'begin raise exception ''halted''; end'"
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(halt)
        last = "create trigger halt before update on tasks for each row when (new.user_id = 'user 6') execute function"
        connection.execute(f"{last} halt()")  # type: ignore[arg-type]
    with pytest.raises(Exception, match="halted"):
        migrate(empty_database_url)
    assert current_revision(empty_database_url) == "0002"
    assert not is_current(empty_database_url)
    done = set(rows(empty_database_url, TEXTS)) & set(expected(empty_database_url))
    assert 0 < len(done) < 2500
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("drop trigger halt on tasks")
    migrate(empty_database_url)
    assert rows(empty_database_url, TEXTS) == expected(empty_database_url)


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


def test_the_migrations_make_the_schema_that_the_tables_declare(
    empty_database_url: str, cluster: ScratchCluster
) -> None:
    migrate(empty_database_url)
    direct = cluster.create_database()
    with connected(direct) as connection:
        metadata.create_all(connection)
    assert rows(empty_database_url, SCHEMA) == rows(direct, SCHEMA)
    cluster.drop(direct)


# SQLAlchemy hands what it reads of a constraint that is not validated to a class that does not know it.
@pytest.mark.filterwarnings("ignore:Can't validate argument 'dialect_options'")
def test_alembic_finds_nothing_left_to_migrate(empty_database_url: str) -> None:
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("create table somebody_elses (id int)")
    with connected(empty_database_url) as connection:
        command.check(configuration(connection))


def test_simultaneous_migrations_run_once(empty_database_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(migrate, [empty_database_url] * 8))
    assert is_current(empty_database_url)
    assert rows(empty_database_url, "select count(*) from todo_schema_version") == [(1,)]


def test_a_migration_waits_for_the_one_under_way_whatever_isolation_is_the_default(empty_database_url: str) -> None:
    name = sql.Identifier(urlsplit(empty_database_url).path[1:])
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        setting = "alter database {} set default_transaction_isolation = 'repeatable read'"
        connection.execute(sql.SQL(setting).format(name))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [empty_database_url] * 4))
    assert is_current(empty_database_url)


def test_a_migration_that_fails_leaves_nothing(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("create table tasks (somebody_elses text)")
    with pytest.raises(Exception, match="already exists"):
        migrate(empty_database_url)
    assert current_revision(empty_database_url) is None
    assert rows(empty_database_url, "select to_regclass('todo_schema_version')") == [(None,)]


def test_a_database_of_another_encoding_is_refused(cluster: ScratchCluster, empty_database_url: str) -> None:
    statement = "create database latin template template0 encoding latin1 locale_provider libc locale 'C'"
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(statement)
    url = urlsplit(empty_database_url)._replace(path="/latin").geturl()
    with pytest.raises(UnfitDatabase, match="UTF8; this one has LATIN1"):
        migrate(url)
    assert current_revision(url) is None
    cluster.drop(url)


def test_an_unreachable_database_is_unavailable() -> None:
    for ask in (migrate, current_revision, is_current):
        with pytest.raises(StoreUnavailable):
            ask("postgresql://user:secret@127.0.0.1:1/none")


INSERT = """
    insert into tasks (user_id, id, title, description, completed_at, version, created_at, updated_at, search_text)
    values (%(owner)s, %(id)s, %(title)s, %(description)s, %(completed_at)s, %(version)s, %(created_at)s,
            %(updated_at)s, '')
"""
KEEP = """
    insert into idempotency_keys (user_id, key, id, title, version, created_at, updated_at)
    values (%(owner)s, %(title)s, %(id)s, %(title)s, %(version)s, %(created_at)s, %(updated_at)s)
"""
KEEP_WHOLE = """
    insert into idempotency_keys
        (user_id, key, id, title, description, completed_at, version, created_at, updated_at)
    values (%(owner)s, 'of ' || %(id)s::uuid, %(id)s, %(title)s, %(description)s, %(completed_at)s, %(version)s,
            %(created_at)s, %(updated_at)s)
"""
KEEP_ENTRY = """
    insert into changes (user_id, number, id, at, action, before, after)
    values (%(owner)s, %(version)s, %(id)s, %(updated_at)s, 'edited', '{"title": "Old"}',
            jsonb_build_object('title', %(title)s::text))
"""
KEEP_LIST = """
    insert into lists (user_id, id, name, position, version, created_at, updated_at)
    values (%(owner)s, %(id)s, %(title)s, replace(%(id)s::text, '-', ''), %(version)s, %(created_at)s, %(updated_at)s)
"""
ROWS = {"tasks": INSERT, "idempotency_keys": KEEP, "changes": KEEP_ENTRY, "lists": KEEP_LIST}
TITLES = ("Buy milk", "Cafe\u0301", "Caf\u00e9", "\ufb01nd", "😀")


def row(**values: object) -> dict[str, object]:
    task = make_task()
    return {name: getattr(task, name) for name in task.__slots__} | values


@pytest.mark.parametrize(
    "values",
    [
        {"owner": ""},
        {"owner": "x" * 256},
        {"owner": "a\nb"},
        {"owner": None},
        {"title": ""},
        {"title": "x" * 201},
        {"title": " \u3000"},
        {"title": "a\tb"},
        {"title": None},
        {"description": "x" * 1001},
        {"description": "a\rb"},
        {"description": "\x9f"},
        {"version": 0},
        {"created_at": "infinity"},
        {"updated_at": "-infinity"},
        {"completed_at": "10000-01-01 00:00+00"},
        {"created_at": "0001-01-01 00:00:00+00 BC"},
    ],
)
def test_the_database_itself_refuses_what_the_core_refuses(database_url: str, values: dict[str, object]) -> None:
    with psycopg.connect(database_url) as connection:
        with pytest.raises(psycopg.errors.IntegrityError), connection.transaction():
            connection.execute(INSERT, row(**values))
        connection.execute(INSERT, row())


@pytest.mark.parametrize(("field", "fits"), [("owner", is_owner), ("title", is_title), ("description", is_description)])
def test_the_database_judges_every_character_as_the_core_does(database_url: str, field: str, fits: Any) -> None:
    column = {"owner": "user_id"}.get(field, field)
    [(rule,)] = rows(
        database_url,
        "select pg_get_expr(conbin, conrelid) from pg_constraint where conname = %s",
        f"tasks_{column}_check",
    )
    judged = sql.SQL(
        'select n from unnest(%s::int[]) n, lateral (select chr(n) collate "C" as {column}) t where {rule}'
    ).format(column=sql.Identifier(column), rule=sql.SQL(rule))
    characters = [each for each in code_points() if each and not 0xD800 <= each < 0xE000]  # all that PostgreSQL stores
    allowed = {number for (number,) in rows(database_url, judged, characters)}
    assert allowed == {number for number in characters if fits(chr(number))}


def test_the_longest_names_fit_the_primary_key(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(INSERT, row(owner="\U0010ffff" * 255, title="😀" * 200, description="😀" * 1000))


def test_an_invalid_url_is_reported_without_being_quoted() -> None:
    for url in (
        "mysql://ann:secret@host/db",
        "secret",
        "postgresql://ann:secret@host/db?unknown=secret",
        "postgresql://%zzsecret",
    ):
        with pytest.raises(ValueError, match="database URL") as problem:
            migrate(url)
        assert "secret" not in str(problem.value)
        assert problem.value.__suppress_context__ or problem.value.__context__ is None


def test_owners_are_in_the_order_of_their_code_points_whatever_the_locale(database_url: str) -> None:
    names = ["b", "B", "a", "ä", "\uffee", "😀", ANN]
    with psycopg.connect(database_url) as connection:
        for name in names:
            connection.execute(INSERT, row(owner=name, title=name))
        for column in ("user_id", "title"):
            statement = sql.SQL("select {0} from tasks order by {0}").format(sql.Identifier(column))
            assert [name for (name,) in connection.execute(statement)] == sorted(names)


# What a revision that is added can break; the others are about one revision, or about none.
ABOUT_EVERY_REVISION = (
    test_an_empty_database_is_brought_up_to_date_once,
    test_downgrading_removes_everything_and_upgrading_gives_the_same_schema_again,
    test_revisions_are_numbered_one_by_one,
    test_an_older_schema_is_not_served_and_one_that_is_a_revision_newer_is,
    test_a_schema_that_is_further_ahead_is_not_touched,
    test_every_revision_is_reached_from_every_other,
    test_rows_survive_every_upgrade_and_downgrade_unchanged,
    test_search_texts_are_rebuilt_in_bounded_pieces_in_both_directions,
    test_rows_written_by_older_servers_meanwhile_are_rebuilt_the_next_time,
    test_a_change_of_rows_that_was_interrupted_goes_on_where_it_stopped,
    test_the_migrations_make_the_schema_that_the_tables_declare,
    test_alembic_finds_nothing_left_to_migrate,
)


@pytest.mark.ci
@pytest.mark.timeout(400)  # it runs much of this file
def test_a_new_revision_with_a_default_column_passes_these_tests(tmp_path: Path) -> None:
    shutil.copytree(Path(todo_adapters.__file__).parents[1], tmp_path / "src")
    adapter = tmp_path / "src/todo_adapters/postgres"
    further = FURTHER.format(last=head(), further=f"{int(head()) + 1:04}")
    (adapter / f"migrations/versions/{int(head()) + 1:04}_further.py").write_text(further)
    table = (adapter / "table.py").read_text()
    first = '    Column("user_id", TEXT, nullable=False),\n'
    column = '    Column("further", TEXT, nullable=False, server_default="none"),\n'
    assert first in table
    (adapter / "table.py").write_text(table.replace(first, column + first, 1))  # the database has it last
    chosen = [f"{__file__}::{test.__name__}" for test in ABOUT_EVERY_REVISION]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path / 'src'}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert f"{int(head()) + 1:04}" not in REVISIONS  # it was there alone
