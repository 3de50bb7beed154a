"""ETag, If-None-Match and If-Match over HTTP (RFC 9110 §13)."""

import pytest
from asking import Service
from factories import ANN
from refusals import check_dressed, problem

from todo_core import OwnerId, TaskId

CHANGES = [
    ("PUT", "", {"title": "y"}),
    ("PATCH", "", {"title": "y"}),
    ("PATCH", "/complete", ...),
    ("PATCH", "/complete", {"completed": True}),
    ("DELETE", "", ...),
]
change = pytest.mark.parametrize(("method", "below", "body"), CHANGES)


@pytest.mark.parametrize(
    "tag",
    [
        '"1-gzip"',
        'W/"1-br"',
        '"1-zstd"',
        '"1"',
        'W/"1"',
        "*",
        ' "1" ',
        '"7", "1"',
        '"x","1"',
        ',, "1" ,',
        '"a,b", W/"1"',
        '"\xe9", "1"',
    ],
)
async def test_a_matching_if_none_match_is_answered_with_304(service: Service, url: str, tag: str) -> None:
    answer = await service.ask("GET", url, headers=[(b"if-none-match", tag.encode("latin-1"))])
    assert (answer.status_code, answer.content) == (304, b"")
    check_dressed(answer)
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["cache-control"] == "private, no-cache, no-transform"
    assert "content-length" not in answer.headers


@pytest.mark.parametrize(
    "tag",
    [
        '"2-gzip"',
        '"1-x"',
        '"1-"',
        '"-gzip"',
        '"1-gzip-gzip"',
        '"1gzip"',
        '"2"',
        '"01"',
        '"0"',
        '"-1"',
        '""',
        '"x"',
        'W/"2"',
        f'"{"9" * 5000}"',
        "",
    ],
)
async def test_another_if_none_match_is_answered_with_the_task(service: Service, url: str, tag: str) -> None:
    answer = await service.ask("GET", url, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.json()["version"]) == (200, 1)


async def test_several_headers_are_one_list(service: Service, url: str) -> None:
    tags = [(b"if-none-match", b'"7"'), (b"if-none-match", b'"1"')]
    assert (await service.ask("GET", url, headers=tags)).status_code == 304
    tags = [(b"if-match", b'"7"'), (b"if-match", b'"1"')]
    assert (await service.ask("PATCH", url, headers=tags, json_={})).status_code == 200


@change
@pytest.mark.parametrize("tag", ['"1-gzip"', '"2-gzip", "1-br"', '"1"', "*", '"7", "1"', " * ", 'W/"1", "1"', '"1",'])
async def test_a_change_with_a_matching_if_match_succeeds(
    service: Service, url: str, method: str, below: str, body: object, tag: str
) -> None:
    answer = await service.ask(method, url + below, headers={"If-Match": tag}, json_=body)
    assert answer.status_code == (204 if method == "DELETE" else 200)


@change
@pytest.mark.parametrize(
    "tag",
    ['"2-gzip"', 'W/"1-gzip"', '"2"', 'W/"1"', '""', '"x"', '"01"', '"1.0"', f'"{"1" * 400}"', "", ",", '"2", W/"1"'],
)
async def test_a_change_of_another_version_is_refused_with_the_current_tag(
    service: Service, url: str, method: str, below: str, body: object, tag: str
) -> None:
    before = await service.tasks_of(ANN)
    answer = await service.ask(method, url + below, headers={"If-Match": tag}, json_=body)
    problem(answer, 412, "version_conflict")
    assert answer.headers["etag"] == '"1"'
    assert await service.tasks_of(ANN) == before


@change
async def test_a_change_with_the_if_match_of_an_older_version_is_refused(
    service: Service, url: str, method: str, below: str, body: object
) -> None:
    await service.ask("PATCH", url, json_={"title": "meanwhile"})
    answer = await service.ask(method, url + below, headers={"If-Match": '"1"'}, json_=body)
    problem(answer, 412)
    assert answer.headers["etag"] == '"2"'


@pytest.mark.parametrize("tags", ['W/"1"', 'W/"1-gzip"', '"2", W/"1"'])
async def test_the_refusal_of_a_weak_tag_says_that_it_never_matches(service: Service, url: str, tags: str) -> None:
    weak = await service.ask("DELETE", url, headers={"If-Match": tags})
    detail = problem(weak, 412, "version_conflict")["detail"]
    assert detail == (
        "The current version is 1: fetch it again and repeat your change. "
        "A weak tag never matches (RFC 9110 §13.1.1): send it without W/."
    )
    strong = await service.ask("DELETE", url, headers={"If-Match": '"2"'})
    assert "weak" not in problem(strong, 412, "version_conflict")["detail"]


GARBAGE = ["1", "x", '"1', '1"', '"1" "2"', 'w/"1"', "W/1", '"1"; "2"', "**", '"1", *', '"\x7f"', '"\n"', "'1'", '"1 "']


@change
@pytest.mark.parametrize("tag", GARBAGE)
async def test_an_invalid_if_match_is_refused_and_changes_nothing(
    service: Service, url: str, method: str, below: str, body: object, tag: str
) -> None:
    before = await service.tasks_of(ANN)
    problem(await service.ask(method, url + below, headers={"If-Match": tag}, json_=body), 400, "malformed_request")
    assert await service.tasks_of(ANN) == before


@pytest.mark.parametrize("tag", GARBAGE)
async def test_an_invalid_if_none_match_is_refused(service: Service, url: str, tag: str) -> None:
    problem(await service.ask("GET", url, headers={"If-None-Match": tag}), 400, "malformed_request")


async def test_a_long_list_of_tags_is_read_and_a_very_long_one_is_refused(service: Service, url: str) -> None:
    tags = '"2" ' + "," * 8188
    problem(await service.ask("PATCH", url, headers={"If-Match": tags}, json_={}), 412)
    problem(await service.ask("PATCH", url, headers={"If-Match": tags + ","}, json_={}), 400)
    problem(await service.ask("GET", url, headers={"If-None-Match": tags + ","}), 400)
    problem(await service.ask("PATCH", url, headers={"If-Match": "\t" * 60_000 + "x"}, json_={}), 400)


@change
async def test_more_than_fifty_entity_tags_are_refused(
    service: Service, url: str, method: str, below: str, body: object
) -> None:
    fifty = ", ".join(f'"{version}"' for version in range(101, 151))
    for tags in (f'{fifty}, "151"', f'{fifty}, W/"151"', f'{fifty}, "another\'s"', ", ".join(['"7"'] * 51)):
        answer = await service.ask(method, url + below, headers={"If-Match": tags}, json_=body)
        assert "at most 50" in problem(answer, 400, "malformed_request")["detail"]
        answer = await service.ask("GET", url, headers={"If-None-Match": tags})
        assert "at most 50" in problem(answer, 400, "malformed_request")["detail"]
    problem(await service.ask(method, url + below, headers={"If-Match": f"{fifty},,"}, json_=body), 412)
    assert (await service.ask("GET", url, headers={"If-None-Match": fifty})).status_code == 200


async def test_a_refused_change_leaves_the_task_as_it_was(service: Service, url: str) -> None:
    before = await service.tasks_of(ANN)
    for method, below, body in CHANGES:
        await service.ask(method, url + below, headers={"If-Match": '"9"'}, json_=body)
    (task,) = await service.tasks_of(ANN)
    assert [task] == before
    assert await service.store.tasks_of(OwnerId(ANN)).get(TaskId(task.id)) == task
