"""Undo and the trash, as a client sees them."""

import asyncio
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from asking import Service
from factories import ANN, BOB, make_task
from refusals import check_dressed, pointers, problem

from todo_app.api.replies import reply_with_things
from todo_core import Committed

HOME = f"/api/{ANN}"
TASKS = f"{HOME}/tasks"


async def made(service: Service, **members: Any) -> dict[str, Any]:
    answer = await service.ask("POST", TASKS, json_={"title": "Milk", **members})
    assert answer.status_code == 201
    task: dict[str, Any] = answer.json()
    return task


async def test_a_change_is_undone_by_its_number_and_the_undo_too(service: Service) -> None:
    task = await made(service, priority="high")
    edited = await service.ask("PATCH", f"{TASKS}/{task['id']}", json_={"title": "Bread", "priority": None})
    assert edited.headers["change"] == "2"
    undone = await service.ask("POST", f"{HOME}/changes/2/undo")
    check_dressed(undone)
    assert (undone.status_code, undone.headers["change"], undone.json()["change"]) == (200, "3", 3)
    [back] = undone.json()["items"]
    assert (back["title"], back["priority"], back["version"]) == ("Milk", "high", 3)
    again = (await service.ask("POST", f"{HOME}/changes/3/undo")).json()
    assert [item["title"] for item in again["items"]] == ["Bread"]
    history = (await service.ask("GET", f"{TASKS}/{task['id']}/history")).json()["items"]
    assert [(item["change"], item["action"]) for item in history] == [
        (4, "undone"), (3, "undone"), (2, "edited"), (1, "created"),
    ]  # fmt: skip
    assert history[2]["fields"] == {"title": ["Milk", "Bread"], "priority": ["high", None]}


async def test_a_refused_undo_names_members_set_by_later_changes(service: Service) -> None:
    task = await made(service)
    for title in ("One", "Two"):
        await service.ask("PATCH", f"{TASKS}/{task['id']}", json_={"title": title})
    refused = problem(await service.ask("POST", f"{HOME}/changes/2/undo"), 409, "undo_conflict")
    assert [(error["pointer"], error["id"]) for error in refused["errors"]] == [("/title", task["id"])]
    assert (await service.tasks_of(ANN))[0].title == "Two"


async def test_a_refused_undo_names_each_problem_once_and_at_most_50(service: Service) -> None:
    parent = await made(service)
    children = [await made(service, parent_id=parent["id"]) for _ in range(50)]
    created = problem(await service.ask("POST", f"{HOME}/changes/1/undo"), 409, "undo_conflict")["errors"]
    assert [(error["pointer"], error["id"]) for error in created] == [("/id", parent["id"])]
    deleted = (await service.ask("DELETE", f"{TASKS}/{parent['id']}")).headers["change"]
    await service.ask("DELETE", f"{HOME}/trash/{parent['id']}")
    *named, last = problem(await service.ask("POST", f"{HOME}/changes/{deleted}/undo"), 409, "undo_conflict")["errors"]
    assert {error["id"] for error in named} < {parent["id"], *(each["id"] for each in children)}
    assert (len(named), last) == (50, {"pointer": "", "detail": "only the first 50 faults are listed"})


@pytest.mark.parametrize("number", ["0", "-1", "1", "2", "x", "1e3", "٣", "9" * 30, "%2B1"])
async def test_an_unknown_change_is_not_found(service: Service, number: str) -> None:
    assert (await service.ask("POST", f"/api/{BOB}/tasks", user=BOB, json_={"title": "Bob's"})).status_code == 201
    problem(await service.ask("POST", f"{HOME}/changes/{number}/undo"), 404, "change_not_found")
    assert [task.title for task in await service.tasks_of(BOB)] == ["Bob's"]


async def test_a_deleted_task_is_in_the_trash_and_comes_back_as_it_was(service: Service) -> None:
    task = await made(service, tags=["home"], due_date="2026-12-01")
    deleted = await service.ask("DELETE", f"{TASKS}/{task['id']}")
    assert (deleted.status_code, deleted.headers["change"]) == (204, "2")
    [item] = (await service.ask("GET", f"{HOME}/trash")).json()["items"]
    assert (item["kind"], item["id"], item["title"], item["change"], item["count"]) == (
        "task",
        task["id"],
        "Milk",
        2,
        1,
    )
    assert item["erased_at"] > item["deleted_at"]
    restored = await service.ask("POST", f"{HOME}/trash/{task['id']}/restore")
    assert (restored.status_code, restored.headers["change"]) == (200, "3")
    [back] = restored.json()["items"]
    assert back == (await service.ask("GET", f"{TASKS}/{task['id']}")).json()
    assert back | {"version": 1, "updated_at": None} == task | {"updated_at": None}
    assert (await service.ask("GET", f"{HOME}/trash")).json() == {"items": [], "next_cursor": None}
    problem(await service.ask("POST", f"{HOME}/trash/{task['id']}/restore"), 404, "not_in_trash")


async def test_the_trash_is_paged_newest_first(service: Service) -> None:
    ids = [(await made(service))["id"] for _ in range(5)]
    for each in ids:
        await service.ask("DELETE", f"{TASKS}/{each}")
    path, found = f"{HOME}/trash?limit=2", []
    while path:
        answer = await service.ask("GET", path)
        found += [item["id"] for item in answer.json()["items"]]
        path = answer.headers.get("link", "<>;")[1:].partition(">")[0]
    assert found == ids[::-1]
    for query, at in (("limit=0", ["/limit"]), ("cursor=x", ["/cursor"]), ("cursor=1.x&q=1", ["/cursor", "/q"])):
        assert pointers(await service.ask("GET", f"{HOME}/trash?{query}")) == at


async def test_erased_tasks_leave_the_history_and_cannot_be_restored(service: Service) -> None:
    ids = [(await made(service, title=f"Secret {number}"))["id"] for number in range(3)]
    problem(await service.ask("DELETE", f"{HOME}/trash/{ids[0]}"), 404, "not_in_trash")
    for each in ids:
        await service.ask("DELETE", f"{TASKS}/{each}")
    erased = await service.ask("DELETE", f"{HOME}/trash/{ids[0]}")
    assert (erased.status_code, "change" in erased.headers) == (204, False)
    assert "Secret" not in (await service.ask("GET", f"{TASKS}/{ids[0]}/history")).text
    assert (await service.ask("DELETE", f"{HOME}/trash")).status_code == 204
    assert (await service.ask("GET", f"{HOME}/trash")).json()["items"] == []
    for each in ids:
        problem(await service.ask("POST", f"{HOME}/trash/{each}/restore"), 404, "not_in_trash")
    problem(await service.ask("POST", f"{HOME}/changes/4/undo"), 409, "undo_conflict")


async def test_while_many_restored_things_are_encoded_other_requests_have_their_turn() -> None:
    things = tuple(make_task() for _ in range(300))
    replying = asyncio.create_task(reply_with_things(Committed(things, 7)))
    rounds = 0
    while not replying.done():
        await asyncio.sleep(0)
        rounds += 1
    assert rounds > 3
    reply = await replying
    body = msgspec.json.decode(reply.body + b"".join(reply.rest))
    assert (body["change"], [each["id"] for each in body["items"]]) == (7, [str(each.id) for each in things])


async def test_another_users_trash_is_unknown(service: Service) -> None:
    task = await made(service)
    await service.ask("DELETE", f"{TASKS}/{task['id']}")
    for method, path in (("POST", f"trash/{task['id']}/restore"), ("DELETE", f"trash/{task['id']}")):
        problem(await service.ask(method, f"/api/{BOB}/{path}", user=BOB), 404, "not_in_trash")
        problem(await service.ask(method, f"/api/{BOB}/{path.replace(task['id'], str(uuid4()))}", user=BOB), 404)
        problem(await service.ask(method, f"/api/{BOB}/{path.replace(task['id'], 'x')}", user=BOB), 404, "not_in_trash")
    assert (await service.ask("DELETE", f"/api/{BOB}/trash", user=BOB)).status_code == 204
    assert len((await service.ask("GET", f"{HOME}/trash")).json()["items"]) == 1


async def test_emptying_the_trash_again_under_its_key_erases_nothing(service: Service) -> None:
    key = {"Idempotency-Key": "a"}
    for title, left in (("first", []), ("second", ["second"])):
        task = await made(service, title=title)
        await service.ask("DELETE", f"{TASKS}/{task['id']}")
        emptied = await service.ask("DELETE", f"{HOME}/trash", headers=key)
        assert (emptied.status_code, emptied.headers.get("idempotency-replayed")) == (204, "true" if left else None)
        trash = (await service.ask("GET", f"{HOME}/trash")).json()["items"]
        assert [item["title"] for item in trash] == left
    answer = await service.ask("DELETE", f"{TASKS}/{task['id']}", headers=key)
    problem(answer, 422, "idempotency_key_reused")
    assert (await service.ask("DELETE", f"{HOME}/trash")).status_code == 204
    assert (await service.ask("GET", f"{HOME}/trash")).json()["items"] == []
