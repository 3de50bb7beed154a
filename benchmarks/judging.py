"""What the soak checks in each answer, and the form of a refusal (RFC 9457)."""

import json
from collections import Counter

from benchmarks.http1 import Answer

Tally = Counter[tuple[str, int]]
"""How often which kind of request was answered with which status; 0 stands for no answer, where none was wanted."""


class WrongAnswer(Exception):
    """The service did not do what the model says that it must: this ends the soak."""


def require(holds: object, answer: Answer, expected: object) -> None:
    """Raise `WrongAnswer` unless it holds."""
    if not holds:
        raise WrongAnswer(f"expected {expected}, got {answer.status} {answer.body[:2000]!r} with {answer.head!r}")


def require_problem(answer: Answer, statuses: set[int], code: str | None = None) -> None:
    """The refusal has one of these statuses, and the form that every refusal must have."""
    require(answer.status in statuses, answer, f"{sorted(statuses)} {code or ''}")
    require(answer.field("content-type") == "application/problem+json", answer, "problem+json")
    body = json.loads(answer.body)
    require(body["status"] == answer.status, answer, "the status in the body too")
    require(code is None or body["code"] == code, answer, code)
    require(body["type"] == f"urn:todo:problem:{body['code']}", answer, "a type by the code")
    require(body["request_id"] == answer.field("x-request-id"), answer, "the request's own id")
    require(bool(body.get("errors")) == (body["code"] == "invalid_input"), answer, "the faults, where there are any")
    if answer.status == 401:
        require((answer.field("www-authenticate") or "").startswith("Bearer"), answer, "a challenge")
    if answer.status == 429:
        require(1 <= int(answer.field("retry-after") or 0) <= 3600, answer, "when to come again")
