"""The database dies, hangs, is unavailable, or has no disk space or connections left, while 24 users write."""

from pathlib import Path

import pytest
from faults.database import OneDatabase, full, small_disk
from faults.stage import HANGING, Stage, settings
from serving import Serve, eventually

from todo_adapters.postgres.migrations import migrate

pytestmark = pytest.mark.timeout(240)


def test_service_recovers_after_the_database_was_killed(stage: Stage) -> None:
    with stage.load("database: killed (kill -9) and started again immediately") as load:
        stage.database.kill()
        stage.database.start()
        stage.comes_back(load)


def test_service_recovers_after_the_database_was_killed_three_times(stage: Stage) -> None:
    with stage.load("database: killed (kill -9) and started again immediately, 3 times") as load:
        for _ in range(3):
            stage.database.kill()
            stage.database.start()
            stage.comes_back(load)


def test_service_recovers_after_a_fast_database_restart(stage: Stage, a_database: OneDatabase) -> None:
    with stage.load("database: shut down without waiting for clients (SIGINT), and started again") as load:
        a_database.shut_down_fast()
        stage.database.start()
        stage.comes_back(load)


def test_service_recovers_after_ten_seconds_without_database(stage: Stage) -> None:
    with stage.load("database: killed (kill -9), and started again after 10 s") as load:
        stage.database.kill()
        load.goes_on(10)
        stage.database.start()
        stage.comes_back(load)
    assert load.unavailable > 100


def test_service_recovers_after_the_database_ran_out_of_connections(stage: Stage, a_database: OneDatabase) -> None:
    with stage.load("database: other clients hold all connections that it allows for 6 s") as load:
        with a_database.connections_taken(stage.paused()):
            load.goes_on(6)
        stage.comes_back(load)
    assert load.unavailable > 100


@pytest.mark.parametrize(
    ("what", "statement"),
    [
        ("another client locks the table of tasks against writing", "lock table tasks in exclusive mode"),
        ("another client locks the table of tasks against reading and writing", "lock table tasks"),
        (
            "another client locks tasks that users write to",
            "select from tasks order by user_id, id limit 24 for update",
        ),
    ],
)
def test_service_recovers_after_a_long_database_lock(stage: Stage, what: str, statement: str) -> None:
    with stage.load(f"database: {what} for 15 s") as load:
        with stage.database.locked(statement):
            load.goes_on(HANGING)
        stage.comes_back(load)
    assert load.unavailable > 0


def test_service_recovers_after_the_database_disk_was_full(serve: Serve) -> None:
    try:
        with small_disk() as disk:
            on_a_small_disk(disk, serve)
    except PermissionError as problem:
        pytest.skip(f"{problem}")


def on_a_small_disk(disk: Path, serve: Serve) -> None:
    database = OneDatabase(disk)
    try:
        migrate(database.url)
        stage = Stage(database, [serve("--workers", "2", **settings(database.url)).started()])
        with stage.load("database: its disk is full until more than 50 requests have got 503") as load:
            with full(disk):
                eventually(lambda: load.unavailable > 50, 60)
            stage.comes_back(load)
        assert load.unavailable > 0
    finally:
        database.stop()
