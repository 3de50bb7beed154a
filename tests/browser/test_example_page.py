"""`examples/page.html` in a browser, on another origin than the API: what a person sees when they use it."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from browser.todo_page import (
    BREAD,
    HOSTILE,
    MILK,
    NARROW_AND_WIDE,
    add,
    becomes,
    choose,
    drag,
    fits,
    from_menu,
    lists,
    make,
    make_list,
    place,
    row,
    shown,
    task_of,
    titles,
    toast,
    undo,
)
from serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.timeout(300)


@NARROW_AND_WIDE
def test_the_whole_page_works_by_mouse(
    width: int, page: "Page", enter: "Callable[[], Page]", client: httpx.Client, complaints: list[str]
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    enter()
    for title in (MILK, BREAD, HOSTILE):
        add(page, title)
        row(page, title)
    orders(page, client)
    nests(page)
    ticks_and_deletes(page, client)
    makes_lists(page, client)
    fills_and_deletes_a_list(page, client)
    assert page.title() == "Tasks"
    assert complaints == []


def orders(page: "Page", client: httpx.Client) -> None:
    drag(page, row(page, HOSTILE), row(page, MILK), 0.2)
    becomes(page, lambda: shown(page), [HOSTILE, MILK, BREAD])
    drag(page, row(page, HOSTILE), row(page, MILK), 0.8)
    becomes(page, lambda: shown(page), [MILK, HOSTILE, BREAD])
    becomes(page, lambda: titles(client), [MILK, HOSTILE, BREAD])
    undo(page, "Moved behind")
    becomes(page, lambda: shown(page), [HOSTILE, MILK, BREAD])
    from_menu(page, BREAD, "Move up")
    becomes(page, lambda: shown(page), [HOSTILE, BREAD, MILK])
    from_menu(page, HOSTILE, "Move down")
    becomes(page, lambda: shown(page), [BREAD, HOSTILE, MILK])
    assert fits(page)


def nests(page: "Page") -> None:
    from_menu(page, HOSTILE, "Make it a subtask")
    becomes(page, lambda: shown(page), [BREAD, f"-{HOSTILE}", MILK])
    from_menu(page, HOSTILE, "Move out")
    becomes(page, lambda: shown(page), [BREAD, HOSTILE, MILK])
    from_menu(page, MILK, "Add a subtask")
    page.get_by_label(f"Subtask of {MILK}").fill("Which kind?")
    page.get_by_role("button", name="Add", exact=True).click()
    becomes(page, lambda: shown(page), [BREAD, HOSTILE, MILK, "-Which kind?"])
    page.get_by_label("New task").wait_for()


def ticks_and_deletes(page: "Page", client: httpx.Client) -> None:
    page.get_by_label(f"Done: {BREAD}").click()
    becomes(page, lambda: shown(page), [HOSTILE, MILK, "-Which kind?"])
    becomes(page, lambda: task_of(client, BREAD)["completed"], True)
    undo(page, f"“{BREAD}” is done.")
    becomes(page, lambda: shown(page), [BREAD, HOSTILE, MILK, "-Which kind?"])
    toast(page, "Undone.").get_by_role("button", name="Redo").click()
    becomes(page, lambda: shown(page), [HOSTILE, MILK, "-Which kind?"])
    page.get_by_label("Show completed tasks").click()
    becomes(page, lambda: shown(page), [BREAD, HOSTILE, MILK, "-Which kind?"])
    page.get_by_label(f"Done: {BREAD}").click()
    toast(page, f"“{BREAD}” is open again.")
    from_menu(page, MILK, "Delete")
    becomes(page, lambda: shown(page), [BREAD, HOSTILE])
    undo(page, f"“{MILK}” is in the trash.")
    becomes(page, lambda: shown(page), [BREAD, HOSTILE, MILK, "-Which kind?"])
    assert fits(page)


def makes_lists(page: "Page", client: httpx.Client) -> None:
    for name in ("Groceries", HOSTILE, "Errands"):
        make_list(page, name)
        page.get_by_role("heading", name=name, exact=True).wait_for()
    page.get_by_role("button", name="Edit list").click()
    page.get_by_label("Name of the list").fill("Shopping")
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("heading", name="Shopping", exact=True).wait_for()
    page.get_by_role("button", name="Edit list").click()
    page.locator("#list-menu").get_by_role("button", name="Move up").click()
    becomes(page, lambda: lists(client), ["Groceries", "Shopping", HOSTILE])
    choose(page, "Inbox")
    if not page.get_by_role("button", name="Shopping").is_visible():
        page.get_by_text("Lists", exact=True).click()
    rows = page.locator("#lists .row")
    drag(page, rows.filter(has_text=HOSTILE), rows.filter(has_text="Groceries"), 0.2)
    becomes(page, rows.all_inner_texts, ["Inbox", HOSTILE, "Groceries", "Shopping", "Trash"])


def fills_and_deletes_a_list(page: "Page", client: httpx.Client) -> None:
    drag(page, row(page, MILK), page.get_by_role("button", name="Shopping"), 0.5)
    becomes(page, lambda: shown(page), [BREAD, HOSTILE])
    choose(page, "Shopping")
    becomes(page, lambda: shown(page), [MILK, "-Which kind?"])
    page.get_by_role("button", name="Edit list").click()
    page.get_by_role("button", name="Delete list").click()
    page.get_by_role("heading", name="Inbox").wait_for()
    becomes(page, lambda: titles(client), [BREAD, HOSTILE])
    choose(page, "Trash")
    assert "list with 2 more, deleted" in row(page, "Shopping").inner_text()
    assert fits(page)
    page.get_by_role("button", name="Restore Shopping").click()
    page.get_by_text("Nothing is in the trash.").wait_for()
    choose(page, "Shopping")
    becomes(page, lambda: shown(page), [MILK, "-Which kind?"])


def test_tasks_are_dragged_with_a_finger(page: "Page", enter: "Callable[[], Page]", client: httpx.Client) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for title in (MILK, BREAD, "Eggs"):
        make(client, title)
    enter()
    start, end = place(page, row(page, MILK).locator(".handle")), place(page, row(page, "Eggs"))
    finger = page.context.new_cdp_session(page)
    x, y = start["x"] + 10, start["y"] + 20
    for kind, at in [("touchStart", y), ("touchMove", y + 30), ("touchMove", end["y"] + end["height"] - 5)]:
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": at}]})
    over = row(page, "Eggs").locator("..")
    becomes(page, lambda: over.get_attribute("class"), "after")  # it shows where it will be
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    becomes(page, lambda: shown(page), [BREAD, "Eggs", MILK])


def test_overdue_tasks_are_marked(page: "Page", enter: "Callable[[], Page]", client: httpx.Client) -> None:
    today = date.fromisoformat(page.evaluate("new Date().toLocaleDateString('sv')"))
    make(client, "Yesterday's", due_date=f"{today - timedelta(1)}")
    make(client, "Today's", due_date=f"{today}")
    make(client, "An hour's", due_date="2020-01-01T09:00:00", time_zone="Pacific/Auckland")
    enter()
    assert "Overdue: " in row(page, "Yesterday's").inner_text()
    assert "Due " in row(page, "Today's").inner_text()
    assert "Overdue: Wed, Jan 1, 2020, 9:00" in row(page, "An hour's").inner_text()
    assert "Pacific/Auckland" in row(page, "An hour's").inner_text()


def test_more_tasks_than_a_page_of_the_api_are_shown_as_one_tree(
    page: "Page", enter: "Callable[[], Page]", client: httpx.Client
) -> None:
    parent = make(client, "Parent")
    names = [f"Task {number:03}" for number in range(200)]
    for name in names:
        make(client, name)
    make(client, "Child", parent_id=parent)  # on the second page of the API
    enter()
    row(page, names[-1])
    assert shown(page) == ["Parent", "-Child", *names]


def test_the_page_sends_requests_only_to_its_own_origin_and_the_api(
    asked: list[str], signed_in: "Page", origin: str, api: Server, token: str
) -> None:
    add(signed_in, HOSTILE)
    row(signed_in, HOSTILE)
    assert {url.split("/api/")[0] for url in asked} == {f"{origin}/page.html", api.url}
    assert token not in "".join(asked)
