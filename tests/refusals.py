"""The form of every refusal (RFC 9457), whichever layer refuses."""

import re
from typing import Any

import httpx

CODES = {
    400: {"malformed_request"},
    401: {"not_authenticated"},
    403: {"insufficient_scope", "not_your_path", "origin_not_allowed"},
    404: {"task_not_found", "list_not_found", "not_found", "not_in_trash", "change_not_found"},
    405: {"method_not_allowed"},
    408: {"body_too_slow"},
    409: {"merge_conflict", "task_exists", "too_many", "undo_conflict"},
    410: {"resync_required"},
    412: {"version_conflict"},
    413: {"body_too_large"},
    415: {"unsupported_media_type"},
    422: {"invalid_input", "idempotency_key_reused"},
    429: {"too_many_requests", "too_many_at_once"},
    500: {"internal_error"},
    503: {"identity_unavailable", "store_unavailable"},
}
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}

HEADERS = {  # that a refusal with this status has, and their form
    401: ("www-authenticate", "Bearer.*"),
    405: ("allow", ".+"),
    412: ("etag", ".+"),
    429: ("retry-after", r"\d+"),
    503: ("retry-after", r"\d+"),
}


def check_dressed(answer: httpx.Response, **special: str) -> None:
    """Assert that the answer has what every answer has; `special` are headers that this one has another value of."""
    for name, value in (SECURITY_HEADERS | {name.replace("_", "-"): value for name, value in special.items()}).items():
        assert answer.headers.get_list(name) == [value], name
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert "Origin" in answer.headers.get_list("vary")
    assert len(answer.headers.get_list("cache-control")) == 1


def problem(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The answer's problem, after checking its form."""
    assert answer.status_code == status, answer.text
    check_dressed(answer)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["content-length"]) == len(answer.content)
    body: dict[str, Any] = answer.json()
    members = {"type", "title", "status", "detail", "code", "request_id"}
    assert set(body) == members | (
        {"errors"} if body["code"] in {"invalid_input", "undo_conflict", "merge_conflict"} else set()
    )
    assert body["status"] == status
    assert body["code"] in ({code} if code else CODES[status])
    assert body["type"] == f"urn:todo:problem:{body['code']}"
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["title"]
    assert body["detail"].strip() == body["detail"] != ""
    if body["code"] == "invalid_input":
        assert body["errors"]
        for error in body["errors"]:
            assert set(error) == {"pointer", "detail"}
            assert error["pointer"] == "" or error["pointer"].startswith("/")
            assert error["detail"]
    if status in HEADERS:
        name, form = HEADERS[status]
        assert re.fullmatch(form, answer.headers[name]), name
    return body


def pointers(answer: httpx.Response) -> list[str]:
    """Where the faults of a 422 are."""
    return [error["pointer"] for error in problem(answer, 422)["errors"]]
