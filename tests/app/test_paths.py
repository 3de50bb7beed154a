"""Each resource has one path: other spellings of it, and other methods, are refused in problem+json."""

from typing import Any

import pytest
from asking import Service
from factories import ANN, make_id
from refusals import check_dressed, problem

TASKS = f"/api/{ANN}/tasks"
ALLOWED = {
    TASKS: "GET, HEAD, OPTIONS, POST",
    f"{TASKS}/{{id}}": "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
    f"{TASKS}/{{id}}/complete": "OPTIONS, PATCH",
    "/health/live": "GET, HEAD, OPTIONS",
    "/health/ready": "GET, HEAD, OPTIONS",
    "/metrics": "GET, HEAD, OPTIONS",
    "/openapi.json": "GET, HEAD, OPTIONS",
}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
ODD_METHODS = [
    "FOO",
    "TRACE",
    "CONNECT",
    "get",
    "Get",
    "PROPFIND",
    "QUERY",
    "PRI",
    "M-SEARCH",
    "X" * 500,
    "-",
    "__class__",
]
path = pytest.mark.parametrize("path", ALLOWED)


@path
async def test_an_unsupported_method_gets_405_with_the_allowed_methods(
    service: Service, task: dict[str, Any], path: str
) -> None:
    for method in METHODS + ODD_METHODS:
        answer = await service.ask(method, path.format(**task))
        if method in ALLOWED[path].split(", "):
            assert answer.status_code != 405
            continue
        assert answer.status_code == 405
        assert answer.headers["allow"] == ALLOWED[path]
        if method != "HEAD":
            problem(answer, 405, "method_not_allowed")


@path
async def test_options_lists_the_allowed_methods(service: Service, task: dict[str, Any], path: str) -> None:
    answer = await service.ask("OPTIONS", path.format(**task))
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == ALLOWED[path]
    check_dressed(answer)


@pytest.mark.parametrize("path", [path for path in ALLOWED if "HEAD" in ALLOWED[path]])
async def test_head_answers_as_get_does_without_the_body(service: Service, task: dict[str, Any], path: str) -> None:
    same = {"X-Request-Id": "same"}
    got = await service.ask("GET", path.format(**task), headers=same)
    head = await service.ask("HEAD", path.format(**task), headers=same)
    assert head.status_code == got.status_code == 200
    assert head.content == b""
    volatile = {"ratelimit", "content-length"} if path == "/metrics" else {"ratelimit"}
    assert _without(head, volatile) == _without(got, volatile)
    assert int(got.headers["content-length"]) == len(got.content) > 0


def _without(answer: Any, names: set[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in answer.headers.multi_items() if name not in names]


async def test_a_refused_head_has_no_body(service: Service) -> None:
    for head in (
        await service.ask("HEAD", f"{TASKS}/{make_id(1)}"),
        await service.ask("HEAD", TASKS, user=None),
        await service.ask("HEAD", "/nowhere"),
        await service.ask("HEAD", f"{TASKS}?limit=0"),
    ):
        assert head.content == b""
        assert head.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method", "X-Original-Method"]
)
async def test_a_method_is_not_overridden(service: Service, url: str, name: str) -> None:
    for method in ("GET", "POST"):
        await service.ask(method, url, headers={name: "DELETE"}, body=b"_method=DELETE")
    assert len(await service.tasks_of(ANN)) == 1
    assert (await service.ask("GET", url, headers={name: "DELETE"})).status_code == 200


@pytest.mark.parametrize("name", ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Path", "X-Forwarded-Prefix", "Host"])
async def test_a_path_is_not_rewritten(service: Service, name: str) -> None:
    answer = await service.ask("GET", "/health/live", headers={name: f"/api/{ANN}/tasks"})
    assert answer.text in ('{"status":"live"}', answer.text if name == "Host" else "")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "a b", "", "[::1]", "x,y", "é", "a/b"]
)
async def test_no_answer_quotes_the_host(service: Service, host: str) -> None:
    named = {"Host": host, "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    for answer in (
        await service.ask("POST", TASKS, headers=named, json_={"title": "x"}),
        await service.ask("GET", f"{TASKS}?limit=1", headers=named),
        await service.ask("GET", "/nowhere", headers=named),
    ):
        assert answer.status_code < 500
        assert "evil" not in str(answer.headers) + answer.text


NOWHERE = [
    "", "/api", "/api/ann", "/apis", "/nowhere", "/health", "/health/", "/health/live/", "//health/live", "*",
    "/health//live", "/./health/live", "/health/../health/live", "/health/%2e%2e/health/live", "/health%2flive",
    "/%2fhealth/live", "/Health/live", "/health/live%00", "/health/live%20", "/health/live;x=1", "/health/live\\",
    "/health/%2e/live", "/openapi.json/", "/openapi", "/favicon.ico", "/robots.txt", "/.env", "/.git/config",
    "/admin", "/graphql", "/schema", "/static/x", "/metrics/x", "/etc/passwd", "/%", "/%2", "/%zz", "/%ff", "/%c0%ae",
    "/%ed%a0%80", "/\x00", "/\r\nX: y", "/" + "a" * 60_000, "/" * 60_000, "/" + "a/" * 30_000, "/{user_id}",
    # `/api` has one spelling, or it might be let through unasked.
    "/%61pi/ann/tasks", "/a%70i/ann/tasks", "/%61%70%69/ann/tasks", "/api%2fann%2ftasks", "//api/ann/tasks",
    "/./api/ann/tasks", "/x/../api/ann/tasks", "/API/ann/tasks", "/Api/ann/tasks", "/api;x/ann/tasks",
    "/api%00/ann/tasks", "\\api\\ann\\tasks", "api/ann/tasks", "/%61pi", "/%61pi/-/tasks", "/api%3f/ann/tasks",
]  # fmt: skip


@pytest.mark.parametrize("path", NOWHERE)
async def test_no_other_path_is_served(service: Service, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        problem(await service.ask(method, path, json_={"title": "x"}), 404, "not_found")
        stranger = await service.ask(method, path, user=None, json_={"title": "x"})
        problem(stranger, 401 if path == "/api" or path.startswith("/api/") else 404)
    assert await service.tasks_of(ANN, "-") == []


ELSEWHERE = [
    "/", "//", "/.", "/./", "/..", "/x/..", "/%2e", "/%2e%2e", "/%2E%2E/tasks", "/%2e%2e%2ftasks", "%2f", "%2F", "/%2f",
    "/../tasks", "x", ";x", "%00", "%20", "/{id}/", "//{id}", "/./{id}", "/x/../{id}", "/{id}/.", "/{id}//complete",
    "/{id}/complete/", "/{id}/complete/x", "/{id}/Complete", "/{id}/complet%65%00", "/{id}%2fcomplete", "/%ff",
    "/{id}/%63omplete/..", "/{id}\\complete",
]  # fmt: skip


@pytest.mark.parametrize("below", ELSEWHERE)
async def test_no_other_path_below_tasks_is_served(service: Service, task: dict[str, Any], below: str) -> None:
    before = await service.tasks_of(ANN)
    for method in ("GET", "PATCH", "DELETE", "PUT"):
        problem(await service.ask(method, TASKS + below.format(**task), json_={"title": "y"}), 404)
    assert await service.tasks_of(ANN) == before


IDS = [
    "x", "1", "0", "-1", "null", "undefined", "%00", "%20", "{id}%00", "%00{id}", "{id}%20", "%20{id}", "{id}%0A",
    "urn:uuid:{id}", "%7B{id}%7D", "%7b{hex}%7d", "{hex}", "({id})", "{id}.json", "{id};x", "{id}'--", "*", "%2A",
    "{id},{id}", "%EF%BC%90" + "0" * 35, "%D9%A0" * 36, "0" * 36, "{hex}0000", "-{hex}---", "%", "%zz", "a" * 60_000,
    "{id}{id}", "complete", "~", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "{id}%E2%80%8B",
]  # fmt: skip


@pytest.mark.parametrize("spelling", IDS)
async def test_an_id_in_another_spelling_is_not_found(service: Service, task: dict[str, Any], spelling: str) -> None:
    before = await service.tasks_of(ANN)
    named = spelling.format(id=task["id"], hex=str(task["id"]).replace("-", ""))
    for method, below in (("GET", ""), ("PUT", ""), ("PATCH", ""), ("PATCH", "/complete"), ("DELETE", "")):
        answer = await service.ask(method, f"{TASKS}/{named}{below}", json_={"title": "y"})
        problem(answer, 404, "task_not_found")
    assert await service.tasks_of(ANN) == before


async def test_unnecessary_percent_encoding_gives_the_same_path(service: Service, task: dict[str, Any]) -> None:
    encoded = "".join(f"%{ord(char):02x}" for char in str(task["id"]))
    assert (await service.ask("GET", f"/api/%61nn/t%61sks/{encoded}")).json() == task


@pytest.mark.parametrize("segment", ["a", "%41", "!", "%FF", ""])
async def test_a_path_of_thousands_of_segments_is_refused_without_being_read(service: Service, segment: str) -> None:
    for user, start in ((None, ""), (ANN, f"/api/{ANN}")):
        answer = await service.ask("GET", start + f"/{segment}" * 10_000, user=user)
        assert problem(answer, 404, "not_found")["detail"].endswith("it has too many segments.")
