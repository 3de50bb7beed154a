"""Answers with thousands of things: made, sent and freed in parts."""

import asyncio
import weakref
from collections import Counter
from dataclasses import asdict
from typing import Any

import msgspec
import pytest
from asking import Service
from factories import ANN, BOB, make_list, make_task
from refusals import problem

from todo_app.api import replies
from todo_app.api.replies import reply_with_things
from todo_app.http import turns
from todo_app.http.exchange import Exchange, Reply
from todo_core import Committed, Task
from todo_core.use_cases.changes import ChangeUseCases


class Watched(Task):
    """A task of which one can see whether it has been freed."""

    __slots__ = ("__weakref__",)


async def test_many_restored_things_are_encoded_freed_and_sent_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    task, made_lists = make_task(description="x" * 1000), (make_list(), make_list())
    things = [Watched(**asdict(task)) for _ in range(250)]
    held, sent, freed = list(map(weakref.ref, things)), list[dict[str, Any]](), list[int]()

    async def turn() -> None:
        freed.append(sum(each() is None for each in held))

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    monkeypatch.setattr(replies, "give_way", turn)
    committed = [Committed((made_lists[0], *things, made_lists[1]), 7)]
    things.clear()
    reply = await reply_with_things(committed.pop())
    assert (freed, max(map(len, [reply.body, *reply.rest])) < 150_000) == ([0, 99], True)
    await reply({}, None, send)
    assert not reply.rest
    text = b"".join(each["body"] for each in sent[1:])
    assert dict(sent[0]["headers"])[b"content-length"] == b"%d" % len(text)
    assert [each["more_body"] for each in sent[1:]] == [True] * (len(sent) - 2) + [False]
    body = msgspec.json.decode(text)
    assert (body["change"], len(body["items"])) == (7, 250)
    assert [each["id"] for each in body["lists"]] == [str(each.id) for each in made_lists]
    empty = await reply_with_things(Committed((), None))
    assert empty.body + b"".join(empty.rest) == b'{"change":null,"items":[],"lists":[]}'


async def in_trash(service: Service, owner: str) -> str:
    """A new task that has been deleted."""
    made = await service.ask("POST", f"/api/{owner}/tasks", user=owner, json_={"title": "x"})
    task_id: str = made.json()["id"]
    await service.ask("DELETE", f"/api/{owner}/tasks/{task_id}", user=owner)
    return task_id


class UnderWay:
    """Counts each owner's restorations and undos that have begun and whose answers have not been sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.most, self.together = Counter[str](), Counter[str](), set[frozenset[str]]()
        for name in ("restore", "undo"):
            monkeypatch.setattr(ChangeUseCases, name, self._begun(getattr(ChangeUseCases, name)))
        monkeypatch.setattr(Reply, "__call__", self._sent_slowly(Reply.__call__))

    def _begun(self, act: Any) -> Any:
        async def acting(use_cases: ChangeUseCases, owner: str, *arguments: Any, **named: Any) -> Any:
            self.now[owner] += 1
            self.most[owner] = max(self.most[owner], self.now[owner])
            return await act(use_cases, owner, *arguments, **named)

        return acting

    def _sent_slowly(self, send_it: Any) -> Any:
        async def slow(reply: Reply, scope: Any, receive: Any, send: Any) -> None:
            for _ in range(20):
                self.together.add(frozenset(+self.now))
                await asyncio.sleep(0)
            await send_it(reply, scope, receive, send)
            self.now[Exchange.of(scope).owner or ""] -= 1

        return slow


async def test_a_user_has_one_restoration_or_undo_at_a_time_until_its_answer_has_been_read(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    trashed = [(owner, await in_trash(service, owner)) for owner in [ANN, BOB] * 3]
    under_way = UnderWay(monkeypatch)
    paths = [(owner, f"trash/{each}/restore") for owner, each in trashed[:4]]
    paths += [(owner, "changes/6/undo") for owner in (ANN, BOB)]
    asked = [service.ask("POST", f"/api/{owner}/{path}", user=owner) for owner, path in paths]
    assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * 6
    assert under_way.most == {ANN: 1, BOB: 1}
    assert {ANN, BOB} in under_way.together


async def test_a_restoration_that_waits_too_long_for_another_is_refused_with_what_to_read(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(ChangeUseCases, "restore", endless)
    path = f"/api/{ANN}/trash/{make_task().id}/restore"
    first = asyncio.create_task(service.ask("POST", path))
    await asyncio.sleep(0.02)
    detail = "You may have one undo or restoration at a time: read the answer of the one before this."
    assert problem(await service.ask("POST", path), 429)["detail"] == detail
    first.cancel()


@pytest.mark.parametrize("path", ["tasks", "changes"])
@pytest.mark.parametrize(("size", "turns_given"), [(64, 0), (65, 1)])
async def test_a_large_page_is_encoded_when_others_have_had_their_turn(
    service: Service, monkeypatch: pytest.MonkeyPatch, path: str, size: int, turns_given: int
) -> None:
    given = list[None]()

    async def turn() -> None:
        given.append(None)

    create = {"op": "create", "task": {"title": "x"}}
    await service.ask("POST", f"/api/{ANN}/batch", json_={"operations": [create] * size})
    monkeypatch.setattr(replies, "give_way", turn)
    page = await service.ask("GET", f"/api/{ANN}/{path}?limit=100")
    assert (len(page.json()["items"]), len(given)) == (size, turns_given)
