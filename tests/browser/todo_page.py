"""Operates `examples/page.html` as a person does, and the API as another client."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect, Locator, Page

MILK, BREAD, HOSTILE = "Buy oat milk", "Bread 🍞", "<img src=x onerror=document.title='robbed'>"
NARROW_AND_WIDE = pytest.mark.parametrize("width", [390, 1280])


def make(client: httpx.Client, title: str, **members: object) -> str:
    """The id of a new task."""
    answer = client.post("/tasks", json={"title": title, **members}).raise_for_status()
    return str(answer.json()["id"])


def titles(client: httpx.Client, **filters: str) -> list[str]:
    items = client.get("/tasks", params={"sort": "position", **filters}).raise_for_status().json()["items"]
    return [task["title"] for task in items]


def task_of(client: httpx.Client, title: str) -> dict[str, Any]:
    (task,) = [each for each in client.get("/tasks").json()["items"] if each["title"] == title]
    return dict(task)


def sign_in(page: "Page", origin: str, api: Server, token: str) -> None:
    """Open the page, give it the token, and wait for what there is."""
    give_token(page, origin, api, token)
    page.get_by_role("button", name="Add", exact=True).wait_for()


def give_token(page: "Page", origin: str, api: Server, token: str) -> None:
    page.goto(f"{origin}/page.html")
    page.get_by_label("Address of the API").fill(api.url)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def add(page: "Page", title: str) -> None:
    page.get_by_label("New task").fill(title)
    page.get_by_role("button", name="Add", exact=True).click()


def row(page: "Page", title: str) -> "Locator":
    """The task's own line, without its subtasks."""
    found = page.locator("#tasks .row").filter(has_text=title)
    found.wait_for()
    return found


def shown(page: "Page") -> list[str]:
    """The titles as they stand, with a dash for each level."""
    return list(page.locator("#tasks .main > span").evaluate_all(INDENTED))


INDENTED = """titles => titles.map((title) => {
    let above = "";
    for (let li = title.closest("li li"); li; li = li.parentElement.closest("li li")) above += "-";
    return above + title.textContent;
})"""


def becomes(page: "Page", look: Callable[[], object], wanted: object) -> None:
    """Look until that is so; fail with the difference after twenty seconds."""
    for _ in range(400):
        if look() == wanted:
            return
        page.wait_for_timeout(50)
    assert look() == wanted, f"{look()} is not {wanted}"


def toast(page: "Page", text: str) -> "Locator":
    found = page.get_by_role("status").filter(has_text=text)
    found.wait_for()
    return found


def undo(page: "Page", text: str) -> None:
    """Take back what the toast says."""
    toast(page, text).get_by_role("button", name="Undo").click()
    toast(page, "Undone.")


def choose(page: "Page", name: str) -> None:
    """Show that list, which is folded away where there is little room."""
    if not page.get_by_role("button", name=name, exact=True).is_visible():
        page.get_by_text("Lists", exact=True).click()
    page.get_by_role("button", name=name, exact=True).click()
    page.get_by_role("heading", name=name, exact=True).wait_for()


def from_menu(page: "Page", title: str, action: str) -> None:
    page.get_by_role("button", name=f"More: {title}").click()
    page.get_by_role("button", name=action, exact=True).click()


def open_dialog(page: "Page", title: str) -> "Locator":
    row(page, title).locator("[name=open]").click()
    return page.get_by_role("dialog", name="Edit task")


def drag(page: "Page", what: "Locator", onto: "Locator", part: float) -> None:
    """Take a row by its handle, to that part of the other's height."""
    start, end = place(page, what.locator(".handle")), place(page, onto)
    page.mouse.move(start["x"] + 5, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(end["x"] + 40, end["y"] + end["height"] * part, steps=4)
    page.mouse.up()


def place(page: "Page", what: "Locator") -> "FloatRect":
    """Where that is, once it is drawn: what arrives meanwhile draws the rows anew."""
    for _ in range(100):
        if (box := what.bounding_box()) is not None:
            return box
        page.wait_for_timeout(50)
    raise AssertionError(what)


def make_list(page: "Page", name: str) -> None:
    """Make a list in the page, where its name's field may be folded away."""
    if not page.get_by_label("New list").is_visible():
        page.get_by_text("Lists", exact=True).click()
    page.get_by_label("New list").fill(name)
    page.get_by_role("button", name="Create").click()


def fits(page: "Page") -> bool:
    """Whether nothing has to be scrolled sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def complaint(page: "Page") -> str:
    found = page.get_by_role("alert").filter(has_text=".")
    found.wait_for()
    return found.inner_text()


def lists(client: httpx.Client) -> list[str]:
    return [each["name"] for each in client.get("/lists").raise_for_status().json()["items"]]


def repeat(page: "Page", unit: str, *days: str, every: str = "1") -> str:
    """Choose that rule in the open dialog, and give what the page calls it."""
    page.get_by_label("Repeats").select_option(unit)
    page.get_by_label("Every how many").fill(every)
    for day in days:
        page.get_by_label(day, exact=True).check()
    return page.locator("output[name=words]").inner_text()
