"""The page at /docs in a real browser: a person pastes a token and tries every operation."""

import gzip
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from e2e.npm import NEEDS_NODE, installed
from serving import Server

from todo_app.api.openapi import openapi
from todo_app.api.public import PUBLIC
from todo_app.api.subjects import operations

if TYPE_CHECKING:
    from playwright.sync_api import Page

SHIPPED = Path(__file__).parents[2] / "src/todo_app/http/swagger_ui"
# What a person tries: the creation first, then all that needs the task, its deletion, and what becomes of it then.
_METHODS = ["POST", "GET", "PUT", "PATCH", "DELETE"]
_TRIED = sorted(operations(), key=lambda each: (each.tag != "tasks", _METHODS.index(each.method)))
# Not tried: the task that the page has made does not recur (tests/app/test_recurring_over_http.py asks for each), and
# Swagger UI shows an answer when it has ended, which a stream of events does not.
UNTRIED = {operation.id for operation in _TRIED if operation.tag == "recurring tasks"} | {"followChanges"}
SUCCESS = {each.id: next(iter(each.answers)) for each in _TRIED if each.id not in UNTRIED} | {
    public.id: 200 for public in PUBLIC
}
TELL_VIOLATIONS = """
  addEventListener("securitypolicyviolation", (event) => violated(`${event.violatedDirective} ${event.blockedURI}`));
"""
STORED = "[Object.keys(localStorage), Object.keys(sessionStorage), document.cookie]"

pytestmark = pytest.mark.timeout(300)


def test_a_person_pastes_a_token_and_tries_every_operation(page: "Page", api: Server, token: str) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: message.type == "log" or complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(f"{error}"))
    page.expose_function("violated", lambda violation: complaints.append(violation))  # takes no built-in method
    page.add_init_script(TELL_VIOLATIONS)
    page.goto(f"{api.url}/docs")
    authorize(page, token)
    assert {operation: tried(page, operation) for operation in SUCCESS} == SUCCESS
    assert complaints == []
    assert {"{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in asked} == {api.url}
    assert page.evaluate(STORED) == [[], [], ""]  # a closed tab forgets the token
    assert token not in api.log().decode()
    refused(page)  # last: the browser itself complains of a 404


def authorize(page: "Page", token: str) -> None:
    page.get_by_role("button", name="Authorize").first.click()
    page.locator(".auth-container input").fill(token)
    page.locator(".auth-container button[type=submit]").click()
    page.locator(".btn-done").click()


def tried(page: "Page", operation: str) -> int:
    """The status that the page shows after that operation was tried on it."""
    from playwright.sync_api import expect

    block = page.locator(f".opblock[id$='-{operation}']")
    block.locator(".opblock-summary-control").click()
    block.locator(".btn.execute").wait_for()
    for row in block.locator("tr:has(.parameter__name.required)").all():
        expect(row.locator("input")).not_to_have_value("")  # the page fills it in later; without it, it asks nothing
    block.locator(".btn.execute").click()
    status = block.locator(".live-responses-table tbody .response-col_status").inner_text()
    block.locator(".opblock-summary-control").click()
    return int(status.split()[0])


def refused(page: "Page") -> None:
    """A refusal is shown in the page."""
    page.locator(".opblock[id$='-getTask'] .opblock-summary-control").click()
    page.get_by_placeholder("task_id").fill("019a540b-b400-7cc3-98c4-dc0c0c07398e")
    page.locator(".btn.execute").click()
    page.locator(".live-responses-table").get_by_text("task_not_found").first.wait_for()


def test_every_operation_of_the_document_is_tried() -> None:
    assert {
        operation["operationId"]
        for item in openapi()["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    } == SUCCESS.keys() | UNTRIED


@NEEDS_NODE
def test_the_shipped_swagger_ui_files_equal_those_from_npm(request: pytest.FixtureRequest) -> None:
    """The package-lock's integrity hash, which npm has checked, holds for these bytes."""
    source = Path(__file__).with_name("docs_page")
    package = installed(request.config, source) / "node_modules/swagger-ui-dist"
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert gzip.decompress((SHIPPED / f"{name}.gz").read_bytes()) == (package / name).read_bytes()
    for name in ("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"):
        assert (SHIPPED / name).read_bytes() == (package / name).read_bytes()
