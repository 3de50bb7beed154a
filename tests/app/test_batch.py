"""Several operations as one change, over HTTP: all of them or none; a refusal names its operation."""

from typing import Any

import pytest
from app.batches import HOME, TASKS, batch, made, new_id
from asking import Service
from factories import ANN, BOB, make_id
from refusals import check_dressed, pointers, problem


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
        ({"op": 1}, 422, ["/operations/1/op"]),
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
    body = problem(answer, status) if status == 422 else answer.json()
    assert answer.status_code == status
    found = [error["pointer"] for error in body["errors"]]
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


async def test_a_batch_happens_once_under_a_key(service: Service) -> None:
    operation, key = {"op": "create", "task": {"title": "Milk"}}, {"Idempotency-Key": "a"}
    first = await batch(service, operation, operation, headers=key)
    again = await batch(service, operation, operation, headers=key)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert len(await service.tasks_of(ANN)) == 2
    problem(await batch(service, operation, headers=key), 422, "idempotency_key_reused")


async def test_ids_of_others_are_unknown_in_a_batch(service: Service) -> None:
    theirs = (await service.ask("POST", f"/api/{BOB}/tasks", user=BOB, json_={"title": "Bob's"})).json()["id"]
    refusals = [
        problem(await batch(service, {"id": id_, **operation}), 422)["errors"]
        for id_ in (theirs, str(make_id(1)))
        for operation in ({"op": "delete"}, {"op": "edit", "changes": {"title": "x"}})
    ]
    assert refusals[0] == refusals[2]
    assert refusals[1] == refusals[3]
    assert [each.title for each in await service.tasks_of(BOB)] == ["Bob's"]


async def test_what_a_batch_restores_is_logged_as_restored(service: Service) -> None:
    task = await made(service)
    await service.ask("DELETE", f"{TASKS}/{task['id']}")
    await batch(
        service, {"op": "restore", "id": task["id"]}, {"op": "edit", "id": task["id"], "changes": {"title": "x"}}
    )
    history = (await service.ask("GET", f"{TASKS}/{task['id']}/history")).json()["items"]
    assert [item["action"] for item in history] == ["restored", "deleted", "created"]


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
            ("/operations/1/id", "must be the id of a task or list in your trash")
        ]
    assert (await batch(service, restore)).status_code == 200


@pytest.mark.parametrize("header", ["garbage", '"x', 'W/"1"', ",".join(['"1"'] * 60), "a" * 9000])
async def test_a_conflict_in_a_batch_is_answered_whatever_its_if_match_is(service: Service, header: str) -> None:
    task = await made(service)
    edit = {"op": "edit", "id": task["id"], "version": 7, "changes": {"title": "Bread"}}
    refused = await batch(service, edit, headers={"If-Match": header})
    assert (refused.status_code, refused.json()["code"]) == (412, "version_conflict")
    assert "weak" not in refused.json()["detail"]
