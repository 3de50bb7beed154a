"""Tasks and lists whose ids the client brings: each is created once."""

from typing import Any

import pytest
from app.batches import HOME, TASKS, made, new_id
from asking import Service
from factories import BOB
from refusals import pointers, problem


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
