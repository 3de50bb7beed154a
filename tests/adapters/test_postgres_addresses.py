"""A database's host with several addresses, some of which drop packets, refuse connections, or are slow."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import psycopg
import pytest
from factories import ANN, make_task
from poolers import passage_to

from todo_adapters.postgres import PostgresTaskStore, addresses, create_engine
from todo_adapters.postgres.addresses import Addresses
from todo_adapters.postgres.engine import connection_arguments
from todo_core import StoreUnavailable
from todo_core.testing.writing import add

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="every 127.x.y.z is a local address on Linux only")


class Silent:
    """Accepts connections, counts them and says nothing: to a client, a network that swallows packets."""

    def __init__(self, address: str, port: int) -> None:
        self.address, self.port = address, port
        self.connections = 0
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.begun.set()
        while await reader.read(1024):
            pass
        self.ended.set()
        writer.close()


@asynccontextmanager
async def silent(address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Silent]:
    holes = Silent(address, port)
    async with await asyncio.start_server(holes.accept, address, port) as server:
        holes.port = server.sockets[0].getsockname()[1]
        yield holes


@contextmanager
def full(address: str, port: int = 0) -> Iterator[int]:
    """A port whose queue of connections is full: the kernel drops every packet that asks for another."""
    with ExitStack() as opened:
        listening = opened.enter_context(socket.socket())
        listening.bind((address, port))
        listening.listen(0)
        for _ in range(3):
            filling = opened.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


def through(url: str, *others: tuple[str, int], query: str = "") -> str:
    """The URL with these other hosts before its own."""
    scheme, _, rest = url.partition("@")
    hosts = ",".join(f"{host}:{port}" for host, port in others)
    return f"{scheme}@{hosts},{rest}{query}"


@only_linux
async def test_a_request_is_answered_even_if_the_first_address_drops_packets(database_url: str) -> None:
    with passage_to(database_url) as (_, url), full("127.0.0.2") as port:
        engine = create_engine(through(url, ("127.0.0.2", port)), pool_timeout=4)
        tasks = (store := PostgresTaskStore(engine, deadline=4)).tasks_of(ANN)
        await add(tasks, task := make_task())
        assert await tasks.get(task.id) == task
        await store.aclose()
        await engine.dispose()


@only_linux
async def test_every_address_of_a_name_gets_its_turn(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = socket.getaddrinfo

    def resolved(host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
        if host != "database.test":
            return list(original(host, port, *args, **options))
        addresses = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1")
        return [found for address in addresses for found in original(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    with passage_to(database_url) as (passage, url), full("127.0.0.2", passage.port):
        async with silent("127.0.0.3", passage.port):  # and nobody listens at 127.0.0.4
            engine = create_engine(url.replace("@127.0.0.1", "@database.test"), pool_timeout=4)
            store = PostgresTaskStore(engine, deadline=4)
            await store.ready()
            await store.aclose()
            await engine.dispose()


async def test_addresses_that_did_not_answer_are_tried_last_afterwards(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with passage_to(database_url) as (_, url):
        async with silent() as hole:
            several = Addresses(connection_arguments(through(url, (hole.address, hole.port))), timeout=60)
            await (await several.connect()).close()
            monkeypatch.setattr(addresses, "_PAUSE", 10.0)  # longer than any answer takes
            for _ in range(3):
                await (await several.connect()).close()
            assert hole.connections == 1


async def test_an_address_that_fails_later_is_replaced_by_one_that_recovered(database_url: str) -> None:
    with passage_to(database_url) as (first, url), passage_to(database_url) as (second, _):
        addresses = Addresses(connection_arguments(through(url, ("127.0.0.1", second.port))), timeout=2)
        ports = []
        for swallowing in (second, first, second, None):
            for passage in (first, second):
                passage.swallow(passage is swallowing)
            for _ in range(2):
                connection = await addresses.connect()
                ports.append(connection.info.port)
                await connection.close()
        assert ports == [first.port] * 2 + [second.port] * 2 + [first.port] * 4


async def test_an_attempt_that_was_overtaken_is_closed(database_url: str) -> None:
    with passage_to(database_url) as (_, url):
        async with silent() as hole:
            addresses = Addresses(connection_arguments(through(url, (hole.address, hole.port))), timeout=1)
            connection = await addresses.connect()
            await asyncio.wait_for(hole.ended.wait(), 10)
            await connection.close()
    assert hole.connections == 1


async def test_a_connection_that_nobody_waits_for_any_more_is_closed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, made, overtaken = addresses._connect, list[psycopg.AsyncConnection[Any]](), asyncio.Event()

    async def slow_to_end(attempt: dict[str, Any]) -> Any:
        try:
            made.append(connection := await connect(attempt))
        except asyncio.CancelledError:
            overtaken.set()
            await asyncio.sleep(0.1)
            raise
        return connection

    monkeypatch.setattr(addresses, "_connect", slow_to_end)
    with passage_to(database_url) as (_, url):
        async with silent() as hole:
            several = Addresses(connection_arguments(through(url, (hole.address, hole.port))), timeout=1)
            connecting = asyncio.create_task(several.connect())
            await asyncio.wait_for(overtaken.wait(), 10)
            connecting.cancel()
            await asyncio.wait({connecting})
            assert connecting.cancelled()
            assert [each.closed for each in made] == [True]


async def test_an_address_that_is_only_slow_is_not_given_up(database_url: str) -> None:
    ended = asyncio.Event()
    async with silent() as hole:

        async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.3)  # longer than the pause before the others are tried
            inner, outer = await asyncio.open_connection("127.0.0.1", passage.port)
            await asyncio.gather(pump(reader, outer), pump(inner, writer))
            ended.set()

        with passage_to(database_url) as (passage, url):
            async with await asyncio.start_server(slowly, "127.0.0.1", 0) as server:
                slow = server.sockets[0].getsockname()[1]
                hosts = f"127.0.0.1:{slow},{hole.address}:{hole.port},{hole.address}:{hole.port}"
                slow_url = url.replace(f"127.0.0.1:{passage.port}", hosts)
                connection = await Addresses(connection_arguments(slow_url), timeout=0.3).connect()
                assert connection.info.port == slow
                await connection.close()
                await asyncio.wait_for(ended.wait(), 10)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def test_if_all_addresses_fail_the_last_reason_is_reported() -> None:
    addresses = Addresses(connection_arguments("postgresql://u@127.0.0.1:1,127.0.0.1:2/x"), timeout=1)
    with pytest.raises(psycopg.OperationalError, match="port 2 failed: Connection refused"):
        await addresses.connect()
    engine = create_engine("postgresql://u@127.0.0.1:1,127.0.0.1:2/x")
    with pytest.raises(StoreUnavailable):
        await PostgresTaskStore(engine).ready()
    await engine.dispose()


async def test_a_standby_is_preferred_to_an_address_that_answered_before(database_url: str) -> None:
    with passage_to(database_url) as (passage, url):
        arguments = connection_arguments(f"{url}?target_session_attrs=prefer-standby")
        addresses = Addresses(arguments, timeout=1)
        for _ in range(2):
            connection = await addresses.connect()  # there is none: the primary will do
            await connection.close()
        assert passage.connections == 4  # a standby was asked for each time


async def test_giving_up_ends_every_attempt(database_url: str) -> None:
    async with silent() as one, silent() as two:
        url = f"postgresql://u@{one.address}:{one.port},{two.address}:{two.port}/x"
        connecting = asyncio.create_task(Addresses(connection_arguments(url), timeout=0.2).connect())
        await asyncio.wait_for(asyncio.gather(one.begun.wait(), two.begun.wait()), 10)
        connecting.cancel()
        await asyncio.wait({connecting})
        await asyncio.wait_for(asyncio.gather(one.ended.wait(), two.ended.wait()), 10)
    assert connecting.cancelled()
