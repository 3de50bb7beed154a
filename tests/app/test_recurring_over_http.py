"""Tasks that recur, as a client sees them."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
import pytest
from asking import Service
from factories import ANN
from refusals import pointers, problem

TASKS = f"/api/{ANN}/tasks"
IN_A_YEAR = datetime.now(UTC).date() + timedelta(days=365)


async def make(service: Service, **members: Any) -> str:
    """The path of a task that was due a year from today, and recurs every day, if nothing else is said."""
    usual = {"title": "Water", "due_date": f"{ahead(0)}", "recurrence": "FREQ=DAILY"}
    answer = await service.ask("POST", TASKS, json_={**usual, **members})
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"])


def ahead(days: int) -> date:
    """A day a year from now: no clock has passed it."""
    return IN_A_YEAR + timedelta(days=days)


async def due(service: Service, url: str) -> str:
    return str((await service.ask("GET", url)).json()["due_date"])


WAYS: dict[str, tuple[str, str, Any]] = {
    "toggling": ("PATCH", "/complete", None),
    "toggling, with a body": ("PATCH", "/complete", {}),
    "setting": ("PATCH", "/complete", {"completed": True}),
    "PATCH": ("PATCH", "", {"completed": True}),
    "PUT": ("PUT", "", {"completed": True}),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_every_way_to_complete_moves_a_task_to_its_next_occurrence(
    service: Service, way: tuple[str, str, Any]
) -> None:
    method, path, body = way
    url = await make(service)
    for number in (1, 2):
        answer = await service.ask(method, url + path, json_=... if body is None else body)
        assert answer.status_code == 200, answer.text
        task = answer.json()
        assert (task["due_date"], task["completed"], task["completed_at"]) == (f"{ahead(number)}", False, None)
        assert task["version"] == number + 1
        assert "change" in answer.headers
    history = (await service.ask("GET", f"{url}/history")).json()["items"]
    assert [item["action"] for item in history] == ["completed", "completed", "created"]
    assert history[0]["fields"] == {"due_date": [f"{ahead(1)}", f"{ahead(2)}"]}


async def test_a_task_that_was_read_can_be_put_back_completed(service: Service) -> None:
    url = await make(service, recurrence="RRULE:freq=daily")
    read = (await service.ask("GET", url)).json()
    assert (read["recurrence"], read["recurrence_from"]) == ("FREQ=DAILY", "due_date")
    done = (await service.ask("PUT", url, json_={**read, "completed": True})).json()
    assert (done["due_date"], done["recurrence"]) == (f"{ahead(1)}", "FREQ=DAILY")


async def test_completing_the_same_occurrence_twice_completes_it_once(service: Service) -> None:
    url = await make(service)
    body = {"completed": True, "occurrence": f"{ahead(0)}"}
    first, second = [await service.ask("PATCH", f"{url}/complete", json_=body) for _ in range(2)]
    assert first.json() == second.json()
    assert ("change" in first.headers, "change" in second.headers) == (True, False)
    for wrong in ({"occurrence": f"{ahead(1)}"}, {"completed": False, "occurrence": f"{ahead(1)}"}):
        refused = problem(await service.ask("PATCH", f"{url}/complete", json_=wrong), 422, "invalid_input")
        assert [error["pointer"] for error in refused["errors"]] == ["/occurrence"]
    answer = await service.ask("PATCH", f"{url}/complete", json_={"completed": True, "occurrence": "soon"})
    problem(answer, 422, "invalid_input")


async def test_skipping_and_rescheduling(service: Service) -> None:
    url = await make(service, recurrence="FREQ=WEEKLY")
    skipped = await service.ask("POST", f"{url}/skip")
    assert skipped.json()["due_date"] == f"{ahead(7)}"
    again = await service.ask("POST", f"{url}/skip", json_={"occurrence": f"{ahead(0)}"})
    assert (again.json()["due_date"], "change" in again.headers) == (f"{ahead(7)}", False)
    moved = await service.ask("POST", f"{url}/reschedule", json_={"due_date": f"{ahead(9)}"})
    assert (moved.json()["due_date"], moved.json()["recurrence"]) == (f"{ahead(9)}", "FREQ=WEEKLY")
    assert (await service.ask("PATCH", f"{url}/complete")).json()["due_date"] == f"{ahead(14)}"
    history = (await service.ask("GET", f"{url}/history")).json()["items"]
    assert [item["action"] for item in history] == ["completed", "edited", "skipped", "created"]
    assert {name for item in history[:3] for name in item["fields"]} == {"due_date"}


async def test_skipping_a_task_that_does_not_recur_is_refused(service: Service) -> None:
    url = await make(service, recurrence=None)
    refused = problem(await service.ask("POST", f"{url}/skip"), 422, "invalid_input")
    assert refused["errors"] == [
        {"pointer": "/recurrence", "detail": "must be set: only a task that recurs has occurrences"}
    ]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"due_date": None}, ["/due_date"]),
        ({"recurrence": "FREQ=HOURLY"}, ["/recurrence"]),
        ({"recurrence": "FREQ=DAILY;BYHOUR=1;INTERVAL=0"}, ["/recurrence", "/recurrence"]),
        ({"recurrence": "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30"}, ["/recurrence"]),
        ({"recurrence_from": "now"}, ["/recurrence_from"]),
    ],
)
async def test_an_impossible_rule_is_refused_with_its_pointer(
    service: Service, body: dict[str, Any], pointers: list[str]
) -> None:
    url = await make(service)
    for method in ("PATCH", "PUT"):
        refused = problem(await service.ask(method, url, json_=body), 422, "invalid_input")
        assert [error["pointer"] for error in refused["errors"]] == pointers
    assert await due(service, url) == f"{ahead(0)}"


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_changing_the_due_date_never_loses_the_rule(service: Service, method: str) -> None:
    url = await make(service, recurrence="FREQ=WEEKLY;COUNT=9", recurrence_from="completion")
    for body in ({"due_date": f"{ahead(3)}"}, {"due_date": f"{ahead(4)}T09:00"}, {"title": "Else"}):
        task = (await service.ask(method, url, json_=body)).json()
        assert (task["recurrence"], task["recurrence_from"]) == ("FREQ=WEEKLY;COUNT=9", "completion")
    moved = await service.ask("POST", f"{url}/reschedule", json_={"due_date": f"{ahead(5)}T09:00"})
    assert moved.json()["recurrence"] == "FREQ=WEEKLY;COUNT=9"
    cleared = (await service.ask(method, url, json_={"due_date": None, "recurrence": None})).json()
    assert (cleared["recurrence"], cleared["due_date"]) == (None, None)


async def test_occurrences_start_with_the_current_one(service: Service) -> None:
    url = await make(service, due_date="2097-01-31", recurrence="FREQ=MONTHLY;COUNT=4")
    answer = await service.ask("GET", f"{url}/occurrences?limit=3")
    assert (answer.status_code, answer.json()) == (200, {"items": ["2097-01-31", "2097-02-28", "2097-03-31"]})
    assert len((await service.ask("GET", f"{url}/occurrences")).json()["items"]) == 4
    for query in ("limit=0", "limit=101", "limit=x", "limit=1&limit=2", "n=1"):
        problem(await service.ask("GET", f"{url}/occurrences?{query}"), 422, "invalid_input")
    problem(await service.ask("GET", f"{url[:-4]}0000/occurrences?limit=0"), 404, "task_not_found")


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Midway", None])
async def test_today_is_of_the_time_zone_that_the_request_names(service: Service, zone: str | None) -> None:
    """The first two time zones never have the same date."""

    def tomorrow() -> str:
        return f"{datetime.now(ZoneInfo(zone or 'UTC')).date() + timedelta(days=1)}"

    url, batched = [await make(service, due_date="2000-01-01") for _ in range(2)]
    headers = {} if zone is None else {"Time-Zone": zone}
    operations = [{"op": "complete", "id": batched.rpartition("/")[2]}]
    expected = [tomorrow()]
    preview = await service.ask("GET", f"{url}/occurrences?limit=2", headers=headers)
    done = await service.ask("PATCH", f"{url}/complete", headers=headers)
    of_batch = await service.ask("POST", f"/api/{ANN}/batch", json_={"operations": operations}, headers=headers)
    expected.append(tomorrow())  # another where the test ran over midnight
    assert preview.json()["items"][0] == "2000-01-01"
    assert {preview.json()["items"][1], done.json()["due_date"]} <= set(expected)
    assert of_batch.json()["results"][0]["value"]["due_date"] in expected


@pytest.mark.parametrize("name", ["Mars/Base", "", "europe/madrid", "UTC,UTC", "x" * 5000])
async def test_an_invalid_time_zone_is_refused(service: Service, name: str) -> None:
    url = await make(service)
    headers = {"Time-Zone": name}
    answers: list[httpx.Response] = [
        await service.ask("PATCH", f"{url}/complete", headers=headers),
        await service.ask("PATCH", url, json_={"title": "x"}, headers=headers),
        await service.ask("POST", f"{url}/skip", headers=headers),
        await service.ask("GET", f"{url}/occurrences", headers=headers),
    ]
    for answer in answers:
        assert "Time-Zone must be the name of an IANA time zone" in problem(answer, 400, "malformed_request")["detail"]
    assert await due(service, url) == f"{ahead(0)}"


PREVIEW = f"/api/{ANN}/occurrences"
RULED = "due_date=2096-01-31&recurrence=FREQ%3DDAILY"


async def test_the_dates_of_a_task_are_previewed_before_it_is_created(service: Service) -> None:
    members = {"due_date": "2096-01-31T09:00:00", "recurrence": "rrule:freq=monthly", "time_zone": "Europe/Madrid"}
    previewed = await service.ask("GET", f"{PREVIEW}?{urlencode({**members, 'limit': 3})}")
    assert previewed.status_code == 200, previewed.text
    assert previewed.json()["items"] == ["2096-01-31T09:00:00", "2096-02-29T09:00:00", "2096-03-31T09:00:00"]
    assert (await service.ask("GET", TASKS)).json()["items"] == []
    url = await make(service, **members)
    assert (await service.ask("GET", f"{url}/occurrences?limit=3")).json() == previewed.json()


@pytest.mark.parametrize("recurrence_from", ["due_date", "completion"])
async def test_an_overdue_preview_is_that_of_the_task(service: Service, recurrence_from: str) -> None:
    members = {"due_date": "2020-01-31", "recurrence": "FREQ=MONTHLY", "recurrence_from": recurrence_from}
    previewed = await service.ask("GET", f"{PREVIEW}?{urlencode(members)}", headers={"Time-Zone": "Pacific/Kiritimati"})
    url = await make(service, **members)
    there = await service.ask("GET", f"{url}/occurrences", headers={"Time-Zone": "Pacific/Kiritimati"})
    assert previewed.json() == there.json()
    assert len(previewed.json()["items"]) == 10


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        ("", ["/due_date", "/recurrence"]),
        ("due_date=2096-01-31", ["/recurrence"]),
        ("due_date=soon&recurrence=FREQ%3DDAILY", ["/due_date"]),
        ("recurrence=FREQ%3DDAILY", ["/due_date"]),
        ("due_date=2096-01-31&recurrence=FREQ%3DHOURLY", ["/recurrence"]),
        ("due_date=2096-01-31&recurrence=FREQ%3DMONTHLY;BYMONTH%3D2;BYMONTHDAY%3D30", ["/recurrence"]),
        (f"{RULED}&recurrence_from=now", ["/recurrence_from"]),
        (f"{RULED}&time_zone=Mars", ["/time_zone"]),
        (f"{RULED}&limit=101", ["/limit"]),
        (f"{RULED}&title=x", ["/title"]),
        (f"{RULED}&due_date=2096-01-31", ["/due_date"]),
    ],
)
async def test_a_preview_refuses_the_same_input_as_creating_a_task(
    service: Service, query: str, pointers: list[str]
) -> None:
    refused = await service.ask("GET", f"{PREVIEW}?{query}")
    assert refused.status_code == 422, refused.text
    assert [error["pointer"] for error in refused.json()["errors"]] == pointers


async def test_today_in_a_preview_is_the_local_day_of_the_user(service: Service) -> None:
    """These time zones are 26 hours apart: they never have the same date."""
    query = "due_date=2020-01-31&recurrence=FREQ%3DDAILY&limit=2"
    east, west = [
        (await service.ask("GET", f"{PREVIEW}?{query}", headers={"Time-Zone": zone})).json()["items"][1]
        for zone in ("Pacific/Kiritimati", "Etc/GMT+12")
    ]
    assert east > west


async def test_an_unusable_id_does_not_hide_that_a_rule_names_no_day(service: Service) -> None:
    never = {"due_date": "2026-10-01", "recurrence": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}
    answer = await service.ask("POST", TASKS, json_={"title": "x", "id": str(UUID(int=7)), **never})
    assert pointers(answer) == ["/id", "/recurrence"]
