"""`examples/page.html` in a browser, on another origin than the API: what a person sees when they use it."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from browser.todo_page import (
    BREAD,
    HOSTILE,
    MILK,
    add,
    becomes,
    choose,
    complaint,
    drag,
    fits,
    from_menu,
    give_token,
    lists,
    make,
    make_list,
    open_dialog,
    place,
    row,
    shown,
    task_of,
    titles,
    toast,
    undo,
)
from e2e.npm import NEEDS_NODE, installed
from pages import ROOT
from serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

MONDAY = date(2097, 10, 7)
NARROW_AND_WIDE = pytest.mark.parametrize("width", [390, 1280])
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


@NARROW_AND_WIDE
def test_the_whole_page_works_by_keyboard(
    width: int, page: "Page", origin: str, api: Server, token: str, client: httpx.Client, complaints: list[str]
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{origin}/page.html")
    press(page, "Tab")  # to the address
    page.keyboard.insert_text(api.url)
    press(page, "Tab")
    page.keyboard.insert_text(token)
    press(page, "Enter")
    page.get_by_role("button", name="Add", exact=True).wait_for()
    for title in (MILK, BREAD, "Eggs"):  # the field for the next title has the focus
        becomes(page, lambda: focus(page), "New task")
        page.keyboard.insert_text(title)
        press(page, "Enter")
        row(page, title)
    orders_by_keys(page, client)
    edits_by_keys(page, client)
    lists_by_keys(page, client)
    assert fits(page)
    assert complaints == []


def press(page: "Page", *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def focus(page: "Page") -> str:
    """What the focused thing is called."""
    return str(page.evaluate(FOCUS)).strip()


FOCUS = """(() => {
    const { ariaLabel, labels, innerText } = document.activeElement;
    return (ariaLabel ?? labels?.[0]?.innerText ?? innerText).split("\\n")[0];
})()"""


def tab_to(page: "Page", name: str) -> None:
    for _ in range(40):
        if focus(page) == name:
            return
        press(page, "Tab")
    raise AssertionError(name)


def orders_by_keys(page: "Page", client: httpx.Client) -> None:
    press(page, "Tab", "Tab", "Tab")  # the button Add, and the first task's box
    becomes(page, lambda: focus(page), MILK)
    press(page, "Alt+ArrowDown", "Alt+ArrowDown")  # one after the other, without waiting
    becomes(page, lambda: shown(page), [BREAD, "Eggs", MILK])
    becomes(page, lambda: focus(page), MILK)  # it is still there, for the next key
    press(page, "Alt+ArrowUp", "Alt+ArrowRight")
    becomes(page, lambda: shown(page), [BREAD, f"-{MILK}", "Eggs"])
    press(page, "Alt+ArrowLeft")
    becomes(page, lambda: shown(page), [BREAD, MILK, "Eggs"])
    press(page, "Alt+ArrowLeft")  # leads nowhere, not back in the browser's history
    press(page, "Alt+ArrowRight")
    becomes(page, lambda: shown(page), [BREAD, f"-{MILK}", "Eggs"])
    toast(page, f"Now a subtask of “{BREAD}”.")
    press(page, "Control+z")
    becomes(page, lambda: shown(page), [BREAD, MILK, "Eggs"])
    becomes(page, lambda: titles(client), [BREAD, MILK, "Eggs"])


def edits_by_keys(page: "Page", client: httpx.Client) -> None:
    press(page, "Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.insert_text(" and rice milk")
    press(page, "Tab")
    page.keyboard.insert_text("two litres")
    tab_to(page, "Priority")
    press(page, "ArrowDown")
    tab_to(page, "Save")
    press(page, "Enter")
    page.get_by_role("dialog").wait_for(state="hidden")
    becomes(page, lambda: focus(page), f"{MILK} and rice milk")
    becomes(page, lambda: titles(client, priority="high", q="two litres"), [f"{MILK} and rice milk"])
    press(page, "Shift+Tab", "Space")  # its box
    becomes(page, lambda: shown(page), [BREAD, "Eggs"])
    becomes(page, lambda: focus(page), "Done: Eggs")  # what stands there now
    press(page, "Tab", "Tab", "Enter")
    tab_to(page, "Delete")  # in the menu, which is next to what opened it
    press(page, "Enter")
    becomes(page, lambda: shown(page), [BREAD])
    press(page, "Control+z")
    becomes(page, lambda: shown(page), [BREAD, "Eggs"])


def lists_by_keys(page: "Page", client: httpx.Client) -> None:
    for name in ("Groceries", "Errands"):
        to(page, "New list")
        page.keyboard.insert_text(name)
        press(page, "Enter")
        page.get_by_role("heading", name=name).wait_for()
    to(page, "Errands")
    press(page, "Alt+ArrowUp")
    becomes(page, lambda: lists(client), ["Errands", "Groceries"])
    becomes(page, lambda: focus(page), "Errands")
    to(page, "Inbox")
    press(page, "Enter")
    page.get_by_role("heading", name="Inbox").wait_for()
    becomes(page, lambda: shown(page), [BREAD, "Eggs"])


def to(page: "Page", name: str) -> None:
    """Go there by the Tab key, from the top; open the lists where they are folded away."""
    page.evaluate("document.activeElement.blur(); getSelection().collapse(document.body, 0)")
    tab_to(page, "Lists")
    if not page.get_by_label("New list").is_visible():
        press(page, "Enter")
    tab_to(page, name)


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


def repeat(page: "Page", unit: str, *days: str, every: str = "1") -> str:
    """Choose that rule in the open dialog, and give what the page calls it."""
    page.get_by_label("Repeats").select_option(unit)
    page.get_by_label("Every how many").fill(every)
    for day in days:
        page.get_by_label(day, exact=True).check()
    return page.locator("output[name=words]").inner_text()


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


def test_a_refusal_is_shown_as_the_api_words_it(signed_in: "Page", client: httpx.Client) -> None:
    add(signed_in, "x" * 201)
    assert complaint(signed_in).splitlines() == [
        "The request breaks a rule.",
        "title must be 1 to 200 characters, not all blank, without control characters",
    ]
    assert signed_in.get_by_label("New task").input_value() == "x" * 201  # nothing has to be typed again
    add(signed_in, MILK)  # and is gone when something else succeeds
    row(signed_in, MILK)
    assert signed_in.get_by_role("alert").inner_text() == ""
    dialog = open_dialog(signed_in, MILK)
    assert repeat(signed_in, "Every day") == "Repeats every day."
    dialog.get_by_role("button", name="Save").click()
    assert dialog.get_by_role("alert").filter(has_text="due_date").inner_text().startswith("The request breaks a rule.")
    assert task_of(client, MILK)["recurrence"] is None


def test_a_sixth_level_is_refused(page: "Page", enter: "Callable[[], Page]", client: httpx.Client) -> None:
    parent: dict[str, str] = {}
    for level in range(5):
        parent = {"parent_id": make(client, f"Level {level}", **parent)}
    make(client, "Sixth", parent_id=task_of(client, "Level 3")["id"])
    enter()
    before = ["Level 0", "-Level 1", "--Level 2", "---Level 3", "----Level 4", "----Sixth"]
    becomes(page, lambda: shown(page), before)
    from_menu(page, "Sixth", "Make it a subtask")
    assert "parent_id" in complaint(page)
    assert shown(page) == before


def test_changes_that_others_made_meanwhile_are_not_overwritten(signed_in: "Page", client: httpx.Client) -> None:
    task_id = make(client, MILK)
    dialog = open_dialog(signed_in, MILK)
    dialog.get_by_label("Title").fill("Mine")
    client.patch(f"/tasks/{task_id}", json={"title": BREAD, "description": "rye"}).raise_for_status()
    dialog.get_by_role("button", name="Save").click()
    said = dialog.get_by_role("alert").filter(has_text=".").inner_text()
    assert said.splitlines() == ["The same members have been changed.", "title has been changed since"]
    assert titles(client) == [BREAD]
    assert dialog.get_by_label("Title").input_value() == "Mine"  # nothing has to be typed again
    assert dialog.get_by_label("Description").input_value() == "rye"  # beside what others have written
    dialog.get_by_role("button", name="Save").click()  # who insists may
    becomes(signed_in, lambda: shown(signed_in), ["Mine"])
    becomes(signed_in, lambda: titles(client, q="rye"), ["Mine"])


def test_an_undo_that_would_lose_anothers_change_is_refused(signed_in: "Page", client: httpx.Client) -> None:
    add(signed_in, MILK)
    dialog = open_dialog(signed_in, MILK)
    dialog.get_by_label("Title").fill(BREAD)
    dialog.get_by_role("button", name="Save").click()
    said = toast(signed_in, "Saved.")
    becomes(signed_in, lambda: titles(client), [BREAD])
    client.patch(f"/tasks/{task_of(client, BREAD)['id']}", json={"title": "Theirs"}).raise_for_status()
    said.get_by_role("button", name="Undo").click()
    assert "title has been changed since" in complaint(signed_in)
    assert titles(client) == ["Theirs"]


def test_a_write_whose_answer_was_lost_is_sent_again_and_happens_once(signed_in: "Page", client: httpx.Client) -> None:
    keys: list[str | None] = []

    def lose_the_first(route: "Route") -> None:
        if route.request.method != "POST":
            return route.continue_()
        keys.append(route.request.headers.get("idempotency-key"))
        if len(keys) > 1:
            return route.continue_()
        assert route.fetch().status == 201
        return route.abort()

    signed_in.route("**/tasks", lose_the_first)
    add(signed_in, MILK)
    becomes(signed_in, lambda: len(keys), 2)
    toast(signed_in, "Added.").get_by_role("button", name="Undo").click()
    becomes(signed_in, lambda: titles(client), [])
    assert len(keys) == 2
    assert keys[0] == keys[1] is not None


def test_a_bad_token_is_reported(page: "Page", origin: str, api: Server, token: str) -> None:
    give_token(page, origin, api, "no token")
    assert complaint(page) == "This is not a token."
    give_token(page, origin, api, token[:-5])
    assert complaint(page).startswith("A valid bearer token is required.")
    assert not page.get_by_role("button", name="Add", exact=True).is_visible()


def test_a_token_that_has_expired_meanwhile_is_asked_for_again(
    signed_in: "Page", token: str, client: httpx.Client
) -> None:
    def expired(route: "Route") -> None:
        route.continue_(headers={**route.request.headers, "authorization": "Bearer expired"})

    signed_in.route("**/tasks", expired)
    add(signed_in, MILK)
    assert complaint(signed_in).startswith("A valid bearer token is required.")
    signed_in.unroute("**/tasks")
    signed_in.get_by_label("Token").fill(token)
    signed_in.get_by_role("button", name="Sign in").click()
    signed_in.get_by_role("button", name="Add", exact=True).wait_for()
    assert signed_in.get_by_role("alert").inner_text() == ""
    becomes(signed_in, lambda: titles(client), [MILK])  # what was refused with it is sent with the new one
    assert shown(signed_in) == [MILK]


def test_signing_out_forgets_the_token(signed_in: "Page") -> None:
    signed_in.get_by_role("button", name="Sign out").click()
    signed_in.get_by_role("button", name="Sign in").wait_for()
    assert signed_in.get_by_label("Token").input_value() == ""
    assert signed_in.evaluate("[Object.keys(localStorage), Object.keys(sessionStorage), document.cookie]") == [
        [],
        [],
        "",
    ]


def test_an_origin_that_is_not_allowed_is_reported(page: "Page", origin: str, api: Server, token: str) -> None:
    give_token(page, origin.replace("127.0.0.1", "localhost"), api, token)
    assert "does not allow this page's origin" in complaint(page)
    assert not page.get_by_role("button", name="Add", exact=True).is_visible()


def test_the_page_sends_requests_only_to_its_own_origin_and_the_api(
    asked: list[str], signed_in: "Page", origin: str, api: Server, token: str
) -> None:
    add(signed_in, HOSTILE)
    row(signed_in, HOSTILE)
    assert {url.split("/api/")[0] for url in asked} == {f"{origin}/page.html", api.url}
    assert token not in "".join(asked)


MOVING = """[...document.querySelectorAll("*")].map((each) => getComputedStyle(each))
    .filter((style) => style.animationName !== "none" || style.transitionDuration !== "0s").length"""


@NEEDS_NODE
@NARROW_AND_WIDE
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_names_no_violation(
    width: int,
    scheme: Any,
    page: "Page",
    enter: "Callable[[], Page]",
    client: httpx.Client,
    request: pytest.FixtureRequest,
) -> None:
    """In every view: https://github.com/dequelabs/axe-core, all its rules, its best practices too. Nothing moves."""
    axe = installed(request.config, ROOT / "tests/browser/axe") / "node_modules/axe-core/axe.min.js"
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.add_init_script(path=axe)
    for view, prepare in views(page, enter, client).items():
        prepare()
        found = page.evaluate("axe.run()")["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == [], view
        assert page.evaluate(MOVING) == 0, view
        assert fits(page), view


def make_tasks_of_all_kinds(page: "Page", client: httpx.Client) -> None:
    client.post("/lists", json={"name": "Groceries"}).raise_for_status()
    parent = make(client, MILK, due_date="2020-01-01", tags=["home"], priority="high", completed=True)
    child = make(client, "x" * 200, parent_id=parent, due_date="2097-01-01", recurrence="FREQ=DAILY")
    make(client, "Third level", parent_id=child)
    make(client, BREAD)
    choose(page, "Inbox")
    page.get_by_label("Show completed tasks").click()
    from_menu(page, BREAD, "Move up")
    becomes(page, lambda: shown(page)[0], BREAD)


def save_an_invalid_task(page: "Page") -> None:
    page.keyboard.press("Escape")  # closes the menu
    dialog = open_dialog(page, MILK)
    repeat(page, "Every week", "Mon")
    dialog.get_by_label("Due date").fill("")
    dialog.get_by_role("button", name="Save").click()
    complaint(page)
    page.get_by_text("due_date is required").first.wait_for()


def open_trash(page: "Page") -> None:
    page.get_by_role("button", name="Cancel").click()
    from_menu(page, BREAD, "Delete")
    toast(page, "is in the trash.")
    choose(page, "Trash")


def open_menu_of_list(page: "Page") -> None:
    choose(page, "Groceries")
    page.get_by_role("button", name="Edit list").click()


def go_offline(page: "Page") -> None:
    choose(page, "Inbox")
    page.context.set_offline(True)
    page.get_by_text("There is no network.").wait_for()
    add(page, "x" * 201)
    page.get_by_text("Waiting here: 1 change.").wait_for()


def reconnect_and_be_refused(page: "Page") -> None:
    page.context.set_offline(False)
    page.get_by_role("region", name="Not done").get_by_role("button", name="Edit again").wait_for()


def views(page: "Page", enter: "Callable[[], Page]", client: httpx.Client) -> dict[str, Callable[[], object]]:
    """How to get to each view of the page, in their order."""
    return {
        "signing in": lambda: (enter(), page.reload()),
        "nothing to do": enter,
        "tasks and a toast": lambda: make_tasks_of_all_kinds(page, client),
        "a menu": page.get_by_role("button", name=f"More: {BREAD}").click,
        "a dialog with an error": lambda: save_an_invalid_task(page),
        "the trash": lambda: open_trash(page),
        "a list and its menu": lambda: open_menu_of_list(page),
        "the lists": lambda: page.get_by_text("Lists", exact=True).click(),
        "no network": lambda: go_offline(page),
        "what was refused": lambda: reconnect_and_be_refused(page),
    }
