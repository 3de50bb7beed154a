"""The stream of changes, in this process: what wakes it, what ends it, and that it delays no other request."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from asking import Service, _scope, make_service, token
from clocks import until
from factories import ANN, BOB
from refusals import problem
from slow_store import SlowStore

from todo_adapters.memory import MemoryOwnedTasks, MemoryTaskStore
from todo_app.http import event_stream, live
from todo_core import OwnerId, StoreUnavailable, SyncPage, SyncQuery

EVENTS = f"/api/{ANN}/events"
NEVER = 1000.0


class Stream:
    """A client of the application that reads a stream, or does not."""

    def __init__(self, service: Service, path: str, bearer: str, headers: Mapping[str, str]) -> None:
        fields = [(b"authorization", b"Bearer " + bearer.encode())]
        fields += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self.reads = asyncio.Event()
        self.reads.set()
        self.left = asyncio.Event()
        self.body = b""
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = _scope("GET", path.encode(), fields)
        self.task = asyncio.create_task(service.app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        await self.reads.wait()
        self.messages.put_nowait(message)

    async def block(self) -> dict[str, str]:
        """The next block: its fields by name."""
        while b"\n\n" not in self.body:
            message = await asyncio.wait_for(self.messages.get(), 10)
            self.body += message.get("body", b"")
            assert message.get("more_body", True), "it has ended"
        block, _, self.body = self.body.partition(b"\n\n")
        lines = [line.partition(":") for line in block.decode().split("\n")]
        return {name: value.strip() for name, _, value in lines}

    async def page(self) -> dict[str, Any]:
        while "data" not in (block := await self.block()):
            pass
        return dict(json.loads(block["data"]))

    async def titles(self, count: int) -> list[str]:
        """The titles that the next events have, until there are as many."""
        found: list[str] = []
        while len(found) < count:
            found += [item["value"]["title"] for item in (await self.page())["items"]]
        return found

    async def ended(self) -> bool:
        """Whether it ends with a last message."""
        await asyncio.wait_for(self.task, 10)
        last: dict[str, Any] = {}
        while not self.messages.empty():
            last = self.messages.get_nowait()
        return last.get("more_body") is False


@asynccontextmanager
async def following(
    service: Service, path: str = EVENTS, user: str = ANN, bearer: str | None = None, **headers: str
) -> AsyncIterator[Stream]:
    stream = Stream(service, path, bearer or token(user), headers)
    try:
        yield stream
    finally:
        stream.left.set()
        stream.reads.set()
        await asyncio.wait_for(asyncio.wait({stream.task}), 10)


async def add(service: Service, title: str, user: str = ANN) -> None:
    assert (await service.ask("POST", f"/api/{user}/tasks", user=user, json_={"title": title})).status_code == 201


def reason(service: Service) -> str:
    """Why the only stream that was logged has ended."""
    [line] = [line for line in service.log() if line["route"] == "/api/{user_id}/events"]
    assert (line["event"], line["status"], line["user"]) == ("request", 200, ANN)
    return str(line["reason"])


async def numbers(service: Service) -> dict[str, float]:
    """The numbers of streams."""
    text = (await service.ask("GET", "/metrics", user=None)).text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("todo_event")]
    return {name: float(value) for name, value in lines}


async def test_a_commit_of_the_same_process_wakes_streams_without_polling(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "POLL_EVERY", NEVER)
    async with following(service) as stream, following(service, f"/api/{BOB}/events", BOB) as other:
        assert set(await stream.block()) == {"retry", "id"}
        for number in range(3):
            await add(service, f"{number}")
            assert await stream.titles(1) == [f"{number}"]
        await add(service, "theirs", BOB)
        assert await other.titles(1) == ["theirs"]


async def test_a_batch_of_the_same_process_wakes_streams_immediately(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "POLL_EVERY", NEVER)
    operations = [{"op": "create", "task": {"title": f"{number}"}} for number in range(2)]
    async with following(service) as stream:
        await stream.block()
        await asyncio.sleep(0.05)  # the look that a first stream begins with is over
        await service.ask("POST", f"/api/{ANN}/batch", json_={"operations": operations})
        async with asyncio.timeout(5):
            assert await stream.titles(2) == ["0", "1"]


async def test_changes_of_another_process_are_found_by_polling() -> None:
    assert live.POLL_EVERY <= 0.25
    store = MemoryTaskStore()
    service, other = make_service(store), make_service(store)
    async with following(service) as stream:
        await stream.block()
        for number in range(3):
            await add(other, f"{number}")
            async with asyncio.timeout(5):  # a look is due within 0.25 s; this machine may be busy
                assert await stream.titles(1) == [f"{number}"]


async def every_change_arrives(seed: int) -> None:
    service, random = make_service(SlowStore()), Random(seed)
    async with following(service) as first, following(service) as second:
        await first.block()
        await second.block()
        for number in range(20):
            await add(service, f"{number}")
            for _ in range(random.randrange(6)):
                await asyncio.sleep(0)
        for stream in (first, second):
            assert await stream.titles(20) == [f"{number}" for number in range(20)]


async def test_no_wake_up_is_lost_while_a_page_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "POLL_EVERY", NEVER)
    for seed in range(20):
        await every_change_arrives(seed)


async def test_a_wake_up_that_is_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shows that the previous test can fail: this stream forgets a wake-up that came while it read."""
    monkeypatch.setattr(live, "POLL_EVERY", NEVER)
    right = event_stream.EventStream._next

    async def forgetful(self: Any, listener: Any, token: Any) -> Any:
        page = await right(self, listener, token)
        listener.reset()
        return page

    monkeypatch.setattr(event_stream.EventStream, "_next", forgetful)
    monkeypatch.setattr(asyncio, "wait_for", lambda waiting, _, right=asyncio.wait_for: right(waiting, 0.5))
    with pytest.raises(TimeoutError):
        await asyncio.gather(*map(every_change_arrives, range(20)))


async def test_a_stream_begins_where_its_client_stopped(service: Service) -> None:
    async with following(service) as stream:
        begun = (await stream.block())["id"]
    await add(service, "one")
    since = (await service.ask("GET", f"/api/{ANN}/changes?since={begun}")).json()["next"]
    await add(service, "two")
    async with following(service, f"{EVENTS}?since={begun}") as stream:
        assert await stream.titles(2) == ["one", "two"]
    # The id of the last event is newer than the address that a client opens again and again.
    async with following(service, f"{EVENTS}?since={begun}", **{"Last-Event-ID": since}) as stream:
        assert await stream.titles(1) == ["two"]
    async with following(service, **{"Last-Event-ID": ""}) as stream:
        await stream.block()
        await add(service, "three")
        assert await stream.titles(1) == ["three"]


async def test_a_client_far_behind_gets_a_first_sync_and_its_end(service: Service) -> None:
    async with following(service) as stream:
        begun = (await stream.block())["id"]
    made = (await service.ask("POST", f"/api/{ANN}/tasks", json_={"title": "x"})).json()
    for _ in range(60):
        await service.ask("PATCH", f"/api/{ANN}/tasks/{made['id']}/complete")
    async with following(service, f"{EVENTS}?since={begun}") as stream:
        first, last = await stream.page(), await stream.page()
        assert (len(first["items"]), first["full"], first["more"]) == (1, True, True)
        assert (last["items"], last["full"], last["more"]) == ([], False, False)


async def test_bad_ids_are_refused_before_the_stream_begins(service: Service) -> None:
    async with following(service, f"/api/{BOB}/events", BOB) as stream:
        theirs = (await stream.block())["id"]
    for sent in ("x", theirs[:-1], "A" * 65536, f"{theirs}, {theirs}", "A" * 75 + "="):
        problem(await service.ask("GET", EVENTS, headers={"Last-Event-ID": sent}), 400, "malformed_request")
    for sent in (theirs, "A" * 76):
        refusal = problem(await service.ask("GET", EVENTS, headers={"Last-Event-ID": sent}), 422, "invalid_input")
        assert [error["pointer"] for error in refusal["errors"]] == ["/Last-Event-ID"]
    for query in (f"since={theirs}", "limit=1", "since=x"):
        problem(await service.ask("GET", f"{EVENTS}?{query}"), 422, "invalid_input")
    assert (await numbers(service))["todo_event_streams"] == 0


async def test_the_stream_ends_when_its_token_does(service: Service) -> None:
    async with following(service, bearer=token(life=timedelta(seconds=2))) as stream:
        assert await stream.ended()
    assert reason(service) == "the token has expired"


async def test_a_token_that_expires_while_there_is_always_more_ends_the_stream(service: Service) -> None:
    async def busy() -> None:
        while True:
            await add(service, "x")
            await asyncio.sleep(0.01)

    adding = asyncio.create_task(busy())
    async with following(service, bearer=token(life=timedelta(seconds=2))) as stream:
        assert await stream.ended()
    adding.cancel()


async def test_at_most_ten_streams_of_one_user_are_open(service: Service) -> None:
    streams = [Stream(service, EVENTS, token(), {}) for _ in range(10)]
    for stream in streams:
        await stream.block()
    assert (await numbers(service))["todo_event_streams"] == 10
    refusal = problem(await service.ask("GET", EVENTS), 429, "too_many_at_once")
    assert "10 open streams" in refusal["detail"]
    async with following(service, f"/api/{BOB}/events", BOB) as other:
        await other.block()
    streams[0].left.set()
    await streams[0].ended()
    assert (await service.ask("GET", EVENTS)).status_code == 200
    for stream in streams:
        stream.left.set()
        await stream.ended()
    assert (await numbers(service))["todo_event_streams"] == 0


async def test_streams_take_no_turns_and_count_as_one_request_each() -> None:
    service = make_service(concurrent_requests_per_user=1, waiting_requests_per_user=0, rate_limit="5/hour")
    async with following(service) as first, following(service) as second:
        await first.block()
        await second.block()
        for number in range(2):
            await add(service, f"{number}")
            assert await first.titles(1) == await second.titles(1) == [f"{number}"]
        answer = await service.ask("GET", f"/api/{ANN}/tasks")
        assert answer.headers["ratelimit"].startswith('"default";r=0;')
    problem(await service.ask("GET", EVENTS), 429, "too_many_requests")


async def test_a_client_that_does_not_read_is_dropped(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "WRITE_TIMEOUT", 0.05)
    before = (await numbers(service))["todo_event_streams_dropped_total"]
    async with following(service) as stream:
        await stream.block()
        stream.reads.clear()
        await add(service, "x")
        assert not await stream.ended()
    assert reason(service) == "the client does not read"
    assert (await numbers(service))["todo_event_streams_dropped_total"] == before + 1


async def test_the_end_of_the_server_waits_for_no_client(service: Service) -> None:
    other = make_service()
    async with following(other) as reading, following(other) as stuck:
        await reading.block()
        await stuck.block()
        stuck.reads.clear()
        await add(other, "x")
        await reading.titles(1)
        other.container.live().end()
        async with asyncio.timeout(0.9):
            assert await reading.ended()
            assert not await stuck.ended()
        async with following(other) as late:
            assert await late.ended()


async def test_an_idle_stream_sends_keep_alive_comments(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "COMMENT_EVERY", 0.02)
    async with following(service) as stream:
        await stream.block()
        assert [await stream.block() for _ in range(3)] == [{"": ""}] * 3
    assert reason(service) == "the client disconnected"


class Breaking(MemoryTaskStore):
    """Does what a test wants when it is asked."""

    asked = 0
    trouble: Exception | None = None

    async def changed(self, seen: Mapping[OwnerId, int]) -> Mapping[OwnerId, int]:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return await super().changed(seen)

    def tasks_of(self, owner: OwnerId) -> "BreakingTasks":
        tasks = BreakingTasks(self._owners, self._lock, owner)
        tasks.store = self
        return tasks


class BreakingTasks(MemoryOwnedTasks):
    store: Breaking

    async def sync(self, query: SyncQuery) -> SyncPage:
        if self.store.trouble is not None:
            raise self.store.trouble
        return await super().sync(query)


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Any:
    for module, name in ((live, "POLL_EVERY"), (live, "POLL_AGAIN"), (event_stream, "READ_AGAIN")):
        monkeypatch.setattr(module, name, 0.01)
    return make_service(Breaking())


async def test_an_outage_of_the_database_ends_no_stream(breaking: Service) -> None:
    store: Any = breaking.store
    async with following(breaking) as stream:
        await stream.block()
        store.trouble = StoreUnavailable()
        await add(breaking, "one")
        asked = store.asked
        await until(lambda: store.asked > asked + 3)
        store.trouble = None
        assert await stream.titles(1) == ["one"]
        problem_of_now = store.trouble = StoreUnavailable()
        problem(await breaking.ask("GET", EVENTS), 503, problem_of_now.code)


async def test_a_replaced_log_ends_the_stream_and_is_reported_on_reconnection(breaking: Service) -> None:
    store: Any = breaking.store
    await add(breaking, "one")
    async with following(breaking) as stream:
        here = (await stream.block())["id"]
        store._owners.clear()
        await add(breaking, "anew")
        assert await stream.ended()
    assert reason(breaking) == "resync_required"
    problem(await breaking.ask("GET", EVENTS, headers={"Last-Event-ID": here}), 410, "resync_required")


@pytest.mark.parametrize("anew", [True, False])
async def test_after_an_outage_streams_look_again_whatever_number_is_found(breaking: Service, anew: bool) -> None:
    """Another database may have taken over, which lacks the last change, or has another one with its number."""
    store: Any = breaking.store
    other = make_service(store)
    async with following(breaking) as stream:
        await stream.block()
        await add(other, "lost")
        assert await stream.titles(1) == ["lost"]
        asked = store.asked
        await until(lambda: store.asked > asked + 1)
        store.trouble = StoreUnavailable()
        asked = store.asked
        await until(lambda: store.asked > asked + 1)
        store._owners.clear()
        if anew:
            await add(other, "anew")
        store.trouble = None
        assert await stream.ended()
    assert reason(breaking) == "resync_required"


async def test_the_database_is_not_polled_without_listeners(breaking: Service) -> None:
    store: Any = breaking.store
    await asyncio.sleep(0.1)
    assert store.asked == 0
    async with following(breaking) as stream:
        await stream.block()
        await until(lambda: store.asked > 2)
    await asyncio.sleep(0.05)
    asked = store.asked
    await asyncio.sleep(0.1)
    assert store.asked == asked
    async with following(breaking) as stream:
        await stream.block()
        await until(lambda: store.asked > asked)


async def test_a_bug_while_polling_ends_streams_and_is_logged(breaking: Service) -> None:
    store: Any = breaking.store
    async with following(breaking) as stream:
        await stream.block()
        store.trouble = ZeroDivisionError()
        await until(lambda: stream.task.done())
    assert [line["exception"] for line in breaking.log() if line["event"] == "bug"] == ["ZeroDivisionError"]
    store.trouble = None
    async with following(breaking) as stream:
        await stream.block()
        await add(breaking, "one")
        assert await stream.titles(1) == ["one"]


async def test_head_has_the_stream_s_headers_and_ends(service: Service) -> None:
    answer = await service.ask("HEAD", EVENTS)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "private, no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"


async def test_a_client_that_never_stops_sending_is_disconnected(service: Service) -> None:
    answer = await service.ask("GET", EVENTS, body=[b"x" * 65536] * 9)
    assert answer.status_code == 200
    assert reason(service) == "the client disconnected"


async def test_lag_is_measured_only_for_new_changes(service: Service) -> None:
    before = (await numbers(service))["todo_event_lag_seconds_count"]
    async with following(service) as stream:
        begun = (await stream.block())["id"]
    await add(service, "old")
    async with following(service, f"{EVENTS}?since={begun}") as stream:
        await stream.titles(1)
        await add(service, "new")
        await stream.titles(1)
    found = await numbers(service)
    assert found["todo_event_lag_seconds_count"] == before + 1
    assert found["todo_event_lag_seconds_sum"] < 5
