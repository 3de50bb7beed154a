"""Several processes use one embedded PostgreSQL: the last one stops it."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from adapters.embedded.clusters import User, ask, is_running, starts

from todo_adapters.embedded import EmbeddedPostgres


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
