"""Migrations that meet each other, a lock, or a database that does not fit."""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from adapters.old_rows import rows
from databases import ScratchCluster
from psycopg import sql

from todo_adapters.postgres.migrations import UnfitDatabase, current_revision, is_current, max_connections, migrate
from todo_core import StoreUnavailable


def test_a_migration_gives_up_on_a_table_that_somebody_keeps_locked(empty_database_url: str) -> None:
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("lock table tasks in access share mode")
        with pytest.raises(StoreUnavailable):
            migrate(empty_database_url, "base")
    assert is_current(empty_database_url)


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


def test_a_role_that_may_not_write_is_refused_with_the_grants_that_it_needs(
    database_url: str, empty_database_url: str
) -> None:
    role = "Ann's"
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(f"""create role "{role}" login password 'x'""")
        try:
            owner.execute(f'grant select on tasks, owners, todo_schema_version to "{role}"')
            with pytest.raises(UnfitDatabase) as refused:
                is_current(as_role(database_url, role))
            grants = str(refused.value).split("`")[1]
            assert grants == (
                f'grant select, insert, update, delete on changes, lists, used_keys to "{role}"; '
                f'grant insert, update, delete on tasks to "{role}"; grant insert, update on owners to "{role}"'
            )
            owner.execute(grants)
            assert is_current(as_role(database_url, role))
            assert not is_current(as_role(empty_database_url, role))
        finally:
            owner.execute(f'drop owned by "{role}"; drop role "{role}"')


def test_a_role_is_accepted_on_fewer_connections_than_the_server_has(database_url: str) -> None:
    role = "limited role"
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(f"""create role "{role}" login password 'x'""")
        try:
            limited = as_role(database_url, role)
            assert (max_connections(limited), max_connections(database_url)) == (497, 500)  # three are the superusers'
            owner.execute(f'alter database "{owner.info.dbname}" connection limit 30')
            assert (max_connections(limited), max_connections(database_url)) == (30, 500)
            owner.execute(f'alter role "{role}" connection limit 20')
            assert max_connections(limited) == 20
        finally:
            owner.execute(f'drop role "{role}"')


def as_role(url: str, role: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{quote(role)}:x@{parts.netloc.rpartition('@')[2]}").geturl()
