"""The details of a task in `examples/page.html`: its dates, its rule and the next dates of that."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from browser.todo_page import (
    BREAD,
    MILK,
    NARROW_AND_WIDE,
    becomes,
    choose,
    fits,
    make,
    open_dialog,
    repeat,
    row,
    task_of,
    titles,
    toast,
    undo,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

MONDAY = date(2097, 10, 7)
pytestmark = pytest.mark.timeout(300)


DETAILS = {  # as they are typed
    "Title": BREAD,
    "Description": "rye\nsliced",
    "Due date": f"{MONDAY}",
    "Time, if any": "17:30",
    "Tags, one per line": "home\nto bake, or to buy",
}


@NARROW_AND_WIDE
def test_a_task_has_details(
    width: int, page: "Page", enter: "Callable[[], Page]", client: httpx.Client, complaints: list[str]
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    groceries = client.post("/lists", json={"name": "Groceries"}).json()["id"]
    make(client, MILK)
    enter()
    dialog = open_dialog(page, MILK)
    for label, text in DETAILS.items():
        dialog.get_by_label(label).fill(text)
    dialog.get_by_label("Priority").select_option("Low")
    dialog.get_by_label("List").select_option("Groceries")
    assert fits(page)
    dialog.get_by_role("button", name="Save").click()
    choose(page, "Groceries")
    becomes(page, lambda: titles(client), [BREAD])
    task = task_of(client, BREAD)
    assert (task["description"], task["due_date"]) == ("rye\nsliced", f"{MONDAY}T17:30:00")
    assert (task["tags"], task["priority"]) == (["home", "to bake, or to buy"], "low")
    assert (task["list_id"], task["recurrence"]) == (groceries, None)
    assert task["version"] == 2  # one request, one change
    text = row(page, BREAD).inner_text()
    assert "Due Mon, Oct 7, 2097, 5:30" in text
    assert "Priority low · #home #to bake, or to buy" in text
    open_dialog(page, BREAD).get_by_label("Due date").fill("")
    page.get_by_role("button", name="Save").click()
    toast(page, "Saved.")
    becomes(page, lambda: task_of(client, BREAD)["due_date"], None)
    assert complaints == []


def dates(page: "Page") -> str:
    """What the open dialog says of when it will be due."""
    return page.locator("output[name=dates]").inner_text()


@pytest.fixture
def plants(page: "Page", enter: "Callable[[], Page]", client: httpx.Client) -> None:
    """A task that is due on Monday, in an open dialog."""
    make(client, "Water the plants", due_date=f"{MONDAY}")
    enter()
    open_dialog(page, "Water the plants")


@pytest.mark.usefixtures("plants")
def test_a_rule_is_shown_in_words(page: "Page") -> None:
    assert repeat(page, "Every day") == "Repeats every day."
    assert repeat(page, "Every month", every="3") == "Repeats every 3 months."
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    every_day = f"Repeats every {', '.join(days[:-1])}, and Sunday."
    assert repeat(page, "Every week", *(day[:3] for day in days)) == every_day
    for day in ("Tue", "Wed", "Fri", "Sat", "Sun"):
        page.get_by_label(day, exact=True).uncheck()
    assert repeat(page, "Every week", "Mon", "Thu", every="2") == "Repeats every 2 weeks on Monday and Thursday."
    page.get_by_label("Thu", exact=True).uncheck()
    assert repeat(page, "Every week") == "Repeats every Monday."


@pytest.mark.usefixtures("plants")
def test_a_rule_is_shown_with_its_next_dates_before_it_is_saved(page: "Page", client: httpx.Client) -> None:
    assert dates(page) == ""
    assert repeat(page, "Every week", "Mon") == "Repeats every Monday."
    mondays = [MONDAY + timedelta(7 * week) for week in range(4)]
    becomes(page, lambda: dates(page), next_dates(*mondays))
    page.get_by_label("Due date").fill(f"{MONDAY + timedelta(1)}")
    becomes(page, lambda: dates(page), next_dates(MONDAY + timedelta(1), *mondays[1:]))
    page.get_by_label("Due date").fill(f"{MONDAY}")
    assert task_of(client, "Water the plants")["recurrence"] is None
    page.get_by_role("button", name="Save").click()
    toast(page, "Saved: every Monday.")
    becomes(page, lambda: task_of(client, "Water the plants")["recurrence"], "FREQ=WEEKLY;BYDAY=MO")
    page.get_by_label("Done: Water the plants").click()
    toast(page, "Done. Next: Mon, Oct 14, 2097.")
    assert "every Monday" in row(page, "Water the plants").inner_text()
    undo(page, "Done. Next")
    row(page, "Due Mon, Oct 7, 2097")


def next_dates(*days: date) -> str:
    return f"Next: {'; '.join(f'{day:%a, %b} {day.day}, {day.year}' for day in days)}."


def in_2097(*days: str) -> list[date]:
    return [date.fromisoformat(f"2097-{day}") for day in days]


def test_an_unchanged_rule_shows_the_next_dates_of_its_task(
    page: "Page", enter: "Callable[[], Page]", client: httpx.Client
) -> None:
    task_id = make(client, "Rent", due_date="2097-01-31", recurrence="FREQ=MONTHLY")
    client.patch(f"/tasks/{task_id}/complete", json={"completed": True}).raise_for_status()
    enter()
    dialog = open_dialog(page, "Rent")  # due on 28 February, and the rule is of the 31st
    becomes(page, lambda: dates(page), next_dates(*in_2097("02-28", "03-31", "04-30", "05-31")))
    dialog.get_by_label("Every how many").fill("2")  # a new rule is counted from the date that it is set with
    becomes(page, lambda: dates(page), next_dates(*in_2097("02-28", "04-28", "06-28", "08-28")))
    dialog.get_by_label("Due date").fill("")
    page.get_by_text("due_date is required").wait_for()  # before it is saved, too
    dialog.get_by_label("Repeats").select_option("Never")
    becomes(page, lambda: dates(page), "")


def test_a_rule_that_the_form_cannot_show_stays_as_it_is(
    page: "Page", enter: "Callable[[], Page]", client: httpx.Client
) -> None:
    rule = {"due_date": "2097-01-31T09:00:30", "recurrence": "FREQ=MONTHLY;BYDAY=-1FR", "recurrence_from": "completion"}
    make(client, MILK, **rule)
    make(client, "Ten times", due_date="2097-01-31", recurrence="FREQ=DAILY;COUNT=10")
    make(client, "Until then", due_date="2097-01-31", recurrence="FREQ=YEARLY;UNTIL=21000101")
    enter()
    assert "every day, 10 times" in row(page, "Ten times").inner_text()
    assert "every year until Fri, Jan 1, 2100" in row(page, "Until then").inner_text()
    dialog = open_dialog(page, MILK)
    assert dialog.get_by_label("Repeats").input_value() == "kept"
    dialog.get_by_label("Title").fill(BREAD)
    dialog.get_by_role("button", name="Save").click()
    toast(page, "Saved: FREQ=MONTHLY;BYDAY=-1FR")
    becomes(page, lambda: BREAD in titles(client), True)
    task = task_of(client, BREAD)
    assert {name: task[name] for name in rule} == rule
    (changed,) = client.get(f"/tasks/{task['id']}/history?limit=1").json()["items"]
    assert [name for name in changed["fields"] if name in {*rule, "title"}] == ["title"]
    dialog = open_dialog(page, BREAD)
    dialog.get_by_label("Repeats").select_option("Never")
    dialog.get_by_role("button", name="Save").click()
    becomes(page, lambda: task_of(client, BREAD)["recurrence"], None)
