"""The embedded PostgreSQL and the processes that use it are killed at bad moments: data stay, nothing runs on."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from adapters.embedded.clusters import User, ask, is_running, kill_postmaster, read, soon, starts, write

from todo_adapters.embedded import EmbeddedPostgres
from todo_adapters.embedded.account import Account
from todo_adapters.embedded.programs import Programs

SPAWN = Programs.spawn


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_at_the_moment_when_the_database_is_launched_does_not_leave_it_running(
    folder: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[subprocess.Popen[bytes]] = []

    def spawn(programs: Programs, name: str, *arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
        launched.append(SPAWN(programs, name, *arguments, **options))
        signal.raise_signal(number)
        return launched[-1]

    monkeypatch.setattr(Programs, "spawn", spawn)
    usual = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            EmbeddedPostgres.start(folder)
    finally:
        signal.signal(number, usual)
        left = [process for process in launched if process.poll() is None]
        for process in left:
            process.kill()
    assert len(launched) == 1
    assert left == []
    monkeypatch.undo()
    EmbeddedPostgres.start(folder).stop()


def test_a_killed_servers_database_is_taken_over(folder: Path, user: Callable[..., User]) -> None:
    killed = user(folder)
    write(killed.url(), "kept")
    killed.kill()
    assert is_running(folder)
    with EmbeddedPostgres.start(folder, durable=False) as database:
        assert read(database.url) == ["kept"]
        assert starts(folder) == 1
    assert not is_running(folder)


def test_a_killed_database_recovers(folder: Path) -> None:
    with EmbeddedPostgres.start(folder) as before, psycopg.connect(before.url) as busy:
        write(before.url, "kept")
        busy.execute("select 1")
        kill_postmaster(folder)
        with EmbeddedPostgres.start(folder) as after:
            assert read(after.url) == ["kept"]
            assert after.url == before.url
        busy.close()
    assert not is_running(folder)


@pytest.fixture
def bystander(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An unrelated process, of the database's account: PostgreSQL believes only in pids that it could signal."""
    EmbeddedPostgres.start(folder).stop()
    account = Account.for_cluster(folder / "postgres/cluster")
    with subprocess.Popen(["/bin/sleep", "100"], cwd="/", **account.process_options()) as process:
        yield process
        process.kill()


@pytest.mark.ci
def test_an_unrelated_process_with_the_old_pid_is_not_harmed_and_not_in_the_way(
    folder: Path, bystander: subprocess.Popen[bytes]
) -> None:
    with EmbeddedPostgres.start(folder) as database:
        write(database.url, "kept")
        kill_postmaster(folder)
    pid_file = folder / "postgres/cluster/data/postmaster.pid"
    _, *rest = pid_file.read_text().splitlines(keepends=True)
    reused = "".join([f"{bystander.pid}\n", *rest])
    pid_file.write_text(reused)
    with EmbeddedPostgres.start(folder) as database:
        assert read(database.url) == ["kept"]
        kill_postmaster(folder)
        assert soon(lambda: not is_running(folder))
        pid_file.write_text(reused)
    assert bystander.poll() is None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        *(
            pytest.param(each, id=name, marks=pytest.mark.ci)
            for name, each in {"blank": "\n", "text": "garbage\n", "zeros": "\0" * 90}.items()
        ),
    ],
)
def test_a_damaged_pid_file_does_not_prevent_the_start(folder: Path, content: str) -> None:
    EmbeddedPostgres.start(folder, durable=False).stop()
    (folder / "postgres/cluster/data/postmaster.pid").write_text(content)
    with EmbeddedPostgres.start(folder, durable=False) as database:
        assert ask(database.url, "select 1") == 1


def test_many_simultaneous_starts_create_one_database_that_all_use(new_folder: Path, user: Callable[..., User]) -> None:
    users = [user(new_folder) for _ in range(6)]
    urls = {each.url() for each in users}
    assert len(urls) == 1
    url = urls.pop()
    assert starts(new_folder) == 1
    for each in users:
        assert ask(url, "select 1") == 1
        each.do("stop")
    assert not is_running(new_folder)


@pytest.mark.parametrize(
    "moment",
    [
        "new-*/data/base/1",
        pytest.param("cluster", marks=pytest.mark.ci),
        *(pytest.param(each, marks=pytest.mark.ci) for each in ("new-*", "new-*/data/base/5", "postgres.log")),
    ],
)
def test_a_first_start_that_was_killed_leaves_nothing_half_made(
    new_folder: Path, user: Callable[..., User], moment: str
) -> None:
    killed = user(new_folder)
    assert soon(lambda: bool(list((new_folder / "postgres").glob(moment))))
    killed.kill()
    with EmbeddedPostgres.start(new_folder, durable=False) as database:
        write(database.url, "works")
        assert not list((new_folder / "postgres").glob("new-*"))
    assert not is_running(new_folder)


@pytest.mark.ci
def test_an_initdb_that_was_killed_leaves_nothing_and_says_so(new_folder: Path, user: Callable[..., User]) -> None:
    unlucky = user(new_folder)
    assert soon(lambda: bool(list((new_folder / "postgres").glob("new-*/data/base"))))
    os.kill(child_of(unlucky.process.pid), signal.SIGKILL)
    assert "initdb failed" in unlucky.error()
    assert sorted(path.name for path in (new_folder / "postgres").iterdir()) == [
        "cluster.lock",
        "gate.lock",
        "users.lock",
    ]
    with EmbeddedPostgres.start(new_folder, durable=False) as database:
        write(database.url, "works")


def child_of(parent: int) -> int:
    (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(child)
