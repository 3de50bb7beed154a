"""Lists, subtasks and the order of tasks, as a client sees them."""

import asyncio
from typing import Any

import msgspec
import pytest
from asking import Service
from factories import ANN, BOB, make_id
from refusals import check_dressed, pointers, problem

from todo_app.api import replies
from todo_core import Summary

HOME = f"/api/{ANN}"
TASKS = f"{HOME}/tasks"
LISTS = f"{HOME}/lists"


async def made(service: Service, title: str = "Milk", *, user: str = ANN, **members: Any) -> dict[str, Any]:
    answer = await service.ask("POST", f"/api/{user}/tasks", user=user, json_={"title": title, **members})
    assert answer.status_code == 201, answer.text
    task: dict[str, Any] = answer.json()
    return task


async def listed(service: Service, query: str = "") -> list[str]:
    answer = await service.ask("GET", f"{TASKS}?sort=position{query}")
    return [task["title"] for task in answer.json()["items"]]


async def new_list(service: Service, name: str = "Groceries", *, user: str = ANN) -> str:
    answer = await service.ask("POST", f"/api/{user}/lists", user=user, json_={"name": name})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def names(service: Service) -> list[str]:
    return [each["name"] for each in (await service.ask("GET", LISTS)).json()["items"]]


async def test_a_list_is_made_read_changed_moved_and_deleted(service: Service) -> None:
    created = await service.ask("POST", LISTS, json_={"name": "Groceries", "color": "#FF8800"})
    check_dressed(created)
    task_list = created.json()
    path = f"{LISTS}/{task_list['id']}"
    assert (created.status_code, created.headers["location"], created.headers["change"]) == (201, path, "1")
    assert (task_list["name"], task_list["color"], task_list["version"]) == ("Groceries", "#ff8800", 1)
    await new_list(service, "Work")
    got = await service.ask("GET", path)
    assert (got.json(), got.headers["etag"]) == (task_list, '"1"')
    assert (await service.ask("GET", path, headers={"If-None-Match": '"1"'})).status_code == 304
    edited = await service.ask("PATCH", path, json_={"color": None})
    assert (edited.json()["color"], edited.headers["etag"]) == (None, '"2"')
    put = await service.ask("PUT", path, json_=edited.json() | {"name": "Food"})
    assert (put.json()["name"], put.json()["version"]) == ("Food", 3)
    same = await service.ask("PATCH", path, json_={"name": "Food"})
    assert (same.json()["version"], "change" in same.headers) == (3, False)
    assert await names(service) == ["Food", "Work"]
    moved = await service.ask("POST", f"{path}/move")
    assert (moved.status_code, moved.json()["version"]) == (200, 4)
    assert await names(service) == ["Work", "Food"]
    deleted = await service.ask("DELETE", path, headers={"If-Match": '"4"'})
    assert (deleted.status_code, deleted.headers["change"]) == (204, "6")
    problem(await service.ask("GET", path), 404, "list_not_found")
    assert await names(service) == ["Work"]


async def test_a_list_is_moved_next_to_another(service: Service) -> None:
    ids = {name: await new_list(service, name) for name in "abc"}
    await service.ask("POST", f"{LISTS}/{ids['c']}/move", json_={"before": ids["a"]})
    assert await names(service) == ["c", "a", "b"]
    await service.ask("POST", f"{LISTS}/{ids['c']}/move", json_={"after": ids["a"]})
    assert await names(service) == ["a", "c", "b"]
    for body, at in (
        ({"before": ids["c"]}, "/before"), ({"after": str(make_id(1))}, "/after"),
        ({"before": ids["a"], "after": ids["b"]}, "/after"), ({"before": None}, "/before"),
        ({"list_id": "x"}, "/list_id"),
    ):  # fmt: skip
        assert pointers(await service.ask("POST", f"{LISTS}/{ids['c']}/move", json_=body)) == [at]
    assert await names(service) == ["a", "c", "b"]


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, ["/name"]), ({"name": ""}, ["/name"]), ({"name": "x" * 101}, ["/name"]), ({"name": "a\nb"}, ["/name"]),
        ({"name": None}, ["/name"]), ({"name": "x", "color": "red"}, ["/color"]),
        ({"name": 1, "color": "#ff880", "title": "x"}, ["/name", "/color", "/title"]),
        ({"name": "x", "position": "a"}, ["/position"]), ({"name": "x", "user_id": BOB}, ["/user_id"]),
    ],
)  # fmt: skip
async def test_an_invalid_list_is_refused_with_all_faults(service: Service, body: Any, at: list[str]) -> None:
    assert pointers(await service.ask("POST", LISTS, json_=body)) == at
    assert await names(service) == []


async def test_a_stale_if_match_is_refused_for_lists_too(service: Service) -> None:
    path = f"{LISTS}/{await new_list(service)}"
    stale = {"If-Match": '"9"'}
    for method, below, body in (("PATCH", "", {"name": "x"}), ("PUT", "", {"name": "x"}), ("DELETE", "", ...)):
        answer = await service.ask(method, path + below, json_=body, headers=stale)
        problem(answer, 412, "version_conflict")
        assert answer.headers["etag"] == '"1"'
    problem(await service.ask("POST", f"{path}/move", headers=stale), 412, "version_conflict")


async def test_tasks_are_in_a_list_or_in_the_inbox_and_counted_there(service: Service) -> None:
    groceries = await new_list(service)
    task = await made(service, list_id=groceries)
    await made(service, "Rent")
    assert (task["list_id"], task["parent_id"]) == (groceries, None)
    assert await listed(service, f"&list_id={groceries}") == ["Milk"]
    assert await listed(service, "&list_id=none") == ["Rent"]
    summary = (await service.ask("GET", f"{HOME}/summary")).json()
    assert summary["by_list"] == {groceries: 1, "none": 1}
    moved = await service.ask("PATCH", f"{TASKS}/{task['id']}", json_={"list_id": None, "title": "Oat milk"})
    assert (moved.json()["list_id"], moved.json()["title"], moved.json()["version"]) == (None, "Oat milk", 2)
    assert await listed(service, "&list_id=none") == ["Rent", "Oat milk"]
    for query in ("list_id=x", "list_id=", "parent_id=1", f"list_id={groceries}&list_id=none"):
        problem(await service.ask("GET", f"{TASKS}?{query}"), 422, "invalid_input")


async def test_a_subtask_is_in_the_list_of_its_parent_and_moves_with_it(service: Service) -> None:
    groceries = await new_list(service)
    parent = await made(service, "Cake")
    child = await made(service, "Eggs", parent_id=parent["id"])
    below = await made(service, "Six", parent_id=child["id"])
    assert await listed(service, f"&parent_id={parent['id']}") == ["Eggs"]
    assert await listed(service, "&parent_id=none") == ["Cake"]
    moved = await service.ask("POST", f"{TASKS}/{parent['id']}/move", json_={"list_id": groceries})
    assert (moved.status_code, moved.json()["list_id"]) == (200, groceries)
    for task in (child, below):
        got = (await service.ask("GET", f"{TASKS}/{task['id']}")).json()
        assert (got["list_id"], got["version"]) == (groceries, 2)
    history = (await service.ask("GET", f"{TASKS}/{below['id']}/history")).json()["items"]
    assert [(item["change"], item["action"]) for item in history] == [(5, "moved"), (4, "created")]
    assert history[0]["fields"] == {"list_id": [None, groceries]}
    await service.ask("POST", f"{HOME}/changes/5/undo")
    assert (await service.ask("GET", f"{TASKS}/{below['id']}")).json()["list_id"] is None


async def test_there_are_five_levels_and_no_task_is_below_itself(service: Service) -> None:
    ids: list[str] = []
    for level in range(5):
        ids.append((await made(service, f"{level}", parent_id=ids[-1] if ids else None))["id"])
    sixth = await service.ask("POST", TASKS, json_={"title": "5", "parent_id": ids[4]})
    assert pointers(sixth) == ["/parent_id"]
    pair = await made(service, "pair")
    await made(service, "of two", parent_id=pair["id"])
    for method, path, body, at in (
        ("PATCH", ids[0], {"parent_id": ids[0]}, "/parent_id"),
        ("PATCH", ids[0], {"parent_id": ids[3]}, "/parent_id"),
        ("PUT", ids[1], {"parent_id": ids[4]}, "/parent_id"),
        ("POST", f"{ids[0]}/move", {"before": ids[2]}, "/before"),
        ("POST", f"{ids[0]}/move", {"parent_id": ids[4]}, "/parent_id"),
        ("POST", f"{pair['id']}/move", {"parent_id": ids[3]}, "/parent_id"),
        ("POST", f"{pair['id']}/move", {"after": ids[4]}, "/after"),
    ):
        assert pointers(await service.ask(method, f"{TASKS}/{path}", json_=body)) == [at], body
    assert [task.version for task in await service.tasks_of(ANN)] == [1] * 7


async def test_tasks_are_put_in_order_by_moving_them(service: Service) -> None:
    ids = {name: (await made(service, name))["id"] for name in "abcd"}
    for name, body, order in (
        ("d", {"before": ids["a"]}, "dabc"),
        ("d", {"after": ids["b"]}, "abdc"),
        ("a", {}, "bdca"),
        ("a", {}, "bdca"),
        ("c", {"before": ids["a"]}, "bdca"),
        ("b", {"list_id": None, "after": ids["c"]}, "dcba"),
    ):
        answer = await service.ask("POST", f"{TASKS}/{ids[name]}/move", json_=body)
        assert answer.status_code == 200, answer.text
        assert "".join(await listed(service)) == order
    backwards = await service.ask("GET", f"{TASKS}?sort=-position&limit=2")
    assert [task["title"] for task in backwards.json()["items"]] == ["a", "b"]
    await made(service, "e")
    assert "".join(await listed(service)) == "dcbae"


async def test_a_move_that_contradicts_itself_is_refused(service: Service) -> None:
    groceries, work = await new_list(service), await new_list(service, "Work")
    parent, task = await made(service, "p", list_id=groceries), await made(service, "t")
    move = f"{TASKS}/{task['id']}/move"
    for body, at in (
        ({"list_id": work, "parent_id": parent["id"]}, ["/list_id"]),
        ({"list_id": None, "before": parent["id"]}, ["/list_id"]),
        ({"parent_id": task["id"], "before": parent["id"]}, ["/parent_id"]),
        ({"before": parent["id"], "after": parent["id"]}, ["/after"]),
        ({"before": task["id"]}, ["/before"]),
        ({"before": None}, ["/before"]),
        ({"list_id": "x", "parent_id": 1}, ["/list_id", "/parent_id"]),
        ({"position": "a"}, ["/position"]),
    ):
        assert pointers(await service.ask("POST", move, json_=body)) == at, body
    assert pointers(
        await service.ask("PATCH", f"{TASKS}/{task['id']}", json_={"list_id": work, "parent_id": parent["id"]})
    ) == ["/list_id"]
    assert (await service.ask("GET", f"{TASKS}/{task['id']}")).json() == task


async def test_an_id_of_another_user_in_a_body_is_answered_like_an_unknown_id(service: Service) -> None:
    theirs, lists = await made(service, user=BOB), await new_list(service, user=BOB)
    mine, my_list = await made(service), await new_list(service)
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", TASKS, {"title": "x", "list_id": ...}),
        ("POST", TASKS, {"title": "x", "parent_id": ...}),
        *(
            (method, f"{TASKS}/{mine['id']}{below}", {name: ...})
            for method, below in (("PATCH", ""), ("PUT", ""), ("POST", "/move"))
            for name in ("list_id", "parent_id")
        ),
        *(("POST", f"{TASKS}/{mine['id']}/move", {name: ...}) for name in ("before", "after")),
        *(("POST", f"{LISTS}/{my_list}/move", {name: ...}) for name in ("before", "after")),
    ]
    for method, path, body in requests:
        [name] = [each for each, value in body.items() if value is ...]
        errors = []
        for id_ in (str(make_id(1)), theirs["id"], lists):
            answer = await service.ask(method, path, json_={**body, name: id_})
            assert pointers(answer) == [f"/{name}"], (path, name)
            errors.append(answer.json()["errors"])
        assert errors[0] == errors[1] == errors[2]
    assert [task.title for task in await service.tasks_of(BOB)] == ["Milk"]
    assert [(task.id.hex, task.version) for task in await service.tasks_of(ANN)] == [(mine["id"].replace("-", ""), 1)]


async def test_deleting_a_task_deletes_its_subtasks_and_restoring_restores_them(service: Service) -> None:
    parent = await made(service, "Cake")
    child = await made(service, "Eggs", parent_id=parent["id"])
    await service.ask("DELETE", f"{TASKS}/{child['id']}")
    await made(service, "Flour", parent_id=parent["id"])
    deleted = await service.ask("DELETE", f"{TASKS}/{parent['id']}")
    assert (deleted.status_code, await listed(service)) == (204, [])
    trash = (await service.ask("GET", f"{HOME}/trash")).json()["items"]
    assert [(item["title"], item["count"], item["kind"]) for item in trash] == [
        ("Cake", 2, "task"),
        ("Eggs", 1, "task"),
    ]
    restored = await service.ask("POST", f"{HOME}/trash/{parent['id']}/restore")
    assert sorted(item["title"] for item in restored.json()["items"]) == ["Cake", "Flour"]
    await service.ask("DELETE", f"{TASKS}/{parent['id']}")
    await service.ask("DELETE", f"{HOME}/trash/{parent['id']}")
    back = await service.ask("POST", f"{HOME}/trash/{child['id']}/restore")
    assert [(item["title"], item["parent_id"]) for item in back.json()["items"]] == [("Eggs", None)]


async def test_a_list_goes_to_the_trash_with_its_tasks_and_comes_back_with_them(service: Service) -> None:
    groceries = await new_list(service)
    parent = await made(service, "Cake", list_id=groceries)
    await made(service, "Eggs", parent_id=parent["id"])
    other = await made(service, "Rent")
    await service.ask("DELETE", f"{LISTS}/{groceries}")
    assert (await listed(service), await names(service)) == (["Rent"], [])
    [item] = (await service.ask("GET", f"{HOME}/trash")).json()["items"]
    assert (item["kind"], item["title"], item["count"], item["id"]) == ("list", "Groceries", 3, groceries)
    problem(await service.ask("POST", f"{HOME}/trash/{parent['id']}/restore"), 404, "not_in_trash")
    restored = (await service.ask("POST", f"{HOME}/trash/{groceries}/restore")).json()
    assert [each["name"] for each in restored["lists"]] == ["Groceries"]
    assert sorted(each["title"] for each in restored["items"]) == ["Cake", "Eggs"]
    assert await listed(service, f"&list_id={groceries}") == ["Cake", "Eggs"]
    undone = await service.ask("POST", f"{HOME}/changes/{restored['change']}/undo")
    assert (undone.json()["items"], undone.json()["lists"], await names(service)) == ([], [], [])
    assert (await service.ask("GET", f"{TASKS}/{other['id']}")).json() == other


async def test_a_task_deleted_from_a_list_that_is_gone_is_restored_to_the_inbox(service: Service) -> None:
    groceries = await new_list(service)
    task = await made(service, list_id=groceries)
    await service.ask("DELETE", f"{TASKS}/{task['id']}")
    await service.ask("DELETE", f"{LISTS}/{groceries}")
    back = (await service.ask("POST", f"{HOME}/trash/{task['id']}/restore")).json()
    assert [(each["list_id"], each["version"]) for each in back["items"]] == [(None, 2)]


async def test_undoing_a_creation_that_would_leave_tasks_behind_is_refused(service: Service) -> None:
    groceries = await new_list(service)
    task = await made(service, list_id=groceries)
    await made(service, "Below", parent_id=task["id"])
    for number, thing in ((1, groceries), (2, task["id"])):
        refused = problem(await service.ask("POST", f"{HOME}/changes/{number}/undo"), 409, "undo_conflict")
        assert [(error["pointer"], error["id"]) for error in refused["errors"]] == [("/id", thing)]


async def test_writes_of_lists_and_moves_happen_once_under_a_key(service: Service) -> None:
    key = {"Idempotency-Key": "a"}
    first = await service.ask("POST", LISTS, json_={"name": "Groceries"}, headers=key)
    again = await service.ask("POST", LISTS, json_={"name": "Groceries"}, headers=key)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    one, two = await made(service, "a"), await made(service, "b")
    move, body = f"{TASKS}/{one['id']}/move", {"after": two["id"]}
    moved = await service.ask("POST", move, json_=body, headers={"Idempotency-Key": "b"})
    assert (await service.ask("POST", move, json_=body, headers={"Idempotency-Key": "b"})).json() == moved.json()
    assert await names(service) == ["Groceries"]


async def test_completing_a_recurring_task_opens_its_subtasks_again(service: Service) -> None:
    dates = {"due_date": "2096-10-01", "recurrence": "FREQ=WEEKLY"}
    parent = await made(service, "Clean", **dates)
    done = await made(service, "Floor", parent_id=parent["id"], due_date="2096-09-30")
    await service.ask("PATCH", f"{TASKS}/{done['id']}/complete")
    alone = await made(service, "Bins", parent_id=parent["id"], **dates)
    await service.ask("PATCH", f"{TASKS}/{parent['id']}/complete", json_={"completed": True})
    children = (await service.ask("GET", f"{TASKS}?parent_id={parent['id']}&sort=position")).json()["items"]
    assert [(each["title"], each["completed"], each["due_date"]) for each in children] == [
        ("Floor", False, "2096-10-07"), ("Bins", False, "2096-10-01"),
    ]  # fmt: skip
    assert children[1]["version"] == alone["version"]
    await service.ask("POST", f"{HOME}/changes/5/undo")
    assert (await service.ask("GET", f"{TASKS}/{done['id']}")).json()["completed"] is True


async def places(service: Service) -> dict[str, str]:
    items = (await service.ask("GET", f"{TASKS}?sort=position&limit=200")).json()["items"]
    assert len({(item["list_id"], item["parent_id"], item["position"]) for item in items}) == len(items)
    return {item["title"]: item["position"] for item in items}


async def test_undoing_a_move_into_a_gap_that_is_full_by_now_makes_room(service: Service) -> None:
    ids = {name: (await made(service, name))["id"] for name in ("A", "B", "m0", "m1", "m2", "w1", "w2")}
    number, last = 0, ""
    while len((await places(service)).get(last, "")) < 32:
        last = f"m{number % 3}"
        await service.ask("POST", f"{TASKS}/{ids[last]}/move", json_={"before": ids["B"]})
        number += 1
    operations = [{"op": "move", "id": ids[name]} for name in ("m0", "m1", "m2")]
    ended = await service.ask("POST", f"{HOME}/batch", json_={"operations": operations})
    for name in ("w1", "w2"):
        await service.ask("POST", f"{TASKS}/{ids[name]}/move", json_={"before": ids["B"]})
    undone = await service.ask("POST", f"{HOME}/changes/{ended.headers['change']}/undo")
    assert undone.status_code == 200
    order = list(await places(service))
    assert order[0] == "A"
    assert order[-1] == "B"
    assert await listed(service) == order


async def test_undoing_a_swap_of_two_tasks_restores_their_places(service: Service) -> None:
    groceries = await new_list(service)
    ids = {name: (await made(service, name))["id"] for name in ("A", "B", "Y")}
    ids["X"] = (await made(service, "X", list_id=groceries))["id"]
    before = await service.ask("POST", f"{TASKS}/{ids['Y']}/move", json_={"before": ids["B"]})
    was = await places(service)
    swap = [
        {"op": "move", "id": ids["Y"], "list_id": groceries},
        {"op": "move", "id": ids["X"], "before": ids["B"]},
    ]
    swapped = await service.ask("POST", f"{HOME}/batch", json_={"operations": swap})
    for answer in (swapped, before):
        undone = await service.ask("POST", f"{HOME}/changes/{answer.headers['change']}/undo")
        assert undone.status_code == 200, undone.text
        if answer is swapped:
            assert await places(service) == was


async def test_a_list_has_no_history_of_a_task(service: Service) -> None:
    made = await service.ask("POST", LISTS, json_={"name": "Groceries"})
    problem(await service.ask("GET", f"{TASKS}/{made.json()['id']}/history"), 404, "task_not_found")


@pytest.mark.parametrize(("tags", "parts"), [(0, 0), (1, 1), (2000, 1), (2001, 2), (9000, 5)])
async def test_while_a_summary_of_many_tags_is_encoded_other_requests_have_their_turn(
    monkeypatch: pytest.MonkeyPatch, tags: int, parts: int
) -> None:
    sizes, encode = list[int](), replies._encode

    def encoding(value: Any) -> bytes:
        if isinstance(value, dict):
            sizes.append(len(value))
        return encode(value)

    monkeypatch.setattr(replies, "_encode", encoding)
    by_tag = {f'a "tag" {number}': number for number in range(tags)}
    replying = asyncio.create_task(replies.reply_with_summary(Summary(1, 2, by_tag, {"none": 1}, {})))
    seen = set[int]()
    while not replying.done():
        await asyncio.sleep(0)
        seen.add(len(sizes))
    expected = {"open": 1, "completed": 2, "by_tag": by_tag, "by_priority": {"none": 1}, "by_list": {}}
    assert msgspec.json.decode((await replying).body) == expected
    assert max(sizes, default=0) <= 2000
    assert seen >= {*range(1, parts)}
