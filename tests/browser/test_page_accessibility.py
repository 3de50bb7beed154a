"""`examples/page.html` for everybody: axe judges every view, in both color schemes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from browser.todo_page import (
    BREAD,
    MILK,
    NARROW_AND_WIDE,
    add,
    becomes,
    choose,
    complaint,
    fits,
    from_menu,
    make,
    open_dialog,
    repeat,
    shown,
    toast,
)
from e2e.npm import NEEDS_NODE, installed
from pages import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.timeout(300)


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
