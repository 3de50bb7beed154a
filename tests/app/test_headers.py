"""The headers of every answer: security headers, request id, and CORS for configured origins only."""

import re
from typing import Any

import pytest
from asking import NO_HOST, ORIGIN, Service, ask, make_service
from factories import ANN
from refusals import check_dressed, problem

TASKS = f"/api/{ANN}/tasks"
EXPOSED = {
    "Change", "ETag", "Idempotency-Replayed", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After",
    "WWW-Authenticate", "X-Request-Id",
}  # fmt: skip
ANSWERS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", TASKS, {"json_": {"title": "x"}}),
    ("GET", TASKS, {}),
    ("HEAD", TASKS, {}),
    ("OPTIONS", TASKS, {}),
    ("OPTIONS", TASKS, {"headers": {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}}),
    ("OPTIONS", TASKS, {"headers": {"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"}}),
    ("GET", "/nowhere", {}),
    ("FOO", "/health/live", {}),
    ("GET", f"{TASKS}/x", {}),
    ("GET", TASKS, {"user": None}),
    ("GET", "/api/bob/tasks", {}),
    ("GET", "/health/live", {}),
    ("GET", "/health/ready", {}),
    ("GET", "/metrics", {}),
    ("GET", "/openapi.json", {}),
]


@pytest.mark.parametrize(("method", "path", "request_"), ANSWERS)
async def test_every_answer_has_the_security_headers(service: Service, method: str, path: str, request_: Any) -> None:
    answer = await service.ask(method, path, **request_)
    check_dressed(answer)
    private = path == TASKS and answer.status_code in {200, 201}
    public = path == "/openapi.json"
    assert answer.headers["cache-control"] == (
        "private, no-cache, no-transform" if private else "no-cache" if public else "no-store"
    )


@pytest.mark.parametrize("own", ["a", "0", "A-Za.z_9", "x" * 64, "01a20b6c-ddca-713b-903f-65c6d3c7f2c5", "..", "-"])
async def test_a_callers_request_id_is_kept(service: Service, own: str) -> None:
    for path in (TASKS, "/nowhere"):
        answer = await service.ask("GET", path, headers={"X-Request-Id": own})
        assert answer.headers.get_list("x-request-id") == [own]
    assert [line["request_id"] for line in service.log()] == [own, own]
    assert answer.json()["request_id"] == own


@pytest.mark.parametrize(
    "own",
    [
        b"", b"x" * 65, b"a b", b"a\r\nSet-Cookie: x=1", b"a\nb", b"a\n", b"a\x00", b"\xc3\xa9", b"\xff", b'"a"',
        b"a;b",
        b"a,b", b"<script>", b"${jndi:ldap://x}", b"a/b", b"%0d%0a", b" a", b"a ", b"{}", b"=cmd", "١".encode(),
    ],
)  # fmt: skip
async def test_an_invalid_request_id_is_replaced(service: Service, own: bytes) -> None:
    answer = await service.ask("GET", "/nowhere", headers=[(b"x-request-id", own)])
    (given,) = answer.headers.get_list("x-request-id")
    assert re.fullmatch("[0-9a-f]{24}", given)
    assert "set-cookie" not in answer.headers
    assert service.log()[0]["request_id"] == given


async def test_two_request_ids_are_replaced(service: Service) -> None:
    answer = await service.ask("GET", "/nowhere", headers=[(b"x-request-id", b"a"), (b"x-request-id", b"b")])
    assert answer.headers["x-request-id"] not in {"a", "b"}


async def test_request_ids_differ(service: Service) -> None:
    assert len({(await service.ask("GET", "/nowhere")).headers["x-request-id"] for _ in range(50)}) == 50


@pytest.mark.parametrize("path", [TASKS, f"{TASKS}/x", "/nowhere", "/health/live"])
@pytest.mark.parametrize("user", [ANN, None])
async def test_pages_of_allowed_origins_may_read_answers(service: Service, path: str, user: str | None) -> None:
    answer = await service.ask("GET", path, user=user, headers={"Origin": ORIGIN})
    assert answer.headers.get_list("access-control-allow-origin") == [ORIGIN]
    assert {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")} == EXPOSED
    assert answer.headers.get_list("access-control-allow-credentials") == ["true"]
    check_dressed(answer)


STRANGERS = [
    "null", "*", "", "https://evil.example", "https://app.example.evil.example", "https://evilapp.example",
    "https://app.exampl", "https://app.example:443", "https://app.example:8443", "http://app.example", "app.example",
    "https://app.example/", "https://app.example.", "https://APP.example", "HTTPS://app.example",
    "https://x@app.example",
    "https://app.example https://evil.example", "https://app.example, https://evil.example", "https://app.example\x00",
    "https://a.app.example", "https://app\u3002example", "file://", "https://xn--app.example", "https://app.example#",
]  # fmt: skip


@pytest.mark.parametrize("origin", STRANGERS)
async def test_pages_of_other_origins_may_not_read_answers(service: Service, origin: str) -> None:
    for path in (TASKS, "/nowhere"):
        answer = await service.ask("GET", path, headers={"Origin": origin})
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        check_dressed(answer)
    asking = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    answer = await service.ask("OPTIONS", TASKS, user=None, headers=asking)
    problem(answer, 403, "origin_not_allowed")
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert "evil" not in answer.text


async def test_two_origin_headers_are_not_allowed(service: Service) -> None:
    answer = await service.ask("GET", TASKS, headers=[(b"origin", ORIGIN.encode()), (b"origin", ORIGIN.encode())])
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", [TASKS, f"{TASKS}/x", "/api/bob/tasks", "/nowhere"])
async def test_a_preflight_from_an_allowed_origin_needs_no_token(service: Service, path: str) -> None:
    asking = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization,content-type,if-match",
    }
    answer = await service.ask("OPTIONS", path, user=None, headers=asking)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers.get_list("access-control-allow-origin") == [ORIGIN]
    methods = {name.strip() for name in answer.headers["access-control-allow-methods"].split(",")}
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= methods
    assert answer.headers["access-control-allow-headers"] == asking.pop("Access-Control-Request-Headers")
    answer = await service.ask("OPTIONS", path, user=None, headers=asking)
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    own = {"authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "last-event-id"}
    own |= {"merge-base", "time-zone", "x-request-id"}
    mcp = {"mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id"}
    assert allowed == own | mcp
    assert answer.headers.get_list("access-control-allow-credentials") == ["true"]
    assert int(answer.headers["access-control-max-age"]) > 0
    check_dressed(answer)


@pytest.mark.parametrize(
    ("asked", "is_allowed"),
    [
        ("traceparent, baggage,sentry-trace", True), ("x-datadog-trace-id,b3, X-PostHog-Session-Id", True),
        ("*", True), ("a: b", False), ('"a"', False), ("é", False), ("a" * 3000, False),
    ],
)  # fmt: skip
async def test_a_preflight_allows_whatever_headers_libraries_add(
    service: Service, asked: str, is_allowed: bool
) -> None:
    asking = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": asked}
    answer = await service.ask("OPTIONS", TASKS, user=None, headers=asking)
    assert answer.status_code == 204
    assert (answer.headers["access-control-allow-headers"] == asked) is is_allowed
    assert "Authorization" in answer.headers["access-control-allow-headers"] or is_allowed


@pytest.mark.parametrize("origin", ["capacitor://localhost", "tauri://localhost", "chrome-extension://abcdefgh"])
async def test_apps_made_of_web_pages_may_be_allowed(origin: str) -> None:
    service = make_service(cors_origins=(ORIGIN, origin))
    asking = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    for answer in (
        await service.ask("GET", TASKS, headers={"Origin": origin}),
        await service.ask("OPTIONS", TASKS, user=None, headers=asking),
    ):
        assert answer.status_code < 300
        assert answer.headers.get_list("access-control-allow-origin") == [origin]
    for other in (origin.upper(), origin + "x", "capacitor://other"):
        answer = await service.ask("GET", TASKS, headers={"Origin": other})
        assert "access-control-allow-origin" not in answer.headers


HOSTS = [
    [NO_HOST], [(b"host", b"")], [(b"host", b"a"), (b"host", b"b")], [(b"host", b"a"), (b"host", b"a")],
    [(b"host", b"a, b")], [(b"host", b""), (b"host", b"")],
    *([(b"host", host)] for host in (b"@", b"u:p@h", b"a b", b"a/b", b"[::1", b"::1", b"a:b", b"\xc3\xbc", b"a" * 300)),
]  # fmt: skip


@pytest.mark.parametrize("hosts", HOSTS)
async def test_a_request_names_one_host(service: Service, hosts: list[tuple[bytes, bytes]]) -> None:
    for method, path in (("GET", "/health/live"), ("POST", TASKS), ("OPTIONS", TASKS), ("GET", "/nowhere")):
        answer = await service.ask(method, path, headers=hosts, json_={"title": "x"})
        problem(answer, 400, "malformed_request")
    assert await service.tasks_of(ANN) == []


async def test_http_1_0_needs_no_host(service: Service) -> None:
    answer = await ask(service.app, "GET", b"/health/live", [NO_HOST], version="1.0")
    assert answer.status_code == 200


async def test_only_configured_origins_are_allowed_and_none_if_none_is() -> None:
    service = make_service(cors_origins=())
    answer = await service.ask("GET", TASKS, headers={"Origin": ORIGIN})
    assert "access-control-allow-origin" not in answer.headers
