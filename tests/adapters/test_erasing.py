"""Erased text leaves the tables immediately, and the database's files when they are rewritten."""

import os
from pathlib import Path

import psycopg
from clocks import until
from databases import ScratchCluster
from factories import LATER, make_task

from todo_adapters.postgres import PostgresTaskStore
from todo_adapters.postgres.engine import Engine
from todo_core import IdempotencyKey, Once
from todo_core.testing.writing import add, creating, edit, erasing, remove

SECRET = "Zanzibar-74251-secret"


def tables_with(folder: Path, text: str) -> list[Path]:
    """The files of tables and indexes below the folder that hold the text."""
    # `os.walk` passes over a folder that is removed meanwhile, as those of other tests' databases are.
    walked = [(Path(place), names) for place, _, names in os.walk(folder)]
    files = [place / name for place, names in walked if "base" in place.parts for name in names]
    return [path for path in files if text.encode() in content(path)]


def content(path: Path) -> bytes:
    """What is in the file; nothing where the server has removed it meanwhile, as it does with its caches."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


async def test_erased_text_leaves_the_tables_and_after_a_rewrite_their_files(
    engine: Engine, cluster: ScratchCluster, database_url: str
) -> None:
    store = PostgresTaskStore(engine)
    mine = store.tasks_of(make_task().owner)
    secret, other = make_task(title=SECRET, tags=(SECRET,)), make_task(title="Kept-53117")
    await mine.commit(creating(secret, Once(IdempotencyKey("k"), "")))
    await add(mine, other)
    await edit(mine, secret.id, lambda task: task.edited(description=f"{SECRET} again", at=LATER))
    await remove(mine, secret.id)
    await mine.commit(erasing(secret.id))
    await store.aclose()  # and so nobody prunes any more
    with psycopg.connect(database_url, autocommit=True) as connection:
        tables = [row[0] for row in connection.execute("select tablename from pg_tables where schemaname = 'public'")]
        dumped = "".join(
            str(row)
            for table in tables
            for row in connection.execute(f'select "{table}"::text from "{table}"')  # noqa: S608
        )
        assert "Kept-53117" in dumped
        assert SECRET.lower() not in dumped.lower()
        # Again, as long as a snapshot of somebody else, such as the database's own statistics, has it keep old rows.
        await until(lambda: rewritten_with(connection, cluster.folder, SECRET) == [])
    assert tables_with(cluster.folder, "Kept-53117")


def rewritten_with(connection: psycopg.Connection, folder: Path, text: str) -> list[Path]:
    """What `tables_with` finds once all tables are rewritten: a plain vacuum leaves the bytes in them."""
    connection.execute("vacuum full")
    connection.execute("checkpoint")
    return tables_with(folder, text)
