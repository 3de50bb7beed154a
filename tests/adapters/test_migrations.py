"""Migrations on a real database: from every revision to every other, rows included, and to the schema of `table.py`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from adapters.old_rows import ROWS, TITLES, row, rows
from alembic import command
from alembic.script import ScriptDirectory
from databases import ScratchCluster
from psycopg import sql
from serving import eventually
from sqlalchemy import NullPool, create_engine

import todo_adapters
from todo_adapters.postgres.migrations import UnfitDatabase, configuration, current_revision, head, is_current, migrate
from todo_adapters.postgres.table import metadata
from todo_core import Task, searchable

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
        with pytest.raises(UnfitDatabase, match=f"at revision {newer}, .* knows {head()}: install a newer version"):
            ask(empty_database_url)
    assert current_revision(empty_database_url) == newer


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


# What a revision that is added can break; the tests in other files are about one revision, or about none.
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
