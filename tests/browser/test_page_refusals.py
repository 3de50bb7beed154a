"""What `examples/page.html` shows when the API refuses: conflicts, lost answers, tokens, origins."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import pytest
from browser.todo_page import (
    BREAD,
    MILK,
    add,
    becomes,
    complaint,
    from_menu,
    give_token,
    make,
    open_dialog,
    repeat,
    row,
    shown,
    task_of,
    titles,
    toast,
)
from serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.timeout(300)


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
