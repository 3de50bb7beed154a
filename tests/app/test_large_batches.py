"""Batches as large as they may be, and larger: judged at a bounded cost, in turn with other requests."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from app.batches import HOME, TASKS, batch
from asking import Service
from refusals import pointers, problem

from todo_app.api import batch as api_batch
from todo_app.api import bodies
from todo_app.api.batch import Batch, CreateOperation
from todo_app.http import reading
from todo_core import InvalidInput
from todo_core.task import RULES


@pytest.fixture
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_batch, "perf_counter", lambda: 0.0)


@pytest.mark.usefixtures("no_time_passes")
async def test_others_have_their_turn_while_a_long_batch_is_planned(service: Service) -> None:
    async def turns(size: int) -> int:
        running, taken = asyncio.create_task(batch(service, *[{"op": "create", "task": {"title": "Milk"}}] * size)), 0
        while not running.done():
            taken += 1
            await asyncio.sleep(0)
        assert running.result().status_code == 200
        return taken

    assert await turns(100) >= await turns(9) + 10


@pytest.mark.usefixtures("no_time_passes")
async def test_the_parts_of_several_long_batches_are_planned_one_after_the_other(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, rounds, plan = Counter[int](), 0, CreateOperation.run

    async def counted(self: CreateOperation, *arguments: Any) -> Any:
        planned[rounds] += 1
        return await plan(self, *arguments)

    monkeypatch.setattr(CreateOperation, "run", counted)
    create = {"op": "create", "task": {"title": "Milk"}}
    running = asyncio.gather(*(batch(service, *[create] * 100) for _ in range(5)))
    while not running.done():
        rounds += 1
        await asyncio.sleep(0)
    assert [answer.status_code for answer in await running] == [200] * 5
    assert planned.total() == 500
    assert max(planned.values()) == 10


async def test_others_have_their_turn_before_each_operation_that_takes_long_to_plan(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments, plan = itertools.count(), CreateOperation.run
    planned, rounds = Counter[int](), 0

    async def counted(self: CreateOperation, *arguments: Any) -> Any:
        planned[rounds] += 1
        return await plan(self, *arguments)

    monkeypatch.setattr(CreateOperation, "run", counted)
    monkeypatch.setattr(api_batch, "perf_counter", lambda: next(moments))
    running = asyncio.create_task(batch(service, *[{"op": "create", "task": {"title": "Milk"}}] * 10))
    while not running.done():
        rounds += 1
        await asyncio.sleep(0)
    assert running.result().status_code == 200
    assert [*planned.values()] == [1] * 10


async def test_too_many_operations_are_refused_without_reading_each(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, members = list[bytes](), bodies._MEMBERS

    def decode(raw: bytes) -> Any:
        read.append(raw)
        return members.decode(raw)

    monkeypatch.setattr(bodies, "_MEMBERS", SimpleNamespace(decode=decode))
    for count, expected in ((101, 1), (100, 1 + bodies.MAX_FAULTS + 1)):
        read.clear()
        body = {"operations": [{"op": "delete"}] * count}
        problem(await service.ask("POST", f"{HOME}/batch", json_=body), 422, "invalid_input")
        assert len(read) == expected


MEBIBYTE = 1024 * 1024
NOBODYS = "019a540b-b400-7000-8000-000000000000"


def filled(before: bytes, item: bytes, after: bytes) -> bytes:
    """As many items as a body may have, in between."""
    return before + b",".join([item] * ((MEBIBYTE - len(before + after)) // (len(item) + 1))) + after


@pytest.mark.parametrize("item", [b"0", b"{}", b'""', b'{"op":"create","task":{"title":"x"}}'])
async def test_of_very_many_operations_none_is_decoded(
    service: Service, monkeypatch: pytest.MonkeyPatch, item: bytes
) -> None:
    monkeypatch.setattr(bodies, "_invalid", None)  # is called for what the decoder refuses
    answer = await service.ask("POST", f"{HOME}/batch", body=filled(b'{"operations":[', item, b"]}"))
    detail = "must have at most 100 items"
    assert problem(answer, 422)["errors"] == [{"pointer": "/operations", "detail": detail}]


async def test_an_operation_whose_name_is_long_and_no_string_is_refused_without_decoding_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds, decode = list[Any](), msgspec.json.decode

    def noting(raw: bytes, *, type: Any = Any) -> Any:  # noqa: A002 (msgspec's name)
        if len(raw) > 1000:
            kinds.append(type)
        return decode(raw, type=type)

    monkeypatch.setattr("todo_app.api.bodies.msgspec.json.decode", noting)
    answer = await service.ask("POST", f"{HOME}/batch", body=filled(b'{"operations":[{"op":[', b"{}", b"]}]}"))
    assert pointers(answer) == ["/operations/0/op"]
    assert Any not in kinds


@pytest.mark.parametrize(
    ("before", "after", "at"),
    [
        (b"{", b"}", ""), (b'{"operations":[{"op":"delete",', b"}]}", "/operations/0"),
        (b'{"operations":[{"op":"create","task":{"title":"x",', b"}}]}", "/operations/0/task"),
    ],
)  # fmt: skip
async def test_very_many_members_are_refused_without_reading_each(
    service: Service, monkeypatch: pytest.MonkeyPatch, before: bytes, after: bytes, at: str
) -> None:
    sizes, members = list[int](), bodies._MEMBERS

    def decode(raw: bytes) -> Any:
        sizes.append(len(found := members.decode(raw)))
        return found

    monkeypatch.setattr(bodies, "_MEMBERS", SimpleNamespace(decode=decode))
    answer = await service.ask("POST", f"{HOME}/batch", body=filled(before, b'"a":0', after))
    detail = "has thousands of unknown or repeated members: send each known member once"
    assert problem(answer, 422)["errors"] == [{"pointer": at, "detail": detail}]
    assert max(sizes, default=0) <= 2


async def test_an_unknown_member_beside_a_large_valid_part_is_named(service: Service) -> None:
    wide = {"op": "create", "task": {"title": "x", "description": ":" * 1000}}
    answer = await service.ask("POST", f"{HOME}/batch", json_={"operations": [wide] * 100, "x": 1, "y": 2})
    assert pointers(answer) == ["/x", "/y"]


async def test_large_bodies_are_checked_one_at_a_time_and_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    body, parts = filled(b'{"operations":[{"op":"delete","x":[', b"[]", b"]}]}"), list[int]()

    def shallow_parts(judged: bytes) -> Iterator[None]:
        place = max(parts, default=0) + 1
        for _ in reading.shallow_parts(judged):
            parts.append(place)
            yield

    monkeypatch.setattr(bodies, "shallow_parts", shallow_parts)
    decoder = msgspec.json.Decoder(Batch)
    judging = asyncio.gather(*(bodies.decoded_in_turn(decoder, body) for _ in range(3)), return_exceptions=True)
    between = set[int]()
    while not judging.done():
        between.add(len(parts))
        await asyncio.sleep(0)
    assert [type(each) for each in await judging] == [InvalidInput] * 3
    assert parts == sorted(parts)
    assert between == {*range(len(parts) + 1)}
    assert len(parts) >= 3 * (3 + body.count(b"[]") * 2 // reading._PART)


@pytest.mark.parametrize(
    ("refused", "detail"), [("x", "must be a UUID"), (NOBODYS, "must be the id of one of your tasks")]
)
async def test_others_have_their_turn_while_the_faults_of_a_large_batch_are_looked_for(
    service: Service, monkeypatch: pytest.MonkeyPatch, refused: str, detail: str
) -> None:
    read, rounds, members = Counter[int](), 0, bodies._MEMBERS

    def decode(raw: bytes) -> Any:
        read[rounds] += 1
        return members.decode(raw)

    monkeypatch.setattr(bodies, "_MEMBERS", SimpleNamespace(decode=decode))
    create = {"op": "create", "task": {"title": "x", "description": ":" * 1000}}
    running = asyncio.create_task(batch(service, {"op": "delete", "id": refused}, *[create] * 99))
    while not running.done():
        rounds += 1
        await asyncio.sleep(0)
    assert problem(running.result(), 422)["errors"] == [{"pointer": "/operations/0/id", "detail": detail}]
    assert read.total() == 1 + 1 + 99 * 2  # the body, each operation, and each task
    assert max(read.values()) <= 20


async def test_a_task_may_be_given_a_hundred_equal_tags(service: Service) -> None:
    def task(count: int) -> dict[str, Any]:
        return {"op": "create", "task": {"title": "x", "tags": ["a"] * count}}

    assert (await batch(service, task(100))).status_code == 200
    refused = problem(await batch(service, task(101)), 422)["errors"]
    assert refused == [{"pointer": "/operations/0/task/tags", "detail": RULES["tags"].sentence}]


async def test_a_batch_may_have_a_mebibyte(service: Service) -> None:
    wide = {"title": "x" * 200, "description": "\u00e9" * 1000}
    answer = await batch(service, *[{"op": "create", "task": wide}] * 100)
    assert (answer.status_code, len(answer.json()["results"])) == (200, 100)
    big = b'{"operations": [' + b" " * (1024 * 1024) + b"]}"
    problem(await service.ask("POST", f"{HOME}/batch", body=big), 413, "body_too_large")


async def test_a_hundred_creations_and_a_hundred_moves_each_fit_in_one_batch(service: Service) -> None:
    task_list = (await service.ask("POST", f"{HOME}/lists", json_={"name": "Groceries"})).json()["id"]
    operations = [{"op": "create", "task": {"title": f"{number}", "list_id": task_list}} for number in range(100)]
    made_all = await batch(service, *operations)
    assert made_all.status_code == 200
    ids = [result["id"] for result in made_all.json()["results"]]
    moved = await batch(service, *[{"op": "move", "id": id_, "list_id": None} for id_ in reversed(ids)])
    assert moved.status_code == 200
    listed = (await service.ask("GET", f"{TASKS}?sort=position&limit=200")).json()["items"]
    assert [each["id"] for each in listed] == list(reversed(ids))


async def test_others_have_their_turn_between_two_looks_through_a_large_body(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, rounds, whole = list[int](), 0, SimpleNamespace(decode=bodies._MEMBERS.decode)
    monkeypatch.setattr(bodies, "_MEMBERS", whole)
    for place, name in ((bodies, "members_in"), (bodies, "first_items"), (whole, "decode")):
        look = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *given, look=look: looked.append(rounds) or look(*given))
    body = filled(b'{"operations":[{"op":"delete","x":"', b" ", b'"}]}')
    judging = asyncio.create_task(bodies.decoded_in_turn(msgspec.json.Decoder(Batch), body))
    while not judging.done():
        rounds += 1
        await asyncio.sleep(0)
    assert isinstance(judging.exception(), InvalidInput)
    assert len(set(looked[:4])) == 4  # the list by name, its items, all members, its items
