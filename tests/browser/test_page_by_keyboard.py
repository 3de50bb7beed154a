"""`examples/page.html` by the keyboard alone."""

from typing import TYPE_CHECKING

import httpx
import pytest
from browser.todo_page import BREAD, MILK, NARROW_AND_WIDE, becomes, fits, lists, row, shown, titles, toast
from serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.timeout(300)


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
