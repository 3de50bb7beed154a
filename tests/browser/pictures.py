"""Takes the README's pictures anew: `nox -s browser -- tests/browser/pictures.py` writes them into `docs`."""

from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from serving import Server, token_for

if TYPE_CHECKING:
    from playwright.sync_api import Page

DOCS = Path(__file__).parents[2] / "docs"
MAX_BYTES = 150_000
TASKS = [
    {"title": "Plan the garden party", "due_date": "2027-06-12", "priority": "high", "tags": ["home"]},
    {"title": "Water the tomatoes", "due_date": "2027-06-01", "recurrence": "FREQ=DAILY"},
    {"title": "Book a band", "tags": ["music"], "completed": True},
    {"title": "Call the caterer", "due_date": "2027-05-20T10:00", "time_zone": "Europe/Madrid", "priority": "medium"},
]
SUBTASKS = ["Invite the neighbours", "Borrow chairs"]

pytestmark = pytest.mark.timeout(300)


def take(page: "Page", name: str) -> None:
    path = DOCS / name
    page.screenshot(path=path)
    assert path.stat().st_size <= MAX_BYTES


def test_picture_of_the_example_page(page: "Page", origin: str, api: Server) -> None:
    token = token_for("ann")
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{api.url}/api/ann", headers=headers, timeout=20) as client:
        for name in ("Groceries", "Work"):
            client.post("/lists", json={"name": name}).raise_for_status()
        for task in TASKS:
            made = client.post("/tasks", json=task).raise_for_status().json()
            for title in SUBTASKS if task is TASKS[0] else []:
                client.post("/tasks", json={"title": title, "parent_id": made["id"]}).raise_for_status()
    page.set_viewport_size({"width": 900, "height": 620})
    page.goto(f"{origin}/page.html")
    page.get_by_label("Address of the API").fill(api.url)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text(SUBTASKS[-1]).wait_for()
    take(page, "page.png")


def test_picture_of_the_documentation(page: "Page", api: Server) -> None:
    page.set_viewport_size({"width": 900, "height": 620})
    page.goto(f"{api.url}/docs")
    page.locator(".opblock").first.wait_for()
    page.locator(".opblock-tag").first.evaluate("tag => tag.scrollIntoView()")
    take(page, "docs.png")
