"""Arbitrary bytes at every route: never a 5xx, every refusal in problem+json, and a refusal stores nothing."""

from typing import Any

import pytest
from asking import Service
from effort import examples
from factories import ANN, make_id
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from refusals import problem

from todo_core.task import with_line_feeds

# In CI each test asks hundreds of times and reads the log each time: pytest's 120 s are too few on a busy machine, and
# where they run out in the middle of an example, Hypothesis calls the failure flaky.
pytestmark = pytest.mark.timeout(600)
TASKS = f"/api/{ANN}/tasks".encode()
ONE = TASKS + b"/%b"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# What often makes trouble, so that it need not be found by chance.
TROUBLE = [
    b"", b"\x00", b"%00", b"%", b"%ff", b"%2f", b"%2e%2e", b"..", b".", b"/", b"//", b"\xff", b"\xed\xa0\x80",
    b"%ed%a0%80",
    b"\r\n", b"*", b"complete", b"urn:uuid:", b"{", b"}", b"'", b'"', b"\\", b"-1", b"9" * 400, b"null", b"limit",
    b"=", b"&",
    b"?", b"#", b";", b"cursor", b"q", b"sort", b"true", b"[]", b"@", b"\xe2\x80\xa8", b"e\xcc\x81",
]  # fmt: skip
JSON_TROUBLE = [
    b"{", b"}", b"[", b"]", b":", b",", b'"', b'"title"', b'"description"', b'"completed"', b'"version"', b'"id"',
    b'"x"',
    b"true", b"null", b"1", b"1e400", b"-0", b'"\\ud800"', b'"\\u0000"', b'"\n"', b"\xff", b" ", b"[" * 3000,
    b'{"title":"x"}',
]  # fmt: skip
HEADERS = [
    b"content-type", b"content-length", b"content-encoding", b"transfer-encoding", b"if-match", b"if-none-match",
    b"origin",
    b"host", b"x-request-id", b"access-control-request-method", b"x-forwarded-for", b"expect", b"range", b"accept",
    b"x",
]  # fmt: skip

piece = st.sampled_from(TROUBLE) | st.binary(max_size=6)
bytes_ = st.lists(piece, max_size=6).map(b"".join)
bodies = st.one_of(
    st.binary(max_size=40),
    st.lists(st.sampled_from(JSON_TROUBLE), max_size=8).map(b"".join),
    st.sampled_from([b'{"title":"x"}', b'{"completed":true}', b" " * 70_000]),
)
paths = st.one_of(
    st.sampled_from([TASKS, ONE, ONE + b"/complete", b"/health/live", b"/health/ready", b"/openapi.json", b"/metrics"]),
    st.tuples(
        st.sampled_from([b"/", b"/api", b"/api/", b"/api/" + ANN.encode(), TASKS, TASKS + b"/", ONE, b"/docs"]), bytes_
    ).map(b"".join),
    bytes_,
)
header = st.tuples(
    st.sampled_from(HEADERS) | st.binary(max_size=4).map(bytes.lower),
    bytes_
    | st.sampled_from([b"application/json", b"application/merge-patch+json", b'"1"', b"*", b"W/", b"gzip", b"13"]),
)
authorization = st.none() | bytes_ | bytes_.map(b"Bearer ".__add__)


@settings(max_examples=examples(600), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(METHODS) | st.text(max_size=5),
    path=paths,
    query=st.none() | bytes_,
    headers=st.lists(header, max_size=4),
    parts=st.lists(bodies, min_size=1, max_size=3),
    as_json=st.booleans(),
    credentials=st.just(b"good") | authorization,
)
async def test_any_request_is_answered_and_refused_requests_store_nothing(
    service: Service,
    method: str,
    path: bytes,
    query: bytes | None,
    headers: list[tuple[bytes, bytes]],
    parts: list[bytes],
    as_json: bool,
    credentials: bytes | None,
) -> None:
    service.forget()
    made = (await service.ask("POST", TASKS, json_={"title": "kept"})).json()
    before = await service.tasks_of(ANN)
    if as_json:
        headers = [(b"content-type", b"application/json"), *headers]
    if credentials is not None and credentials != b"good":
        headers = [*headers, (b"authorization", credentials)]
    target = path.replace(b"%b", made["id"].encode()) + (b"" if query is None else b"?" + query)
    user = ANN if credentials == b"good" else None
    answer = await service.ask(method, target, user=user, headers=headers, body=parts)
    assert answer.status_code < 500
    if answer.status_code >= 400:
        if method != "HEAD":
            problem(answer, answer.status_code)
        assert await service.tasks_of(ANN) == before
    assert len(service.log()) == 2


@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@example({"title": "x", "description": "\r"})
@given(
    st.dictionaries(
        st.sampled_from(["title", "description", "completed", "id", "x"]) | st.text(max_size=3),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=3),
        ),
        max_size=4,
    )
)
async def test_any_object_is_stored_as_it_is_or_refused_by_name(service: Service, body: dict[str, Any]) -> None:
    service.forget()
    answer = await service.ask("POST", TASKS, json_=body)
    if answer.status_code == 201:
        task = answer.json()
        assert {name: with_line_feeds(value) for name, value in body.items()}.items() <= task.items()
        assert (await service.ask("GET", answer.headers["location"])).json() == task
    else:
        problem(answer, answer.status_code)
        assert answer.status_code in {400, 422}
        assert await service.tasks_of(ANN) == []


@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=40) | bytes_)
async def test_any_id_is_answered_without_an_error(service: Service, id_: bytes) -> None:
    for method, below in (("GET", b""), ("DELETE", b""), ("PATCH", b"/complete")):
        answer = await service.ask(method, TASKS + b"/" + id_.replace(b"?", b"") + below)
        assert answer.status_code in {200, 404, 405}
    assert make_id(1) not in {task.id for task in await service.tasks_of(ANN)}
