"""The fixtures that several folders of tests share: databases, stores."""

import gc
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest
from databases import ScratchCluster, make_scratch_folder, remove_scratch_folder, shared_scratch_cluster
from effort import examples

if TYPE_CHECKING:  # and in the fixtures: tests that need no store do not load, nor depend on, what one is made of
    from todo_adapters.postgres import PostgresTaskStore
    from todo_adapters.postgres.engine import Engine

# A slow example says that the machine is busy, nothing of the code.
hypothesis.settings.register_profile("patient", deadline=None, max_examples=examples(100))
hypothesis.settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """Make this run's place for databases, once: the workers of pytest-xdist inherit it."""
    # A shell lets what it runs in the background ignore SIGQUIT, `nohup` SIGHUP, and what tests start would inherit it.
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    if not hasattr(config, "workerinput"):
        lock = make_scratch_folder()
        config.add_cleanup(lambda: remove_scratch_folder(lock))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collections of garbage find none among thousands of tests, and would take a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def cluster() -> Iterator[ScratchCluster]:
    """A PostgreSQL to make databases in."""
    with shared_scratch_cluster() as cluster:
        yield cluster


def made(cluster: ScratchCluster, template: str | None = None) -> Iterator[str]:
    """A database, an empty one or a copy, until it is not needed any more."""
    url = cluster.create_database(template)
    yield url
    cluster.drop(url)


@pytest.fixture(scope="session")
def migrated(cluster: ScratchCluster) -> str:
    """The name of a migrated database to copy."""
    from todo_adapters.postgres.migrations import migrate

    return cluster.template("migrated", migrate)


@pytest.fixture
def database_url(cluster: ScratchCluster, migrated: str) -> Iterator[str]:
    """A migrated database of this test's own."""
    yield from made(cluster, migrated)


@pytest.fixture(scope="session")
def shared_database_url(cluster: ScratchCluster, migrated: str) -> Iterator[str]:
    """A migrated database for all tests of this worker that use owners of their own, and so need no empty one."""
    yield from made(cluster, migrated)


@pytest.fixture(scope="session")
def partitioned(cluster: ScratchCluster) -> str:
    """As `migrated`, its tables in partitions by owner."""
    from partitions import migrate_and_partition

    return cluster.template("partitioned", migrate_and_partition)


@pytest.fixture
def partitioned_database_url(cluster: ScratchCluster, partitioned: str) -> Iterator[str]:
    """As `database_url`, its tables in partitions by owner."""
    yield from made(cluster, partitioned)


@pytest.fixture(scope="session")
def shared_partitioned_database_url(cluster: ScratchCluster, partitioned: str) -> Iterator[str]:
    """As `shared_database_url`, its tables in partitions by owner."""
    yield from made(cluster, partitioned)


@pytest.fixture
def empty_database_url(cluster: ScratchCluster) -> Iterator[str]:
    """A database with nothing in it."""
    yield from made(cluster)


@pytest.fixture
async def engine(database_url: str) -> "AsyncIterator[Engine]":
    """Connections to `database_url`."""
    from todo_adapters.postgres import create_engine

    engine = create_engine(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def postgres_store(engine: "Engine") -> "AsyncIterator[PostgresTaskStore]":
    """An empty store on PostgreSQL."""
    from todo_adapters.postgres import PostgresTaskStore

    store = PostgresTaskStore(engine)
    yield store
    await store.aclose()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Disable the garbage collector: only objects without references are freed."""
    gc.collect()
    gc.disable()
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()
