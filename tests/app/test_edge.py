"""The outermost layer alone: how long a request took, and what happens when an answer breaks off."""

from typing import Any

import pytest
from clocks import Seconds

from todo_app.http import edge
from todo_app.http.edge import Edge
from todo_app.http.exchange import App, Exchange, Receive, Scope, Send

SCOPE = {"type": "http", "method": "GET", "headers": [], "http_version": "1.1"}
START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"x"}


class Wrapped:
    """An application behind the edge, and what came of it."""

    def __init__(self, app: App) -> None:
        self.sent: list[dict[str, Any]] = []
        self.seconds: list[float] = []
        self.reported: list[Exception] = []
        self.edge = Edge(app, observe=self._observe, report=lambda _, error: self.reported.append(error))

    def _observe(self, _: Exchange, seconds: float) -> None:
        self.seconds.append(seconds)

    async def ask(self, **scope: Any) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)

        await self.edge({**SCOPE, **scope}, receive, send)


async def test_the_duration_of_a_request_runs_from_arrival_to_the_end_of_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Seconds()
    monkeypatch.setattr(edge, "perf_counter", clock)

    async def slow(_: Scope, __: Receive, send: Send) -> None:
        clock.now += 1.0
        await send({**START})
        clock.now += 0.25
        await send({**BODY})

    wrapped = Wrapped(slow)
    await wrapped.ask()
    assert wrapped.seconds == [1.25]


async def test_an_answer_that_breaks_off_is_followed_by_no_other() -> None:
    async def breaking(_: Scope, __: Receive, send: Send) -> None:
        await send({**START})
        raise RuntimeError

    wrapped = Wrapped(breaking)
    await wrapped.ask()
    assert [message["type"] for message in wrapped.sent] == ["http.response.start"]
    assert [type(error) for error in wrapped.reported] == [RuntimeError]
    assert len(wrapped.seconds) == 1


async def test_a_websocket_is_closed_and_does_not_reach_the_app() -> None:
    async def unasked(_: Scope, __: Receive, ___: Send) -> None:
        raise AssertionError

    wrapped = Wrapped(unasked)
    await wrapped.ask(type="websocket")
    assert [message["type"] for message in wrapped.sent] == ["websocket.close"]
