"""A large result is read in one turn of the event loop, as far as it has arrived."""

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.waiting import Ready, Wait

from todo_adapters.postgres.addresses import Addresses
from todo_adapters.postgres.driver import READS_MAX, reading_on
from todo_adapters.postgres.engine import connection_arguments


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def read(from_: socket.socket, pieces: int) -> PQGen[bytes]:
    """Reads so many bytes as psycopg does: one at a time, each after a wait."""
    found = b""
    while len(found) < pieces:
        while not (yield Wait.R):
            continue
        found += from_.recv(1)
    return found


def waits(reading: PQGen[bytes]) -> tuple[list[Wait], bytes]:
    """What a reader waits for when the socket is always ready, and what it returns."""
    waited, ready = [], None
    try:
        while True:
            waited.append(reading.send(ready))
            ready = Ready.R
    except StopIteration as end:
        return waited, end.value


def test_what_has_arrived_is_read_after_one_wait(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"x" * READS_MAX)
    assert waits(reading_on(read(ours, READS_MAX), ours.fileno())) == ([Wait.R], b"x" * READS_MAX)


def test_other_work_comes_in_between_the_reads_of_a_very_large_result(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.sendall(b"x" * 3 * READS_MAX)
    assert waits(reading_on(read(ours, 3 * READS_MAX), ours.fileno()))[0] == [Wait.R] * 3


def test_what_has_not_arrived_is_waited_for(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"x")
    reading = reading_on(read(ours, 2), ours.fileno())
    assert [next(reading), reading.send(Ready.R), reading.send(Ready.NONE)] == [Wait.R] * 3
    theirs.sendall(b"y")
    with pytest.raises(StopIteration) as end:
        reading.send(Ready.R)
    assert end.value.value == b"xy"


def test_a_generator_that_waits_for_nothing_or_to_write_is_left_as_it_is(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.sendall(b"x")

    def writing() -> PQGen[bytes]:
        assert [(yield Wait.RW), (yield Wait.RW), (yield Wait.W)] == [Ready.R] * 3
        return b"done"

    assert waits(reading_on(writing(), ours.fileno())) == ([Wait.RW, Wait.RW, Wait.W], b"done")
    assert waits(reading_on(read(ours, 0), ours.fileno())) == ([], b"")


async def test_the_stores_connections_read_all_that_has_arrived(empty_database_url: str) -> None:
    addresses = Addresses(connection_arguments(empty_database_url), timeout=5)
    async with await addresses.connect() as connection, await AsyncConnection.connect(empty_database_url) as plain:
        assert 2 * await turns_of_a_large_result(connection) < await turns_of_a_large_result(plain)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.execute("select pg_sleep(60)"), 0.2)
        assert await (await connection.execute("select 1")).fetchone() == (1,)


async def turns_of_a_large_result(connection: AsyncConnection[Any]) -> int:
    """In how many turns of a loop that is busy for 10 ms in each it is read."""
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            time.sleep(0.01)  # noqa: ASYNC251  (as requests would do)
            await asyncio.sleep(0)

    busy = asyncio.create_task(take_turns())
    cursor = await connection.execute("select repeat('x', 1000) from generate_series(1, 400)")
    busy.cancel()
    assert len(await cursor.fetchall()) == 400
    return turns
