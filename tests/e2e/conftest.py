"""Servers that run as processes, for tests that talk to them through sockets."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from databases import ScratchCluster, has_been_used
from serving import SECRET, Server, database_pid, serving_events, token_for

from todo_adapters.postgres.migrations import migrate


@pytest.fixture
def data_dir(new_data_dir: Path) -> Path:
    """Where the servers of this test keep their data: there is an empty database, as from an earlier start."""
    return has_been_used(new_data_dir, migrate)


@pytest.fixture
def new_data_dir(tmp_path: Path) -> Iterator[Path]:
    """As `data_dir`, and nothing is there yet. No database runs on there after the test."""
    yield tmp_path / "data"
    if (left := database_pid(tmp_path / "data")) is not None:
        os.kill(left, signal.SIGINT)


@pytest.fixture
def serve(tmp_path: Path, new_data_dir: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers and ends them with the test; takes what `Server` takes but for the folder."""
    servers: list[Server] = []

    def start(*arguments: str, **options: Any) -> Server:
        servers.append(Server(tmp_path / "logs", *arguments, **options))
        return servers[-1]

    yield start
    for server in reversed(servers):
        server.discard()


@pytest.fixture(scope="module")
def shared(cluster: ScratchCluster, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server on a database of its own, for all tests of a module that only send requests."""
    url = cluster.create_database(migrated)
    variables = {"DATABASE_URL": url, "BETTER_AUTH_SECRET": SECRET, "TODO_RATE_LIMIT": "1000000/hour"}
    temporary = tmp_path_factory.mktemp("temporary")
    server = Server(tmp_path_factory.mktemp("server"), "--workers", "2", TMPDIR=str(temporary), **variables)
    serving_events(server.started())  # each test then reads its own lines
    yield server
    assert not list(temporary.iterdir()), "files are left in the folder for temporary files"
    server.discard()
    cluster.drop(url)


@pytest.fixture(scope="module")
def token() -> str:
    """A token for Ann at the shared server."""
    return token_for()
