"""The log: one line of JSON for each request, whatever it contains, and no text of users."""

import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from asking import Service, make_service, token
from clocks import Seconds
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from factories import ANN, BOB

from todo_app import log as module
from todo_app.http.exchange import Exchange
from todo_app.log import QUIET_FOR, Log

TASKS = f"/api/{ANN}/tasks"
MEMBERS = {"time", "level", "event", "method", "route", "status", "ms", "user", "request_id"}
ODD = '\r\n{"event":"request","status":200}\r\n'


async def test_a_request_is_logged_in_one_line(service: Service) -> None:
    answer = await service.ask("POST", TASKS, json_={"title": "x"})
    (line,) = service.log()
    assert set(line) == MEMBERS
    assert datetime.fromisoformat(line["time"]).tzinfo is not None
    assert 0 <= line["ms"] < 10_000
    assert line["request_id"] == answer.headers["x-request-id"]
    logged = [line[name] for name in ("event", "level", "method", "route", "status", "user")]
    assert logged == ["request", "info", "POST", "/api/{user_id}/tasks", 201, ANN]


@pytest.mark.parametrize(
    ("method", "path", "user", "route", "status"),
    [
        ("GET", f"{TASKS}?q=x", ANN, "/api/{user_id}/tasks", 200),
        ("HEAD", TASKS, ANN, "/api/{user_id}/tasks", 200),
        ("GET", f"{TASKS}/x", ANN, "/api/{user_id}/tasks/{task_id}", 404),
        ("PATCH", f"{TASKS}/x/complete", ANN, "/api/{user_id}/tasks/{task_id}/complete", 404),
        ("GET", "/health/live", None, "/health/live", 200),
        ("GET", "/nowhere", None, None, 404),
        ("GET", TASKS, None, None, 401),
        ("GET", f"/api/{BOB}/tasks", ANN, None, 403),
        ("GET", f"{TASKS}/", ANN, None, 404),
    ],
)
async def test_the_route_is_logged_as_a_template(
    service: Service, method: str, path: str, user: str | None, route: str | None, status: int
) -> None:
    await service.ask(method, path, user=user)
    (line,) = service.log()
    assert [line[name] for name in ("method", "route", "status", "user")] == [method, route, status, user]


async def test_the_reason_of_a_401_is_in_the_log_and_not_in_the_answer(service: Service) -> None:
    expired = token(ANN, now=datetime.now(UTC) - timedelta(days=1))
    eddsa = jwt.encode({"sub": ANN}, Ed25519PrivateKey.generate(), "EdDSA")
    reasons = {
        f"Bearer {expired}": "expired",
        f"Bearer {eddsa}": "algorithm not accepted here: EdDSA (BETTER_AUTH_URL is not set)",
        "Bearer s3cr3t": "not a JWT, which has three parts (a session token of Better Auth is not one either)",
        "Basic s3cr3t": "the Authorization header has another scheme than bearer",
    }
    for header, reason in reasons.items():
        answer = await service.ask("GET", TASKS, headers={"Authorization": header})
        assert answer.status_code == 401
        assert answer.json()["detail"] == "A valid bearer token is required."
        assert reason not in answer.text
    await service.ask("GET", TASKS, user=None)
    assert [line["reason"] for line in service.log()] == [*reasons.values(), "no Authorization header"]


async def test_a_flood_of_bad_tokens_is_named_in_the_log() -> None:
    service = make_service(bad_token_limit="1/minute")
    for _ in range(2):
        await service.ask("GET", TASKS, headers={"Authorization": "Bearer x"})
    first, second = service.log()
    assert (first["status"], second["status"]) == (401, 429)
    assert second["reason"].startswith("too many bad tokens from this address")


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
async def test_a_request_cannot_inject_log_lines(
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
async def test_a_user_name_cannot_inject_log_members(service: Service, user: str) -> None:
    await service.ask("GET", "/api/x/tasks", user=user)
    (line,) = service.log()
    assert set(line) == MEMBERS
    assert line["user"] == user
    assert line["status"] == 403


async def test_a_method_that_is_not_unicode_is_logged_escaped(service: Service) -> None:
    await service.ask("G\ud800T", "/health/live")
    assert service.log()[0]["method"] == "G\\ud800T"


async def test_a_closed_connection_is_not_logged_as_a_bug(service: Service) -> None:
    answer = await service.ask("POST", TASKS, body=[b'{"ti', None])  # type: ignore[list-item]
    assert answer.status_code == 400
    assert [line["event"] for line in service.log()] == ["request"]


class OwnLog:
    """A log in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._logs: list[Log] = []
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)

    def at(self, level: str) -> Log:
        self._logs.append(Log(level, self._descriptor))
        return self._logs[-1]

    def lines(self) -> list[dict[str, Any]]:
        for log in self._logs:
            log.flush()
        return [json.loads(line) for line in self._file.read_bytes().splitlines()]

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnLog]:
    made = OwnLog(tmp_path / "log")
    yield made
    made.close()


def an_exchange() -> Exchange:
    return Exchange({"method": "GET", "headers": []}, "id", {})


def test_the_duration_of_a_request_is_logged_in_milliseconds(own: OwnLog) -> None:
    own.at("info").request(an_exchange(), 1.2345678)
    assert [line["ms"] for line in own.lines()] == [1234.568]


def test_requests_are_not_logged_at_level_warning(own: OwnLog) -> None:
    log = own.at("warning")
    log.request(an_exchange(), 0.001)
    log.events.info("unwanted")
    log.rate_limit_store_unavailable(TimeoutError())
    (line,) = own.lines()
    logged = [line[name] for name in ("event", "exception", "message", "consequence")]
    assert logged == ["rate_limit_store_unavailable", "TimeoutError", "no answer in time", "requests are not limited"]


def test_an_outage_of_the_shared_limits_store_is_logged_once_a_minute(
    own: OwnLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Seconds()
    monkeypatch.setattr(module, "monotonic", clock)
    log = own.at("info")
    for moved, count in ((0, 1), (0, 1), (QUIET_FOR - 1, 1), (1, 2), (0, 2)):
        clock.now += moved
        log.rate_limit_store_unavailable(TimeoutError())
        assert len(own.lines()) == count


class _ServerError(Exception):
    """As psycopg's errors: `str` also has the detail, which quotes values."""

    sqlstate = "53300"

    diag = SimpleNamespace(message_primary="too many clients")


CAUSES = [
    (TimeoutError(), ["TimeoutError", None, "no answer in time"]),
    (OSError("connection failed: no route\nhunter2"), ["OSError", None, "connection failed: no route"]),
    (_ServerError("too many clients\nDETAIL: hunter2"), ["_ServerError", "53300", "too many clients"]),
]


@pytest.mark.parametrize(("cause", "logged"), CAUSES)
def test_an_outage_of_the_database_is_logged_with_its_cause(
    own: OwnLog, cause: Exception, logged: list[str | None]
) -> None:
    own.at("warning").database_unavailable(cause)
    (line,) = own.lines()
    assert (line["event"], line["level"]) == ("database_unavailable", "warning")
    assert [line[name] for name in ("exception", "sqlstate", "message")] == logged


def test_each_cause_of_an_outage_is_logged_once_a_minute(own: OwnLog, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Seconds()
    monkeypatch.setattr(module, "monotonic", clock)
    log = own.at("info")
    for moved, count in ((0, 3), (QUIET_FOR - 1, 3), (1, 6)):
        clock.now += moved
        for cause, _ in CAUSES:
            log.database_unavailable(cause)
        assert len(own.lines()) == count


def test_a_library_error_is_logged_with_its_message_and_exception_name(own: OwnLog) -> None:
    handler = module._Adopting(own.at("info"))
    try:
        raise ValueError("hunter2")
    except ValueError as error:
        trouble = (ValueError, error, error.__traceback__)
    handler.handle(logging.LogRecord("a.library", logging.ERROR, __file__, 1, "%s went", ("it",), trouble))
    (line,) = own.lines()
    logged = [line[name] for name in ("event", "logger", "message", "exception")]
    assert logged == ["library", "a.library", "it went", "ValueError"]
    assert "hunter2" not in str(line)
