"""Bodies that are too large, too slow, of the wrong type, not JSON, or nested too deep are refused."""

import asyncio
import json
import time
from contextlib import nullcontext
from typing import Any

import pytest
from app.bodies import TASKS, WRITES, refused
from asking import JSON, MERGE_PATCH, Service
from factories import ANN
from hypothesis import given
from hypothesis import strategies as st

from todo_adapters.deadlines import Deadlines
from todo_app.http import reading
from todo_app.http.errors import MalformedRequest

LIMIT = 64 * 1024
GOOD = b'{"title":"x"}'


async def refused_everywhere(service: Service, task: dict[str, Any], status: int, **request: Any) -> None:
    """Make sure that such a body is refused wherever bodies are read."""
    for method, below in WRITES:
        await refused(service, task, method, below, status, **request)


@pytest.mark.parametrize(
    "type_",
    [
        None, "", "text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data", "json",
        "application/json-patch+json", "application/problem+json", "application/json, text/plain", "*/*",
        "application/*", "application/json; charset=utf-16", "application/json; charset=latin-1",
        "application/json;charset", "application/json; version=1", "application/json; charset=utf-8; charset=utf-16",
        "application/jsonx", "xapplication/json", "application/json\x00", "a/" + "b" * 60_000,
        "application/json" + " ;" * 30_000, "application/json;" + " " * 60_000 + "x", "application/json" + " " * 60_000,
    ],
)  # fmt: skip
async def test_a_body_of_another_type_is_refused(service: Service, task: dict[str, Any], type_: str | None) -> None:
    await refused_everywhere(service, task, 415, body=GOOD, type_=type_)


@pytest.mark.parametrize(
    "type_",
    [
        JSON, "APPLICATION/JSON", "application/json;charset=utf-8", "application/json; charset=UTF-8",
        "application/json; charset=utf8", 'application/json ; charset="utf-8"', "application/json;",
    ],
)  # fmt: skip
async def test_json_may_be_announced_in_several_ways(service: Service, type_: str) -> None:
    assert (await service.ask("POST", TASKS, body=GOOD, type_=type_)).status_code == 201


async def test_a_merge_patch_is_refused_for_post_and_put(service: Service, task: dict[str, Any]) -> None:
    await refused(service, task, "POST", "", 415, body=GOOD, type_=MERGE_PATCH)
    await refused(service, task, "PUT", "/{id}", 415, body=GOOD, type_=MERGE_PATCH)


async def test_two_content_type_headers_are_refused(service: Service, task: dict[str, Any]) -> None:
    both = [(b"content-type", b"application/json"), (b"content-type", b"text/plain")]
    await refused(service, task, "POST", "", 415, body=GOOD, headers=both)


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "gzip, identity", "identity, identity", "x"])
async def test_a_compressed_body_is_refused(service: Service, task: dict[str, Any], coding: str) -> None:
    await refused_everywhere(service, task, 415, body=GOOD, headers={"Content-Encoding": coding})


async def test_a_body_may_say_that_it_is_not_compressed(service: Service) -> None:
    answer = await service.ask("POST", TASKS, body=GOOD, headers={"Content-Encoding": "Identity"})
    assert answer.status_code == 201


async def test_64_kibibytes_fit_and_a_byte_more_does_not(service: Service, task: dict[str, Any]) -> None:
    for method, below in WRITES:
        body = b'{"completed":true}' if below.endswith("complete") else GOOD
        await refused(service, task, method, below, 413, body=body.ljust(LIMIT + 1))
        await refused(service, task, method, below, 413, body=[body, b" " * LIMIT, b" "])
        for whole in (body.ljust(LIMIT), [body, b" " * (LIMIT - len(body))]):
            answer = await service.ask(method, TASKS + below.format(**task), body=whole)
            assert answer.status_code in {200, 201}


async def test_a_large_body_is_refused_before_it_is_read(service: Service, task: dict[str, Any]) -> None:
    for length in (b"65537", b"9" * 19, b"9" * 5000):
        await refused(service, task, "POST", "", 413, body=[GOOD], headers=[(b"content-length", length)])


@pytest.mark.parametrize(
    "length", [b"x", b"+13", b"-1", b"1_3", b"13, 13", b" 13", b"", "١٣".encode(), b"0x13", b"1.0"]
)
async def test_a_length_that_is_no_number_is_refused(service: Service, task: dict[str, Any], length: bytes) -> None:
    if length:
        await refused(service, task, "POST", "", 400, body=[GOOD], headers=[(b"content-length", length)])


async def test_a_body_shorter_than_announced_is_refused(service: Service, task: dict[str, Any]) -> None:
    await refused(service, task, "POST", "", 400, body=[b'{"title":', None])  # type: ignore[list-item]
    assert [line["event"] for line in service.log()] == ["request", "request"]  # the client's fault, not a bug


async def test_a_body_that_takes_too_long_is_refused(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_LIMITS", Deadlines(0.05))
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.03)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    fields = [
        (b"host", b"todo.example"),
        (b"authorization", f"Bearer {service.token(ANN)}".encode()),
        (b"content-type", b"application/json"),
        (b"transfer-encoding", b"chunked"),
    ]
    scope = {
        "type": "http", "method": "POST", "path": TASKS, "raw_path": TASKS.encode(), "query_string": b"",
        "headers": fields, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "http_version": "1.1",
        "scheme": "http", "root_path": "", "extensions": {}, "state": {}, "asgi": {"version": "3.0"},
    }  # fmt: skip
    await service.app(scope, receive, send)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["code"] == "body_too_slow"
    assert await service.tasks_of(ANN) == []


NOT_JSON = [
    b"{", b"}", b"nope", b'{"title":"x"', b'{"title":"x"}}', b'{"title":"x"} {}', b"{'title':'x'}", b'{"title":"x",}',
    b'\xef\xbb\xbf{"title":"x"}', b'{"title":"\xff"}', b'{"title":"\xed\xa0\x80"}', b'{"title":"\xc0\x80"}',
    b'{"title":"\xf4\x90\x80\x80"}', b'{"\xff":1}', b"\xff\xfe{\x00}\x00", '{"title":"x"}'.encode("utf-16"),
    b'{"title":"\n"}', b'{"title":"\\x41"}', b'{"title":"\\u12"}', b'{"title":NaN}', b'{"title":Infinity}',
    b'{"title":"x","completed":tru}', b" ", b"\x00", b"// x\n{}", b"%7B%7D", b"title=x", b"<a/>",
    # Lone surrogates, as a value and as a member's name.
    b'{"title":"\\ud800"}', b'{"title":"\\udc00\\ud800"}', b'{"\\ud800":1}', b'{"title":"x","description":"\\udfff"}',
]  # fmt: skip


@pytest.mark.parametrize("body", NOT_JSON)
async def test_what_is_not_json_is_refused(service: Service, task: dict[str, Any], body: bytes) -> None:
    await refused_everywhere(service, task, 400, body=body)


DEEP = 32_000  # each bracket twice fits into 64 KiB


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 2 * DEEP, b"[" * DEEP + b"]" * DEEP, b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"title":' + b"[" * 60_000, b'{"title":"x","id":' + b"[" * DEEP + b"]" * (DEEP - 20) + b"}",
        b'{"id":' + b"[" * 20_000 + b"]" * 20_000 + b',"title":1}', b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"title":{"a":' + b"[" * 20_000,
    ],
    ids=range(8),
)  # fmt: skip
async def test_deep_nesting_is_refused(service: Service, task: dict[str, Any], body: bytes) -> None:
    await refused_everywhere(service, task, 400, body=body)


@pytest.mark.parametrize(("depth", "status"), [(100, 422), (101, 400)])
async def test_how_deep_a_body_may_be_nested_is_the_same_on_every_python(
    service: Service, task: dict[str, Any], depth: int, status: int
) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        body = b'{"x":' + opening * (depth - 1) + b"1" + closing * (depth - 1) + b"}"
        await refused_everywhere(service, task, status, body=body)
    beside = b'{"x":[' + b"[],{}," * 500 + b"[" * (depth - 2) + b"]" * (depth - 2) + b"]}"
    await refused_everywhere(service, task, status, body=beside)


async def test_brackets_inside_strings_do_not_count_as_nesting(service: Service) -> None:
    body = {"title": '"[' * 100, "description": '\\"{[' * 250}
    made = await service.ask("POST", TASKS, json_=body)
    assert made.status_code == 201
    assert {name: made.json()[name] for name in body} == body


TEXTS = st.text(st.sampled_from('"\\[]{}a,\n'), max_size=12)
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=30
)


def depth_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, dict | list) + max(map(depth_of, inner), default=0)


@given(JSON_VALUES)
def test_the_depth_of_a_body_does_not_depend_on_its_strings(value: Any) -> None:
    with pytest.MonkeyPatch.context() as shallow:
        shallow.setattr(reading, "DEPTH_MAX", 3)
        expected = pytest.raises(MalformedRequest) if depth_of(value) > 3 else nullcontext()
        with expected:
            reading.require_shallow(json.dumps(value).encode())


@given(st.integers(1, 5), JSON_VALUES)
def test_the_depth_of_a_body_is_the_same_in_parts(part: int, value: Any) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reading, "DEPTH_MAX", 3)
        patched.setattr(reading, "_PART", part)
        expected = pytest.raises(MalformedRequest) if depth_of(value) > 3 else nullcontext()
        with expected:
            reading.require_shallow(json.dumps(value).encode())


async def test_an_unterminated_string_is_refused_quickly(service: Service, task: dict[str, Any]) -> None:
    started = time.process_time()  # other processes of the machine do not count
    await refused_everywhere(service, task, 400, body=b"[" * 101 + b'"' + b'\\"' * 30_000)
    assert time.process_time() - started < 5  # 0.1 s is usual; a search that backtracks takes 10 s for each request


async def test_nesting_of_100000_is_refused_for_its_size(service: Service, task: dict[str, Any]) -> None:
    await refused(service, task, "POST", "", 413, body=b"[" * 100_000)


@pytest.mark.parametrize("body", [b'{"x":1,"title":tru}', b'{"title":1} x', b'{"title":1,"x":"\\ud800"}'])
async def test_invalid_json_after_a_wrong_member_is_malformed(
    service: Service, task: dict[str, Any], body: bytes
) -> None:
    await refused_everywhere(service, task, 400, body=body)


async def test_huge_numbers_are_refused_quickly(service: Service, task: dict[str, Any]) -> None:
    for number in (b"9" * 60_000, b"1e999999", b"-" + b"9" * 400, b"0." + b"0" * 60_000 + b"1"):
        await refused(service, task, "POST", "", 422, body=b'{"title":"x","completed":' + number + b"}")
    answer = await service.ask("PUT", f"{TASKS}/{task['id']}", body=b'{"title":"y","version":' + b"9" * 60_000 + b"}")
    assert answer.status_code == 200  # an ignored member
