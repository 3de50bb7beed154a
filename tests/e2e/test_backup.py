"""A dump that is made while the service writes, and restored into an empty database, has every task."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import httpx
import psycopg
import pytest
from serving import SECRET, Serve

from todo_adapters.embedded import EmbeddedDatabaseError
from todo_adapters.embedded.account import Account
from todo_adapters.embedded.binaries import find_binaries
from todo_core.testing.examples import NASTY

TASKS = "/api/ann/tasks"
BODIES = [
    {"title": "Milk", "description": "two\nlitres", "completed": True},
    {"title": "".join(NASTY)[:200], "description": "".join(NASTY)},
    {"title": "\\N", "description": "\\."},
    {"title": "\U0010ffff" * 200, "description": ""},
]


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder with pg_dump and pg_restore: those of the test's own server, or as new ones."""
    try:
        return find_binaries(Account(os.geteuid(), os.getegid(), dropped=False))
    except EmbeddedDatabaseError:
        found = shutil.which("pg_dump")
    if found is None:
        pytest.skip("there is no pg_dump")
    return Path(found).parent


def listed(client: httpx.Client) -> list[dict[str, object]]:
    """All of Ann's tasks, the oldest first."""
    tasks: list[dict[str, object]] = []
    query: dict[str, object] = {"limit": 200, "sort": "created_at"}
    while True:
        page = client.get(TASKS, params=query).json()
        tasks += page["items"]
        if page["next_cursor"] is None:
            return tasks
        query["cursor"] = page["next_cursor"]


@contextmanager
def writing(client: httpx.Client) -> Iterator[None]:
    """Tasks are created one after another meanwhile."""
    done = Event()

    def keep_writing() -> None:
        while not done.is_set():
            assert client.post(TASKS, json={"title": "meanwhile"}).status_code == 201

    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(keep_writing)
        try:
            yield
        finally:
            done.set()
        written.result()


def test_a_restored_dump_has_every_task_and_key(
    serve: Serve, programs: Path, database_url: str, empty_database_url: str, tmp_path: Path, token: str
) -> None:
    variables = {"BETTER_AUTH_SECRET": SECRET, "TODO_RATE_LIMIT": "1000000/hour"}
    file = tmp_path / "tasks.dump"
    with serve(DATABASE_URL=database_url, **variables).started().client(token) as client:
        for number in range(200):
            key = {"Idempotency-Key": f"{number}"}
            assert client.post(TASKS, json=BODIES[number % 4], headers=key).status_code == 201
        edited = client.patch(f"{TASKS}/{listed(client)[7]['id']}", json={"title": "Edited"}).json()
        client.delete(f"{TASKS}/{listed(client)[8]['id']}")
        before = listed(client)
        with writing(client):
            subprocess.run([programs / "pg_dump", "--format=custom", f"--file={file}", database_url], check=True)
        after = listed(client)
    restoring = ["--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={empty_database_url}"]
    subprocess.run([programs / "pg_restore", *restoring, file], check=True)
    with serve(DATABASE_URL=empty_database_url, **variables).started().client(token) as client:
        restored = listed(client)
        assert restored[: len(before)] == before
        assert restored == after[: len(restored)]
        assert edited in restored
        again = client.post(TASKS, json=BODIES[0], headers={"Idempotency-Key": "8"})  # the deleted one's
        assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
        assert len(listed(client)) == len(restored)
    with psycopg.connect(empty_database_url) as connection:  # what no listing shows
        assert connection.execute("select count(*) from pg_constraint where contype = 'c'").fetchall()[0][0] >= 6
