"""`Idempotency-Key`: a repeated write gets the first answer, byte for byte, and happens once."""

import asyncio
from typing import Any

import httpx
import pytest
from asking import Service
from factories import ANN, BOB
from refusals import check_dressed, problem

from todo_app.api.subjects import operations
from todo_core import ListNotFound, TaskNotFound

TASKS = f"/api/{ANN}/tasks"
KEY = '"8e03978e-40d5-43e8-bc93-6894a57f9324"'
MILK = {"title": "Milk", "description": "two litres"}


async def post(service: Service, body: Any = MILK, key: str | bytes = KEY, user: str = ANN) -> httpx.Response:
    sent = key.encode() if isinstance(key, str) else key
    return await service.ask("POST", f"/api/{user}/tasks", user=user, json_=body, headers=[(b"idempotency-key", sent)])


def same(answer: httpx.Response, first: httpx.Response) -> None:
    """Assert that the answer repeats the first one."""
    assert "idempotency-replayed" not in first.headers
    assert answer.headers.get_list("idempotency-replayed") == ["true"]
    assert (answer.status_code, answer.content) == (first.status_code, first.content)
    for name in ("etag", "location", "content-type", "cache-control", "change"):
        assert answer.headers.get(name) == first.headers.get(name)
    check_dressed(answer)


async def test_a_repeat_gives_the_first_answer_and_creates_nothing(service: Service) -> None:
    first = await post(service)
    for _ in range(3):
        same(await post(service), first)
    assert len(await service.tasks_of(ANN)) == 1


async def test_a_repeat_gives_the_first_answer_even_after_a_change_or_deletion(service: Service) -> None:
    first = await post(service)
    url = first.headers["location"]
    await service.ask("PATCH", url, json_={"title": "Bread", "completed": True})
    same(await post(service), first)
    await service.ask("DELETE", url)
    same(await post(service), first)
    assert await service.tasks_of(ANN) == []
    problem(await service.ask("GET", url), 404)


async def test_a_repeated_creation_of_what_has_been_erased_is_not_found(service: Service) -> None:
    for kind, body, create in (("task", MILK, "createTask"), ("list", {"name": "Old"}, "createList")):
        url, headers = f"/api/{ANN}/{kind}s", {"Idempotency-Key": KEY[:-1] + kind + '"'}
        made = (await service.ask("POST", url, json_=body, headers=headers)).json()["id"]
        await service.ask("DELETE", f"{url}/{made}")
        await service.ask("DELETE", f"/api/{ANN}/trash/{made}")
        problem(await service.ask("POST", url, json_=body, headers=headers), 404, f"{kind}_not_found")
        [declared] = [each for each in operations() if each.id == create]
        assert {"task": TaskNotFound, "list": ListNotFound}[kind] in declared.refusals


@pytest.mark.parametrize(
    "body", [{"title": "milk", "description": "two litres"}, {"title": "Milk"}, {**MILK, "completed": True}]
)
async def test_another_task_under_the_same_key_is_refused(service: Service, body: dict[str, object]) -> None:
    first = await post(service)
    refused = await post(service, body)
    problem(refused, 422, "idempotency_key_reused")
    assert "idempotency-replayed" not in refused.headers
    same(await post(service), first)
    assert len(await service.tasks_of(ANN)) == 1


async def test_bodies_are_compared_by_content_not_by_spelling(service: Service) -> None:
    first = await post(service, {"title": "Milk"})
    spaced = await service.ask("POST", TASKS, body=b' {"title" : "M\\u0069lk"}\n', headers={"Idempotency-Key": KEY})
    same(spaced, first)


async def test_keys_are_each_users_own(service: Service) -> None:
    anns = await post(service)
    bobs = await post(service, {"title": "Bob's"}, user=BOB)
    assert "idempotency-replayed" not in bobs.headers
    same(await post(service), anns)
    same(await post(service, {"title": "Bob's"}, user=BOB), bobs)


async def test_without_a_key_every_request_creates(service: Service) -> None:
    first = await post(service)
    for _ in range(2):
        answer = await service.ask("POST", TASKS, json_=MILK)
        assert answer.status_code == 201
        assert "idempotency-replayed" not in answer.headers
    assert len(await service.tasks_of(ANN)) == 3
    same(await post(service), first)


async def test_many_simultaneous_requests_with_one_key_create_one_task(service: Service) -> None:
    answers = await asyncio.gather(*(post(service) for _ in range(20)))
    (first,) = [answer for answer in answers if "idempotency-replayed" not in answer.headers]
    for answer in answers:
        if answer is not first:
            same(answer, first)
    assert len(await service.tasks_of(ANN)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('"abc"', "abc"),
        (' "abc"\t', "abc"),
        (r'"a\\b"', r"a\b"),
        ("a:b;c=d/e", '"a:b;c=d/e"'),
        ('"' + "~" * 255 + '"', "~" * 255),
    ],
)
async def test_a_key_is_the_same_with_quotes_and_without(service: Service, one: str, other: str) -> None:
    first = await post(service, key=one)
    same(await post(service, key=other), first)


@pytest.mark.parametrize("key", ['" "', '"a b"', '"a, b"', r'"\""', r'"\\"', '"' + r"\"" * 255 + '"', "'a'", "?1", "a"])
async def test_any_printable_ascii_is_a_key(service: Service, key: str) -> None:
    first = await post(service, key=key)
    same(await post(service, key=key), first)
    assert "idempotency-replayed" not in (await post(service, key="x")).headers


GARBAGE = [
    "", " ", '""', '"', '"a', 'a"', 'a"b', '"a"b', '"a" "b"', '"a", "b"', '"a";x=1', '"a";', "a b", "a,b", "a, a", ",",
    r'"\a"', '"\\"', '"' + "x" * 256 + '"', "x" * 256, b'"\xc3\xa9"', b"\xe9", b"\xff", '"a\x00b"', '"a\tb"', "\x7f",
    '"\x1f"', "a\nb",
]  # fmt: skip


@pytest.mark.parametrize("key", GARBAGE)
async def test_an_invalid_key_is_refused_and_creates_nothing(service: Service, key: str | bytes) -> None:
    problem(await post(service, key=key), 400, "malformed_request")
    assert await service.tasks_of(ANN) == []


async def test_two_key_headers_are_refused(service: Service) -> None:
    for values in ((b'"a"', b'"b"'), (b"a", b"a"), (b"", b"a")):
        sent = [(b"idempotency-key", value) for value in values]
        problem(await service.ask("POST", TASKS, json_=MILK, headers=sent), 400, "malformed_request")


async def test_a_very_long_header_costs_little(service: Service) -> None:
    for key in ("x" * 60_000, '"' + "\\\\" * 30_000, '"' * 60_000):
        problem(await post(service, key=key), 400)


async def test_a_refused_request_uses_no_key(service: Service) -> None:
    for body in ({"title": " "}, {"title": "Milk", "x": 1}, {}, []):
        problem(await post(service, body), 422, "invalid_input")
    problem(await service.ask("POST", TASKS, body=b"{", headers={"Idempotency-Key": KEY}), 400)
    problem(await service.ask("POST", TASKS, json_=MILK, user=None, headers={"Idempotency-Key": KEY}), 401)
    problem(await service.ask("POST", TASKS, json_=MILK, user=BOB, headers={"Idempotency-Key": KEY}), 403)
    assert "idempotency-replayed" not in (await post(service)).headers


async def test_every_kind_of_write_happens_once_under_its_key(service: Service) -> None:
    url = (await service.ask("POST", TASKS, json_=MILK)).headers["location"]
    writes: list[tuple[str, str, Any]] = [
        ("PATCH", f"{url}/complete", ...),
        ("PUT", url, {"title": "Bread"}),
        ("PATCH", url, {"description": "rye"}),
        ("DELETE", url, ...),
    ]
    firsts = []
    for number, (method, path, body) in enumerate(writes):
        sent = {"Idempotency-Key": f"{number}", "If-Match": f'"{number + 1}"'}
        first = await service.ask(method, path, json_=body, headers=sent)
        assert first.status_code in {200, 204}, first.text
        assert first.headers["change"] == f"{number + 2}"
        firsts.append((method, path, body, sent, first))
    for method, path, body, sent, first in firsts:  # the task is deleted by now, and the versions are stale
        same(await service.ask(method, path, json_=body, headers=sent), first)


async def test_another_request_under_a_key_is_refused_by_method_path_or_body(service: Service) -> None:
    one, other = [(await service.ask("POST", TASKS, json_=MILK)).headers["location"] for _ in range(2)]
    sent = {"Idempotency-Key": KEY}
    assert (await service.ask("PATCH", one, json_={"title": "a"}, headers=sent)).status_code == 200
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("PATCH", other, {"json_": {"title": "a"}}),
        ("PATCH", one, {"json_": {"title": "b"}}),
        ("PUT", one, {"json_": {"title": "a"}}),
        ("PATCH", f"{one}/complete", {}),
        ("DELETE", one, {}),
        ("DELETE", one, {"body": b"a body that nobody reads"}),
        ("POST", TASKS, {"json_": {"title": "a"}}),
    ]
    for method, path, request in requests:
        problem(await service.ask(method, path, headers=sent, **request), 422, "idempotency_key_reused")
    assert [task.title for task in await service.tasks_of(ANN)] == ["Milk", "a"]


async def test_a_request_that_changed_nothing_uses_its_key_but_gets_no_change_number(service: Service) -> None:
    url = (await service.ask("POST", TASKS, json_=MILK)).headers["location"]
    sent = {"Idempotency-Key": KEY}
    for replayed in (False, True):
        answer = await service.ask("PATCH", url, json_={}, headers=sent)
        assert answer.status_code == 200
        assert "change" not in answer.headers
        assert ("idempotency-replayed" in answer.headers) is replayed


async def test_reading_ignores_the_header(service: Service) -> None:
    url = (await post(service)).headers["location"]
    for key in (KEY, "not, a key"):
        for path in (url, TASKS):
            for method in ("GET", "HEAD"):
                answer = await service.ask(method, path, headers={"Idempotency-Key": key})
                assert answer.status_code == 200
                assert "idempotency-replayed" not in answer.headers
