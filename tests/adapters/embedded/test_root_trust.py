"""Root trusts no file, process or folder that the unprivileged account of the embedded PostgreSQL may name."""

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from adapters.embedded.clusters import User, a_folder_for_everybody, ask, is_running, only_root

from todo_adapters.embedded import EmbeddedDatabaseError, EmbeddedPostgres, binaries, creation
from todo_adapters.embedded.account import Account


@only_root
def test_root_runs_no_programs_from_a_folder_that_others_could_write(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    hidden = tmp_path / "hidden"
    binaries._copy_programs(binaries._wheel(), hidden)
    with a_folder_for_everybody() as system:
        (system / "todo-api").mkdir()
        (system / "todo-api").chmod(0o777)
        monkeypatch.setattr(binaries, "_wheel", lambda: hidden)
        monkeypatch.setattr(binaries, "_COPY_FOLDERS", (system / "todo-api",))
        with pytest.raises(EmbeddedDatabaseError, match="that other accounts can read and run"):
            EmbeddedPostgres.start(folder, durable=False)


@only_root
def test_root_ends_no_process_that_the_unprivileged_account_names(folder: Path, user: Callable[..., User]) -> None:
    killed = user(folder)
    killed.url()
    killed.kill()
    pid_file = folder / "postgres/cluster/data/postmaster.pid"
    written = pid_file.read_text()
    with subprocess.Popen(["/bin/sleep", "100"], start_new_session=True) as of_root:
        for pid in (of_root.pid, -of_root.pid):
            joined = user(folder)
            joined.url()
            pid_file.write_text(written.replace(written.split()[0], str(pid), 1))
            joined.do("stop")
            assert of_root.poll() is None
            assert is_running(folder)
            pid_file.write_text(written)
        of_root.kill()
    EmbeddedPostgres.start(folder, durable=False).stop()
    assert not is_running(folder)


@pytest.fixture
def of_root(place: Path) -> Path:
    """A folder that only root may enter."""
    made = place / "of-root"
    made.mkdir(mode=0o700)
    return made


@only_root
@pytest.mark.parametrize(
    "kind", ["link", "pipe", *(pytest.param(each, marks=pytest.mark.ci) for each in ("hard link", "folder", "socket"))]
)
def test_root_reads_no_password_from_a_file_that_the_unprivileged_account_names(
    folder: Path, of_root: Path, user: Callable[..., User], kind: str
) -> None:
    (of_root / "private").write_text("known to root only")
    (of_root / "private").chmod(0o600)
    with EmbeddedPostgres.start(folder, durable=False) as running:
        password = folder / "postgres/cluster/password"
        password.rename(kept := password.with_name("kept"))
        replace_by(kind, password, of_root / "private")
        refused = user(folder).error()  # nor from one that runs
        assert refused.startswith(f"{password} is not a regular file that belongs to the uid {kept.stat().st_uid}, as")
        assert ask(running.url, "select 1") == 1
    with pytest.raises(EmbeddedDatabaseError, match="is not a regular file that belongs to"):
        EmbeddedPostgres.start(folder, durable=False)
    assert not is_running(folder)
    password.rmdir() if kind == "folder" else password.unlink()
    kept.rename(password)


def replace_by(kind: str, path: Path, private: Path) -> None:
    if kind == "link":
        path.symlink_to(private)
    elif kind == "hard link":
        path.hardlink_to(private)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))


def test_a_password_file_adds_no_parameters_to_the_url(folder: Path) -> None:
    EmbeddedPostgres.start(folder, durable=False).stop()
    written = "x@/todo?passfile=/root/.pgpass#"
    (folder / "postgres/cluster/password").write_text(written)
    with EmbeddedPostgres.start(folder, durable=False) as database:
        read_by_libpq = psycopg.conninfo.conninfo_to_dict(database.url)
    assert read_by_libpq.pop("password") == written
    assert sorted(read_by_libpq) == ["dbname", "host", "port", "user"]


@only_root
def test_root_uses_and_removes_no_socket_that_the_unprivileged_account_names(
    folder: Path, of_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    EmbeddedPostgres.start(folder, durable=False).stop()
    pid_file = folder / "postgres/cluster/data/postmaster.pid"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(of_root / ".s.PGSQL.5432"))
        listening.listen()
        listening.setblocking(False)
        pid_file.write_text(f"999999\n{pid_file.parent}\n0\n5432\n{of_root}\n\n0 0\nready\n")
        Account.for_cluster(folder / "postgres/cluster").give(pid_file)
        EmbeddedPostgres.start(folder, durable=False).stop()
        with EmbeddedPostgres.start(folder, durable=False):
            named = folder / "postgres/cluster/.s.PGSQL.5432"
            named.rename(kept := named.with_name("kept"))
            named.symlink_to(of_root / named.name)
            monkeypatch.setattr("todo_adapters.embedded.server.START_WITHIN", 0.3)
            with pytest.raises(EmbeddedDatabaseError, match="runs but does not answer"):
                EmbeddedPostgres.start(folder)
            named.unlink()
            kept.rename(named)
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert (of_root / ".s.PGSQL.5432").exists()


@only_root
def test_root_enters_and_clears_no_folder_that_the_unprivileged_account_names(folder: Path, of_root: Path) -> None:
    EmbeddedPostgres.start(folder, durable=False).stop()
    data = folder / "postgres/cluster/data"
    data.rename(of_root / "data")  # readable to the account, in a folder that is not
    data.symlink_to(of_root / "data")
    (of_root / "data/postmaster.pid").touch()
    with pytest.raises(EmbeddedDatabaseError, match="is a link, and"):
        EmbeddedPostgres.start(folder, durable=False)
    assert (of_root / "data/postmaster.pid").exists()
    data.unlink()
    (of_root / "data").rename(data)


@pytest.mark.ci
@only_root
def test_root_gives_a_new_database_away_only_when_it_has_written_it(
    new_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    give, sync = Account.give, creation.sync

    def given(account: Account, path: Path) -> None:
        done.append(f"give {path.name.partition('-')[0]}")
        give(account, path)

    def synced(path: Path) -> None:
        done.append(f"sync {path.name.partition('-')[0]}")
        sync(path)

    monkeypatch.setattr(Account, "give", given)
    monkeypatch.setattr(creation, "sync", synced)
    EmbeddedPostgres.start(new_folder, durable=False).stop()
    assert done == ["sync password", "give password", "give data", "give new", "sync new", "sync postgres"]
