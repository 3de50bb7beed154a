"""What the tools of `/mcp` do and answer: undo, search, order, pages, dates, and the history of it."""

from datetime import UTC, datetime, timedelta

import pytest
from asking import Service
from factories import ANN
from tool_calls import UNKNOWN, added, ask, call


async def test_answers_add_weekdays_to_dates_and_omit_empty_members(service: Service) -> None:
    task = await added(service, due_date="2026-12-01", start_date="2026-11-27", description="")
    assert await call(service, "get_task", id=task) == {
        "task": {
            "id": task,
            "title": "Buy milk",
            "completed": False,
            "start_date": "2026-11-27",
            "due_date": "2026-12-01",
            "start_weekday": "Friday",
            "due_weekday": "Tuesday",
        }
    }


async def test_every_change_can_be_undone(service: Service) -> None:
    task = await added(service, due_date="2026-12-01", recurrence="FREQ=WEEKLY")
    before = await call(service, "get_task", id=task)
    done = await call(service, "complete_task", id=task, occurrence="2026-12-01")
    assert (done["task"]["due_date"], done["task"]["completed"]) == ("2026-12-08", False)
    assert (await call(service, "complete_task", id=task, occurrence="2026-12-01"))["change"] is None
    edited = await call(service, "update_task", id=task, title="x", tags=["home"])
    deleted = await call(service, "delete_task", id=task)
    changes = [each["change"] for each in (deleted, edited, done)]
    results = (await call(service, "undo", changes=changes))["results"]
    assert [each["tasks"][0]["id"] for each in results] == [task] * 3
    assert await call(service, "get_task", id=task) == before
    await call(service, "delete_task", id=task)
    assert (await call(service, "restore_task", ids=[task]))["results"][0]["tasks"][0]["title"] == "Buy milk"
    assert (await call(service, "undo", change=1))["tasks"] == []
    assert await service.tasks_of(ANN) == []


async def test_the_log_says_what_was_completed_this_week(service: Service) -> None:
    first, second = await added(service, "a"), await added(service, "b")
    await call(service, "complete_task", ids=[first, second])
    await call(service, "update_task", id=second, title="was b")
    await call(service, "delete_task", id=second)
    today = datetime.now(UTC).date()
    week = {"since": (today - timedelta(days=6)).isoformat(), "before": (today + timedelta(days=1)).isoformat()}
    found = await call(service, "search_changes", action="completed", **week)
    assert [(each["title"], each["change"]) for each in found["items"]] == [("was b", 4), ("a", 3)]
    assert all(each["weekday"].endswith("day") for each in found["items"])
    assert (await call(service, "search_changes", before=week["since"]))["items"] == []
    assert (await call(service, "search_changes", since=week["before"]))["items"] == []
    only = await call(service, "search_changes", id=second)
    assert [each["action"] for each in only["items"]] == ["deleted", "edited", "completed", "created"]
    assert only["items"][1]["fields"] == {"title": ["b", "was b"]}
    assert "fields" not in only["items"][0]


async def test_tasks_are_in_lists_have_subtasks_and_an_order(service: Service) -> None:
    home = (await call(service, "add_list", name="Home", color="#aabbcc"))["list"]
    assert (
        (await call(service, "list_lists"))["items"]
        == [home]
        == [{"id": home["id"], "name": "Home", "color": "#aabbcc"}]
    )
    first, second = await added(service, "a", list_id=home["id"]), await added(service, "b")
    below = await added(service, "c", parent_id=first)
    moved = await call(service, "move_task", id=second, before=first)
    assert moved["task"]["list_id"] == home["id"]
    listed = await call(service, "list_tasks", list_id=home["id"], parent_id="none", sort="position")
    assert [each["id"] for each in listed["items"]] == [second, first]
    out = await call(service, "move_task", ids=[first], list_id=None)
    assert "list_id" not in out["results"][0]["task"]
    [found] = (await call(service, "list_tasks", parent_id=first))["items"]
    assert (found["id"], found["parent_id"]) == (below, first)
    cycle = (await call(service, "move_task", id=first, parent_id=below))["error"]
    assert [each["pointer"] for each in cycle["errors"]] == ["/parent_id"]
    assert (await call(service, "add_list", name="", colour="red"))["error"]["code"] == "invalid_input"


@pytest.mark.parametrize("side", ["before", "after"])
async def test_several_tasks_that_are_moved_keep_the_order_given(service: Service, side: str) -> None:
    first, second, third, beside = [await added(service, title) for title in ("a", "b", "c", "d")]
    moved = await call(service, "move_task", ids=[second, UNKNOWN, third, first], **{side: beside})
    assert [each.get("error", {}).get("code") for each in moved["results"]] == [None, "task_not_found", None, None]
    order = [each["id"] for each in (await call(service, "list_tasks", sort="position"))["items"]]
    several = [second, third, first]
    assert order == ([*several, beside] if side == "before" else [beside, *several])


async def test_changes_of_lists_are_found_and_undone(service: Service) -> None:
    home = (await call(service, "add_list", name="Home"))["list"]
    task = await added(service, list_id=home["id"])
    deleted = await service.ask("DELETE", f"/api/{ANN}/lists/{home['id']}")
    found = await call(service, "search_changes", action="deleted")
    assert {(each.get("kind"), each["title"]) for each in found["items"]} == {("list", "Home"), (None, "Buy milk")}
    back = await call(service, "undo", change=int(deleted.headers["change"]))
    assert "error" not in back, back
    assert (back["lists"], [each["id"] for each in back["tasks"]]) == ([home], [task])
    assert (await call(service, "search_changes", id=home["id"]))["items"][0]["title"] == "Home"


async def test_an_undo_of_many_things_shows_the_first_and_counts_the_others(service: Service) -> None:
    home = (await call(service, "add_list", name="Home"))["list"]
    for _ in range(2):
        await call(service, "add_task", tasks=[{"title": "Milk", "list_id": home["id"]}] * 30)
    deleted = await service.ask("DELETE", f"/api/{ANN}/lists/{home['id']}")
    back = await call(service, "undo", change=int(deleted.headers["change"]))
    assert (back["lists"], len(back["tasks"]), back["not_shown"]) == ([home], 49, 11)
    assert len(await service.tasks_of(ANN)) == 60


async def test_pages_follow_each_other(service: Service) -> None:
    await call(service, "add_task", tasks=[{"title": f"{n}"} for n in range(5)])
    for tool, key in (("list_tasks", "id"), ("search_changes", "change")):
        seen, cursor = [], None
        while True:
            page = await call(service, tool, limit=2, cursor=cursor)
            seen += [each[key] for each in page["items"]]
            if (cursor := page["next_cursor"]) is None:
                break
        assert len(seen) == len(set(seen)) == 5


async def test_a_log_search_reads_a_bounded_number_of_pages_and_continues_later(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todo_app.mcp.changes._AT_A_TIME", 2)
    monkeypatch.setattr("todo_app.mcp.changes.LOOKED_THROUGH", 4)
    task = await added(service)
    await call(service, "complete_task", id=task)
    for n in range(7):
        await call(service, "update_task", id=task, title=f"{n}")
    found, cursor, asked = [], None, 0
    while asked == 0 or cursor is not None:
        page = await call(service, "search_changes", action="completed", cursor=cursor)
        found, cursor, asked = found + page["items"], page["next_cursor"], asked + 1
    assert [each["change"] for each in found] == [2]
    assert asked == 3


async def test_a_page_of_large_tasks_ends_early(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("todo_app.mcp.answers.SIZE_MAX", 1500)
    made = [await added(service, f"{number}", description="x" * 1000) for number in range(5)]
    for sort, expected in (("created_at", made), ("-title", made[::-1])):
        found, sizes, cursor = list[str](), list[int](), None
        while not sizes or cursor is not None:
            page = await call(service, "list_tasks", sort=sort, limit=4, cursor=cursor)
            found += [each["id"] for each in page["items"]]
            sizes.append(len(page["items"]))
            cursor = page["next_cursor"]
        assert (found, sizes) == (expected, [2, 2, 1])


async def test_a_page_of_large_changes_ends_early(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("todo_app.mcp.answers.SIZE_MAX", 1500)
    for _ in range(3):
        task = await added(service)
        await call(service, "update_task", id=task, description="x" * 1000)
    found, sizes, cursor = list[int](), list[int](), None
    while not sizes or cursor is not None:
        page = await call(service, "search_changes", action="edited", cursor=cursor)
        found += [each["change"] for each in page["items"]]
        sizes.append(len(page["items"]))
        cursor = page["next_cursor"]
    assert (found, sizes) == ([6, 4, 2], [2, 1])


async def test_several_changes_taken_back_show_fifty_things_together(service: Service) -> None:
    made = await call(service, "add_task", tasks=[{"title": f"{number}"} for number in range(3)])
    parents = [each["task"]["id"] for each in made["results"]]
    for parent in parents:
        await call(service, "add_task", tasks=[{"title": "x", "parent_id": parent}] * 29)
    await call(service, "delete_task", ids=parents)
    restored = (await call(service, "restore_task", ids=parents))["results"]
    assert [(len(each["tasks"]), each.get("not_shown", 0)) for each in restored] == [(30, 0), (20, 10), (0, 30)]
    undone = await call(service, "undo", changes=[each["change"] for each in restored])
    again = (await call(service, "undo", changes=[each["change"] for each in undone["results"]]))["results"]
    assert [(len(each["tasks"]), each.get("not_shown", 0)) for each in again] == [(30, 0), (20, 10), (0, 30)]


async def test_today_depends_on_the_time_zone_of_the_request(service: Service) -> None:
    task = await added(service, due_date="2022-09-24", recurrence="FREQ=DAILY")
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        asked = {"name": "complete_task", "arguments": {"id": task}}
        answer = (await ask(service, "tools/call", asked, Time_Zone=zone)).json()["result"]["structuredContent"]
        now = datetime.now(UTC)
        there = now + timedelta(hours=14 if zone.endswith("Kiritimati") else -11)
        assert answer["task"]["due_date"] == (there.date() + timedelta(days=1)).isoformat()
        await call(service, "undo", change=answer["change"])
    refused = await ask(service, "tools/list", Time_Zone="Middle/Earth")
    assert refused.json()["code"] == "malformed_request"


async def test_the_history_names_the_program_whose_token_it_was(service: Service) -> None:
    from asking import token_of

    bearer = f"Bearer {token_of('agent')}"
    asked = {"name": "add_task", "arguments": {"title": "x"}}
    await ask(service, "tools/call", asked, Authorization=bearer)
    assert (await call(service, "search_changes"))["items"][0]["client"] == "agent"
