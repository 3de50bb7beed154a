"""What a user can do with tasks, over HTTP."""

from datetime import datetime, timedelta
from uuid import UUID

import httpx
import pytest
from asking import JSON, MERGE_PATCH, Service
from factories import ANN
from refusals import check_dressed, problem

from todo_core import OwnerId

TASKS = f"/api/{ANN}/tasks"
MEMBERS = [
    "id", "user_id", "title", "description", "completed", "priority", "tags", "start_date", "due_date", "time_zone",
    "recurrence", "recurrence_from", "list_id", "parent_id", "position", "due_at", "completed_at", "version",
    "created_at", "updated_at",
]  # fmt: skip


def check_task(answer: httpx.Response, status: int, **members: object) -> dict[str, object]:
    """The task in the answer, after checking the form of the answer."""
    assert answer.status_code == status, answer.text
    check_dressed(answer)
    assert answer.headers["content-type"] == JSON
    assert answer.headers["cache-control"] == "private, no-cache, no-transform"
    task: dict[str, object] = answer.json()
    assert list(task) == MEMBERS
    assert answer.headers["etag"] == f'"{task["version"]}"'
    assert task["completed"] == (task["completed_at"] is not None)
    assert members.items() <= task.items()
    return task


async def test_creating_answers_with_the_task_and_where_it_is(service: Service) -> None:
    answer = await service.ask("POST", TASKS, json_={"title": "Buy milk", "description": "two\n\tlitres"})
    task = check_task(
        answer, 201, title="Buy milk", description="two\n\tlitres", completed=False, completed_at=None, version=1
    )
    assert task["user_id"] == ANN
    assert UUID(str(task["id"])).version == 7
    assert str(task["created_at"]).endswith("Z")
    assert datetime.fromisoformat(str(task["created_at"])).utcoffset() == timedelta(0)
    assert task["updated_at"] == task["created_at"]
    assert answer.headers["location"] == f"{TASKS}/{task['id']}"
    assert (await service.ask("GET", answer.headers["location"])).json() == task


async def test_a_task_may_be_created_done(service: Service) -> None:
    task = check_task(await service.ask("POST", TASKS, json_={"title": "x", "completed": True}), 201, completed=True)
    assert task["completed_at"] == task["created_at"]


@pytest.mark.parametrize(
    "title", ["x", "x" * 200, "😀" * 200, "  x  ", "\u00e9", "e\u0301", "\u202e", "<script>", "'; --"]
)
async def test_a_title_is_kept_as_sent(service: Service, title: str) -> None:
    answer = await service.ask("POST", TASKS, json_={"title": title, "description": title})
    url = check_task(answer, 201, title=title, description=title)["id"]
    check_task(await service.ask("GET", f"{TASKS}/{url}"), 200, title=title)


async def test_a_description_may_be_as_long_as_promised_and_may_be_none(service: Service) -> None:
    check_task(await service.ask("POST", TASKS, json_={"title": "x", "description": "😀" * 1000}), 201)
    check_task(await service.ask("POST", TASKS, json_={"title": "x", "description": ""}), 201, description="")
    check_task(await service.ask("POST", TASKS, json_={"title": "x", "description": None}), 201, description=None)


async def test_reading_gives_the_task(service: Service, task: dict[str, object], url: str) -> None:
    assert check_task(await service.ask("GET", url), 200) == task


async def test_an_id_is_the_same_in_capitals(service: Service, task: dict[str, object]) -> None:
    assert (await service.ask("GET", f"{TASKS}/{str(task['id']).upper()}")).json() == task


async def test_a_task_can_be_put_back_as_it_was_read(service: Service, task: dict[str, object], url: str) -> None:
    assert check_task(await service.ask("PUT", url, json_=task), 200) == task


async def test_putting_ignores_the_members_that_only_the_server_writes(
    service: Service, task: dict[str, object], url: str
) -> None:
    nonsense = {"id": 1, "user_id": [], "completed_at": "x", "version": -1, "created_at": {}, "updated_at": None}
    changed = check_task(await service.ask("PUT", url, json_={**nonsense, "title": "y"}), 200, title="y", version=2)
    assert [changed[name] for name in ("id", "user_id", "created_at")] == [
        task[name] for name in ("id", "user_id", "created_at")
    ]


async def test_put_keeps_members_that_it_does_not_name(service: Service, task: dict[str, object], url: str) -> None:
    await service.ask("PATCH", f"{url}/complete")
    kept = {"description": task["description"], "completed": True}
    check_task(await service.ask("PUT", url, json_={"title": "y"}), 200, title="y", version=3, **kept)
    check_task(await service.ask("PUT", url, json_={}), 200, title="y", version=3, **kept)
    check_task(await service.ask("PUT", url, json_={"description": None}), 200, title="y", description=None)
    check_task(await service.ask("PUT", url, json_={"completed": False}), 200, title="y", completed=False, version=5)


async def test_line_ends_are_stored_as_line_feeds(service: Service, url: str) -> None:
    sent = {"title": "x", "description": "a\r\nb\rc"}
    stored = {"description": "a\nb\nc"}
    made = check_task(await service.ask("POST", TASKS, json_=sent), 201, **stored)
    for method in ("PUT", "PATCH"):
        check_task(await service.ask(method, f"{TASKS}/{made['id']}", json_=sent), 200, **stored, version=1)
        check_task(await service.ask(method, url, json_=sent), 200, **stored, version=2)
    found = (await service.ask("GET", f"{TASKS}?q=a%0D%0Ab")).json()["items"]
    assert len(found) == 2


@pytest.mark.parametrize("type_", [MERGE_PATCH, JSON])
async def test_patching_changes_what_it_names(service: Service, url: str, type_: str) -> None:
    answer = await service.ask("PATCH", url, json_={"title": "y"}, type_=type_)
    check_task(answer, 200, title="y", description="two litres", version=2)
    answer = await service.ask("PATCH", url, json_={"description": None}, type_=type_)
    check_task(answer, 200, title="y", description=None, version=3)
    answer = await service.ask("PATCH", url, json_={"completed": True, "description": "z"}, type_=type_)
    check_task(answer, 200, completed=True, description="z", version=4)


async def test_patching_with_nothing_changes_nothing(service: Service, task: dict[str, object], url: str) -> None:
    assert check_task(await service.ask("PATCH", url, json_={}), 200) == task
    assert check_task(await service.ask("PATCH", url, json_={"title": task["title"]}), 200) == task


@pytest.mark.parametrize("patch", [None, [], "x", 1, [{"op": "remove", "path": "/title"}]])
async def test_a_patch_that_is_not_an_object_is_refused(service: Service, url: str, patch: object) -> None:
    problem(await service.ask("PATCH", url, json_=patch, type_=MERGE_PATCH), 422)


@pytest.mark.parametrize("body", [..., {}])
async def test_completing_without_a_value_toggles(service: Service, url: str, body: object) -> None:
    done = check_task(await service.ask("PATCH", f"{url}/complete", json_=body), 200, completed=True, version=2)
    assert done["completed_at"] == done["updated_at"]
    answer = await service.ask("PATCH", f"{url}/complete", json_=body)
    check_task(answer, 200, completed=False, completed_at=None, version=3)


@pytest.mark.parametrize("type_", [JSON, MERGE_PATCH])
async def test_completing_with_a_body_sets_and_repeating_changes_nothing(
    service: Service, url: str, type_: str
) -> None:
    done = check_task(
        await service.ask("PATCH", f"{url}/complete", json_={"completed": True}, type_=type_), 200, completed=True
    )
    assert (await service.ask("PATCH", f"{url}/complete", json_={"completed": True}, type_=type_)).json() == done
    opened = check_task(
        await service.ask("PATCH", f"{url}/complete", json_={"completed": False}), 200, completed=False, version=3
    )
    assert (await service.ask("PATCH", f"{url}/complete", json_={"completed": False})).json() == opened


async def test_a_deleted_task_is_not_found(service: Service, url: str) -> None:
    answer = await service.ask("DELETE", url)
    assert (answer.status_code, answer.content) == (204, b"")
    check_dressed(answer)
    assert "content-length" not in answer.headers
    assert "content-type" not in answer.headers
    problem(await service.ask("GET", url), 404, "task_not_found")
    problem(await service.ask("DELETE", url), 404, "task_not_found")


async def test_the_body_of_a_delete_is_ignored(service: Service, url: str) -> None:
    assert (await service.ask("DELETE", url, body=b"\xff", type_="x/y")).status_code == 204


@pytest.mark.parametrize(
    "owner", ["Zoë", "a b", "a/b", "a%2Fb", "x@example.org", "名", "-", "tasks", "..", "a?b", "a#b", "a+b", "😀" * 255]
)
async def test_a_user_may_be_called_anything(service: Service, owner: str) -> None:
    path = f"/api/{_quoted(owner)}/tasks"
    made = await service.ask("POST", path, user=owner, json_={"title": "x"})
    assert check_task(made, 201)["user_id"] == owner
    assert made.headers["location"].startswith(f"{path}/")
    assert (await service.ask("GET", made.headers["location"], user=owner)).status_code == 200
    assert [task.owner for task in await service.tasks_of(owner)] == [OwnerId(owner)]


def _quoted(text: str) -> str:
    return "".join(
        char if char.isascii() and (char.isalnum() or char in "-._~") else "".join(f"%{b:02X}" for b in char.encode())
        for char in text
    )
