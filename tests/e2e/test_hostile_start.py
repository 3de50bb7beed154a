"""A start in a hostile place: it works, or ends with one line that says why and what to do."""

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from serving import SECRET, Serve, eventually, run

pytestmark = pytest.mark.timeout(300)  # a busy machine starts processes slowly
needs_network = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("ip")),
    reason="needs root on Linux, which can make a network of its own",
)


MAX_REQUESTS = 80  # of one user, concurrent and waiting
LEAST_FILES = 64 + 10 + MAX_REQUESTS  # of the process itself, its database connections, one user's requests


def within(script: str) -> list[str]:
    """A command that becomes another one after a script."""
    return ["sh", "-c", f'{script}; exec "$@"', "sh"]


@needs_network
def test_a_link_local_address_is_reached_through_its_interface(serve: Serve, data_dir: Path) -> None:
    network = ["unshare", "-n", *within("ip link set lo up; ip addr add fe80::5/64 dev lo nodad")]
    server = serve(host="fe80::5%lo", through=network, TODO_DATA_DIR=str(data_dir))
    assert "Serving http://[fe80::5%lo]:" in server.greeting()


@needs_network
def test_a_server_that_does_not_reach_itself_says_so(serve: Serve, data_dir: Path) -> None:
    server = serve(through=["unshare", "-n"], TODO_DATA_DIR=str(data_dir))  # its network is down
    eventually(lambda: "\n" in server.said(), 60)
    assert server.said().startswith(f"todo: this machine gets no answer from {server.url}: ")
    assert server.said().count("\n") == 1
    assert "choose another --host" in server.said()
    assert server.stop() == 0


def test_a_deleted_current_folder_does_not_matter_to_an_absolute_data_folder(
    serve: Serve, data_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    through = within(f"cd '{tmp_path}/gone'; rmdir '{tmp_path}/gone'")
    server = serve(through=through, TODO_DATA_DIR=str(data_dir))
    assert "Serving" in server.greeting()
    assert server.stop() == 0
    (tmp_path / "gone").mkdir()
    done = run("serve", through=through, TODO_DATA_DIR="data")
    assert done.stderr == (
        "todo: TODO_DATA_DIR: the current folder cannot be used (No such file or directory): name an absolute path\n"
    )
    assert done.returncode == 2


@pytest.mark.parametrize("command", ["serve", "openapi"])
def test_an_interpreter_without_docstrings_is_refused(command: str) -> None:
    done = run(command, PYTHONOPTIMIZE="2", PYTHONDONTWRITEBYTECODE="1")
    assert done.stderr == (
        "todo: PYTHONOPTIMIZE=2 (python -OO) removes the docstrings that the API's documentation is made of: "
        "unset it, or use 1\n"
    )
    assert done.returncode == 2


def test_the_drivers_implementation_is_what_is_installed_whatever_another_program_wants(database_url: str) -> None:
    done = run("migrate", through=["env", "PSYCOPG_IMPL=c"], DATABASE_URL=database_url)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr


def test_an_interpreter_without_assertions_will_do() -> None:
    assert run("openapi", PYTHONOPTIMIZE="1", PYTHONDONTWRITEBYTECODE="1").returncode == 0


@pytest.mark.parametrize("files", [16, 40, 64, LEAST_FILES - 1])
def test_too_few_open_files_are_refused(files: int, tmp_path: Path) -> None:
    for variables in ({}, {"DATABASE_URL": "postgresql://x@127.0.0.1:1/x", "BETTER_AUTH_SECRET": SECRET}):
        places = {"TODO_DATA_DIR": str(tmp_path / "data"), **variables}
        done = run("serve", "--port", "8999", through=within(f"ulimit -n {files}"), **places)
        assert done.stderr == (
            f"todo: the limit on open files is {files}, and a process with these settings needs {LEAST_FILES}: "
            "raise it (`ulimit -n 1024`)\n"
        )
        assert done.returncode == 2


def test_more_database_connections_need_more_open_files(tmp_path: Path) -> None:
    places = {"TODO_DATA_DIR": str(tmp_path / "data"), "TODO_DATABASE_POOL_SIZE": "999"}
    done = run("serve", through=within("ulimit -n 1024"), **places)
    assert done.stderr.endswith(" is 1024, and a process with these settings needs 1143: raise it (`ulimit -n 1143`)\n")
    assert done.returncode == 2


def test_with_the_least_number_of_open_files_all_requests_of_one_user_are_answered(
    serve: Serve, data_dir: Path
) -> None:
    server = serve(through=within(f"ulimit -n {LEAST_FILES}"), TODO_DATA_DIR=str(data_dir))
    token = server.greeting_token()

    all_answered = Barrier(MAX_REQUESTS)

    def search(number: int) -> int:
        with server.client(token) as client:
            status = client.get(f"/api/dev/tasks?q={number}").status_code
            all_answered.wait(30)  # and keep the connection until then
            return status

    with ThreadPoolExecutor(MAX_REQUESTS) as pool:
        assert set(pool.map(search, range(MAX_REQUESTS))) == {200}
    assert server.stop() == 0


def test_a_low_soft_limit_on_open_files_is_raised(serve: Serve, data_dir: Path) -> None:
    server = serve(through=within("ulimit -S -n 24"), TODO_DATA_DIR=str(data_dir))
    assert "Serving" in server.greeting()
    assert server.stop() == 0


@pytest.mark.parametrize("umask", ["777", "377"])
def test_a_umask_that_denies_owners_their_own_files_has_no_effect(serve: Serve, tmp_path: Path, umask: str) -> None:
    server = serve("--workers", "2", through=within(f"umask {umask}"), TODO_DATA_DIR=str(tmp_path / "data"))
    with server.client(server.greeting_token()) as client:
        assert client.post("/api/dev/tasks", json={"title": "Milk"}).status_code == 201
        assert client.get("/metrics").status_code == 200
    assert server.stop() == 0


def within_size(size: int, *, hard: bool = True) -> list[str]:
    """The start of a command line: what follows it runs with that limit on the size of files, in bytes."""
    script = (
        "import os, resource, sys\n"
        "limit, hard = int(sys.argv[1]), resource.RLIM_INFINITY\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit if sys.argv[2] == 'True' else hard))\n"
        "os.environ.pop('COVERAGE_PROCESS_CONFIG', None)\n"  # it would say that it can write no file
        "os.execv(sys.argv[3], sys.argv[3:])\n"
    )
    return [sys.executable, "-c", script, str(size), str(hard)]


@pytest.mark.parametrize("command", ["serve", "migrate", "mcp ann"])
@pytest.mark.parametrize("size", [0, 20_000_000])
def test_a_limit_on_the_size_of_files_is_refused_for_the_embedded_database(
    tmp_path: Path, command: str, size: int
) -> None:
    done = run(*command.split(), through=within_size(size), TODO_DATA_DIR=str(tmp_path / "data"))
    assert done.stderr == (
        f"todo: the limit on the size of files is {size} bytes, and the embedded PostgreSQL needs 1073741824: "
        "raise it (`ulimit -f unlimited`), or set DATABASE_URL\n"
    )
    assert done.returncode == 2


def test_a_limit_on_the_size_of_files_is_refused_if_the_secret_could_not_be_written(tmp_path: Path) -> None:
    done = run("token", "ann", through=within_size(0), TODO_DATA_DIR=str(tmp_path))
    assert done.stderr == (
        "todo: the limit on the size of files is 0 bytes, and the secret needs 1024: "
        "raise it (`ulimit -f unlimited`), or set BETTER_AUTH_SECRET\n"
    )
    assert done.returncode == 2


def test_a_low_soft_limit_on_the_size_of_files_is_raised(serve: Serve, data_dir: Path) -> None:
    server = serve(through=within_size(0, hard=False), TODO_DATA_DIR=str(data_dir))
    assert "Serving" in server.greeting()
    assert server.stop() == 0


def test_a_limit_on_the_size_of_files_is_refused_if_workers_could_not_write_metrics(database_url: str) -> None:
    variables = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET}
    done = run("serve", "--port", "8999", "--workers", "2", through=within_size(0), **variables)
    assert done.stderr == (
        "todo: the limit on the size of files is 0 bytes, and each of several workers needs 1048576: "
        "raise it (`ulimit -f unlimited`), or use --workers 1\n"
    )
    assert done.returncode == 2


@pytest.mark.skipif(sys.platform == "darwin", reason="names of files are UTF-8 there")
def test_a_data_folder_whose_name_is_not_utf_8_is_refused_by_its_name(tmp_path: Path) -> None:
    done = run("serve", TODO_DATA_DIR=f"{tmp_path}/d\udcff")
    assert done.stderr == "todo: TODO_DATA_DIR: the folder's path must be text in UTF-8: name another folder\n"
    assert done.returncode == 2


def test_a_secret_that_is_a_named_pipe_is_refused(data_dir: Path) -> None:
    os.mkfifo(data_dir / "secret", 0o600)
    done = run("token", "ann", TODO_DATA_DIR=str(data_dir))
    secret = data_dir / "secret"
    assert done.stderr == (f"todo: TODO_DATA_DIR: {secret} is not a regular file: delete it to have a new one made.\n")
    assert done.returncode == 2


def test_a_low_soft_limit_on_open_files_is_raised_for_the_embedded_database(tmp_path: Path) -> None:
    for limit, expected in (("-Sn 20", 0), ("-n 40", 2)):
        through = ["sh", "-c", f'ulimit {limit}; exec "$@"', "sh"]
        done = run("migrate", through=through, TODO_DATA_DIR=str(tmp_path / "data"))
        assert done.returncode == expected
    assert done.stderr == (
        "todo: the limit on open files is 40, and the embedded PostgreSQL needs 64: raise it (`ulimit -n 1024`), "
        "or set DATABASE_URL\n"
    )
