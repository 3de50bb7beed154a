"""Members of a body that are wrong, unknown, read-only or missing are named, and nothing is stored."""

from typing import Any
from uuid import UUID

import pytest
from app.bodies import LISTS, TASKS, WRITES, refused
from asking import Service
from factories import ANN
from refusals import pointers, problem
from tool_calls import call

from todo_core.task import RULES


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ([], [""]), ("x", [""]), (None, [""]), (1, [""]),
        ({"title": None}, ["/title"]), ({"title": 1}, ["/title"]), ({"title": ["x"]}, ["/title"]),
        ({"title": ""}, ["/title"]), ({"title": "x" * 201}, ["/title"]), ({"title": "😀" * 201}, ["/title"]),
        ({"title": "   "}, ["/title"]), ({"title": "\u3000\u2003"}, ["/title"]), ({"title": "a\nb"}, ["/title"]),
        ({"title": "a\tb"}, ["/title"]), ({"title": "a\x00b"}, ["/title"]), ({"title": "a\x7fb"}, ["/title"]),
        ({"title": "a\x85b"}, ["/title"]), ({"title": "\x1b[31m"}, ["/title"]),
        ({"title": "x", "description": 1}, ["/description"]), ({"title": "x", "description": "x" * 1001},
        ["/description"]),
        ({"title": "x", "description": "\x00"}, ["/description"]), ({"title": "a\r\nb"}, ["/title"]),
        ({"title": "x", "description": "x" * 1000 + "\r\n"}, ["/description"]),
        ({"title": "x", "description": "\x0b"}, ["/description"]), ({"title": "x", "completed": None}, ["/completed"]),
        ({"title": "x", "completed": "true"}, ["/completed"]), ({"title": "x", "completed": 1}, ["/completed"]),
        ({"title": "", "description": "\x00"}, ["/title", "/description"]),
        ({"title": "x", "": 1}, [""]), ({"title": "x", "a/b~c": 1}, ["/a~1b~0c"]), ({"title": "x", "Title": 1},
        ["/Title"]),
        ({"title": "x", "__proto__": {}}, ["/__proto__"]), ({"title": "x", "n` - at `$.title": 1},
        ["/n` - at `$.title"]),
        ({"title": "x", "a\nb`": 1}, ["/a\nb`"]), ({"title": "x", "k" * 5000: 1}, ["/" + "k" * 100]),
        ({"title": 1, "description": "\x00", "completed": "no", "colour": 1, "dueDate": 2},
        ["/title", "/description", "/completed", "/colour", "/dueDate"]),
        ({"title": "", "z": 1}, ["/title", "/z"]), ({"z": 1, "title": "x", "description": []}, ["/z", "/description"]),
    ],
)  # fmt: skip
async def test_members_that_break_a_rule_are_named(
    service: Service, task: dict[str, Any], body: object, at: list[str]
) -> None:
    before = await service.tasks_of(ANN)
    assert pointers(await service.ask("POST", TASKS, json_=body)) == at
    assert pointers(await service.ask("PUT", f"{TASKS}/{task['id']}", json_=body)) == at
    assert pointers(await service.ask("PATCH", f"{TASKS}/{task['id']}", json_=body)) == at
    assert await service.tasks_of(ANN) == before


@pytest.mark.parametrize(
    ("member", "value"),
    [("tags", 7), ("completed", "true"), ("title", None), ("list_id", "x"), ("due_date", 3), ("description", [])],
)
async def test_a_member_of_the_wrong_type_is_refused_with_its_rule(
    service: Service, member: str, value: object
) -> None:
    answer = await service.ask("POST", TASKS, json_={"title": "x", member: value})
    assert problem(answer, 422)["errors"] == [{"pointer": f"/{member}", "detail": RULES[member].sentence}]


async def test_an_item_of_the_wrong_type_is_refused_at_its_place(service: Service) -> None:
    answer = await service.ask("POST", TASKS, json_={"title": "x", "tags": ["a", 1]})
    (fault,) = problem(answer, 422)["errors"]
    assert fault == {"pointer": "/tags/1", "detail": "must be a string"}


async def test_a_rule_that_allows_null_is_not_named_where_null_is_refused(
    service: Service, task: dict[str, Any]
) -> None:
    answer = await service.ask("POST", f"{TASKS}/{task['id']}/reschedule", json_={"due_date": None})
    (fault,) = problem(answer, 422)["errors"]
    assert fault["pointer"] == "/due_date"
    assert "null for none" not in fault["detail"]


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ({"title": "", "id": str(UUID(int=7))}, ["/id", "/title"]),
        ({"priority": "zz"}, ["/priority", "/start_date"]), ({"time_zone": "Mars"}, ["/time_zone", "/start_date"]),
        ({"recurrence": "no"}, ["/recurrence", "/start_date"]), ({"due_date": "no"}, ["/due_date"]),
    ],
)  # fmt: skip
async def test_a_fault_does_not_hide_that_dates_contradict_each_other_or_an_id_is_wrong(
    service: Service, wrong: dict[str, Any], at: list[str]
) -> None:
    dates = {} if "id" in wrong else {"start_date": "2026-12-02", "due_date": "2026-12-01"}
    answer = await service.ask("POST", TASKS, json_={"title": "x", **dates, **wrong})
    assert {*pointers(answer)} == {*at}


TOKYO = {"start_date": "2026-10-01T18:00:00", "due_date": "2026-10-01T12:00:00Z"}  # 21:00 there


@pytest.mark.parametrize(
    ("body", "at"),
    [
        (TOKYO, []), (TOKYO | {"title": ""}, ["/title"]), (TOKYO | {"time_zone": "Asia/Tokio"}, ["/time_zone"]),
        (TOKYO | {"time_zone": "Europe/Madrid"}, ["/start_date"]), (TOKYO | {"time_zone": None}, ["/start_date"]),
        (TOKYO | {"title": "", "time_zone": "Europe/Madrid"}, ["/title", "/start_date"]),
        (TOKYO | {"title": "", "time_zone": "Asia/Tokio"}, ["/title", "/time_zone"]),
        # There it is a year later, which no task may have.
        ({"title": 7, "start_date": "2026-10-01", "due_date": "2999-12-31T23:00Z", "time_zone": "Pacific/Kiritimati"},
        ["/title"]),
        ({"time_zone": "Asia/Tokio", "start_date": "2026-10-01", "due_date": "2999-12-31T23:00:00-12:00"},
        ["/time_zone"]),
    ],
)  # fmt: skip
async def test_dates_are_compared_only_in_a_zone_that_is_known(
    service: Service, body: dict[str, Any], at: list[str]
) -> None:
    made = await service.ask(
        "POST", TASKS, json_={"title": "x", "due_date": "2026-10-01T10:00", "time_zone": "Asia/Tokyo"}
    )
    path = f"{TASKS}/{made.json()['id']}"
    answers = [await service.ask("PATCH", path, json_=body)]
    if "time_zone" in body:
        answers.append(await service.ask("POST", TASKS, json_={"title": "x", **body}))
    for answer in answers:
        assert (pointers(answer) if answer.status_code == 422 else []) == at


async def test_a_missing_title_is_named_beside_the_other_faults(service: Service) -> None:
    assert pointers(await service.ask("POST", TASKS, json_={})) == ["/title"]
    assert pointers(await service.ask("POST", TASKS, json_={"name": "x", "completed": 1})) == [
        "/name", "/completed", "/title",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Title", "title"), ("text", "title"), ("name", "title"), ("done", "completed"), ("isCompleted", "completed"),
        ("is_done", "completed"), ("notes", "description"), ("DESCRIPTION", "description"), ("search", None),
        ("categories", "tags"), ("prio", "priority"), ("deadline", "due_date"), ("rrule", "recurrence"),
        ("colour", None), ("project", "list_id"), ("q", None), ("", None), ("ＴＩＴＬＥ", None), ("k" * 5000, None),
        ("descripton", "description"), ("priorty", "priority"),
    ],
)  # fmt: skip
async def test_an_unknown_member_is_refused_with_a_suggestion(
    service: Service, task: dict[str, Any], name: str, meant: str | None
) -> None:
    known = (
        "title, description, completed, priority, tags, start_date, due_date, time_zone, recurrence, recurrence_from, "
        "list_id, parent_id"
    )
    for method, below in WRITES[:3]:
        others = f"use one of {known}{', id' if method == 'POST' else ''}"
        advice = f"did you mean {meant}?" if meant else others
        answer = await service.ask(method, TASKS + below.format(**task), json_={"title": "x", name: "y"})
        assert problem(answer, 422)["errors"] == [
            {"pointer": f"/{name[:100]}" if name else "", "detail": f"is unknown: {advice}"}
        ]


async def test_a_read_only_member_is_refused_as_read_only(service: Service, task: dict[str, Any]) -> None:
    for method, below in (("PATCH", "/{id}"), ("PATCH", "/{id}/complete")):
        answer = await service.ask(method, TASKS + below.format(**task), json_={"version": 1, "created_at": 2})
        assert [error["detail"] for error in problem(answer, 422)["errors"]] == [
            "is read-only: leave it out",
            "is read-only: leave it out",
        ]


async def test_a_move_to_a_position_is_refused_with_the_members_to_use(service: Service, task: dict[str, Any]) -> None:
    made = (await service.ask("POST", LISTS, json_={"name": "Groceries"})).json()
    for url in (f"{TASKS}/{task['id']}/move", f"{LISTS}/{made['id']}/move"):
        refused = problem(await service.ask("POST", url, json_={"position": 3}), 422)
        assert refused["errors"] == [{"pointer": "/position", "detail": "is read-only: use before or after"}]
    said = (await call(service, "move_task", id=task["id"], position=3))["error"]["detail"]
    assert said == "position is read-only: use before or after"


async def test_unchanged_read_only_members_are_not_reported_with_a_fault(
    service: Service, task: dict[str, Any]
) -> None:
    made = (await service.ask("POST", LISTS, json_={"name": "Groceries"})).json()
    for url, read, valid in ((f"{TASKS}/{task['id']}", task, "title"), (f"{LISTS}/{made['id']}", made, "name")):
        assert pointers(await service.ask("PUT", url, json_={**read, "junk": 1})) == ["/junk"]
        assert pointers(await service.ask("PUT", url, json_={**read, valid: 1, "version": "x"})) == [f"/{valid}"]


async def test_a_refusal_of_very_many_members_is_short(service: Service, task: dict[str, Any]) -> None:
    body = {f"m{number}": 1 for number in range(5000)}
    for method, below in WRITES:
        answer = await service.ask(method, TASKS + below.format(**task), json_=body)
        assert pointers(answer) == [*(f"/m{number}" for number in range(50)), ""]
        assert len(answer.content) < 20_000


@pytest.mark.parametrize("body", [b'{"title":1,"title":"x"}', b'{"title":"x","completed":1,"completed":true}'])
async def test_a_duplicate_member_is_refused_if_one_value_is_wrong(
    service: Service, task: dict[str, Any], body: bytes
) -> None:
    await refused(service, task, "POST", "", 422, body=body)
    await refused(service, task, "PATCH", "/{id}", 422, body=body)


@pytest.mark.parametrize("member", ["position", "user_id", "completed_at", "version", "created_at", "updated_at"])
async def test_only_the_server_writes_some_members(service: Service, task: dict[str, Any], member: str) -> None:
    await refused(service, task, "POST", "", 422, json_={"title": "x", member: task[member]})
    await refused(service, task, "PATCH", "/{id}", 422, json_={member: task[member]})
    await refused(service, task, "PATCH", "/{id}/complete", 422, json_={"completed": True, member: task[member]})


@pytest.mark.parametrize("body", [{"completed": None}, {"completed": 1}, {"completed": "true"}, [], None, True])
async def test_completing_takes_true_or_false(service: Service, task: dict[str, Any], body: object) -> None:
    await refused(service, task, "PATCH", "/{id}/complete", 422, json_=body)
