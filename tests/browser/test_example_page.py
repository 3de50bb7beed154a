"""`examples/page.html` in a browser, on another origin than the API: what a person sees when they use it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest
from serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

MILK, BREAD, HOSTILE = "Buy oat milk", "Bread 🍞", "<img src=x onerror=document.title='robbed'>"
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def client(api: Server, owner: str, token: str) -> Iterator[httpx.Client]:
    """Somebody who does things with the same tasks meanwhile."""
    url = f"{api.url}/api/{owner.replace('/', '%2F')}"
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20) as client:
        yield client


def sign_in(page: "Page", origin: str, api: Server, token: str) -> None:
    page.goto(f"{origin}/page.html")
    page.get_by_label("Address of the API").fill(api.url)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()


@pytest.fixture
def signed_in(page: "Page", origin: str, api: Server, token: str) -> "Page":
    sign_in(page, origin, api, token)
    page.get_by_role("button", name="Add").wait_for()
    return page


def add(page: "Page", title: str) -> None:
    page.get_by_label("Title", exact=True).fill(title)
    page.get_by_role("button", name="Add").click()


def row(page: "Page", title: str) -> "Locator":
    found = page.get_by_role("listitem").filter(has_text=title)
    found.wait_for()
    return found


def complaint(page: "Page") -> str:
    shown = page.get_by_role("alert").filter(has_text=".")
    shown.wait_for()
    return shown.inner_text()


def test_a_person_adds_does_edits_and_deletes_tasks(signed_in: "Page", client: httpx.Client) -> None:
    for title in (MILK, HOSTILE):
        add(signed_in, title)
        row(signed_in, title)
    row(signed_in, MILK).get_by_role("checkbox").click()
    row(signed_in, MILK).get_by_role("checkbox", checked=True).wait_for()
    row(signed_in, MILK).get_by_role("button", name="Edit").click()
    signed_in.get_by_label("New title").fill(BREAD)
    signed_in.get_by_label("New description").fill("rye\nsliced")
    signed_in.get_by_role("button", name="Save").click()
    row(signed_in, BREAD)
    row(signed_in, HOSTILE).get_by_role("button", name="Delete").click()
    signed_in.wait_for_function("document.querySelectorAll('li').length === 1")
    (kept,) = client.get("/tasks").json()["items"]
    assert (kept["title"], kept["description"], kept["completed"]) == (BREAD, "rye\nsliced", True)
    assert signed_in.title() == "Tasks"
    assert signed_in.get_by_role("alert").inner_text() == ""


def test_more_shows_the_next_page_until_there_is_none(
    page: "Page", origin: str, api: Server, token: str, client: httpx.Client
) -> None:
    titles = [f"Task {number:02}" for number in range(51)]
    for title in titles:
        client.post("/tasks", json={"title": title}).raise_for_status()
    sign_in(page, origin, api, token)
    row(page, titles[-1])
    assert page.get_by_role("listitem").count() == 50
    page.get_by_role("button", name="More").click()
    row(page, titles[0])
    assert page.locator("li span").all_inner_texts() == titles[::-1]
    assert page.get_by_role("button", name="More").count() == 0


def test_a_refusal_is_shown_as_the_api_words_it(signed_in: "Page") -> None:
    add(signed_in, "x" * 201)
    assert complaint(signed_in).splitlines() == [
        "The request breaks a rule.",
        "title must be 1 to 200 characters, not all blank, without control characters",
    ]
    add(signed_in, MILK)  # and is gone when something else succeeds
    row(signed_in, MILK)
    assert signed_in.get_by_role("alert").inner_text() == ""


def test_what_others_changed_meanwhile_is_not_overwritten(signed_in: "Page", client: httpx.Client) -> None:
    add(signed_in, MILK)
    row(signed_in, MILK)
    (task,) = client.get("/tasks").json()["items"]
    client.patch(f"/tasks/{task['id']}", json={"title": BREAD}).raise_for_status()
    row(signed_in, MILK).get_by_role("button", name="Edit").click()
    signed_in.get_by_role("button", name="Save").click()
    assert complaint(signed_in).startswith("The task has changed meanwhile.")
    row(signed_in, MILK).get_by_role("button", name="Delete").click()
    assert client.get("/tasks").json()["items"][0]["title"] == BREAD


def test_a_bad_token_is_told(page: "Page", origin: str, api: Server, token: str) -> None:
    sign_in(page, origin, api, "no token")
    assert complaint(page) == "This is not a token."
    sign_in(page, origin, api, token[:-5])
    assert complaint(page).startswith("A valid bearer token is needed.")
    assert not page.get_by_role("button", name="Add").is_visible()


def test_an_origin_that_is_not_allowed_is_told(page: "Page", origin: str, api: Server, token: str) -> None:
    sign_in(page, origin.replace("127.0.0.1", "localhost"), api, token)
    assert "does not allow this page's origin" in complaint(page)
    assert not page.get_by_role("button", name="Add").is_visible()


def test_the_page_asks_nobody_but_its_own_origin_and_the_api(
    page: "Page", origin: str, api: Server, token: str
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    sign_in(page, origin, api, token)
    page.get_by_role("button", name="Add").wait_for()
    assert {url.split("/api/")[0] for url in asked} <= {f"{origin}/page.html", f"{origin}/favicon.ico", api.url}
    assert token not in "".join(asked)
