"""Changes with a merge base: merged unless somebody else changed the same members."""

import pytest
from app.batches import HOME, TASKS, made
from asking import Service
from refusals import problem


async def test_a_change_is_merged_if_nobody_else_changed_the_same_members(service: Service) -> None:
    task = await made(service)
    url = f"{TASKS}/{task['id']}"
    base = {"Merge-Base": '"1"'}
    await service.ask("PATCH", url, json_={"title": "Oat milk"})
    merged = await service.ask("PATCH", url, json_={"priority": "high", "description": "two"}, headers=base)
    assert (merged.status_code, merged.json()["title"], merged.json()["priority"]) == (200, "Oat milk", "high")
    refused = await service.ask("PUT", url, json_={"title": "Bread", "due_date": "2026-12-01"}, headers=base)
    body = refused.json()
    assert (refused.status_code, body["code"]) == (409, "merge_conflict")
    assert body["errors"] == [{"pointer": "/title", "detail": "has been changed since"}]
    same = await service.ask("PATCH", url, json_={"title": "Oat milk"}, headers=base)
    assert (same.status_code, "change" in same.headers) == (200, False)
    await service.ask("DELETE", url)
    await service.ask("POST", f"{HOME}/trash/{task['id']}/restore")
    back = await service.ask("PATCH", url, json_={"tags": ["a"]}, headers=base)
    assert (back.status_code, back.json()["version"]) == (200, 5)


async def test_a_base_that_never_existed_is_refused_as_such(service: Service) -> None:
    url = f"{TASKS}/{(await made(service))['id']}"
    base = {"Merge-Base": '"99"'}
    refused = await service.ask("PATCH", url, json_={"title": "Bread", "tags": []}, headers=base)
    body = problem(refused, 409, "merge_conflict")
    assert (
        body["detail"]
        == "The current version is 1, and there is no later one: fetch it again, and let the user choose."
    )
    assert body["errors"] == [{"pointer": "/title", "detail": "cannot be merged: that version does not exist"}]
    assert (await service.ask("PATCH", url, json_={"title": "Milk"}, headers=base)).status_code == 200  # as it is


async def test_concurrent_completing_and_renaming_are_merged(service: Service) -> None:
    task = await made(service)
    url = f"{TASKS}/{task['id']}"
    await service.ask("PATCH", f"{url}/complete")
    base = {"Merge-Base": '"1"'}
    assert (await service.ask("PATCH", url, json_={"title": "x"}, headers=base)).status_code == 200
    assert (await service.ask("PATCH", url, json_={"completed": True}, headers=base)).status_code == 200
    body = (await service.ask("PATCH", url, json_={"completed": False}, headers=base)).json()
    assert [error["pointer"] for error in body["errors"]] == ["/completed"]


async def test_two_clients_that_complete_one_occurrence_with_a_base_complete_it_once(service: Service) -> None:
    task = await made(service, due_date="2097-01-31", recurrence="FREQ=MONTHLY")
    url, base = f"{TASKS}/{task['id']}", {"Merge-Base": '"1"'}
    first = await service.ask("PATCH", url, json_={"completed": True}, headers=base)
    assert (first.status_code, first.json()["due_date"]) == (200, "2097-02-28")
    for method, also in (("PATCH", {}), ("PUT", {"title": "Oat milk"})):
        body = (await service.ask(method, url, json_={"completed": True, **also}, headers=base)).json()
        assert (body["code"], [error["pointer"] for error in body["errors"]]) == ("merge_conflict", ["/completed"])
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
