"""The databases that the tests use: fast, separate, and removed afterwards."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from databases import ScratchCluster, make_scratch_folder, remove_scratch_folder

TESTS = Path(__file__).parents[1]
CONFTEST = """
import pytest
from databases import make_scratch_folder, remove_scratch_folder, shared_scratch_cluster

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        lock = make_scratch_folder()
        config.add_cleanup(lambda: remove_scratch_folder(lock))

@pytest.fixture(scope="session")
def cluster():
    with shared_scratch_cluster() as cluster:
        yield cluster
"""
SUITE = """
import os, signal, psycopg, pytest

@pytest.mark.parametrize("number", range(6))
def test_uses_a_database(cluster, number, pytestconfig):
    with open(pytestconfig.rootpath / "places", "a") as places:
        print(os.environ["TODO_TEST_CLUSTER"], file=places)
    def build(url):
        with psycopg.connect(url) as connection:
            connection.execute("create table note (word text)")
    with psycopg.connect(cluster.create_database(cluster.template("notes", build))) as connection:
        assert connection.execute("select count(*) from note").fetchone() == (0,)
    if number == int(os.environ["KILLED"]):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def run_suite(folder: Path, *options: str, killed: int = -1) -> "subprocess.CompletedProcess[str]":
    """Run a small suite of its own, of which one test may kill its process."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    foreign = ("PYTEST_", "COV_", "TODO_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment |= {"PYTHONPATH": f"{TESTS}:{TESTS.parent / 'src'}", "KILLED": str(killed)}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # loading them takes longer than the tests
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def places(folder: Path) -> set[Path]:
    return set(map(Path, (folder / "places").read_text().split()))


def processes_in(place: Path) -> list[str]:
    """The processes whose working directory is below a folder, as PostgreSQL's is in its data folder."""
    return [str(entry) for entry in Path("/proc").glob("[0-9]*") if stands_in(entry, place)]


def stands_in(process: Path, place: Path) -> bool:
    try:
        return (process / "cwd").readlink().is_relative_to(place)
    except OSError:
        return False


@pytest.mark.ci
def test_workers_share_one_cluster_and_leave_nothing(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, "-n", "2")
    assert "6 passed" in outcome.stdout, outcome.stdout + outcome.stderr
    (place,) = places(tmp_path)
    assert not place.exists()
    assert processes_in(place) == []


@pytest.mark.ci
def test_a_killed_worker_leaves_nothing(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, "-n", "1", "--max-worker-restart", "0", killed=0)
    assert "crashed" in outcome.stdout, outcome.stdout + outcome.stderr
    (place,) = places(tmp_path)
    assert not place.exists()
    assert processes_in(place) == []


@pytest.mark.ci
def test_leftovers_of_a_killed_run_are_removed_by_the_next_run(tmp_path: Path) -> None:
    run_suite(tmp_path, killed=0)
    (left,) = places(tmp_path)
    assert processes_in(left) != []
    assert "6 passed" in run_suite(tmp_path).stdout
    assert [place for place in places(tmp_path) if place.exists() or processes_in(place)] == []


@pytest.mark.ci
def test_a_living_runs_cluster_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TODO_TEST_CLUSTER", "this run's, put back afterwards")
    lock = make_scratch_folder()
    try:
        place = Path(os.environ["TODO_TEST_CLUSTER"])
        with ScratchCluster(place) as cluster:
            assert "6 passed" in run_suite(tmp_path).stdout
            psycopg.connect(cluster.create_database()).close()
    finally:
        remove_scratch_folder(lock)
    assert not place.exists()


def test_databases_are_separate_and_go_when_they_are_dropped(cluster: ScratchCluster) -> None:
    one, other = cluster.create_database(), cluster.create_database()
    with psycopg.connect(one, autocommit=True) as connection:
        connection.execute("create table note (word text)")
        cluster.drop(one)
        connection.close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(one).close()
    with psycopg.connect(other) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("select from note")
    cluster.drop(other)


def test_a_template_that_failed_to_build_is_built_again(cluster: ScratchCluster) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cluster.template("failed", fail)
    with pytest.raises(psycopg.errors.UndefinedTable), psycopg.connect(cluster.create_database()) as connection:
        connection.execute("select from note")
    built: list[str] = []
    cluster.template("failed", built.append)
    cluster.template("failed", built.append)
    assert len(built) == 1


@pytest.mark.ci
def test_two_hundred_connections_fit(cluster: ScratchCluster) -> None:
    url = cluster.create_database()
    with ExitStack() as opened:
        connections = [opened.enter_context(psycopg.connect(url)) for _ in range(200)]
        assert connections[-1].execute("select 1").fetchone() == (1,)
    cluster.drop(url)
