"""Several operations as one change, over HTTP: all of them or none; a refusal names its operation."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from asking import Service
from factories import ANN, BOB, make_id
from refusals import check_dressed, pointers, problem

from todo_app.api import bodies
from todo_app.api.batch import Batch
from todo_app.http import reading
from todo_core import InvalidInput
from todo_core.task import RULES

HOME = f"/api/{ANN}"
TASKS = f"{HOME}/tasks"


def new_id(number: int = 0) -> str:
    """An id that a client may bring: a UUIDv7 of 2026-11-05."""
    return str(UUID(int=0x019A_540B_B400_7000_8000_000000000000 + (uuid4().int & 0xFFFFFF) * 1000 + number))


async def batch(service: Service, *operations: dict[str, Any], **more: Any) -> Any:
    return await service.ask("POST", f"{HOME}/batch", json_={"operations": list(operations)}, **more)


async def made(service: Service, title: str = "Milk", **members: Any) -> dict[str, Any]:
    answer = await service.ask("POST", TASKS, json_={"title": title, **members})
    task: dict[str, Any] = answer.json()
    return task


async def operations_of_all_kinds(service: Service) -> list[dict[str, Any]]:
    """On tasks and lists that are there, and on new ones."""
    doomed = await made(service)
    recurring = await made(service, "Rent", due_date="2096-12-01", recurrence="FREQ=MONTHLY")
    old = (await service.ask("POST", f"{HOME}/lists", json_={"name": "Old"})).json()["id"]
    trashed = await made(service, "Trashed")
    await service.ask("DELETE", f"{TASKS}/{trashed['id']}")
    task, child, task_list = new_id(1), new_id(2), new_id(3)
    return [
        {"op": "create_list", "list": {"name": "Groceries", "id": task_list}},
        {"op": "create", "task": {"title": "Cake", "id": task, "list_id": task_list}},
        {"op": "create", "task": {"title": "Eggs", "id": child, "parent_id": task}},
        {"op": "edit", "id": task, "changes": {"priority": "high"}, "version": 1},
        {"op": "complete", "id": child},
        {"op": "move", "id": child, "parent_id": None},
        {"op": "skip", "id": recurring["id"], "occurrence": "2096-12-01"},
        {"op": "reschedule", "id": recurring["id"], "due_date": "2097-01-03"},
        {"op": "delete", "id": doomed["id"], "version": 1},
        {"op": "restore", "id": trashed["id"]},
        {"op": "edit_list", "id": task_list, "changes": {"color": "#ff8800"}},
        {"op": "move_list", "id": task_list, "before": old},
        {"op": "delete_list", "id": old},
        {"op": "complete", "id": child, "completed": False},
    ]


async def test_others_have_their_turn_while_a_long_batch_is_planned(service: Service) -> None:
    async def turns(size: int) -> int:
        running = asyncio.create_task(batch(service, *[{"op": "create", "task": {"title": "Milk"}}] * size))
        taken = 0
        while not running.done():
            taken += 1
            await asyncio.sleep(0)
        assert running.result().status_code == 200
        return taken

    assert await turns(100) >= await turns(9) + 10


async def test_all_kinds_of_operations_are_one_change(service: Service) -> None:
    operations = await operations_of_all_kinds(service)
    answer = await batch(service, *operations)
    check_dressed(answer)
    assert (answer.status_code, answer.headers["change"]) == (200, "6"), answer.text
    results = answer.json()["results"]
    kinds = ["list" if "list" in each["op"] else "task" for each in operations]
    assert [result["kind"] for result in results] == kinds
    assert [result["deleted"] for result in results] == [each["op"].startswith("delete") for each in operations]
    named = [each.get("id") or each.get("task", each.get("list"))["id"] for each in operations]
    assert [result["id"] for result in results] == named
    got = {each["title"]: each for each in (await service.ask("GET", TASKS)).json()["items"]}
    assert sorted(got) == ["Cake", "Eggs", "Rent", "Trashed"]
    assert (got["Cake"]["priority"], got["Cake"]["version"]) == ("high", 1)
    assert (got["Eggs"]["parent_id"], got["Eggs"]["list_id"], got["Eggs"]["completed"]) == (None, named[0], False)
    assert (got["Rent"]["due_date"], got["Rent"]["version"]) == ("2097-01-03", 2)
    undone = await service.ask("POST", f"{HOME}/changes/6/undo")
    assert undone.status_code == 200, undone.text
    assert sorted(each.title for each in await service.tasks_of(ANN)) == ["Milk", "Rent"]


@pytest.mark.parametrize(
    ("operation", "status", "at"),
    [
        ({"op": "create", "task": {"title": ""}}, 422, ["/operations/1/task/title"]),
        ({"op": "create", "task": {"titel": "x", "due_date": "y"}}, 422, ["titel", "due_date", "title"]),
        ({"op": "create", "task": {"title": "x", "list_id": str(make_id(1))}}, 422, ["/operations/1/task/list_id"]),
        ({"op": "create", "task": {"title": "x", "parent_id": str(make_id(1))}}, 422, ["/operations/1/task/parent_id"]),
        (
            {"op": "create", "task": {"title": "x", "id": "8e03978e-40d5-43e8-bc93-6894a57f9324"}},
            422,
            ["/operations/1/task/id"],
        ),
        ({"op": "create", "task": {"title": "x", "due_date": "2026-02-30"}}, 422, ["/operations/1/task/due_date"]),
        (
            {"op": "edit", "id": ..., "changes": {"start_date": "2026-10-02", "due_date": "2026-10-01"}},
            422,
            ["start_date"],
        ),
        ({"op": "edit", "id": str(make_id(1)), "changes": {}}, 422, ["/operations/1/id"]),
        ({"op": "edit_list", "id": ..., "changes": {}}, 422, ["/operations/1/id"]),
        ({"op": "restore", "id": ...}, 422, ["/operations/1/id"]),
        ({"op": "complete", "id": ..., "version": 9}, 412, ["/operations/1"]),
        ({"op": "complete", "id": ..., "occurrence": "x"}, 422, ["/operations/1/occurrence"]),
        ({"op": "skip", "id": ...}, 422, ["/operations/1/recurrence"]),
        ({"op": "move", "id": ..., "before": ...}, 422, ["/operations/1/before"]),
        ({"op": "move", "id": ..., "parent_id": ...}, 422, ["/operations/1/parent_id"]),
        ({"op": "explode", "id": ...}, 422, ["/operations/1/op"]),
        ({"id": ...}, 422, ["/operations/1/op"]),
        ({"op": "delete"}, 422, ["/operations/1/id"]),
        ({"op": "delete", "id": ..., "x": 1}, 422, ["/operations/1/x"]),
        ({"op": "delete", "id": "x"}, 422, ["/operations/1/id"]),
        ({"op": 1}, 422, ["/operations/1"]),
        (7, 422, ["/operations/1"]),
    ],
)
async def test_one_refused_operation_refuses_the_whole_batch_and_is_named(
    service: Service, operation: Any, status: int, at: list[str]
) -> None:
    task = await made(service)
    if isinstance(operation, dict):
        operation = {name: task["id"] if value is ... else value for name, value in operation.items()}
    answer = await batch(service, {"op": "create", "task": {"title": "First"}}, operation)
    told = problem(answer, status) if status == 422 else answer.json()
    assert answer.status_code == status
    found = [error["pointer"] for error in told["errors"]]
    assert [each.rpartition("/")[2] for each in found] == [each.rpartition("/")[2] for each in at]
    assert all(each.startswith("/operations/1") for each in found)
    assert [each.title for each in await service.tasks_of(ANN)] == ["Milk"]


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, ["/operations"]), ({"operations": []}, ["/operations"]), ({"operations": {}}, ["/operations"]),
        ({"operations": [{"op": "delete", "id": str(make_id(1))}] * 101}, ["/operations"]),
        ({"operations": None, "x": 1}, ["/operations", "/x"]),
    ],
)  # fmt: skip
async def test_a_batch_has_one_to_a_hundred_operations(service: Service, body: Any, at: list[str]) -> None:
    assert pointers(await service.ask("POST", f"{HOME}/batch", json_=body)) == at


async def test_the_faults_of_all_operations_are_named(service: Service) -> None:
    wrong = [
        {"op": "create", "task": {"title": ""}},
        {"op": "create", "task": {"title": "x", "start_date": "2026-12-02", "due_date": "2026-12-01"}},
        {"op": "create_list", "list": {"name": ""}},
    ]
    places = ["/operations/0/task/title", "/operations/1/task/start_date", "/operations/2/list/name"]
    assert pointers(await batch(service, *wrong)) == places


async def test_a_repeated_batch_marks_what_has_been_erased_since(service: Service) -> None:
    key = {"Idempotency-Key": "a"}
    names: list[dict[str, Any]] = [{"op": "create", "task": {"title": title}} for title in ("One", "Two")]
    operations = [*names, {"op": "create_list", "list": {"name": "Old"}}, {"op": "create", "task": {"title": "Three"}}]
    first = (await batch(service, *operations, headers=key)).json()
    for place, kind in ((1, "tasks"), (2, "lists")):
        gone = first["results"][place]["id"]
        await service.ask("DELETE", f"{HOME}/{kind}/{gone}")
        assert (await service.ask("DELETE", f"{HOME}/trash/{gone}")).status_code == 204
        first["results"][place] |= {"deleted": True, "value": None}
    again = await batch(service, *operations, headers=key)
    check_dressed(again)
    assert (again.status_code, again.headers["idempotency-replayed"], again.json()) == (200, "true", first)


async def test_an_occurrence_is_refused_unless_it_is_completed(service: Service) -> None:
    task = await made(service, completed=True)
    reopen = {"op": "complete", "id": task["id"], "completed": False, "occurrence": "2026-01-01"}
    refused = problem(await batch(service, {"op": "edit", "id": task["id"], "changes": {}}, reopen), 422)
    assert refused["errors"] == [{"pointer": "/operations/1/occurrence", "detail": 'needs "completed": true'}]
    single = {"completed": False, "occurrence": "2026-01-01"}
    alone = problem(await service.ask("PATCH", f"{TASKS}/{task['id']}/complete", json_=single), 422)
    assert alone["errors"] == [{"pointer": "/occurrence", "detail": 'needs "completed": true'}]
    assert [each.completed for each in await service.tasks_of(ANN)] == [True]


async def test_an_unknown_id_does_not_hide_the_faults_of_other_operations(service: Service) -> None:
    wrong = {"op": "edit", "id": str(make_id(2)), "changes": {"title": ""}}
    places = ["/operations/0/id", "/operations/1/changes/title"]
    assert pointers(await batch(service, {"op": "delete", "id": str(make_id(1))}, wrong)) == places


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
    assert len(parts) >= 3 * body.count(b"[]") * 2 // reading._PART


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


async def test_a_batch_happens_once_under_a_key(service: Service) -> None:
    operation, key = {"op": "create", "task": {"title": "Milk"}}, {"Idempotency-Key": "a"}
    first = await batch(service, operation, operation, headers=key)
    again = await batch(service, operation, operation, headers=key)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert len(await service.tasks_of(ANN)) == 2
    problem(await batch(service, operation, headers=key), 422, "idempotency_key_reused")


async def test_ids_of_others_are_unknown_in_a_batch(service: Service) -> None:
    theirs = (await service.ask("POST", f"/api/{BOB}/tasks", user=BOB, json_={"title": "Bob's"})).json()["id"]
    told = [
        problem(await batch(service, {"id": id_, **operation}), 422)["errors"]
        for id_ in (theirs, str(make_id(1)))
        for operation in ({"op": "delete"}, {"op": "edit", "changes": {"title": "x"}})
    ]
    assert told[0] == told[2]
    assert told[1] == told[3]
    assert [each.title for each in await service.tasks_of(BOB)] == ["Bob's"]


async def test_a_task_with_an_id_of_the_client_is_created_once(service: Service) -> None:
    body = {"title": "Milk", "id": new_id(), "tags": ["home"], "due_date": "2026-12-01"}
    first = await service.ask("POST", TASKS, json_=body)
    assert (first.status_code, first.json()["id"], first.headers["change"]) == (201, body["id"], "1")
    await service.ask("PATCH", first.headers["location"], json_={"title": "Oat milk"})
    again = await service.ask("POST", TASKS, json_=body)
    assert (again.status_code, again.json()["title"], "change" in again.headers) == (200, "Oat milk", False)
    assert again.headers["location"] == first.headers["location"]
    problem(await service.ask("POST", TASKS, json_=body | {"title": "Bread"}), 409, "task_exists")
    problem(await service.ask("POST", f"{HOME}/lists", json_={"name": "x", "id": body["id"]}), 409, "task_exists")
    await service.ask("DELETE", first.headers["location"])
    problem(await service.ask("POST", TASKS, json_=body), 409, "task_exists")
    other = await service.ask("POST", f"/api/{BOB}/tasks", user=BOB, json_=body)  # ids are each user's own
    assert other.status_code == 201


async def test_a_list_with_an_id_of_the_client_is_created_once(service: Service) -> None:
    body = {"name": "Groceries", "id": new_id(), "color": "#FF8800"}
    answers = [await service.ask("POST", f"{HOME}/lists", json_=body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()
    problem(await service.ask("POST", f"{HOME}/lists", json_=body | {"color": None}), 409, "task_exists")
    problem(await service.ask("POST", TASKS, json_={"title": "x", "id": body["id"]}), 409, "task_exists")


@pytest.mark.parametrize(
    "id_",
    [
        "8e03978e-40d5-43e8-bc93-6894a57f9324", "00000000-0000-0000-0000-000000000000",
        "01ffffff-ffff-7000-8000-000000000000",
        "019a540b-b400-7000-c000-000000000000", "x", 7, None,
    ],
)  # fmt: skip
async def test_an_id_of_another_version_or_of_the_future_is_refused(service: Service, id_: Any) -> None:
    assert pointers(await service.ask("POST", TASKS, json_={"title": "x", "id": id_})) == ["/id"]


async def test_a_task_created_offline_is_last_by_position_and_sorted_by_its_id(service: Service) -> None:
    first = await made(service, "first")
    late = await made(service, "late", id="01900000-0000-7000-8000-000000000001")
    by_position = (await service.ask("GET", f"{TASKS}?sort=position")).json()["items"]
    by_id = (await service.ask("GET", f"{TASKS}?sort=created_at")).json()["items"]
    assert [each["id"] for each in by_position] == [first["id"], late["id"]]
    assert [each["id"] for each in by_id] == [late["id"], first["id"]]


async def test_a_change_is_merged_if_nobody_else_changed_the_same_members(service: Service) -> None:
    task = await made(service)
    url = f"{TASKS}/{task['id']}"
    base = {"Merge-Base": '"1"'}
    await service.ask("PATCH", url, json_={"title": "Oat milk"})
    merged = await service.ask("PATCH", url, json_={"priority": "high", "description": "two"}, headers=base)
    assert (merged.status_code, merged.json()["title"], merged.json()["priority"]) == (200, "Oat milk", "high")
    refused = await service.ask("PUT", url, json_={"title": "Bread", "due_date": "2026-12-01"}, headers=base)
    told = refused.json()
    assert (refused.status_code, told["code"]) == (409, "merge_conflict")
    assert told["errors"] == [{"pointer": "/title", "detail": "has been changed since"}]
    same = await service.ask("PATCH", url, json_={"title": "Oat milk"}, headers=base)
    assert (same.status_code, "change" in same.headers) == (200, False)
    await service.ask("DELETE", url)
    await service.ask("POST", f"{HOME}/trash/{task['id']}/restore")
    back = await service.ask("PATCH", url, json_={"tags": ["a"]}, headers=base)
    assert (back.status_code, back.json()["version"]) == (200, 5)
    assert (await service.ask("PATCH", url, json_={"tags": ["b"]}, headers={"Merge-Base": '"9"'})).status_code == 409


async def test_completing_and_renaming_at_once_are_merged(service: Service) -> None:
    task = await made(service)
    url = f"{TASKS}/{task['id']}"
    await service.ask("PATCH", f"{url}/complete")
    base = {"Merge-Base": '"1"'}
    assert (await service.ask("PATCH", url, json_={"title": "x"}, headers=base)).status_code == 200
    assert (await service.ask("PATCH", url, json_={"completed": True}, headers=base)).status_code == 200
    told = (await service.ask("PATCH", url, json_={"completed": False}, headers=base)).json()
    assert [error["pointer"] for error in told["errors"]] == ["/completed"]


async def test_two_clients_that_complete_the_same_occurrence_with_a_base_complete_one(service: Service) -> None:
    task = await made(service, due_date="2097-01-31", recurrence="FREQ=MONTHLY")
    url, base = f"{TASKS}/{task['id']}", {"Merge-Base": '"1"'}
    first = await service.ask("PATCH", url, json_={"completed": True}, headers=base)
    assert (first.status_code, first.json()["due_date"]) == (200, "2097-02-28")
    for method, also in (("PATCH", {}), ("PUT", {"title": "Oat milk"})):
        told = (await service.ask(method, url, json_={"completed": True, **also}, headers=base)).json()
        assert (told["code"], [error["pointer"] for error in told["errors"]]) == ("merge_conflict", ["/completed"])
    now = {"Merge-Base": '"2"'}
    await service.ask("PATCH", url, json_={"title": "Bread"})
    second = await service.ask("PATCH", url, json_={"completed": True}, headers=now)
    assert (second.status_code, second.json()["due_date"]) == (200, "2097-03-31")


async def test_lists_are_merged_too(service: Service) -> None:
    url = (await service.ask("POST", f"{HOME}/lists", json_={"name": "a"})).headers["location"]
    await service.ask("PATCH", url, json_={"name": "b"})
    base = {"Merge-Base": '"1"'}
    assert (await service.ask("PATCH", url, json_={"color": "#ff8800"}, headers=base)).json()["name"] == "b"
    assert (await service.ask("PATCH", url, json_={"name": "c"}, headers=base)).status_code == 409


@pytest.mark.parametrize("value", ["", "1", 'W/"1"', '"1", "2"', "*", '"1', '"x"', '"0"', '""'])
async def test_a_merge_base_is_one_strong_tag_of_a_version(service: Service, value: str) -> None:
    task = await made(service)
    url = f"{TASKS}/{task['id']}"
    refused = problem(await service.ask("PATCH", url, json_={"title": "x"}, headers={"Merge-Base": value}), 400)
    assert refused["detail"] == ('Merge-Base must be one entity tag, of the version that your change is based on: "3".')
    compressed = await service.ask("PATCH", url, json_={"title": "x"}, headers={"Merge-Base": ' "1-gzip" '})
    assert compressed.status_code == 200
    both = {"Merge-Base": '"1"', "If-Match": '"1"'}
    problem(await service.ask("PATCH", url, json_={"title": "x"}, headers=both), 400)


async def test_a_merged_change_happens_once_under_its_key(service: Service) -> None:
    task = await made(service)
    url = f"{TASKS}/{task['id']}"
    headers = {"Merge-Base": '"1"', "Idempotency-Key": "a"}
    first = await service.ask("PATCH", url, json_={"title": "x"}, headers=headers)
    again = await service.ask("PATCH", url, json_={"title": "x"}, headers=headers)
    assert (first.status_code, again.json()) == (200, first.json())


async def test_what_a_batch_restores_is_logged_as_restored(service: Service) -> None:
    task = await made(service)
    await service.ask("DELETE", f"{TASKS}/{task['id']}")
    await batch(
        service, {"op": "restore", "id": task["id"]}, {"op": "edit", "id": task["id"], "changes": {"title": "x"}}
    )
    history = (await service.ask("GET", f"{TASKS}/{task['id']}/history")).json()["items"]
    assert [item["action"] for item in history] == ["restored", "deleted", "created"]


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


async def test_what_a_batch_deletes_in_the_end_is_deleted_in_all_its_results(service: Service) -> None:
    errands = (await service.ask("POST", f"{HOME}/lists", json_={"name": "Errands"})).json()["id"]
    edited, listed, made_here = await made(service), await made(service, list_id=errands), new_id()
    key = {"Idempotency-Key": '"k"'}
    operations: list[dict[str, Any]] = [
        {"op": "edit", "id": edited["id"], "changes": {"title": "PHANTOM"}},
        {"op": "edit", "id": listed["id"], "changes": {"title": "PHANTOM"}},
        {"op": "create", "task": {"title": "PHANTOM", "id": made_here}},
        {"op": "delete", "id": edited["id"]},
        {"op": "delete", "id": made_here},
        {"op": "delete_list", "id": errands},
    ]
    for replayed in (False, True):
        answer = await batch(service, *operations, headers=key)
        assert ("idempotency-replayed" in answer.headers) is replayed
        results = answer.json()["results"]
        kinds = ["task", "task", "task", "task", "task", "list"]
        ids = [edited["id"], listed["id"], made_here, edited["id"], made_here, errands]
        assert [(each["kind"], each["id"]) for each in results] == list(zip(kinds, ids, strict=True))
        assert [(each["deleted"], each["value"]) for each in results] == [(True, None)] * 6


async def test_a_batch_that_leaves_everything_as_it_was_is_no_change(service: Service) -> None:
    task = await made(service, "Milk")
    titles = [{"op": "edit", "id": task["id"], "changes": {"title": title}} for title in ("Bread", "Milk")]
    answer = (await batch(service, *titles)).json()
    assert (answer["change"], [each["value"] for each in answer["results"]]) == (None, [task, task])
    assert (await service.ask("GET", f"{TASKS}/{task['id']}")).json() == task


async def test_what_a_batch_creates_and_deletes_never_reaches_the_trash(service: Service) -> None:
    list_id = (await service.ask("POST", f"{HOME}/lists", json_={"name": "Groceries"})).json()["id"]
    create = {"op": "create", "task": {"title": "Milk", "list_id": list_id}}
    assert (await batch(service, create, {"op": "delete_list", "id": list_id})).status_code == 200
    assert [each["count"] for each in (await service.ask("GET", f"{HOME}/trash")).json()["items"]] == [1]


async def test_a_batch_restores_only_what_was_in_the_trash_before_it_and_each_thing_once(service: Service) -> None:
    trashed, there = await made(service), await made(service, "Bread")
    await service.ask("DELETE", f"{TASKS}/{trashed['id']}")
    restore = {"op": "restore", "id": trashed["id"]}
    again = {"op": "restore", "id": there["id"]}
    for operations in ((restore, restore), ({"op": "delete", "id": there["id"]}, again)):
        refused = problem(await batch(service, *operations), 422)
        assert [(each["pointer"], each["detail"]) for each in refused["errors"]] == [
            ("/operations/1/id", "Nothing with this id is in your trash.")
        ]
    assert (await batch(service, restore)).status_code == 200


@pytest.mark.parametrize("header", ["garbage", '"x', 'W/"1"', ",".join(['"1"'] * 60), "a" * 9000])
async def test_a_conflict_in_a_batch_is_answered_whatever_its_if_match_is(service: Service, header: str) -> None:
    task = await made(service)
    edit = {"op": "edit", "id": task["id"], "version": 7, "changes": {"title": "Bread"}}
    refused = await batch(service, edit, headers={"If-Match": header})
    assert (refused.status_code, refused.json()["code"]) == (412, "version_conflict")
    assert "weak" not in refused.json()["detail"]
