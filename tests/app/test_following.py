"""Clients of the service's streams have every change: the state machine for convergence, on those streams."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from effort import examples
from hypothesis.errors import Flaky
from slow_store import SlowStore

from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_app.http import event_stream, live
from todo_app.http.event_stream import EventStream
from todo_app.http.exchange import Exchange
from todo_core import OwnerId, ResyncRequired, SyncPage, SyncToken, TaskService, TaskStore
from todo_core.testing import assert_clients_converge, convergence

NEVER = 1000.0


class Followed:
    """A client of one stream, which immediately reads whatever it is sent."""

    def __init__(self, streams: live.Live, service: TaskService, owner: OwnerId, token: SyncToken, limit: int) -> None:
        self._sending: SyncPage | None = None
        self._pages: list[SyncPage] = []
        self._left = asyncio.Event()
        self._exchange = Exchange({"method": "GET"}, "", {})
        stream = EventStream(
            streams,
            owner,
            self._exchange,
            read=partial(service.sync, owner, limit=limit),
            here=self._nowhere,
            as_json=self._taken_down,
            since=token,
            seconds_left=lambda: NEVER,
        )
        self._task = asyncio.create_task(stream({}, self._receive, self._send))

    async def arrived(self) -> Sequence[SyncPage]:
        """As `Stream.arrived`."""
        await asyncio.sleep(0)
        if self._task.done():
            self._task.result()  # raises what it was refused with
            assert self._exchange.reason == ResyncRequired.code
            raise ResyncRequired
        pages, self._pages = self._pages, []
        return pages

    async def close(self) -> None:
        """As `Stream.close`."""
        self._left.set()
        await asyncio.wait({self._task})

    async def _nowhere(self) -> SyncToken:
        raise AssertionError("it has a token to begin with")

    def _taken_down(self, page: SyncPage) -> bytes:
        self._sending = page
        return b"{}"

    async def _receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message.get("body", b"").startswith(b"event: changes\n"):
            assert self._sending is not None
            self._pages.append(self._sending)


class Watch:
    """Counts nothing."""

    def opened(self) -> None:
        pass

    def closed(self) -> None:
        pass

    def pushed(self, page: SyncPage) -> None:
        pass

    def dropped(self) -> None:
        pass


class LiveStreams(live.Live):
    """Those of a process, as the machine opens them."""

    def __init__(self, store: TaskStore) -> None:
        super().__init__(store, Watch())

    async def open(self, service: TaskService, owner: OwnerId, token: SyncToken, limit: int) -> Followed:
        """As `Streams.open`."""
        return Followed(self, service, owner, token, limit)


def on_memory(processes: int, count: int) -> None:
    with asyncio.Runner() as runner:
        assert_clients_converge(*[SlowStore()] * processes, run=runner.run, streams=LiveStreams, examples=count)


def test_two_processes_find_each_others_changes_by_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "POLL_EVERY", 0.001)
    on_memory(2, examples(100))


def test_a_process_finds_its_own_changes_without_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "POLL_EVERY", NEVER)
    on_memory(1, examples(100))


def test_clients_of_two_stores_on_one_database_converge(
    monkeypatch: pytest.MonkeyPatch, shared_database_url: str
) -> None:
    monkeypatch.setattr(live, "POLL_EVERY", 0.001)
    with asyncio.Runner() as runner:
        engines = [create_engine(shared_database_url) for _ in range(2)]
        stores = [PostgresTaskStore(engine) for engine in engines]
        assert_clients_converge(*stores, run=runner.run, streams=LiveStreams, examples=examples(40))
        for store, engine in zip(stores, engines, strict=True):
            runner.run(store.aclose())
            runner.run(engine.dispose())


@pytest.fixture
def never_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that neither polling nor a wake-up has reported within this time is lost."""
    monkeypatch.setattr(convergence, "_HEARD_WITHIN", 0.2)


@pytest.mark.ci
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("never_waiting")
def test_a_stream_that_forgets_that_it_was_woken_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "POLL_EVERY", NEVER)
    right = EventStream._next

    async def forgetful(self: Any, listener: Any, token: Any) -> Any:
        page = await right(self, listener, token)
        listener.reset()
        return page

    monkeypatch.setattr(event_stream.EventStream, "_next", forgetful)
    with pytest.raises((AssertionError, Flaky)):
        on_memory(1, 5000)


@pytest.mark.ci
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("never_waiting")
def test_a_write_that_wakes_nobody_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "POLL_EVERY", NEVER)
    right = TaskService.batch

    async def batch(self: Any, *arguments: Any) -> Any:
        return await right(TaskService(self.store, self.clock, self.ids, self.history_kept), *arguments)

    monkeypatch.setattr(TaskService, "batch", batch)
    with pytest.raises((AssertionError, Flaky)):
        on_memory(1, 5000)


@pytest.mark.ci
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("never_waiting")
def test_polling_that_wakes_nobody_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "POLL_EVERY", 0.001)

    async def unheard(self: Any) -> None:
        await asyncio.sleep(NEVER)

    monkeypatch.setattr(live.Live, "_poll", unheard)
    with pytest.raises((AssertionError, Flaky)):
        on_memory(2, 5000)
