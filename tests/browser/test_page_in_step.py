"""`examples/page.html` in two windows of one user, who works in both, sometimes offline."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from browser.todo_page import (
    BREAD,
    MILK,
    add,
    becomes,
    choose,
    complaint,
    drag,
    from_menu,
    lists,
    make,
    make_list,
    open_dialog,
    row,
    shown,
    sign_in,
    task_of,
    titles,
    toast,
)
from serving import Server, token_for

from todo_core import OwnerId
from todo_core.sync import Mark, SyncToken

if TYPE_CHECKING:
    from playwright.sync_api import APIResponse, Page, Route

OFFLINE = "There is no network."
pytestmark = pytest.mark.timeout(300)


@contextmanager
def without_network(page: "Page", waiting: int) -> Iterator[None]:
    """Take the page offline; in the end this many changes wait, and after the reconnection none."""
    page.context.set_offline(True)
    page.get_by_text(OFFLINE).wait_for()
    yield
    noun = "change" if waiting == 1 else "changes"
    page.get_by_text(f"{OFFLINE} Waiting here: {waiting} {noun}." if waiting else OFFLINE, exact=True).wait_for()
    page.context.set_offline(False)
    page.get_by_text(OFFLINE).wait_for(state="hidden")


def edit(page: "Page", title: str, **texts: str) -> None:
    """Change these fields of a task in its dialog."""
    dialog = open_dialog(page, title)
    for label, text in texts.items():
        dialog.get_by_label(label.replace("_", " ")).fill(text)
    dialog.get_by_role("button", name="Save").click()


def test_changes_in_one_window_appear_in_the_other(signed_in: "Page", other: "Page", client: httpx.Client) -> None:
    for title in (MILK, BREAD, "Eggs"):
        add(signed_in, title)
    becomes(other, lambda: shown(other), [MILK, BREAD, "Eggs"])
    from_menu(other, BREAD, "Make it a subtask")
    becomes(signed_in, lambda: shown(signed_in), [MILK, f"-{BREAD}", "Eggs"])
    signed_in.get_by_label("Done: Eggs").click()
    becomes(other, lambda: shown(other), [MILK, f"-{BREAD}"])
    from_menu(other, MILK, "Delete")
    becomes(signed_in, lambda: shown(signed_in), [])  # the subtask too
    choose(signed_in, "Trash")
    row(signed_in, MILK)
    toast(other, "is in the trash.").get_by_role("button", name="Undo").click()
    becomes(other, lambda: shown(other), [MILK, f"-{BREAD}"])
    signed_in.get_by_text("Nothing is in the trash.").wait_for()
    groceries = client.post("/lists", json={"name": "Groceries"}).raise_for_status().json()["id"]
    signed_in.get_by_role("button", name="Groceries").click()
    client.post(f"/tasks/{task_of(client, MILK)['id']}/move", json={"list_id": groceries}).raise_for_status()
    becomes(signed_in, lambda: shown(signed_in), [MILK, f"-{BREAD}"])
    becomes(other, lambda: shown(other), [])
    client.delete(f"/lists/{groceries}").raise_for_status()
    signed_in.get_by_role("heading", name="Inbox").wait_for()  # for what it showed is gone


def test_a_local_change_takes_one_request_and_a_remote_change_none(
    asked: list[str], signed_in: "Page", client: httpx.Client
) -> None:
    becomes(signed_in, lambda: asked[-1].rpartition("/")[2], "events")
    asked.clear()
    add(signed_in, MILK)
    becomes(signed_in, lambda: titles(client), [MILK])
    make(client, BREAD)
    becomes(signed_in, lambda: shown(signed_in), [MILK, BREAD])
    assert [url.rpartition("/")[2] for url in asked] == ["tasks"]


def test_changes_made_offline_are_neither_lost_nor_applied_twice(
    signed_in: "Page", other: "Page", client: httpx.Client
) -> None:
    for title in (MILK, BREAD, "Eggs", "Tea"):
        make(client, title)
    becomes(signed_in, lambda: shown(signed_in), [MILK, BREAD, "Eggs", "Tea"])
    with without_network(signed_in, 8):
        much_is_done(signed_in)
        edit(other, MILK, Description="two litres")
        from_menu(other, "Tea", "Delete")
        add(other, "Rice")
        becomes(other, lambda: shown(other), [MILK, BREAD, "Eggs", "Rice"])
    wanted = ["Party", "-Cake", "Soy milk", "Rice"]
    for page in (signed_in, other):
        becomes(page, lambda page=page: shown(page), wanted)
        choose(page, "Groceries")
        becomes(page, lambda page=page: shown(page), ["Salt"])
    assert sorted(titles(client)) == [BREAD, "Cake", "Party", "Rice", "Salt", "Soy milk"]
    milk, bread = task_of(client, "Soy milk"), task_of(client, BREAD)
    assert (milk["description"], milk["version"]) == ("two litres", 3)  # both edits, the two offline as one
    assert (bread["completed"], bread["version"]) == (True, 2)
    assert sorted(each["title"] for each in client.get("/trash").json()["items"]) == ["Eggs", "Tea"]
    assert lists(client) == ["Groceries"]


def much_is_done(page: "Page") -> None:
    """Eight changes."""
    add(page, "Party")
    from_menu(page, "Party", "Add a subtask")
    page.get_by_label("Subtask of Party").fill("Cake")
    page.get_by_role("button", name="Add", exact=True).click()
    drag(page, row(page, "Party"), row(page, MILK), 0.2)
    edit(page, MILK, Title="Rice milk")
    edit(page, "Rice milk", Title="Soy milk")
    page.get_by_label(f"Done: {BREAD}").click()
    from_menu(page, "Eggs", "Delete")
    becomes(page, lambda: shown(page), ["Party", "-Cake", "Soy milk", "Tea"])
    make_list(page, "Groceries")
    add(page, "Salt")
    becomes(page, lambda: shown(page), ["Salt"])
    choose(page, "Inbox")


def test_a_change_that_is_refused_later_keeps_what_was_typed(
    signed_in: "Page", other: "Page", client: httpx.Client
) -> None:
    for title in (MILK, BREAD, "Eggs"):
        make(client, title)
    becomes(signed_in, lambda: shown(signed_in), [MILK, BREAD, "Eggs"])
    with without_network(signed_in, 4):
        both_change_the_same_tasks(signed_in, other)
        becomes(other, lambda: titles(client), ["Theirs", BREAD])
    for page in (signed_in, other):
        becomes(page, lambda page=page: shown(page), ["Theirs", BREAD])
    refused = signed_in.get_by_role("region", name="Not done").get_by_role("listitem")
    becomes(signed_in, refused.count, 4)
    assert "title has been changed since" in refused.nth(0).inner_text()
    assert "The version has changed." in refused.nth(1).inner_text()
    assert "title: Six eggs\ndescription: brown" in refused.nth(2).inner_text()
    refused.nth(2).get_by_role("button", name="Edit again").click()
    assert "it is gone" in complaint(signed_in)
    refused.nth(2).get_by_role("button", name="Dismiss").click()
    refused.nth(2).get_by_role("button", name="Edit again").click()
    assert signed_in.get_by_label("New task").input_value() == "x" * 201
    refused.nth(1).get_by_role("button", name="Dismiss").click()
    refused.nth(0).get_by_role("button", name="Edit again").click()
    dialog = signed_in.get_by_role("dialog", name="Edit task")
    assert dialog.get_by_label("Title").input_value() == "Mine"
    dialog.get_by_role("button", name="Save").click()
    becomes(other, lambda: shown(other), ["Mine", BREAD])
    assert not signed_in.get_by_role("region", name="Not done").is_visible()


def both_change_the_same_tasks(offline: "Page", other: "Page") -> None:
    """Four changes that will be refused."""
    edit(offline, MILK, Title="Mine")
    from_menu(offline, BREAD, "Delete")
    edit(offline, "Eggs", Title="Six eggs", Description="brown")
    add(offline, "x" * 201)
    edit(other, MILK, Title="Theirs")
    edit(other, BREAD, Description="rye")
    from_menu(other, "Eggs", "Delete")
    becomes(other, lambda: shown(other), ["Theirs", BREAD])


def test_an_edit_begun_before_its_task_was_sent_is_based_on_the_sent_task(
    signed_in: "Page", client: httpx.Client
) -> None:
    signed_in.context.set_offline(True)
    signed_in.get_by_text(OFFLINE).wait_for()
    add(signed_in, MILK)
    edit(signed_in, MILK, Title=BREAD)
    dialog = open_dialog(signed_in, BREAD)
    dialog.get_by_label("Title").fill("Rye bread")
    signed_in.context.set_offline(False)
    becomes(signed_in, lambda: titles(client), [BREAD])
    dialog.get_by_role("button", name="Save").click()
    becomes(signed_in, lambda: titles(client), ["Rye bread"])
    assert signed_in.get_by_role("alert").inner_text() == ""


def hold_first(page: "Page", pattern: str) -> "list[Route]":
    """Where the first request to such an address waits, until it is continued."""
    held: list[Route] = []

    def hold(route: "Route") -> None:
        if held:
            return route.continue_()
        return held.append(route)

    page.route(pattern, hold)
    return held


def test_edits_made_while_an_edit_is_sent_are_sent_after_it(signed_in: "Page", client: httpx.Client) -> None:
    held = hold_first(signed_in, f"**/tasks/{make(client, MILK)}")
    edit(signed_in, MILK, Title=BREAD)
    becomes(signed_in, lambda: len(held), 1)
    edit(signed_in, BREAD, Title="Rye bread")
    edit(signed_in, "Rye bread", Description="sliced")
    held[0].continue_()
    becomes(signed_in, lambda: titles(client, q="sliced"), ["Rye bread"])
    assert task_of(client, "Rye bread")["version"] == 3  # those that waited became one
    assert signed_in.get_by_role("alert").inner_text() == ""


def test_edits_that_follow_each_other_do_not_conflict_with_changes_of_other_members(
    signed_in: "Page", client: httpx.Client
) -> None:
    held = hold_first(signed_in, f"**/tasks/{(milk := make(client, MILK))}")
    edit(signed_in, MILK, Title=BREAD)
    becomes(signed_in, lambda: len(held), 1)
    edit(signed_in, BREAD, Title="Rye bread")
    dialog = open_dialog(signed_in, "Rye bread")
    dialog.get_by_label("Title").fill("Dark rye bread")
    client.patch(f"/tasks/{milk}", json={"description": "sliced"}).raise_for_status()
    held[0].continue_()
    becomes(signed_in, lambda: titles(client), ["Rye bread"])
    dialog.get_by_role("button", name="Save").click()
    becomes(signed_in, lambda: titles(client, q="sliced"), ["Dark rye bread"])
    assert signed_in.get_by_role("alert").inner_text() == ""


def test_edits_that_follow_each_other_overwrite_no_unseen_change(signed_in: "Page", client: httpx.Client) -> None:
    held = hold_first(signed_in, f"**/tasks/{(milk := make(client, MILK))}")
    edit(signed_in, MILK, Title=BREAD)
    becomes(signed_in, lambda: len(held), 1)
    edit(signed_in, BREAD, Title="Rye bread", Description="mine")
    client.patch(f"/tasks/{milk}", json={"description": "theirs"}).raise_for_status()
    held[0].continue_()
    assert "description has been changed since" in complaint(signed_in)
    assert titles(client, q="theirs") == [BREAD]


def test_a_change_received_by_stream_before_its_answer_is_shown_once(signed_in: "Page", client: httpx.Client) -> None:
    answers: list[tuple[Route, APIResponse]] = []
    signed_in.route("**/tasks", lambda route: answers.append((route, route.fetch())))
    add(signed_in, MILK)
    becomes(signed_in, lambda: len(answers), 1)
    make(client, BREAD)
    becomes(signed_in, lambda: shown(signed_in), [MILK, BREAD])
    client.patch(f"/tasks/{task_of(client, MILK)['id']}", json={"title": "Soy milk"}).raise_for_status()
    becomes(signed_in, lambda: shown(signed_in), ["Soy milk", BREAD])
    ((route, answer),) = answers
    route.fulfill(response=answer)  # older than what has come meanwhile
    signed_in.unroute("**/tasks")
    add(signed_in, "Eggs")
    becomes(signed_in, lambda: shown(signed_in), ["Soy milk", BREAD, "Eggs"])
    becomes(signed_in, lambda: titles(client), ["Soy milk", BREAD, "Eggs"])


def test_moves_that_make_a_circle_together_leave_both_windows_alike(
    signed_in: "Page", other: "Page", client: httpx.Client
) -> None:
    make(client, MILK)
    make(client, BREAD)
    becomes(signed_in, lambda: shown(signed_in), [MILK, BREAD])
    held = hold_first(signed_in, "**/move")
    from_menu(signed_in, BREAD, "Make it a subtask")  # of the milk
    becomes(signed_in, lambda: shown(signed_in), [MILK, f"-{BREAD}"])
    from_menu(other, BREAD, "Move up")
    from_menu(other, MILK, "Make it a subtask")
    becomes(other, lambda: shown(other), [BREAD, f"-{MILK}"])
    make(client, "Eggs")
    becomes(signed_in, lambda: shown(signed_in)[-1:], ["Eggs"])
    held[0].continue_()
    assert "parent_id" in complaint(signed_in)
    for page in (signed_in, other):
        becomes(page, lambda page=page: shown(page), [BREAD, f"-{MILK}", "Eggs"])


def test_an_occurrence_that_both_windows_tick_is_completed_once(
    signed_in: "Page", other: "Page", client: httpx.Client
) -> None:
    task_id = make(client, MILK, due_date="2097-10-07", recurrence="FREQ=WEEKLY")
    row(signed_in, MILK)
    with without_network(signed_in, 1):
        signed_in.get_by_label(f"Done: {MILK}").click()
        becomes(signed_in, signed_in.get_by_label(f"Done: {MILK}").is_checked, True)
        other.get_by_label(f"Done: {MILK}").click()
        toast(other, "Done. Next: Mon, Oct 14, 2097.")
    toast(signed_in, "Done. Next: Mon, Oct 14, 2097.")
    for page in (signed_in, other):
        row(page, "Due Mon, Oct 14, 2097")
        assert not page.get_by_label(f"Done: {MILK}").is_checked()
    assert [each["action"] for each in client.get(f"/tasks/{task_id}/history").json()["items"]] == [
        "completed",
        "created",
    ]


def test_changes_can_be_undone_offline(signed_in: "Page", client: httpx.Client) -> None:
    add(signed_in, MILK)
    signed_in.get_by_label(f"Done: {MILK}").click()
    becomes(signed_in, lambda: titles(client, completed="true"), [MILK])
    with without_network(signed_in, 3):
        toast(signed_in, "is done.").get_by_role("button", name="Undo").click()
        toast(signed_in, "Undoing…")  # what it was before only the API knows
        add(signed_in, BREAD)
        row(signed_in, BREAD)
        toast(signed_in, "Added.").get_by_role("button", name="Undo").click()
        becomes(signed_in, lambda: shown(signed_in), [])
    becomes(signed_in, lambda: shown(signed_in), [MILK])
    toast(signed_in, "Undone.").get_by_role("button", name="Redo").click()
    becomes(signed_in, lambda: shown(signed_in), [MILK, BREAD])
    becomes(signed_in, lambda: titles(client, completed="false"), [MILK, BREAD])


def test_a_local_copy_that_is_too_old_is_loaded_again(signed_in: "Page", client: httpx.Client, owner: str) -> None:
    gone, kept = make(client, MILK), make(client, BREAD)
    becomes(signed_in, lambda: shown(signed_in), [MILK, BREAD])
    month_ago = SyncToken(Mark(0, None, datetime.now(UTC) - timedelta(days=31))).encode(OwnerId(owner))
    its_own: list[str] = []
    answers: list[int] = []

    def with_an_old_token(route: "Route") -> None:
        url = httpx.URL(route.request.url)
        since = url.params.get("since", "")
        its_own[:] = its_own or [since]
        answer = route.fetch(url=str(url.copy_set_param("since", month_ago) if since == its_own[0] else url))
        answers.append(answer.status)
        route.fulfill(response=answer)

    with without_network(signed_in, 1):
        add(signed_in, "Eggs")
        client.delete(f"/tasks/{gone}").raise_for_status()
        client.patch(f"/tasks/{kept}", json={"title": "Rye bread"}).raise_for_status()
        signed_in.route("**/changes?*", with_an_old_token)
    becomes(signed_in, lambda: shown(signed_in), ["Rye bread", "Eggs"])
    assert answers[:2] == [410, 200]


def test_a_write_that_must_wait_does_not_hold_back_changes_of_others(signed_in: "Page", client: httpx.Client) -> None:
    signed_in.route("**/tasks", lambda route: route.fulfill(status=503, json={"title": "Not now", "detail": ""}))
    add(signed_in, MILK)
    signed_in.get_by_text("Waiting here: 1 change.").wait_for()
    make(client, BREAD)
    becomes(signed_in, lambda: shown(signed_in), [BREAD, MILK])
    signed_in.unroute("**/tasks")
    becomes(signed_in, lambda: titles(client), [BREAD, MILK])


def test_waiting_changes_survive_a_reload_and_belong_to_their_user(
    signed_in: "Page", origin: str, api: Server, token: str, client: httpx.Client
) -> None:
    signed_in.route("**/api/**", lambda route: route.abort())
    add(signed_in, MILK)
    signed_in.get_by_text("Waiting here: 1 change.").wait_for()
    signed_in.unroute("**/api/**")
    stranger = token_for("bob")
    sign_in(signed_in, origin, api, stranger)
    add(signed_in, "Bob's")
    toast(signed_in, "Added.")
    signed_in.get_by_role("button", name="Sign out").click()
    sign_in(signed_in, origin, api, token)
    becomes(signed_in, lambda: titles(client), [MILK])
    assert shown(signed_in) == [MILK]


def test_changes_of_others_do_not_disturb_the_users_input(
    signed_in: "Page", other: "Page", client: httpx.Client
) -> None:
    make(client, MILK)
    from_menu(signed_in, MILK, "Add a subtask")
    signed_in.keyboard.insert_text("Which ki")
    make(client, BREAD)
    becomes(signed_in, lambda: shown(signed_in), [MILK, BREAD])
    signed_in.keyboard.insert_text("nd?")
    signed_in.keyboard.press("Enter")
    becomes(signed_in, lambda: shown(signed_in), [MILK, "-Which kind?", BREAD])
    signed_in.get_by_role("button", name=f"More: {BREAD}").click()
    comes_in(signed_in, other, make(client, "Eggs"))
    assert shown(signed_in) == [MILK, "-Which kind?", BREAD]  # while its menu is open
    signed_in.keyboard.press("Escape")
    becomes(signed_in, lambda: shown(signed_in), [MILK, "-Which kind?", BREAD, "Eggs"])
    row(signed_in, "Eggs").locator("[name=open]").hover()
    signed_in.mouse.down()
    comes_in(signed_in, other, make(client, "Tea"))
    signed_in.mouse.up()  # on the same button, so that it is a click
    dialog = signed_in.get_by_role("dialog", name="Edit task")
    dialog.get_by_label("Title").fill("Six eggs")
    comes_in(signed_in, other, make(client, "Rice"))
    dialog.get_by_role("button", name="Save").click()
    becomes(signed_in, lambda: shown(signed_in), [MILK, "-Which kind?", BREAD, "Six eggs", "Tea", "Rice"])
    becomes(signed_in, lambda: signed_in.evaluate("document.activeElement.innerText"), "Six eggs")


def comes_in(page: "Page", other: "Page", task_id: str) -> None:
    """Wait until the one window knows that task, as far as the other can say."""
    other.locator(f"[id='{task_id}']").wait_for()
    page.wait_for_timeout(300)
