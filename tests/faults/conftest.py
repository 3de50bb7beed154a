"""The fixtures of the fault scenarios, and their table at the end."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.database import OneDatabase, database
from faults.stage import ON_A_DATABASE, ROWS, Stage, settings
from faults.table import as_markdown, put
from partitions import migrate_and_partition
from serving import Server, eventually

from todo_adapters.postgres.migrations import migrate


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--document", action="store_true", help="put the table into docs/faults.md")
    parser.addoption("--sharded", action="store_true", help="on tables in partitions, used as on several machines")


def pytest_configure(config: pytest.Config) -> None:
    """Set every server up as the options say."""
    if config.getoption("--sharded"):
        ON_A_DATABASE["TODO_DATABASE_SHARDED"] = "true"
        if config.getoption("--document"):
            raise pytest.UsageError("the table is of one PostgreSQL: --document goes without --sharded")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    if ROWS:
        terminalreporter.write_sep("=", "faults")
        terminalreporter.write_line(as_markdown(ROWS))
        if config.getoption("--document"):
            put(ROWS)


@pytest.fixture
def prepare(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Makes the tables in the database of that URL."""
    return migrate_and_partition if request.config.getoption("--sharded") else migrate


@pytest.fixture
def a_database(prepare: Callable[[str], None]) -> Iterator[OneDatabase]:
    with database() as made:
        prepare(made.url)
        yield made


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers with these arguments and variables, and ends them with the test."""
    servers: list[Server] = []

    def start(*arguments: str, port: int | None = None, **variables: str) -> Server:
        servers.append(Server(tmp_path / "logs", *arguments, port=port, **variables))
        return servers[-1]

    yield start
    for server in reversed(servers):
        server.discard()


@pytest.fixture
def stage(a_database: OneDatabase, serve: Callable[..., Server]) -> Stage:
    """A server of two workers."""
    server = serve("--workers", "2", **settings(a_database.url)).started()
    eventually(lambda: len(server.family()) == 3)
    return Stage(a_database, [server])
