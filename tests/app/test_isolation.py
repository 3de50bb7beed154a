"""Two users, every route, every position of an id: nobody reaches, changes, or learns anything of another's."""

import re
from typing import Any

import httpx
import pytest
from asking import Service
from factories import make_id
from refusals import problem

from todo_app.api.subjects import operations

# Names that a sloppy comparison would mix up: by case, by prefix, by normal form, by what a path makes of them.
USERS = [
    ("ann", "bob"), ("ann", "ANN"), ("ann", "ann2"), ("ann", "an"), ("ann", "ann "), ("\u00e9", "e\u0301"),
    ("a/b", "a"), ("a", "a%2Fb"), ("1", "01"), ("-", "ann"), ("ann", "tasks"), ("ann", "*"), ("ann", "_nn"),
]  # fmt: skip
_PLACE = re.compile(r"\{\w+\}")
users = pytest.mark.parametrize(("me", "other"), USERS + [pair[::-1] for pair in USERS[:1]])
ROUTES: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "", {}),
    ("HEAD", "", {}),
    ("OPTIONS", "", {}),
    ("POST", "", {"json_": {"title": "mine"}}),
    ("GET", "/{id}", {}),
    ("GET", "/{id}", {"headers": {"If-None-Match": "*"}}),
    ("HEAD", "/{id}", {}),
    ("PUT", "/{id}", {"json_": {"title": "mine"}}),
    ("PUT", "/{id}", {"json_": {"title": ""}}),
    ("PUT", "/{id}", {"json_": {"title": "mine"}, "headers": {"If-Match": '"1"'}}),
    ("PUT", "/{id}", {"json_": {"title": "mine"}, "headers": {"If-Match": '"9"'}}),
    ("PATCH", "/{id}", {"json_": {"title": "mine"}}),
    ("PATCH", "/{id}", {"json_": {}}),
    ("PATCH", "/{id}", {"body": b"{", "headers": {"If-Match": "garbage"}}),
    ("PATCH", "/{id}/complete", {}),
    ("PATCH", "/{id}/complete", {"json_": {"completed": False}}),
    ("DELETE", "/{id}", {}),
    ("DELETE", "/{id}", {"headers": {"If-Match": '"1"'}}),
    ("DELETE", "/{id}", {"headers": {"If-Match": '"9"'}}),
    ("GET", "/{id}/history", {}),
    ("GET", "/../summary", {}),
    ("GET", "/../trash", {}),
    ("POST", "/../trash/{id}/restore", {}),
    ("DELETE", "/../trash/{id}", {}),
    ("DELETE", "/../trash", {}),
    ("POST", "/../changes/{id}/undo", {}),
    ("POST", "/{id}", {}),
    ("OPTIONS", "/{id}", {}),
]
ONE = [route for route in ROUTES if route[1].startswith("/{id}") and route[0] not in {"OPTIONS", "POST"}]


def home(user: str) -> str:
    """Where that user's tasks are."""
    return "/api/" + "".join(f"%{byte:02X}" for byte in user.encode()) + "/tasks"


def at(user: str, below: str, id_: object) -> str:
    """Where that is, below that user's tasks or, from `/..` on, beside them."""
    return (home(user) + below.replace("{id}", f"{id_}")).replace("/tasks/..", "", 1)


async def make(service: Service, user: str, title: str = "private") -> str:
    answer = await service.ask("POST", home(user), user=user, json_={"title": title, "description": f"of {user}"})
    return str(answer.json()["id"])


def said(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """Everything that an answer says but for its request's own id and what is left of the limit."""
    own = answer.headers["x-request-id"]
    headers = [
        (name, value) for name, value in answer.headers.multi_items() if name not in {"x-request-id", "ratelimit"}
    ]
    return answer.status_code, headers, answer.content.replace(own.encode(), b"")


def test_every_operation_is_among_the_routes() -> None:
    """An operation that nobody tries on another's things is noticed here."""
    tried = {(method, f"/tasks{below}".removeprefix("/tasks/..")) for method, below, _ in ROUTES}
    assert {(operation.method, _PLACE.sub("{id}", operation.path)) for operation in operations()} <= tried


@users
async def test_anothers_path_is_forbidden_whatever_is_there(service: Service, me: str, other: str) -> None:
    theirs, mine = await make(service, other), await make(service, me)
    before = await service.tasks_of(me, other)
    for method, below, request in ROUTES:
        answers = [
            await service.ask(method, at(other, below, id_), user=me, **request)
            for id_ in (theirs, mine, make_id(1), "x", "..")
        ]
        assert {answer.status_code for answer in answers} == {403}
        assert len({str(said(answer)) for answer in answers}) == 1
        if method != "HEAD":
            problem(answers[0], 403, "not_your_path")
    assert await service.tasks_of(me, other) == before


@users
async def test_anothers_id_is_as_unknown_as_no_ones(service: Service, me: str, other: str) -> None:
    theirs = await make(service, other)
    before = await service.tasks_of(me, other)
    for method, below, request in ONE:
        foreign, unknown, odd = [
            await service.ask(method, at(me, below, id_), user=me, **request) for id_ in (theirs, make_id(1), "x")
        ]
        assert foreign.status_code == 404
        assert said(foreign) == said(unknown) == said(odd)
        if method != "HEAD":
            problem(foreign, 404, "task_not_found")
    assert await service.tasks_of(me, other) == before


@users
async def test_both_of_anothers_is_forbidden_not_unknown(service: Service, me: str, other: str) -> None:
    theirs = await make(service, other)
    for method, below, request in ONE:
        answer = await service.ask(method, at(other, below, theirs), user=me, **request)
        assert answer.status_code == 403


@users
async def test_a_listing_shows_ones_own_only(service: Service, me: str, other: str) -> None:
    for number in range(3):
        await make(service, other, f"theirs {number}")
    mine = await make(service, me)
    for query in ("", "?q=private", "?sort=title", "?completed=false", "?limit=1", f"?q={'theirs'}"):
        answer = await service.ask("GET", home(me) + query, user=me)
        assert {item["id"] for item in answer.json()["items"]} == ({mine} if "theirs" not in query else set())
        assert answer.json()["next_cursor"] is None


@users
async def test_anothers_cursor_opens_no_door(service: Service, me: str, other: str) -> None:
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
async def test_anothers_location_is_closed(service: Service, me: str, other: str) -> None:
    made = await service.ask("POST", home(other), user=other, json_={"title": "x"})
    problem(await service.ask("GET", made.headers["location"], user=me), 403)
    assert (await service.ask("GET", made.headers["location"], user=other)).status_code == 200


@users
async def test_a_body_names_no_owner(service: Service, me: str, other: str) -> None:
    mine = await make(service, me)
    problem(await service.ask("POST", home(me), user=me, json_={"title": "x", "user_id": other}), 422)
    answer = await service.ask("PUT", f"{home(me)}/{mine}", user=me, json_={"title": "x", "user_id": other})
    assert answer.json()["user_id"] == me
    assert await service.tasks_of(other) == []


@pytest.mark.parametrize("name", ["X-User-Id", "X-User", "X-Forwarded-User", "X-Remote-User", "Cookie", "From"])
async def test_no_header_but_the_token_says_who_asks(service: Service, name: str) -> None:
    problem(await service.ask("GET", home("bob"), user="ann", headers={name: "bob"}), 403)
    problem(await service.ask("GET", home("bob"), user=None, headers={name: "bob"}), 401)
    for query in ("access_token", "token", "user_id"):
        problem(await service.ask("GET", f"{home('bob')}?{query}={service.token('bob')}", user=None), 401)


async def test_the_same_id_may_be_two_users_tasks(service: Service) -> None:
    """Ids are a user's own: what one deletes, the other keeps."""
    mine = await make(service, "ann")
    assert (await service.ask("DELETE", f"{home('bob')}/{mine}", user="bob")).status_code == 404
    assert (await service.ask("GET", f"{home('ann')}/{mine}", user="ann")).status_code == 200
