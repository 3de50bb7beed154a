"""Requests that arrive together: at most a few of each token start in a round of the event loop."""

import asyncio
from typing import Any

from todo_app.http.admission import PER_ROUND, Admission
from todo_app.http.edge import Edge
from todo_app.http.exchange import Receive, Scope, Send

ANN, BOB = b"Bearer ann", b"Bearer bob"


async def never(*_: Any) -> None:
    await asyncio.Event().wait()


async def test_each_round_admits_a_few_requests_of_each_token_in_order() -> None:
    admission, order = Admission(), list[tuple[bytes, int]]()

    async def request(token: bytes, number: int) -> None:
        if (turn := admission.turn(token)) is not None:
            await turn
        order.append((token, number))

    asked = [asyncio.create_task(request(token, number)) for token in (ANN, BOB) for number in range(10)]
    expected = list[tuple[bytes, int]]()
    for first in range(0, 10, PER_ROUND):
        numbers = range(first, min(10, first + PER_ROUND))
        expected += [(token, number) for token in (ANN, BOB) for number in numbers]
        while len(order) < len(expected):
            assert not all(task.done() for task in asked)
            await asyncio.sleep(0)
        assert order == expected
    await asyncio.gather(*asked)


async def test_a_token_is_one_however_its_header_is_spelled() -> None:
    admission = Admission()
    headers = [b"Bearer" + b" " * count + b"ann" for count in range(1, PER_ROUND + 1)]
    assert [admission.turn(header) for header in headers] == [None] * PER_ROUND
    assert admission.turn(b"bearer       ann") is not None
    assert admission.turn(BOB) is None
    await asyncio.sleep(0)


async def test_a_newcomer_is_behind_those_that_wait_and_cancelled_ones_take_no_place() -> None:
    admission = Admission()
    turns = [turn for _ in range(3 * PER_ROUND) if (turn := admission.turn(ANN)) is not None]
    assert len(turns) == 2 * PER_ROUND
    for turn in turns[:PER_ROUND]:
        turn.cancel()
    await asyncio.sleep(0)
    late = admission.turn(ANN)
    assert late is not None
    assert [turn.done() and not turn.cancelled() for turn in turns] == [False] * PER_ROUND + [True] * PER_ROUND
    await asyncio.wait_for(late, 5)
    await asyncio.sleep(0)
    assert admission._started == admission._waiting == {}
    assert admission.turn(ANN) is None


async def test_hundreds_of_simultaneous_requests_start_after_one_of_another_user_that_came_later() -> None:
    started = list[bytes]()

    async def answer(scope: Scope, _: Receive, __: Send) -> None:
        started.append(scope["headers"][0][1])

    edge = Edge(answer, observe=lambda _, __: None, report=lambda _, __: None)

    def request(token: bytes) -> "asyncio.Task[None]":
        scope = {"type": "http", "method": "GET", "headers": [(b"authorization", token)]}
        return asyncio.create_task(edge(scope, never, never))

    many = [request(ANN) for _ in range(300)]
    await asyncio.sleep(0)
    await request(BOB)
    assert started.count(ANN) <= 3 * PER_ROUND
    await asyncio.gather(*many)
    assert started.count(ANN) == 300
