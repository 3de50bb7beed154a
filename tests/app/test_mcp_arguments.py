"""The arguments of the tools of `/mcp`: which are left out, named as wrong, counted, and refused."""

import asyncio
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from asking import Service, make_service
from factories import ANN
from tool_calls import UNKNOWN, added, call

from todo_app.mcp.schema import THINGS_MAX
from todo_app.mcp.tool import several
from todo_app.mcp.tools import TOOLS
from todo_core import InvalidInput, Problem
from todo_core.changes import Action


async def test_an_empty_text_is_left_out_and_null_clears(service: Service) -> None:
    task = await added(service, due_date="2026-12-01", description="two litres", priority="high")
    kept = await call(service, "update_task", id=task, due_date="", description="", title="", priority="low")
    assert (kept["task"]["due_date"], kept["task"]["description"]) == ("2026-12-01", "two litres")
    cleared = await call(service, "update_task", id=task, due_date=None, description=None)
    assert not {"due_date", "description"} & cleared["task"].keys()
    listed = await call(service, "list_tasks", q="", due_before="", tag=None, cursor=None, limit=None)
    assert len(listed["items"]) == 1
    assert (await call(service, "add_task", title=""))["error"]["errors"] == [
        {"pointer": "/title", "detail": "is required"}
    ]


async def test_null_is_left_out_where_it_clears_nothing(service: Service) -> None:
    task = await added(service, completed=None, id=None, priority=None)
    kept = await call(service, "update_task", id=task, ids=None, title=None, completed=None, priority="low")
    assert (kept["task"]["title"], kept["task"]["priority"]) == ("Buy milk", "low")
    for tool in (TOOLS["list_tasks"], TOOLS["search_changes"]):
        found = await call(service, tool.name, **dict.fromkeys(tool.input_schema["properties"]))
        assert found["items"]
    [made] = (await call(service, "add_task", title=None, priority=None, tasks=[{"title": "a", "completed": None}]))[
        "results"
    ]
    assert made["task"]["completed"] is False


async def test_several_items_in_one_call_each_get_a_result(service: Service) -> None:
    made = await call(
        service, "add_task", tasks=[{"title": "a", "due_date": ""}, {"titel": "b"}, {"title": "c", "due_date": "never"}]
    )
    assert [each.get("index") for each in made["results"]] == [None, 1, 2]
    assert [each["error"]["code"] for each in made["results"][1:]] == ["invalid_input", "invalid_input"]
    assert [task.title for task in await service.tasks_of(ANN)] == ["a"]
    first, second = made["results"][0]["task"]["id"], await added(service)
    done = (await call(service, "complete_task", ids=[first, UNKNOWN, "no id", second]))["results"]
    assert [each.get("change") for each in done] == [3, None, None, 4]
    assert [each["error"]["code"] for each in done[1:3]] == ["task_not_found", "task_not_found"]
    assert [each["id"] for each in done[1:3]] == [UNKNOWN, "no id"]
    shown = (await call(service, "get_task", ids=[second, first]))["results"]
    assert [each["task"]["id"] for each in shown] == [second, first]
    assert [each.title for each in await service.tasks_of(ANN) if each.completed] == ["Buy milk", "a"]


@pytest.mark.parametrize(
    ("tool", "given", "wrong"),
    [
        ("get_task", {}, "/id"),
        ("get_task", {"id": UNKNOWN, "ids": [UNKNOWN]}, "/id"),
        ("get_task", {"ids": []}, "/ids"),
        ("get_task", {"ids": [UNKNOWN] * (THINGS_MAX + 1)}, "/ids"),
        ("get_task", {"id": "1"}, "/id"),
        ("get_task", {"ids": "1"}, "/ids"),
        ("add_task", {"tasks": []}, "/tasks"),
        ("add_task", {"tasks": [1]}, "/tasks/0"),
        ("add_task", {"tasks": [{"title": "a"}], "title": "b"}, "/title"),
        ("add_task", {"title": "a", "due_date": "2026-02-30"}, "/due_date"),
        ("add_task", {"title": "a", "version": 3}, "/version"),
        ("add_task", {"title": "a\x00"}, "/title"),
        ("update_task", {"id": UNKNOWN}, ""),
        ("list_tasks", {"completed": "true"}, "/completed"),
        ("list_tasks", {"search": "milk"}, "/search"),
        ("list_tasks", {"limit": 0}, "/limit"),
        ("list_tasks", {"sort": "color"}, "/sort"),
        ("list_tasks", {"cursor": "x"}, "/cursor"),
        ("undo", {}, "/change"),
        ("undo", {"change": 1, "changes": [1]}, "/change"),
        ("undo", {"change": "1"}, "/change"),
        ("search_changes", {"since": "yesterday"}, "/since"),
        ("search_changes", {"action": "burnt"}, "/action"),
        ("search_changes", {"cursor": "x"}, "/cursor"),
        ("search_changes", {"limit": 201}, "/limit"),
    ],
)
async def test_a_wrong_argument_is_named_and_nothing_is_stored(
    service: Service, tool: str, given: dict[str, Any], wrong: str
) -> None:
    refused = (await call(service, tool, **given))["error"]
    assert refused["code"] == "invalid_input"
    assert [each["pointer"] for each in refused["errors"]] == [wrong]
    assert await service.tasks_of(ANN) == []


@pytest.mark.parametrize(
    ("tool", "given", "says"),
    [
        ("get_task", {"task_id": UNKNOWN}, "is unknown: did you mean id?"),
        ("delete_task", {"taskIds": [UNKNOWN]}, "is unknown: did you mean ids?"),
        ("reopen_task", {"version": 1}, "is read-only: leave it out"),
        ("complete_task", {"nonsense": 1}, "is unknown: use one of id, ids, occurrence"),
        ("list_tasks", {"tag": ["a"] * 41}, "must have at most 40 values in all"),
        ("list_tasks", {"tag": [""] * 16_000}, "must have at most 40 values in all"),
        ("list_lists", {"nonsense": 1}, "is unknown: leave it out"),
        ("add_task", {"title": "a", "priority": "urgent"}, "must be high, medium or low, or null for none"),
        ("add_task", {"title": "a", "recurrence_from": "x"}, "must be due_date or completion"),
        (
            "search_changes",
            {"action": "done"},
            f"must be one of {', '.join(sorted(get_args(Action)))}",
        ),
    ],
)
async def test_a_refusal_says_which_values_are_allowed(
    service: Service, tool: str, given: dict[str, Any], says: str
) -> None:
    refused = (await call(service, tool, **given))["error"]
    assert refused["errors"][0]["detail"] == says


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ({"priority": "high,low"}, {"limit": "5"}),
        ({"list_id": "none", "parent_id": "none", "completed": False}, {"limit": "5"}),
        ({"list_id": UNKNOWN}, {"tag": 3, "q": []}),
    ],
)
async def test_only_arguments_that_are_wrong_are_named(
    service: Service, right: dict[str, object], wrong: dict[str, object]
) -> None:
    refused = await call(service, "list_tasks", **right, **wrong)
    assert [each["pointer"] for each in refused["error"]["errors"]] == [f"/{name}" for name in wrong]


async def test_an_unknown_filter_is_reported_as_unknown_and_not_as_read_only(service: Service) -> None:
    [problem] = (await call(service, "list_tasks", id=UNKNOWN))["error"]["errors"]
    assert problem["detail"].startswith("is unknown: use one of completed, q, priority")


async def test_refusals_have_the_codes_of_the_api(service: Service) -> None:
    task = await added(service)
    assert (await call(service, "delete_task", id=UNKNOWN))["error"]["code"] == "task_not_found"
    assert (await call(service, "restore_task", id=task))["error"]["code"] == "not_in_trash"
    assert (await call(service, "undo", change=99))["error"]["code"] == "change_not_found"
    await call(service, "update_task", id=task, title="b")
    await call(service, "update_task", id=task, title="c")
    conflict = (await call(service, "undo", change=2))["error"]
    assert (conflict["code"], conflict["errors"][0]["pointer"]) == ("undo_conflict", "/title")


async def test_an_outage_is_reported_for_every_item_after_one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    from todo_core import StoreUnavailable

    service, asked = make_service(), []

    async def out(*_: Any, **__: Any) -> Any:
        asked.append(1)
        raise StoreUnavailable

    monkeypatch.setattr("todo_core.TaskService.create", out)
    made = await call(service, "add_task", tasks=[{"title": "a"}] * 3)
    assert [each["error"]["code"] for each in made["results"]] == ["store_unavailable"] * 3
    assert len(asked) == 1


@pytest.mark.parametrize(("tool", "kind", "name"), [("add_task", "task", "title"), ("add_list", "list", "name")])
async def test_an_id_of_the_agent_is_kept_and_creates_one_thing(
    service: Service, tool: str, kind: str, name: str
) -> None:
    own = "019a540b-b400-7000-8000-000000000001"
    first = await call(service, tool, **{name: "Home", "id": own})
    again = await call(service, tool, **{name: "Home", "id": own})
    assert [(each[kind]["id"], each["change"]) for each in (first, again)] == [(own, 1), (own, None)]
    assert (await call(service, tool, **{name: "Other", "id": own}))["error"]["code"] == "task_exists"
    refused = (await call(service, tool, **{name: "Home", "id": UNKNOWN.replace("-7", "-4", 1)}))["error"]
    assert [each["pointer"] for each in refused["errors"]] == ["/id"]


async def test_an_id_beside_several_tasks_is_refused(service: Service) -> None:
    own = "019a540b-b400-7000-8000-000000000001"
    refused = (await call(service, "add_task", tasks=[{"title": "a"}], id=own))["error"]
    assert [each["pointer"] for each in refused["errors"]] == ["/id"]


class Counted(list[int]):
    """Items that can be counted, but not looked at."""

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("too many to look at")


async def nothing(_: int) -> dict[str, Any]:
    raise InvalidInput([Problem("", "is wrong")])


@pytest.mark.parametrize("count", [0, THINGS_MAX + 1, 5000])
async def test_too_many_items_are_counted_but_not_read(count: int) -> None:
    with pytest.raises(InvalidInput, match="1 to 50"):
        await several(Counted([1] * count), "tasks", nothing, lambda place, _: {"index": place})


async def test_other_requests_have_their_turn_between_refused_items() -> None:
    refused = list[int]()

    def about(place: int, _: int) -> dict[str, Any]:
        refused.append(place)
        return {"index": place}

    answering = asyncio.create_task(several([1] * THINGS_MAX, "tasks", nothing, about))
    seen = set[int]()
    while not answering.done():
        await asyncio.sleep(0)
        seen.add(len(refused))
    assert [each["index"] for each in (await answering)["results"]] == refused == [*range(THINGS_MAX)]
    assert seen == {*range(1, THINGS_MAX + 1)}
