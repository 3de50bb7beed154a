"""The commands that need no server: tokens, the document, the version, and refusals in one line."""

import json
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlsplit
from uuid import uuid4

import jwt
import psycopg
import pytest
from asking import SECRET, Service, make_service
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from todo_adapters.postgres.migrations import head, migrate
from todo_app import cli
from todo_app.__main__ import main
from todo_app.api.openapi import openapi
from todo_app.local import check_pool, local_secret
from todo_app.settings import Settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No variable of whoever runs the tests, and a data folder of this test's own."""
    for name in list(os.environ):
        if name.startswith(("TODO_", "BETTER_AUTH_", "DATABASE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TODO_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr("todo_app.signals.Signals", lambda: None)  # those of this process are pytest's
    return tmp_path / "data"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = cli.main(arguments)
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


async def test_a_token_gives_access_to_the_tasks_of_its_user(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    code, out, err = run(capsys, "token", "ann")
    assert (code, err) == (0, "")
    headers = {"Authorization": f"Bearer {out.strip()}"}
    assert (await service.ask("GET", "/api/ann/tasks", user=None, headers=headers)).status_code == 200


async def test_a_token_allows_the_scopes_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], service: Service
) -> None:
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    for scopes, status in (
        ((), 201),
        (["tasks:write"], 201),
        (["tasks:read", "tasks:write"], 201),
        (["tasks:read"], 403),
    ):
        code, out, _ = run(capsys, "token", "ann", *(f"--scope={scope}" for scope in scopes))
        assert code == 0
        headers = {"Authorization": f"Bearer {out.strip()}"}
        answer = await service.ask("POST", "/api/ann/tasks", json_={"title": "x"}, headers=headers)
        assert answer.status_code == status


@pytest.mark.parametrize("scope", ["", "tasks", "tasks:read tasks:write", "tasks:admin"])
def test_an_unknown_scope_is_refused(capsys: pytest.CaptureFixture[str], scope: str) -> None:
    code, out, err = run(capsys, "token", "ann", f"--scope={scope}")
    assert (code, out) == (2, "")
    assert "tasks:read" in err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("1h", 3600), ("30d", 30 * 86400), ("1s", 1), ("999999d", 999999 * 86400)],
)
def test_a_token_lasts_as_long_as_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str, seconds: int
) -> None:
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    code, out, _ = run(capsys, "token", "ann", "--expires", text)
    claims = jwt.decode(out.strip(), SECRET, algorithms=["HS256"])
    assert (code, claims["exp"] - claims["iat"], claims["sub"]) == (0, seconds, "ann")


def test_a_token_lasts_one_hour_by_default(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    claims = jwt.decode(run(capsys, "token", "ann")[1].strip(), SECRET, algorithms=["HS256"])
    assert claims["exp"] - claims["iat"] == 3600


@pytest.mark.parametrize("text", ["", "1", "h", "0s", "-1h", "1w", "1.5h", "1 h", "1h1m", "1000000000d", "١h", "1H"])
def test_an_invalid_lifetime_is_refused(capsys: pytest.CaptureFixture[str], text: str) -> None:
    code, out, err = run(capsys, "token", "ann", f"--expires={text}")
    assert (code, out) == (2, "")
    assert "--expires" in err


async def test_a_token_claims_the_configured_issuer_and_audience(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    monkeypatch.setenv("TODO_JWT_ISSUER", "https://auth.example")
    monkeypatch.setenv("TODO_JWT_AUDIENCE", "tasks")
    headers = {"Authorization": f"Bearer {run(capsys, 'token', 'ann')[1].strip()}"}
    checks: dict[str, Any] = {"checks_issuer_of_hs256": True, "checks_audience_of_hs256": True}
    service = make_service(issuer="https://auth.example", audience="tasks", **checks)
    assert (await service.ask("GET", "/api/ann/tasks", user=None, headers=headers)).status_code == 200
    other = make_service(issuer="https://auth.example", audience="other", **checks)
    assert (await other.ask("GET", "/api/ann/tasks", user=None, headers=headers)).status_code == 401


@pytest.mark.parametrize("user", ["", "a\nb", "x" * 256, "\x00", "\udcff"])
def test_no_token_is_issued_for_an_invalid_user_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    code, out, err = run(capsys, "token", user)
    assert (code, out) == (2, "")
    assert err.startswith("todo: ")
    assert err.count("\n") == 1


def test_the_secret_is_created_once_and_private(
    capsys: pytest.CaptureFixture[str], environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (run(capsys, "token", "ann")[1].strip() for _ in range(2))
    secret = (environment / "secret").read_text()
    for token in (first, second):
        jwt.decode(token, secret, algorithms=["HS256"])
    assert stat.S_IMODE((environment / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(environment.stat().st_mode) == 0o700
    assert [path.name for path in environment.iterdir()] == ["secret"]
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/x")
    code, _, err = run(capsys, "token", "ann")  # that one is the embedded database's
    assert (code, err) == (2, "todo: BETTER_AUTH_SECRET is not set: it signs the tokens\n")


@pytest.fixture
def generous_umask() -> Iterator[None]:
    """The umask of systems where each user has a group of their own."""
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.usefixtures("generous_umask")
def test_no_folder_above_the_secret_is_made_for_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "share/todo-api/data"
    monkeypatch.setenv("TODO_DATA_DIR", str(folder))
    assert run(capsys, "token", "ann")[0] == 0
    for made in (folder, *folder.parents[:2]):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "mode", "way_out"),
    [
        (".", 0o770, "others can write it: chmod go-w"),
        (".", 0o1777, "others can write it: name a folder of its own"),
        ("secret", 0o640, "others can read it: chmod 600"),
        ("secret", 0o604, "others can read it: chmod 600"),
        ("secret", 0o620, "others can write it: chmod 600"),
    ],
)
def test_a_secret_that_others_could_read_or_write_is_refused(
    capsys: pytest.CaptureFixture[str], environment: Path, name: str, mode: int, way_out: str
) -> None:
    local_secret(environment)
    (environment / name).chmod(mode)
    code, out, err = run(capsys, "token", "ann")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"todo: TODO_DATA_DIR: {environment / name} has the mode {mode:04o}, so ")
    assert way_out in err
    (environment / name).chmod(0o600 if name == "secret" else 0o750)
    assert run(capsys, "token", "ann")[0] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("name", [".", "secret"])
@pytest.mark.parametrize(("uid", "called"), [(65534, "the user nobody"), (54321, "the uid 54321")])
def test_a_secret_of_somebody_else_is_refused(
    capsys: pytest.CaptureFixture[str], environment: Path, name: str, uid: int, called: str
) -> None:
    local_secret(environment)
    os.chown(environment / name, uid, uid)
    code, out, err = run(capsys, "token", "ann")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"todo: TODO_DATA_DIR: {environment / name} belongs to {called}, who could replace")
    assert "runs as the user root: run as its owner" in err


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_a_line_end_in_the_secret_file_is_ignored_as_in_the_variable(
    capsys: pytest.CaptureFixture[str], environment: Path, end: str
) -> None:
    local_secret(environment)
    (environment / "secret").write_bytes(f"{SECRET}{end}".encode())
    signed = run(capsys, "token", "ann")[1].strip()
    for_workers = Settings.read({"BETTER_AUTH_SECRET": local_secret(environment)}).secret
    assert for_workers == SECRET
    assert jwt.decode(signed, for_workers, algorithms=["HS256"])["sub"] == "ann"


def test_a_secret_is_on_the_disk_before_it_has_its_name(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, link = os.fsync, os.link

    def synced(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else os.pread(descriptor, 100, 0).decode()
        done.append(kind)
        fsync(descriptor)

    def linked(*names: str) -> None:
        done.append("named")
        link(*names)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "link", linked)
    secret = local_secret(environment)
    assert done == [secret, "named", "folder"]


@pytest.mark.parametrize("spoilt", ["", "short", "é" * 40, "better-auth-secret-12345678901234567890"])
def test_a_damaged_secret_is_reported(capsys: pytest.CaptureFixture[str], environment: Path, spoilt: str) -> None:
    local_secret(environment)
    (environment / "secret").write_text(spoilt)
    code, _, err = run(capsys, "token", "ann")
    assert code == 2
    assert err.startswith(f"todo: TODO_DATA_DIR: {environment / 'secret'} cannot be used: ")
    assert err.count("\n") == 1


def test_a_folder_in_place_of_the_secret_is_to_be_moved_away(
    capsys: pytest.CaptureFixture[str], environment: Path
) -> None:
    local_secret(environment)
    (path := environment / "secret").unlink()
    path.mkdir(mode=0o700)
    said = f"todo: TODO_DATA_DIR: {path} is a folder: move it away to have a secret made there\n"
    assert run(capsys, "token", "ann") == (2, "", said)


def test_a_data_folder_that_is_a_file_is_reported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TODO_DATA_DIR", str(tmp_path / "file"))
    code, _, err = run(capsys, "token", "ann")
    assert code == 2
    assert err.startswith("todo: TODO_DATA_DIR: ")


def test_an_invalid_setting_prevents_every_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TODO_LOG_LEVEL", "loud")
    for command in (["serve"], ["migrate"], ["token", "ann"], ["openapi"]):
        code, out, err = run(capsys, *command)
        assert (code, out) == (2, "")
        assert err == "todo: TODO_LOG_LEVEL must be one of debug, info, warning, error, not 'loud'\n"


def test_several_invalid_settings_are_reported_in_a_line_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TODO_LOG_LEVEL", "loud")
    monkeypatch.setenv("TODO_KEEP_ALIVE", "0")
    code, out, err = run(capsys, "openapi")
    assert (code, out) == (2, "")
    assert [line.partition(" must be ")[0] for line in err.splitlines()] == [
        "todo: TODO_KEEP_ALIVE",
        "todo: TODO_LOG_LEVEL",
    ]


def test_a_line_end_at_the_end_of_a_setting_is_reported_once_and_its_value_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTER_AUTH_SECRET", "z" * 40 + "\n")
    code, out, err = run(capsys, "token", "ann")
    assert code == 0
    assert jwt.decode(out.strip(), "z" * 40, ["HS256"])["sub"] == "ann"
    assert err == "todo: BETTER_AUTH_SECRET ends with a newline, which is ignored\n"
    assert os.environ["BETTER_AUTH_SECRET"] == "z" * 40
    assert run(capsys, "token", "ann")[2] == ""


def test_every_command_names_a_misspelt_setting_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    monkeypatch.setenv("TODO_ORIGINS", "https://app.example.com")
    monkeypatch.setenv("TODO_X", "x")
    said = (
        "todo: TODO_ORIGINS is ignored: it is not a setting; do you mean TODO_CORS_ORIGINS?\n"
        "todo: TODO_X is ignored: it is not a setting\n"
    )
    for command in (["token", "ann"], ["openapi"]):
        code, out, err = run(capsys, *command)
        assert (code, err) == (0, said)
        assert "TODO_ORIGINS" not in out


def test_openapi_prints_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "openapi")
    assert (code, err) == (0, "")
    assert json.loads(out) == openapi()
    assert out.isascii()  # whatever encoding a terminal or a file has, it is JSON in UTF-8 there


def test_the_command_refuses_to_run_on_windows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert (main(), *capsys.readouterr()) == (2, "", "todo: it runs on Linux and macOS only\n")


@pytest.mark.parametrize(
    ("name", "loaded"), [("BETTER_AUTH_URL", "True"), ("TODO_JWKS_URL", "True"), ("BETTER_AUTH_SECRET", "False")]
)
def test_what_verifies_signatures_of_an_issuer_is_loaded_only_if_there_is_one(name: str, loaded: str) -> None:
    program = """
import sys
from todo_app.__main__ import main
sys.argv = ["todo", "token", "ann"]
main()
print("cryptography" in sys.modules)
"""
    variables = {**os.environ, name: "https://auth.example.com", "BETTER_AUTH_SECRET": SECRET}
    if name == "TODO_JWKS_URL":
        variables |= {"TODO_JWT_ISSUER": "https://auth.example.com", "TODO_JWT_AUDIENCE": "https://example.com"}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=variables, check=True)
    token, answer = ran.stdout.split()
    assert (token.count("."), answer) == (2, loaded)


def test_the_version_option_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"todo {version('todo-api')}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["nothing"], ["serve", "--port", "0"], ["serve", "--port", "65536"], ["serve", "--port", "x"], ["serve",
        "--port", "-1"],
        ["serve", "--workers", "0"], ["serve", "--workers", "257"], ["serve", "--workers", "1.5"], ["serve", "x"],
        ["token"], ["migrate", "x"],
    ],
)  # fmt: skip
def test_invalid_command_lines_are_refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("usage: todo")


@pytest.mark.parametrize("host", ["192.0.2.1", "x" * 300, "::zz", "a b"])
def test_an_unusable_host_is_refused(capsys: pytest.CaptureFixture[str], environment: Path, host: str) -> None:
    code, out, err = run(capsys, "serve", "--host", host)
    assert (code, out) == (2, "")
    assert err.startswith(f"todo: --host {shlex.quote(host)} --port 8000 cannot be used: ")
    assert err.count("\n") == 1
    assert not environment.exists()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://u:hunter2@127.0.0.1:1/x", "cannot be reached"),
        ("postgresql://u:hunter2@no-such-host.invalid/x", "cannot be reached"),
        ("postgresql://u:hunter1@hunter2@127.0.0.1:1/x", "percent-encode @ / : % # ? in the user and password"),
        ("postgresql://u:1/hunter2@127.0.0.1:1/x", "percent-encode @ / : % # ? in the user and password"),
        ("postgresql://u:hunter2/x", "the port in the database URL is not a number"),
        ("postgresql://u:hunter2@[::1/x", "not one that PostgreSQL can read"),
        ("postgresql://u:hunter2@h/x?nonsense=1", "PostgreSQL does not know, nonsense"),
        ("mysql://u:hunter2@h/x", "must begin with postgresql://"),
    ],
)
def test_an_unusable_database_is_reported_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str, reason: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    code, out, err = run(capsys, "migrate")
    assert (code, out) == (2, "")
    assert err.startswith("todo: DATABASE_URL")
    assert err.count("\n") == 1
    assert reason in err
    assert "hunter2" not in err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGSSLMODE", "bogus-value"), ("PGOPTIONS", "-c bogus-value=1"), ("PGTZ", "bogus-value"),
        ("PGPASSFILE", "/bogus-value"),
    ],
)  # fmt: skip
def test_a_failed_connection_is_reported_with_the_names_of_libpqs_variables_beside_the_url(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/x?application_name=y")
    monkeypatch.setenv("PGPASSWORD", "hunter3")  # the URL has a password, and the rest of these
    monkeypatch.setenv("PGAPPNAME", "z")
    monkeypatch.setenv("PGCLIENTENCODING", "latin1")
    monkeypatch.setenv("PGREQUIREPEER", "")
    monkeypatch.setenv(name, value)
    code, _, err = run(capsys, "migrate")
    assert code == 2
    assert err.startswith("todo: DATABASE_URL: the database cannot be reached: ")
    assert err.endswith(f" (set in the environment: {name})\n")
    assert "hunter" not in err


@pytest.mark.parametrize("variable", ["PGOPTIONS", "PGTZ", "PGSSLMODE"])
def test_a_variable_that_a_running_database_refuses_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty_database_url: str, variable: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    monkeypatch.setenv(variable, "-c nonsense=1")
    code, _, err = run(capsys, "migrate")
    assert code == 2
    assert err.endswith(f" (set in the environment: {variable})\n")
    assert err.count("\n") == 1


def test_a_connect_timeout_that_is_no_number_is_named_unless_the_url_has_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://u:hunter2@127.0.0.1:1/x"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "abc")
    said = "todo: PGCONNECT_TIMEOUT must be a whole number of seconds, such as 5: correct it, or unset it\n"
    assert run(capsys, "migrate") == (2, "", said)
    monkeypatch.setenv("DATABASE_URL", f"{url}?connect_timeout=2")
    _, _, err = run(capsys, "migrate")
    assert "PGCONNECT_TIMEOUT" not in err


def test_migrate_says_what_the_schema_was_and_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    newest = head()
    given = conninfo_to_dict(empty_database_url)
    schema = f"todo: the schema of the database {given['dbname']} on {given['host']}:{given['port']}"
    now = f"{schema} is now up to date, at revision {newest}"
    assert run(capsys, "migrate") == (0, "", f"{now} (before: none)\n")
    assert run(capsys, "migrate") == (0, "", f"{schema} was already up to date, at revision {newest}\n")
    migrate(empty_database_url, "0002")
    assert run(capsys, "migrate") == (0, "", f"{now} (before: 0002)\n")


def test_a_refusal_by_the_database_is_reported_with_its_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        name = f"poor_{uuid4().hex}"
        connection.execute(sql.SQL("create role {} login password 'hunter2'").format(sql.Identifier(name)))
    user = str(urlsplit(empty_database_url).username)
    password = str(urlsplit(empty_database_url).password)
    poor = empty_database_url.replace(f"{user}:{password}@", f"{name}:hunter2@")
    for url, reason in (
        (empty_database_url.replace(password, "hunter2"), "password authentication failed"),
        (poor, "permission denied for schema public"),
    ):
        monkeypatch.setenv("DATABASE_URL", url)
        code, _, err = run(capsys, "migrate")
        assert code == 2
        assert reason in err
        assert err.count("\n") == 1
        assert "hunter2" not in err


@pytest.mark.parametrize("migrated", [False, True])
def test_migrating_a_read_only_database_is_refused_with_what_to_use(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty_database_url: str, migrated: bool
) -> None:
    if migrated:
        migrate(empty_database_url)
    read_only = f"{empty_database_url}&options=-cdefault_transaction_read_only%3Don"
    monkeypatch.setenv("DATABASE_URL", read_only)
    code, _, err = run(capsys, "migrate")
    assert code == 2
    assert err.startswith("todo: DATABASE_URL: the database reports: cannot execute ")
    assert err.endswith(" in a read-only transaction; it is read-only, or a standby: use the primary\n")


def test_migrating_a_database_with_tables_of_others_is_refused_with_what_to_use(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("create table tasks (somebody_elses text)")
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    said = 'relation "tasks" already exists; something else uses this database: use one of its own'
    assert run(capsys, "migrate") == (2, "", f"todo: DATABASE_URL: the database reports: {said}\n")


@pytest.mark.parametrize(("size", "logged"), [("249", []), ("250", [(500, 500)])])
def test_pools_that_may_exceed_the_databases_connections_are_logged(
    monkeypatch: pytest.MonkeyPatch, database_url: str, size: str, logged: list[tuple[int, int]]
) -> None:
    monkeypatch.setattr("todo_app.local.Log", log := Mock())
    check_pool(Settings.read({"TODO_DATABASE_POOL_SIZE": size}), database_url, workers=2)  # the database accepts 500
    given = [each.kwargs for each in log.return_value.events.warning.mock_calls]
    assert [(each["connections"], each["max_connections"]) for each in given] == logged


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotation_marks_around_a_setting_are_reported_and_stay_part_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, quote: str
) -> None:
    secret = f"{quote}{'z' * 40}{quote}"
    monkeypatch.setenv("BETTER_AUTH_SECRET", secret)
    code, out, err = run(capsys, "token", "ann")
    assert code == 0
    assert jwt.decode(out.strip(), secret, ["HS256"])["sub"] == "ann"
    assert err.count("\n") == 1
    assert "around BETTER_AUTH_SECRET are part of its value" in err
    assert "zzz" not in err
