"""The embedded PostgreSQL that runs: durable, without a port, with a password, and its log."""

import stat
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest
from adapters.embedded.clusters import ask, is_running, postmaster_pid, read, write

from todo_adapters.embedded import EmbeddedPostgres


def test_data_survive_a_restart(new_folder: Path) -> None:
    with EmbeddedPostgres.start(new_folder) as database:
        write(database.url, "kept")
    assert not is_running(new_folder)
    with EmbeddedPostgres.start(new_folder) as database:
        assert read(database.url) == ["kept"]


def test_the_database_is_durable_by_default(new_folder: Path) -> None:
    names = "'fsync', 'synchronous_commit', 'full_page_writes'"
    question = f"select string_agg(setting, ' ' order by name) from pg_settings where name in ({names})"  # noqa: S608
    with EmbeddedPostgres.start(new_folder) as database:
        assert ask(database.url, question) == "on on on"
    with EmbeddedPostgres.start(new_folder, durable=False) as database:
        assert ask(database.url, question) == "off off off"


def test_files_of_the_write_ahead_log_are_small_and_checkpoints_as_rare_as_usual(folder: Path) -> None:
    names = "'max_wal_size', 'min_wal_size', 'wal_buffers', 'wal_segment_size'"
    question = f"select string_agg(current_setting(name), ' ' order by name) from pg_settings where name in ({names})"  # noqa: S608
    with EmbeddedPostgres.start(folder, durable=False) as database:
        assert ask(database.url, question) == "1GB 80MB 2MB 1MB"


def test_unicode_is_sorted_and_stored_the_same_way_everywhere(folder: Path) -> None:
    with EmbeddedPostgres.start(folder, durable=False) as database:
        described = "select concat(pg_encoding_to_char(encoding), ' ', datlocprovider, ' ', datlocale) from pg_database"
        assert ask(database.url, f"{described} where datname = 'todo'") == "UTF8 b C.UTF-8"
        assert ask(database.url, "select upper('éß')") == "Éß"
        assert ask(database.url, "select current_setting('timezone')") == "UTC"


def test_the_number_of_connections_can_be_set(folder: Path) -> None:
    with EmbeddedPostgres.start(folder, durable=False, max_connections=30) as database, ExitStack() as opened:
        for _ in range(25):
            opened.enter_context(psycopg.connect(database.url))


def test_the_database_opens_no_network_port(folder: Path) -> None:
    with EmbeddedPostgres.start(folder, durable=False) as database:
        assert ask(database.url, "select current_setting('listen_addresses')") == ""
        sockets = folder / "postgres/cluster"
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700


def test_connecting_needs_the_password_and_the_password_is_never_visible(folder: Path) -> None:
    with EmbeddedPostgres.start(folder, durable=False) as database:
        kept = folder / "postgres/cluster/password"
        password = kept.read_text()
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert len(password) >= 32
        for wrong in (database.url.replace(password, "wrong"), database.url.replace(f":{password}", "")):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(wrong, passfile="/dev/null").close()
        assert password not in (folder / "postgres/postgres.log").read_text()
        assert password not in "".join(argv_and_environment(process) for process in Path("/proc").glob("[0-9]*"))
        assert ask(database.url, "select rolpassword from pg_authid where rolname = 'todo'").startswith("SCRAM")  # type: ignore[attr-defined]


def argv_and_environment(process: Path) -> str:
    with suppress(OSError):
        return (process / "cmdline").read_text(errors="replace") + (process / "environ").read_text(errors="replace")
    return ""


def test_secrets_in_our_environment_do_not_reach_its_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTER_AUTH_SECRET", "a secret of ours")
    monkeypatch.setenv("PGPORT", "1")
    with EmbeddedPostgres.start(folder, durable=False):
        assert "a secret of ours" not in argv_and_environment(Path("/proc", str(postmaster_pid(folder))))


def test_the_database_log_contains_no_user_data(folder: Path) -> None:
    with EmbeddedPostgres.start(folder, durable=False) as database:
        write(database.url, "private")
        with psycopg.connect(database.url) as connection:
            connection.execute("create unique index on note (word)")
            with pytest.raises(psycopg.errors.UniqueViolation):
                connection.execute("insert into note values (%s)", ["private"])
    log = (folder / "postgres/postgres.log").read_text()
    assert "violates unique constraint" in log
    assert "private" not in log


@pytest.mark.ci
def test_other_files_in_the_data_folder_are_left_alone(new_folder: Path) -> None:
    new_folder.mkdir(mode=0o750)
    (new_folder / "secret").write_text("of the server")
    with EmbeddedPostgres.start(new_folder, durable=False):
        pass
    assert sorted(path.name for path in new_folder.iterdir()) == ["postgres", "secret"]
    assert stat.S_IMODE(new_folder.stat().st_mode) == 0o750


def test_the_database_log_does_not_grow_forever(folder: Path) -> None:
    log = folder / "postgres/postgres.log"
    with log.open("a") as grown:
        grown.truncate(11 * 1024 * 1024)
    EmbeddedPostgres.start(folder, durable=False).stop()
    assert log.stat().st_size < 10_000
    assert log.with_suffix(".log.1").exists()
