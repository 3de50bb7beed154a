"""The documentation at /docs, without a browser: public, compressed, cached, and limited to this origin."""

import re
from pathlib import Path

import pytest
from asking import Service, make_service
from refusals import check_dressed, problem

from todo_adapters.jwt_identity.bearer import HEADER_BYTES
from todo_adapters.rate_limit import memory
from todo_app import server
from todo_app.api import batch
from todo_app.http import headers, reading, turns
from todo_app.http.docs import PAGE_POLICY
from todo_app.http.live import STREAMS_MAX
from todo_app.http.problems import MAX_FAULTS
from todo_app.mcp.schema import THINGS_MAX
from todo_app.settings import Settings
from todo_core import LISTS_MAX
from todo_core.families import LEVELS_MAX
from todo_core.idempotency import KEY_LENGTH
from todo_core.queries import PAGE_MAX, SEARCH_LENGTH
from todo_core.use_cases.batch import BATCH_MAX

PAGE = "/docs"
SECURITY = Path(__file__).parents[2] / "docs/security.md"
PARTS = {
    PAGE: "text/html; charset=utf-8",
    "/docs/start.js": "text/javascript; charset=utf-8",
    "/docs/look.css": "text/css; charset=utf-8",
    "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "/docs/swagger-ui.css": "text/css; charset=utf-8",
    "/openapi.json": "application/json",
}


@pytest.mark.parametrize(("path", "media_type"), PARTS.items())
async def test_every_part_needs_no_token_and_is_asked_for_again_only_if_it_changed(
    service: Service, path: str, media_type: str
) -> None:
    answer = await service.ask("GET", path, user=None, headers={"Accept-Encoding": "gzip, br"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["cache-control"] == "no-cache"
    assert "Accept-Encoding" in answer.headers.get_list("vary")
    check_dressed(answer, **{} if path == "/openapi.json" else {"content_security_policy": PAGE_POLICY})
    again = {"Accept-Encoding": "gzip", "If-None-Match": f'"x", {answer.headers["etag"]}'}
    unchanged = await service.ask("GET", path, user=None, headers=again)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == answer.headers["etag"]
    for tags in ("*", f'W/{answer.headers["etag"]} ,"x"'):
        known = await service.ask("GET", path, user=None, headers={"If-None-Match": tags} | {"Accept-Encoding": "gzip"})
        assert known.status_code == 304
    changed = await service.ask("GET", path, user=None, headers={"If-None-Match": '"x"'})
    assert changed.status_code == 200
    head = await service.ask("HEAD", path, user=None, headers={"Accept-Encoding": "gzip"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == answer.headers["content-length"]


async def test_headers_that_take_long_to_read_are_ignored(service: Service) -> None:
    etag = (await service.ask("GET", PAGE, user=None)).headers["etag"]
    headers = {"Accept-Encoding": "br, " * 256 + "gzip", "If-None-Match": "," * 1024 + etag}
    answer = await service.ask("GET", PAGE, user=None, headers=headers)
    assert (answer.status_code, answer.headers.get("content-encoding")) == (200, None)


@pytest.mark.parametrize("accepted", [None, "", "br", "identity", "gzip;q=0", "gzip; q=0.000", "xgzip", "gzip;q=0, br"])
async def test_clients_that_do_not_accept_gzip_get_the_page_uncompressed(
    service: Service, accepted: str | None
) -> None:
    plain = await service.ask("GET", PAGE, user=None, headers={} if accepted is None else {"Accept-Encoding": accepted})
    zipped = await service.ask("GET", PAGE, user=None, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert plain.text == zipped.text
    assert plain.headers["etag"] != zipped.headers["etag"]


@pytest.mark.parametrize("accepted", ["gzip", "GZIP", "br, gzip", "deflate, gzip;q=1.0, *;q=0.5", "gzip;q=0.001"])
async def test_clients_that_accept_gzip_get_gzip(service: Service, accepted: str) -> None:
    answer = await service.ask("GET", PAGE, user=None, headers={"Accept-Encoding": accepted})
    assert answer.headers["content-encoding"] == "gzip"


def test_the_page_policy_allows_only_its_own_origin() -> None:
    assert {name: sources for name, *sources in (directive.split() for directive in PAGE_POLICY.split(";"))} == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }


async def test_the_document_on_security_names_the_policies_that_are_sent(service: Service) -> None:
    sent = {(await service.ask("GET", path)).headers["content-security-policy"] for path in (PAGE, "/health/live")}
    named = re.findall(r"^\| .+? \| `(default-src [^`]+)` \|", SECURITY.read_text(), re.MULTILINE)
    assert {*named} == sent


def test_the_limits_in_the_document_on_security_are_those_of_the_code() -> None:
    defaults = Settings.read({})
    tasks = f"{defaults.tasks_per_user:_}".replace("_", " ")
    limits = {
        "request head": f"{server.HEAD_BYTES // 1024} KiB",
        "body; its nesting": f"{reading.BODY_MAX // 1024} KiB; {reading.DEPTH_MAX} levels; "
        f"the body of a batch {batch.BODY_MAX // 1024**2} MiB, {BATCH_MAX} operations",
        "`Authorization`": f"{HEADER_BYTES // 1024} KiB",
        "`If-Match`, `If-None-Match`": f"{headers.TAGS_HEADER_MAX} characters, {headers.TAGS_MAX} entity tags",
        "`Idempotency-Key`": f"{headers.KEY_HEADER_MAX} bytes, a key of {KEY_LENGTH} characters",
        "query parameters; `q`; `limit`": f"40; {SEARCH_LENGTH} characters, also when folded; {PAGE_MAX}",
        "tasks; lists of a user": f"`TODO_TASKS_PER_USER`, {tasks}; {LISTS_MAX}",
        "levels of tasks, the top level included": f"{LEVELS_MAX}",
        "tasks or changes in one call of a tool": f"{THINGS_MAX}",
        "event streams of a user, in each process": f"{STREAMS_MAX}",
        "faults named in one 422 or `undo_conflict`": f"{MAX_FAULTS}",
        "time for a head, and idle time": f"`TODO_KEEP_ALIVE`, {defaults.keep_alive} s",
        "time for a body": f"{reading.BODY_SECONDS:.0f} s",
        "requests of a user": f"`TODO_RATE_LIMIT`, {defaults.rate_limit}",
        "requests of a user at a time, in each process": f"{defaults.concurrent_requests_per_user}, and "
        f"{defaults.waiting_requests_per_user} waiting for up to {turns.WAIT_SECONDS:.0f} s",
        "bad tokens of an address, in each process": f"`TODO_BAD_TOKEN_LIMIT`, {defaults.bad_token_limit}",
        "waiting for the database; a statement": f"`TODO_DATABASE_TIMEOUT`, {defaults.database_timeout:g} s each",
    }
    text = SECURITY.read_text()
    assert f"counts {memory.KEYS_MAX // 1000} 000 addresses" in text
    assert not [(what, limit) for what, limit in limits.items() if f"\n| {what} | {limit}" not in text]


async def test_the_page_refers_only_to_files_served_with_it(service: Service) -> None:
    page = (await service.ask("GET", PAGE, user=None)).text
    named = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page)
    assert {f"/{name}" for name in named} == PARTS.keys() - {PAGE}
    assert not re.search(r"<script>|<style|style=|\son\w+=", page)


@pytest.mark.parametrize("path", ["/docs/", "/docs/x", "/docs/swagger-ui.css.gz", "/docs/page.html", "/docs/../docs"])
async def test_no_other_path_below_docs_is_served(service: Service, path: str) -> None:
    answer = await service.ask("GET", path, user=None)
    problem(answer, 404, "not_found")


@pytest.mark.parametrize(("public_url", "docs"), [(None, "/docs"), ("https://example.org/todo/", "/todo/docs")])
async def test_the_root_redirects_to_the_documentation(public_url: str | None, docs: str) -> None:
    service = make_service(public_url=public_url)
    for method in ("GET", "HEAD"):
        answer = await service.ask(method, "/", user=None)
        assert (answer.status_code, answer.headers["location"], answer.content) == (307, docs, b"")
        check_dressed(answer)
    problem(await service.ask("POST", "/", user=None), 405, "method_not_allowed")


async def test_the_page_is_only_read(service: Service) -> None:
    answer = await service.ask("POST", PAGE, user=None)
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
