"""Data folders for the embedded PostgreSQL, and processes that use it."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from adapters.embedded.clusters import User, is_running
from databases import has_been_used, roomy_folder

from todo_adapters.embedded import EmbeddedDatabaseError, EmbeddedPostgres


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
