"""Requests that arrive together: a few start in each round of the event loop, and tokens take turns."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Hashable
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import pytest

from todo_app.http.admission import CROWD, IN_ALL, PAUSE, PER_ROUND, Admission
from todo_app.http.exchange import Scope

ANN, BOB = b"Bearer ann", b"Bearer bob"


def whose(scope: Scope) -> Hashable:
    """Only these two tokens are verified; all others are sent from one address."""
    header = dict(scope["headers"]).get(b"authorization")
    return header if header in (ANN, BOB) else "an address"


class Server:
    """Hands requests over as Granian does, and remembers which have started."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.admission = Admission(self.loop, whose)
        self.started: list[bytes | None] = []

    def receives(self, header: bytes | None, start: Callable[..., object] | None = None) -> None:
        watcher = SimpleNamespace(scope={"headers": [(b"host", b"a"), *([(b"authorization", header)] * bool(header))]})
        begin = start or (lambda _: self.started.append(header))
        self.admission.call_soon_threadsafe(begin, watcher, context=copy_context())

    async def all_started(self, count: int) -> None:
        await rounds_until(lambda: len(self.started) >= count)


async def rounds_until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not met():  # noqa: ASYNC110  (what is waited for has no event of its own)
            await asyncio.sleep(0)


async def test_each_round_starts_a_few_requests_of_each_token_in_order() -> None:
    server, order = Server(), list[tuple[bytes, int]]()
    for token in (ANN, BOB):
        for number in range(10):
            server.receives(token, lambda _, each=(token, number): order.append(each))
    expected = list[tuple[bytes, int]]()
    for first in range(0, 10, PER_ROUND):
        numbers = range(first, min(10, first + PER_ROUND))
        expected += [(token, number) for token in (ANN, BOB) for number in numbers]
        await rounds_until(lambda: len(order) >= len(expected))  # noqa: B023  (called before the next one)
        assert order == expected


async def test_hundreds_of_simultaneous_requests_start_after_one_of_another_user_that_came_later() -> None:
    server = Server()
    for _ in range(300):
        server.receives(ANN)
    await asyncio.sleep(0)
    server.receives(BOB)
    await rounds_until(lambda: BOB in server.started)
    assert server.started.count(ANN) <= 3 * PER_ROUND
    await server.all_started(301)
    assert server.started.count(ANN) == 300


async def test_hundreds_of_requests_with_different_bad_tokens_start_after_one_of_a_user_that_came_later() -> None:
    server = Server()
    for number in range(900):
        server.receives(b"Bearer %d" % number)
    await asyncio.sleep(0)
    server.receives(BOB)
    await rounds_until(lambda: BOB in server.started)
    assert len(server.started) <= IN_ALL + CROWD + 2 * PER_ROUND
    await server.all_started(901)


async def test_a_newcomer_is_behind_those_of_its_token_that_wait_or_have_just_started() -> None:
    server = Server()
    for _ in range(2 * PER_ROUND):
        server.receives(ANN)
    await rounds_until(lambda: len(server.started) == PER_ROUND)
    server.receives(BOB)
    for _ in range(PER_ROUND - 1):
        server.receives(ANN)
    await rounds_until(lambda: BOB in server.started)
    assert server.started == [*[ANN] * 2 * PER_ROUND, BOB]
    await server.all_started(3 * PER_ROUND)


async def test_one_that_arrives_during_a_round_is_started() -> None:
    server = Server()
    server.receives(ANN, lambda _: server.receives(BOB))
    await server.all_started(1)


async def test_of_many_tokens_a_number_in_all_starts_in_a_round_in_turn() -> None:
    server = Server()
    tokens = [b"Bearer %d" % number for number in range(2 * IN_ALL)]
    for token in tokens * 3:
        server.receives(token)
    for begun in range(IN_ALL, 6 * IN_ALL + 1, IN_ALL):
        await rounds_until(lambda: len(server.started) >= begun)  # noqa: B023  (called before the next one)
        assert len(server.started) == begun
    assert server.started[:IN_ALL] == tokens[:IN_ALL]
    assert set(server.started[: IN_ALL + IN_ALL // 2]) > set(tokens[:IN_ALL])
    assert [server.started.count(token) for token in tokens] == [3] * len(tokens)


async def test_a_token_is_one_however_its_header_is_spelled() -> None:
    server = Server()
    for count in range(1, 3 * PER_ROUND):
        server.receives(b"Bearer" + b" " * count + b"ann")
    server.receives(BOB)
    await rounds_until(lambda: BOB in server.started)
    assert server.started.index(BOB) == PER_ROUND
    await server.all_started(3 * PER_ROUND)


async def test_a_start_that_fails_is_reported_and_delays_no_other() -> None:
    server, problems = Server(), list[dict[str, object]]()
    server.loop.set_exception_handler(lambda _, context: problems.append(context))

    def fail(_: object) -> None:
        raise LookupError

    for _ in range(CROWD):
        server.receives(ANN, fail)
        server.receives(ANN)
    await server.all_started(CROWD)
    for _ in range(2):
        server.receives(BOB, fail)
        server.receives(BOB)
    await server.all_started(CROWD + 2)
    assert [type(problem["exception"]) for problem in problems] == [LookupError] * (CROWD + 2)


async def test_no_more_start_in_a_round_however_the_servers_thread_and_the_loop_take_turns() -> None:
    server, rounds = Server(), Counter[int]()
    loop, number = server.loop, 0

    def count_round() -> None:
        nonlocal number
        number += 1
        loop.call_soon(count_round)

    def start(_: object) -> None:
        rounds[number] += 1

    def receive_many() -> None:
        for _ in range(3000):
            server.receives(ANN, start)

    count_round()
    await asyncio.to_thread(receive_many)
    await rounds_until(lambda: rounds.total() == 3000)
    assert max(rounds.values()) == PER_ROUND


@pytest.mark.parametrize(("count", "pauses"), [(CROWD - 1, 0), (CROWD, CROWD // PER_ROUND - 1)])
async def test_a_pause_is_between_rounds_while_a_crowd_waits(
    monkeypatch: pytest.MonkeyPatch, count: int, pauses: int
) -> None:
    server, paused = Server(), list[float]()
    usual = server.loop.call_later

    def call_later(seconds: float, callback: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
        if callback == server.admission._round:
            paused.append(seconds)
        return usual(seconds, callback, *arguments)

    monkeypatch.setattr(server.loop, "call_later", call_later)
    for _ in range(count):
        server.receives(ANN)
    await server.all_started(count)
    assert paused == [PAUSE] * pauses


@pytest.mark.parametrize("tokens", [1, 10])
async def test_threads_take_short_turns_while_a_crowd_waits(tokens: int) -> None:
    server, usual, seen = Server(), sys.getswitchinterval(), list[float]()
    count = CROWD + 3 * PER_ROUND * tokens
    for crowds in (1, 2):
        for number in range(count):
            server.receives(b"Bearer %d" % (number % tokens), lambda _: seen.append(sys.getswitchinterval()))
        await rounds_until(lambda: len(seen) == crowds * count)  # noqa: B023  (called before the next one)
        assert max(seen) < usual / 10
        await asyncio.sleep(0)
        assert sys.getswitchinterval() == usual
    server.receives(BOB)
    await server.all_started(1)
    assert sys.getswitchinterval() == usual


async def test_other_calls_pass_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    for _ in range(2 * CROWD):
        server.receives(ANN)
    called = asyncio.Event()
    monkeypatch.setattr(server.loop, "call_soon_threadsafe", server.admission.call_soon_threadsafe)
    await asyncio.to_thread(server.loop.call_soon_threadsafe, called.set)
    handle = server.loop.call_soon_threadsafe(server.started.append, b"never")
    handle.cancel()
    await asyncio.wait_for(called.wait(), 5)
    await server.all_started(2 * CROWD)
    assert b"never" not in server.started
