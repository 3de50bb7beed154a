"""Two users, every route, every position of an id: nobody reads, changes or detects another user's things."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from asking import Service
from factories import make_id
from refusals import problem

from todo_app.api.operation import Operation
from todo_app.api.subjects import operations

# Names that a sloppy comparison would mix up: by case, by prefix, by normal form, by what a path makes of them.
USERS = [
    ("ann", "bob"), ("ann", "ANN"), ("ann", "ann2"), ("ann", "an"), ("ann", "ann "), ("\u00e9", "e\u0301"),
    ("a/b", "a"), ("a", "a%2Fb"), ("1", "01"), ("-", "ann"), ("ann", "tasks"), ("ann", "*"), ("ann", "_nn"),
]  # fmt: skip
users = pytest.mark.parametrize(("me", "other"), USERS + [pair[::-1] for pair in USERS[:1]])
Route = tuple[str, str, dict[str, Any]]
GARBAGE: dict[str, Any] = {"body": b"{", "headers": {"If-Match": "garbage"}}


def requests(operation: Operation) -> Iterator[Route]:
    """Every way to ask for that operation: its examples, without a body, unreadable, and on every condition."""
    bodies = [{"json_": example} for example in (operation.body.examples.values() if operation.body else ())]
    conditions: list[dict[str, str]] = [{}]
    if operation.thing_kind and operation.writes:
        conditions += [{"If-Match": '"1"'}, {"If-Match": '"9"'}]
    if operation.conditional:
        conditions += [{"If-None-Match": "*"}]
    for body in bodies or [{}]:
        for headers in conditions:
            yield operation.method, operation.path, body | {"headers": headers}
    if operation.body:
        yield from ((operation.method, operation.path, request) for request in ({"json_": {}}, GARBAGE))
    if operation.method == "GET":
        yield "HEAD", operation.path, {}


DECLARED: list[Route] = [request for operation in operations() for request in requests(operation)]
PATHS = sorted({operation.path for operation in operations()})
ROUTES = [*DECLARED, *((method, path, {}) for path in PATHS for method in ("OPTIONS", "TRACE"))]
PLACE = re.compile(r"\{\w+\}")
ONE = [route for route in DECLARED if PLACE.search(route[1])]


def at(user: str, path: str, id_: object = "") -> str:
    """Where that is among that user's things."""
    return "/api/" + "".join(f"%{byte:02X}" for byte in user.encode()) + PLACE.sub(str(id_), path)


def home(user: str) -> str:
    """Where that user's tasks are."""
    return at(user, "/tasks")


async def make(service: Service, user: str, title: str = "private") -> str:
    answer = await service.ask("POST", home(user), user=user, json_={"title": title, "description": f"of {user}"})
    return str(answer.json()["id"])


def said(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """Everything in an answer except its request id and what is left of the limit."""
    own = answer.headers["x-request-id"]
    headers = [
        (name, value) for name, value in answer.headers.multi_items() if name not in {"x-request-id", "ratelimit"}
    ]
    return answer.status_code, headers, answer.content.replace(own.encode(), b"")


@users
async def test_paths_of_another_user_are_forbidden_whatever_the_id(service: Service, me: str, other: str) -> None:
    theirs, mine = await make(service, other), await make(service, me)
    before = await service.tasks_of(me, other)
    for method, path, request in ROUTES:
        answers = [
            await service.ask(method, at(other, path, id_), user=me, **request)
            for id_ in (theirs, mine, make_id(1), "x", "..")
        ]
        assert {answer.status_code for answer in answers} == {403}
        assert len({str(said(answer)) for answer in answers}) == 1
        if method != "HEAD":
            problem(answers[0], 403, "not_your_path")
    assert await service.tasks_of(me, other) == before


@users
async def test_an_id_of_another_user_is_answered_like_an_unknown_id(service: Service, me: str, other: str) -> None:
    theirs, trashed = await make(service, other), await make(service, other)
    await service.ask("DELETE", f"{home(other)}/{trashed}", user=other)
    before = await service.tasks_of(me, other)
    for method, path, request in ONE:
        unknown, *foreign = [
            await service.ask(method, at(me, path, id_), user=me, **request)
            for id_ in (make_id(1), "x", theirs, trashed, 1)  # the number is that of a change of theirs
        ]
        assert unknown.status_code == 404
        assert {str(said(answer)) for answer in foreign} == {str(said(unknown))}
        if method != "HEAD":
            problem(unknown, 404)
    assert await service.tasks_of(me, other) == before


@users
async def test_path_and_id_of_another_user_are_forbidden_not_unknown(service: Service, me: str, other: str) -> None:
    theirs = await make(service, other)
    for method, path, request in ONE:
        answer = await service.ask(method, at(other, path, theirs), user=me, **request)
        assert answer.status_code == 403


@users
async def test_a_listing_shows_only_the_users_own_tasks(service: Service, me: str, other: str) -> None:
    for number in range(3):
        await make(service, other, f"theirs {number}")
    mine = await make(service, me)
    for query in ("", "?q=private", "?sort=title", "?completed=false", "?limit=1", f"?q={'theirs'}"):
        answer = await service.ask("GET", home(me) + query, user=me)
        assert {item["id"] for item in answer.json()["items"]} == ({mine} if "theirs" not in query else set())
        assert answer.json()["next_cursor"] is None


@users
async def test_a_cursor_of_another_user_shows_only_own_tasks(service: Service, me: str, other: str) -> None:
    mine = [await make(service, me, f"mine {number}") for number in range(3)]
    for number in range(3):
        await make(service, other, f"theirs {number}")
    for sort in ("-created_at", "created_at", "title", "-title", "updated_at", "-updated_at"):
        theirs = await service.ask("GET", f"{home(other)}?limit=1&sort={sort}", user=other)
        cursor = theirs.json()["next_cursor"]
        answer = await service.ask("GET", f"{home(me)}?sort={sort}&cursor={cursor}", user=me)
        assert {item["id"] for item in answer.json()["items"]} <= set(mine)
        # Their own link, followed as it is, leads to their path.
        target = theirs.headers["link"][1 : theirs.headers["link"].index(">")]
        problem(await service.ask("GET", target, user=me), 403)


@users
async def test_a_location_of_another_user_is_forbidden(service: Service, me: str, other: str) -> None:
    made = await service.ask("POST", home(other), user=other, json_={"title": "x"})
    problem(await service.ask("GET", made.headers["location"], user=me), 403)
    assert (await service.ask("GET", made.headers["location"], user=other)).status_code == 200


@users
async def test_an_owner_in_a_body_is_refused_or_ignored(service: Service, me: str, other: str) -> None:
    mine = await make(service, me)
    problem(await service.ask("POST", home(me), user=me, json_={"title": "x", "user_id": other}), 422)
    answer = await service.ask("PUT", f"{home(me)}/{mine}", user=me, json_={"title": "x", "user_id": other})
    assert answer.json()["user_id"] == me
    assert await service.tasks_of(other) == []


@pytest.mark.parametrize("name", ["X-User-Id", "X-User", "X-Forwarded-User", "X-Remote-User", "Cookie", "From"])
async def test_only_the_token_identifies_the_user(service: Service, name: str) -> None:
    problem(await service.ask("GET", home("bob"), user="ann", headers={name: "bob"}), 403)
    problem(await service.ask("GET", home("bob"), user=None, headers={name: "bob"}), 401)
    for query in ("access_token", "token", "user_id"):
        problem(await service.ask("GET", f"{home('bob')}?{query}={service.token('bob')}", user=None), 401)


async def test_deleting_an_id_of_another_user_on_the_own_path_deletes_nothing(service: Service) -> None:
    """Ids are separate for each user."""
    mine = await make(service, "ann")
    assert (await service.ask("DELETE", f"{home('bob')}/{mine}", user="bob")).status_code == 404
    assert (await service.ask("GET", f"{home('ann')}/{mine}", user="ann")).status_code == 200
