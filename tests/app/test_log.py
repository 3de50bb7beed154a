"""The log: one line of JSON a request, whatever is in the request, and nothing of what users write."""

import json
from datetime import datetime
from typing import Any

import pytest
from asking import Service
from factories import ANN, BOB

TASKS = f"/api/{ANN}/tasks"
MEMBERS = {"time", "level", "event", "method", "route", "status", "ms", "user", "request_id"}
ODD = '\r\n{"event":"request","status":200}\r\n'


async def test_a_request_is_told_in_one_line(service: Service) -> None:
    answer = await service.ask("POST", TASKS, json_={"title": "x"})
    (line,) = service.log()
    assert set(line) == MEMBERS
    assert datetime.fromisoformat(line["time"]).tzinfo is not None
    assert 0 <= line["ms"] < 10_000
    assert line["request_id"] == answer.headers["x-request-id"]
    told = [line[name] for name in ("event", "level", "method", "route", "status", "user")]
    assert told == ["request", "info", "POST", "/api/{user_id}/tasks", 201, ANN]


@pytest.mark.parametrize(
    ("method", "path", "user", "route", "status"),
    [
        ("GET", f"{TASKS}?q=x", ANN, "/api/{user_id}/tasks", 200),
        ("HEAD", TASKS, ANN, "/api/{user_id}/tasks", 200),
        ("GET", f"{TASKS}/x", ANN, "/api/{user_id}/tasks/{task}", 404),
        ("PATCH", f"{TASKS}/x/complete", ANN, "/api/{user_id}/tasks/{task}/complete", 404),
        ("GET", "/health/live", None, "/health/live", 200),
        ("GET", "/nowhere", None, None, 404),
        ("GET", TASKS, None, None, 401),
        ("GET", f"/api/{BOB}/tasks", ANN, None, 403),
        ("GET", f"{TASKS}/", ANN, None, 404),
    ],
)
async def test_the_route_is_told_by_its_template(
    service: Service, method: str, path: str, user: str | None, route: str | None, status: int
) -> None:
    await service.ask(method, path, user=user)
    (line,) = service.log()
    assert [line[name] for name in ("method", "route", "status", "user")] == [method, route, status, user]


WORDS = "s3cr3t-"
LEAKS: list[dict[str, Any]] = [
    {"path": f"{TASKS}/{WORDS}"},
    {"path": f"/{WORDS}"},
    {"path": f"/api/{WORDS}/tasks"},
    {"path": f"{TASKS}?q={WORDS}"},
    {"path": f"{TASKS}?{WORDS}=1"},
    {"path": f"{TASKS}?cursor={WORDS}"},
    {"method": "POST", "json_": {"title": WORDS, "description": WORDS}},
    {"method": "POST", "json_": {"title": WORDS + "\x00"}},
    {"method": "POST", "json_": {WORDS: 1}},
    {"method": "POST", "body": WORDS.encode()},
    {"method": "POST", "body": b"{}", "type_": WORDS},
    {"headers": {"Authorization": f"Bearer {WORDS}"}},
    {"headers": {"Authorization": f"Basic {WORDS}"}},
    {"headers": {"Cookie": WORDS, "User-Agent": WORDS, "Referer": WORDS, "X-Forwarded-For": WORDS, "Host": WORDS}},
    {"headers": {"Origin": f"https://{WORDS}.example"}},
    {"headers": {"If-Match": f'"{WORDS}"'}, "method": "DELETE", "path": f"{TASKS}/x"},
    {"headers": {"X-Request-Id": f"{WORDS}\r\n"}},
]


@pytest.mark.parametrize("request_", LEAKS)
async def test_the_log_holds_nothing_that_was_sent(service: Service, request_: dict[str, Any]) -> None:
    request_ = {"method": "GET", "path": TASKS, **request_}
    await service.ask(request_.pop("method"), request_.pop("path"), **request_)
    (line,) = service.log()
    assert line["event"] == "request"
    text = service.raw_log().decode()
    assert "s3cr3t" not in text
    assert service.token(ANN) not in text
    assert "Bearer" not in text


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        (f"GET{ODD}", "/health/live", {}),
        ("GET\u2028", f"/health/live{ODD}", {}),
        ("GET", f"{TASKS}/{ODD}", {}),
        ("GET", f"{TASKS}?q={ODD}", {}),
        ("GET", TASKS, {"X-Request-Id": ODD}),
        ("GET", TASKS, {"User-Agent": ODD}),
        ("\x1b[2J\x00\x7f", "/%0d%0a%7b%7d", {}),
    ],
)
async def test_nobody_writes_lines_of_their_own(
    service: Service, method: str, path: str, headers: dict[str, str]
) -> None:
    await service.ask(method, path, headers=headers)
    raw = service.raw_log()
    assert raw.count(b"\n") == 1
    assert b"\r" not in raw
    assert json.loads(raw)["method"] == method


@pytest.mark.parametrize(
    "user", ["a\u2028b", "</script>", '","status":500,"x":"', "\\", "😀", "\u202e", "%0d%0a", "${x}"]
)
async def test_a_users_name_stays_a_value(service: Service, user: str) -> None:
    await service.ask("GET", "/api/x/tasks", user=user)
    (line,) = service.log()
    assert set(line) == MEMBERS
    assert line["user"] == user
    assert line["status"] == 403


async def test_a_method_that_is_not_unicode_is_told_all_the_same(service: Service) -> None:
    await service.ask("G\ud800T", "/health/live")
    assert service.log()[0]["method"] == "G\\ud800T"


async def test_a_closed_connection_is_no_bug(service: Service) -> None:
    answer = await service.ask("POST", TASKS, body=[b'{"ti', None])  # type: ignore[list-item]
    assert answer.status_code == 400
    assert [line["event"] for line in service.log()] == ["request"]
