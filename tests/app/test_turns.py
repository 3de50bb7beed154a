"""Concurrent requests of one user: some are processed, some wait in order, and the others are refused."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from asking import Service, _scope, make_service, token_of
from factories import ANN, BOB
from hypothesis import given
from hypothesis import strategies as st
from refusals import check_dressed, problem

from todo_adapters.memory import MemoryTaskStore
from todo_app.http import exchange, turns
from todo_app.http.errors import MalformedRequest, TooManyAtOnce
from todo_app.http.turns import RequestTurns
from todo_core import OwnerId, Page, StoreUnavailable, TaskQuery

TASKS = f"/api/{ANN}/tasks"


class Stalled(MemoryTaskStore):
    """A store whose listings of Ann's tasks wait until they are let go; knows who is in it, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[str] = []
        self.most = 0
        self.let_go = asyncio.Event()

    def tasks_of(self, owner: OwnerId) -> Any:
        tasks = super().tasks_of(owner)
        if owner != ANN:
            return tasks
        store = self

        class Tasks(type(tasks)):  # type: ignore[misc]  # whatever a memory store gives
            async def page(self, query: TaskQuery) -> Page:
                store.inside.append(query.search or "")
                store.most = max(store.most, len(store.inside))
                await store.let_go.wait()
                store.inside.remove(query.search or "")
                return Page((), None)

        tasks.__class__ = Tasks
        return tasks


@asynccontextmanager
async def stalled(**settings: Any) -> AsyncIterator[tuple[Service, Stalled]]:
    store = Stalled()
    service = make_service(store, **settings)
    yield service, store
    store.let_go.set()
    await until(lambda: not service.container.turns()._lines)


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110  (what is waited for has no event of its own)
        await asyncio.sleep(0)


def listing(service: Service, name: int | str, **given_: Any) -> "asyncio.Task[httpx.Response]":
    return asyncio.create_task(service.ask("GET", f"{TASKS}?q={name}", **given_))


async def test_threads_take_short_turns_while_a_request_waits_or_is_refused() -> None:
    usual, short = sys.getswitchinterval(), pytest.approx(0.0002)
    async with stalled() as (service, store):
        for number in range(16):
            listing(service, number)
        await until(lambda: len(store.inside) == 16)
        assert sys.getswitchinterval() == usual
        waiting = listing(service, 16)
        await until(lambda: sys.getswitchinterval() == short)
        store.let_go.set()
        await waiting
        assert sys.getswitchinterval() == usual
    places = RequestTurns(max_concurrent=1, max_waiting=0)
    await places.take(ANN, asyncio.Queue[Any]().get)
    refused = asyncio.ensure_future(places.take(ANN, asyncio.Queue[Any]().get))
    await until(lambda: sys.getswitchinterval() == short)
    with pytest.raises(TooManyAtOnce):
        await refused
    assert sys.getswitchinterval() == usual


async def test_excess_requests_are_refused_one_after_the_other() -> None:
    async with stalled() as (service, _):
        for number in range(80):
            listing(service, number)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(listing(service, number) for number in range(80, 100)))
        assert loop.time() - began >= 20 * turns.REFUSE_EVERY


async def test_sixteen_are_worked_on_sixty_four_wait_and_the_others_are_refused() -> None:
    async with stalled() as (service, store):
        asked = [listing(service, number) for number in range(90)]
        await until(lambda: sum(task.done() for task in asked) == 10)
        assert sorted(store.inside, key=int) == [str(number) for number in range(16)]
        for task in asked[80:]:
            refused = problem(await task, 429, "too_many_at_once")
            assert "16" in refused["detail"]
            assert "64" in refused["detail"]
            assert task.result().headers["retry-after"] == "1"
            assert "ratelimit" in task.result().headers
            check_dressed(task.result())
        assert (await service.ask("GET", f"/api/{BOB}/tasks", user=BOB)).status_code == 200  # another is not concerned
        store.let_go.set()
        answers = await asyncio.gather(*asked[:80])
        assert {answer.status_code for answer in answers} == {200}
        assert store.most == 16


async def test_hundreds_of_refusals_under_many_tokens_do_not_delay_another_user() -> None:
    async with stalled(concurrent_requests_per_user=1, waiting_requests_per_user=0) as (service, store):
        known = [{"Authorization": f"Bearer {token_of(f'program {number}')}"} for number in range(300)]
        for each in known:
            await service.ask("GET", f"/api/{ANN}/nowhere", headers=each)
        asked = [listing(service, 0, headers=each) for each in known]
        await until(lambda: store.inside)
        for _ in range(10):  # rounds of the event loop, in each of which another user's request can go on
            await asyncio.sleep(0)
        assert sum(task.done() for task in asked) <= 10
        await until(lambda: sum(task.done() for task in asked) == 299)
        store.let_go.set()
        assert sorted({(await task).status_code for task in asked}) == [200, 429]


async def test_waiting_requests_are_served_in_order_of_arrival() -> None:
    async with stalled(concurrent_requests_per_user=1) as (service, store):
        asked = [listing(service, number) for number in range(20)]
        served = []
        while any(not task.done() for task in asked):
            await until(lambda: store.inside)
            served += store.inside
            store.let_go.set()
            await until(lambda: not store.inside)
            store.let_go.clear()
            await until(lambda: store.inside or all(task.done() for task in asked))
        assert served == [str(number) for number in range(20)]


async def test_the_numbers_of_running_and_waiting_requests_are_settings() -> None:
    async with stalled(concurrent_requests_per_user=2, waiting_requests_per_user=0) as (service, store):
        asked = [listing(service, number) for number in range(2)]
        await until(lambda: len(store.inside) == 2)
        problem(await service.ask("GET", TASKS), 429, "too_many_at_once")
        store.let_go.set()
        assert {(await task).status_code for task in asked} == {200}
        assert (await service.ask("GET", TASKS)).status_code == 200


async def test_requests_refused_before_the_turn_take_no_turn() -> None:
    async with stalled(concurrent_requests_per_user=1, waiting_requests_per_user=0) as (service, store):
        asked = listing(service, "x")
        await until(lambda: store.inside)
        problem(await service.ask("GET", f"/api/{BOB}/tasks"), 403)
        problem(await service.ask("GET", TASKS, user=None), 401)
        problem(await service.ask("GET", f"/api/{ANN}/nowhere"), 429, "too_many_at_once")
        store.let_go.set()
        await asked
        problem(await service.ask("GET", f"/api/{ANN}/nowhere"), 404)


async def test_whatever_ends_a_request_frees_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stalled(concurrent_requests_per_user=1, waiting_requests_per_user=0) as (service, store):
        store.let_go.set()
        problem(await service.ask("POST", TASKS, body=b"{"), 400)
        with monkeypatch.context() as broken:
            broken.setattr(store, "tasks_of", lambda _: 1 / 0)
            problem(await service.ask("GET", TASKS), 500)
            broken.setattr(store, "tasks_of", lambda _: raise_(StoreUnavailable()))
            problem(await service.ask("GET", TASKS), 503)
        store.let_go.clear()
        under_way = listing(service, "x")
        await until(lambda: store.inside)
        under_way.cancel()
        await asyncio.gather(under_way, return_exceptions=True)
        store.inside.clear()
        store.let_go.set()
        assert (await service.ask("GET", TASKS)).status_code == 200


def raise_(error: Exception) -> None:
    raise error


async def test_a_request_that_is_cancelled_while_it_waits_leaves_its_place() -> None:
    async with stalled(concurrent_requests_per_user=1, waiting_requests_per_user=1) as (service, store):
        first, second = listing(service, 1), listing(service, 2)
        await until(lambda: store.inside)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        third = listing(service, 3)
        await until(lambda: len(service.container.turns()._lines[OwnerId(ANN)].waiting) == 1)
        store.let_go.set()
        assert (await first).status_code == (await third).status_code == 200


async def test_a_client_that_hangs_up_while_it_waits_leaves_its_place() -> None:
    async with stalled(concurrent_requests_per_user=1, waiting_requests_per_user=1) as (service, store):
        first = listing(service, 1)
        await until(lambda: store.inside)
        problem(await service.ask("POST", TASKS, body=[b'{"title":', None]), 400)  # type: ignore[list-item]
        third = listing(service, 3)
        await until(lambda: len(service.container.turns()._lines[OwnerId(ANN)].waiting) == 1)
        store.let_go.set()
        assert (await first).status_code == (await third).status_code == 200
        assert await service.tasks_of(BOB) == []


async def test_a_request_is_refused_after_the_maximum_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.01)
    async with stalled(concurrent_requests_per_user=1) as (service, store):
        first = listing(service, 1)
        await until(lambda: store.inside)
        problem(await service.ask("GET", TASKS), 429, "too_many_at_once")
        store.let_go.set()
        assert (await first).status_code == 200


@pytest.mark.parametrize("size", [1, 7, 5000])
async def test_a_body_that_arrives_while_its_request_waits_is_read_whole(size: int) -> None:
    title = "x" * 200
    whole = json.dumps({"title": title, "description": "y" * 1000}).encode()
    whole += b" " * (70_000 - len(whole)) if size == 5000 else b""
    pieces = [whole[place : place + size] for place in range(0, len(whole), size)]
    async with stalled(concurrent_requests_per_user=1) as (service, store):
        first = listing(service, 1)
        await until(lambda: store.inside)
        second = asyncio.create_task(service.ask("POST", TASKS, body=pieces))
        for _ in range(100):
            await asyncio.sleep(0)
        store.let_go.set()
        await first
        answer = await second
        if size == 5000:  # over the limit of a body: judged as ever
            problem(answer, 413)
        else:
            assert (answer.status_code, answer.json()["title"]) == (201, title)


@pytest.mark.parametrize("target", [b"/docs/swagger-ui-bundle.js", b"/openapi.json", b"/%64ocs/swagger-ui-bundle.js"])
async def test_large_answers_without_a_token_take_turns_by_address(target: bytes) -> None:
    """Whoever does not read them holds their memory."""
    service = make_service(concurrent_requests_per_user=2, waiting_requests_per_user=1)
    read = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        await read.wait()

    def unread(address: str) -> "asyncio.Task[None]":
        scope = _scope("GET", target, []) | {"client": (address, 50000)}
        return asyncio.create_task(service.app(scope, empty, send))

    asked = [unread("127.0.0.1") for _ in range(3)]
    others = unread("192.0.2.1")
    lines = service.container.turns()._lines
    await until(lambda: len(lines) == 2 and any(line.waiting for line in lines.values()))
    problem(await service.ask("GET", target, user=None), 429, "too_many_at_once")
    for small in ("/health/live", "/metrics", f"/api/{ANN}/tasks"):
        assert (await service.ask("GET", small)).status_code == 200
    read.set()
    await asyncio.gather(*asked, others)
    assert not lines
    assert (await service.ask("GET", target, user=None)).status_code == 200


async def empty() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def test_an_answer_that_nobody_reads_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server takes a long answer piece by piece, as the client does: until then the request is not over."""
    monkeypatch.setattr(exchange, "PIECE", 1000)
    service = make_service(concurrent_requests_per_user=1, waiting_requests_per_user=0)
    for number in range(5):
        await service.ask("POST", TASKS, json_={"title": f"{number}", "description": "x" * 900})
    room, taken = asyncio.Semaphore(2), list[dict[str, Any]]()

    async def send(message: dict[str, Any]) -> None:
        await room.acquire()
        taken.append(message)

    scope = _scope("GET", TASKS.encode(), [(b"authorization", b"Bearer " + service.token(ANN).encode())])
    reading = asyncio.create_task(service.app(scope, empty, send))
    await until(room.locked)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(taken) == 2
    assert len(taken[1]["body"]) == 1000
    problem(await service.ask("GET", TASKS), 429, "too_many_at_once")
    for _ in range(10):
        room.release()
    await reading
    whole = await service.ask("GET", TASKS)
    assert b"".join(message["body"] for message in taken[1:]) == whole.content
    assert [message["more_body"] for message in taken[1:]] == [True] * (len(taken) - 2) + [False]
    assert (await service.ask("HEAD", TASKS)).content == b""


async def never() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("hangs_up", [True, False])
async def test_a_place_given_to_a_leaving_client_goes_to_the_next_one(hangs_up: bool) -> None:
    ann, shared = OwnerId(ANN), RequestTurns(max_concurrent=1, max_waiting=2)
    leaving = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await leaving.wait()
        return {"type": "http.disconnect"}

    await shared.take(ann, never)
    first, second = (asyncio.create_task(shared.take(ann, each)) for each in (receive, never))
    await asyncio.sleep(0.01)
    if hangs_up:
        leaving.set()
        await asyncio.sleep(0)
    else:
        first.cancel()
    shared.give_back(ann)
    await asyncio.gather(first, return_exceptions=True)
    await asyncio.wait_for(second, 5)
    shared.give_back(ann)
    if not (first.cancelled() or first.exception()):  # it had its turn before it was noticed
        shared.give_back(ann)
    assert shared._lines == {}


async def test_a_piece_that_is_being_read_when_the_turn_comes_is_not_lost() -> None:
    ann, shared = OwnerId(ANN), RequestTurns(max_concurrent=1, max_waiting=1)
    pieces, calls = asyncio.Queue[dict[str, Any]](), 0

    async def receive() -> dict[str, Any]:
        nonlocal calls
        calls += 1
        return await pieces.get()

    await shared.take(ann, receive)
    waiting = asyncio.create_task(shared.take(ann, receive))
    for text in (b"a", b"b"):
        pieces.put_nowait({"type": "http.request", "body": text, "more_body": True})
    await asyncio.sleep(0.01)
    shared.give_back(ann)
    received = await waiting
    pieces.put_nowait({"type": "http.request", "body": b"c", "more_body": False})
    assert [(await received())["body"] for _ in range(3)] == [b"a", b"b", b"c"]
    assert calls == 3  # none was asked for and thrown away
    shared.give_back(ann)


# Any order of arrivals, ends, cancellations and hang-ups, compared with a model.

ACTIONS = st.lists(
    st.tuples(st.sampled_from(["arrive", "end", "cancel", "hang up"]), st.sampled_from("ab"), st.integers(0, 20)),
    max_size=60,
)


@given(ACTIONS, st.integers(1, 3), st.integers(0, 3))
def test_places_are_never_lost_or_duplicated_and_are_given_in_order(
    actions: list[tuple[str, str, int]], max_concurrent: int, max_waiting: int
) -> None:
    asyncio.run(play(actions, max_concurrent, max_waiting))


class Request:
    def __init__(self, turns_: RequestTurns, owner: str) -> None:
        self.left, self.state, self.refused = asyncio.Event(), "waits", False
        self.task = asyncio.create_task(self._live(turns_, OwnerId(owner)))

    async def _receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _live(self, turns_: RequestTurns, owner: OwnerId) -> None:
        try:
            await turns_.take(owner, self._receive)
        except (TooManyAtOnce, MalformedRequest) as refusal:
            self.refused, self.state = isinstance(refusal, TooManyAtOnce), "over"
            return
        except asyncio.CancelledError:
            self.state = "over"
            raise
        self.state = "works"


class Model:
    """What places there must be, beside those that there are."""

    def __init__(self, max_concurrent: int, max_waiting: int) -> None:
        self.shared = RequestTurns(max_concurrent=max_concurrent, max_waiting=max_waiting)
        self.max_concurrent, self.places = max_concurrent, max_concurrent + max_waiting
        self.working: dict[str, list[Request]] = {"a": [], "b": []}
        self.waiting: dict[str, list[Request]] = {"a": [], "b": []}

    async def arrive(self, owner: str) -> None:
        request = Request(self.shared, owner)
        fits = len(self.working[owner]) + len(self.waiting[owner]) < self.places
        if fits:
            self.waiting[owner].append(request)
        else:
            await asyncio.wait([request.task], timeout=5)
        await self.agree(owner)
        assert request.refused != fits

    async def end(self, owner: str, number: int) -> None:
        if self.working[owner]:
            self.working[owner].pop(number % len(self.working[owner])).state = "over"
            self.shared.give_back(OwnerId(owner))
        await self.agree(owner)

    async def leave(self, owner: str, number: int, *, cancelled: bool) -> None:
        if self.waiting[owner]:
            gone = self.waiting[owner].pop(number % len(self.waiting[owner]))
            gone.task.cancel() if cancelled else gone.left.set()
        await self.agree(owner)

    async def agree(self, owner: str) -> None:
        if self.waiting[owner] and len(self.working[owner]) < self.max_concurrent:
            self.working[owner].append(self.waiting[owner].pop(0))
        for _ in range(8):
            await asyncio.sleep(0)
        assert {each.state for each in (*self.working["a"], *self.working["b"])} <= {"works"}
        assert {each.state for each in (*self.waiting["a"], *self.waiting["b"])} <= {"waits"}


async def play(actions: list[tuple[str, str, int]], max_concurrent: int, max_waiting: int) -> None:
    model = Model(max_concurrent, max_waiting)
    for action, owner, number in actions:
        if action == "arrive":
            await model.arrive(owner)
        elif action == "end":
            await model.end(owner, number)
        else:
            await model.leave(owner, number, cancelled=action == "cancel")
    for owner in "ab":
        while model.working[owner]:
            await model.end(owner, 0)
    assert model.shared._lines == {}


async def test_the_pauses_of_several_requests_pass_together_and_one_continues_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sleep, paused, over, continued, rounds = asyncio.sleep, 0, asyncio.Event(), Counter[int](), 0

    async def pause(seconds: float) -> None:
        nonlocal paused
        if seconds:
            paused += 1
            await over.wait()
        else:
            await sleep(0)

    async def give_way() -> None:
        await turns.give_way()
        continued[rounds] += 1

    monkeypatch.setattr(asyncio, "sleep", pause)
    giving = asyncio.gather(*(give_way() for _ in range(10)))
    for _ in range(100):
        await sleep(0)
    assert paused == 10
    over.set()
    while not giving.done():
        rounds += 1
        await sleep(0)
    assert continued.total() == 10
    assert max(continued.values()) == 1
