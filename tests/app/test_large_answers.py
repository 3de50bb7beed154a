"""Answers with thousands of things: made, sent and freed in parts."""

import weakref
from dataclasses import asdict
from typing import Any

import msgspec
import pytest
from factories import make_list, make_task

from todo_app.api import replies
from todo_app.api.replies import reply_with_things
from todo_core import Committed, Task


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
