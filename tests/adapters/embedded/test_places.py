"""Where the embedded PostgreSQL has its data, socket and programs: long paths, strange characters, moved folders."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from adapters.embedded.clusters import (
    User,
    a_folder_for_everybody,
    ask,
    is_running,
    kill_postmaster,
    postmaster_pid,
    read,
    write,
)

from todo_adapters.embedded import EmbeddedDatabaseError, EmbeddedPostgres, binaries
from todo_adapters.embedded.postmaster import Postmaster


def test_the_file_of_a_killed_server_is_not_taken_for_that_of_the_next_one(
    place: Path, user: Callable[..., User], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = user(place / "data", durable=True)
    write(from_here(killed), "kept")
    killed.kill()
    kill_postmaster(place / "data")
    while is_running(place / "data"):
        time.sleep(0.01)
    # The next one's socket answers before it has written its own file, and before it takes statements.
    monkeypatch.setattr(Postmaster, "listens", lambda _: True)
    with EmbeddedPostgres.start(place / "data") as database:
        assert ask(database.url, "select 1") == 1


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("x" * 120, id="long"),
        pytest.param("a, b", id="comma", marks=pytest.mark.ci),
        pytest.param("a:b", id="colon", marks=pytest.mark.ci),
    ],
)
def test_a_socket_that_cannot_be_reached_by_its_name_is_beside_the_data_all_the_same(
    place: Path, user: Callable[..., User], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    elsewhere = place / "temporary"
    elsewhere.mkdir()
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    folder = place / name
    killed = user(folder, durable=True)
    write(from_here(killed), "kept")
    joined = user(folder)
    url = from_here(joined)
    killed.kill()
    assert ask(url, "select 1") == 1
    assert (folder / "postgres/cluster/.s.PGSQL.5432").is_socket()
    assert list(elsewhere.iterdir()) == []
    joined.kill()
    kill_postmaster(folder)
    with EmbeddedPostgres.start(folder) as database:
        assert read(database.url) == ["kept"]
        assert psycopg.conninfo.conninfo_to_dict(database.url)["host"] != str(folder / "postgres/cluster")
    assert not is_running(folder)


def from_here(user: User) -> str:
    """The URL that the user's process has, changed so that it works in this process."""
    return user.url().replace("%2Fproc%2Fself%2F", f"%2Fproc%2F{user.process.pid}%2F")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere long paths are refused")
def test_the_url_of_a_socket_in_a_long_path_needs_no_right_over_another_process(
    place: Path, user: Callable[..., User]
) -> None:
    with EmbeddedPostgres.start(place / ("x" * 120), durable=False) as database:
        descriptors = Path(str(psycopg.conninfo.conninfo_to_dict(database.url)["host"]))
        assert descriptors.exists()
        assert descriptors.is_relative_to("/proc/self/fd")  # we may have no right to read another process's
        if (child := os.fork()) == 0:
            os._exit(0 if ask(database.url, "select 1") == 1 else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert not descriptors.exists()


def test_a_socket_that_nobody_could_reach_is_reported_in_one_sentence(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todo_adapters.embedded.sockets._DESCRIPTORS", str(place / "no-proc"))
    with pytest.raises(EmbeddedDatabaseError, match=r"No client could reach a Unix socket in .* TODO_DATA_DIR\.$"):
        EmbeddedPostgres.start(folder := place / ("x" * 120), durable=False)
    assert not folder.exists()


@pytest.mark.parametrize("done", ["moved", "removed"])
def test_a_database_whose_folder_is_gone_is_still_stopped(place: Path, done: str) -> None:
    database = EmbeddedPostgres.start(place / "data", durable=False)
    pid = postmaster_pid(place / "data")
    (place / "data").rename(place / "elsewhere") if done == "moved" else shutil.rmtree(place / "data")
    database.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    if done == "moved":
        EmbeddedPostgres.start(place / "elsewhere", durable=False).stop()


def test_links_in_the_data_folder_that_could_not_work_are_refused_by_name(folder: Path, place: Path) -> None:
    EmbeddedPostgres.start(folder, durable=False).stop()
    data = folder / "postgres/cluster/data"
    data.rename(place / "moved")
    data.symlink_to(place / "moved")
    with pytest.raises(EmbeddedDatabaseError, match=r"data is a link, and .* TODO_DATA_DIR\.$"):
        EmbeddedPostgres.start(folder, durable=False)
    data.unlink()
    (place / "moved").rename(data)
    data.parent.rename(kept := place / "cluster")
    data.parent.symlink_to(place / "nowhere")
    with pytest.raises(EmbeddedDatabaseError, match=r"cluster is a link to .*/nowhere, which does not exist\.$"):
        EmbeddedPostgres.start(folder, durable=False)
    data.parent.unlink()
    kept.rename(data.parent)
    (place / "dangling").symlink_to(place / "nowhere")
    with pytest.raises(EmbeddedDatabaseError, match=r"dangling is a link to .*/nowhere, which does not exist\.$"):
        EmbeddedPostgres.start(place / "dangling", durable=False)
    (place / "round").symlink_to("round")
    (place / "there").symlink_to(place / "round/there")
    for name in ("round", "round/data", "there/data"):
        wrong = r"(round|there) is a link to .*(round|there), which leads in a circle: delete it, or name another fold"
        with pytest.raises(EmbeddedDatabaseError, match=wrong):
            EmbeddedPostgres.start(place / name, durable=False)
    EmbeddedPostgres.start(folder, durable=False).stop()


def test_a_folder_with_strange_characters_works(place: Path) -> None:
    folder = place / 'Ann\'s "ünï" 50%40 @&?'
    with EmbeddedPostgres.start(folder, durable=False) as database:
        write(database.url, "kept")
        assert (folder / "postgres/cluster/.s.PGSQL.5432").exists()


@pytest.mark.ci
def test_a_relative_folder_works(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    with EmbeddedPostgres.start(Path("here"), durable=False) as database:
        monkeypatch.chdir("/")
        assert ask(database.url, "select 1") == 1


ODD = "a $HOME `id` $(id) \"b\" \\ 'c' %d; e"


@contextmanager
def odd_programs() -> Iterator[Path]:
    """The programs, in a folder whose name means something to a shell."""
    with a_folder_for_everybody() as place:
        binaries._copy_programs(binaries._wheel(), place / ODD)
        yield place / ODD


@pytest.mark.ci
def test_programs_in_a_folder_with_strange_characters_work(place: Path, user: Callable[..., User]) -> None:
    with odd_programs() as packages:
        for _ in range(2):  # made, and used again
            started = user(place / f"{ODD} data", packages=str(packages))
            write(started.url(), "works")
            started.do("stop")


@pytest.mark.ci
def test_an_unsuitable_temporary_folder_is_reported_in_one_sentence(
    new_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with odd_programs() as packages:
        monkeypatch.setattr(tempfile, "tempdir", str(packages))
        monkeypatch.setattr(binaries, "_wheel", lambda: packages)
        with pytest.raises(EmbeddedDatabaseError, match=r"neither from .* nor from .*TMPDIR\.$"):
            EmbeddedPostgres.start(new_folder, durable=False)
