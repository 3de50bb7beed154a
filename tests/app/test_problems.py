"""Refusals have one form in every layer; outages get 503; a bug is answered without details."""

import importlib
import pkgutil
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from app.batches import batch
from asking import Service, make_service
from factories import ANN, make_id
from refusals import CODES, problem

import todo_adapters
import todo_app
import todo_core
from todo_adapters.memory import MemoryTaskStore
from todo_app.http.errors import STATUSES, status_of
from todo_app.http.problems import RETRY_AFTER_OUTAGE
from todo_core import StoreUnavailable, TaskExists, TodoError

TASKS = f"/api/{ANN}/tasks"
ONE = f"{TASKS}/{make_id(1)}"
EVERY_ROUTE = [
    ("GET", TASKS), ("POST", TASKS), ("GET", ONE), ("PUT", ONE), ("PATCH", ONE), ("PATCH", f"{ONE}/complete"),
    ("DELETE", ONE),
]  # fmt: skip
INSIDE = "password=hunter2 SELECT * FROM tasks /usr/lib/secret.py"


class BrokenStore(MemoryTaskStore):
    """A store of which every use fails in the same way."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def tasks_of(self, owner: str) -> Any:
        raise self._error

    async def ready(self) -> None:
        raise self._error


def broken(error: Exception) -> Iterator[Service]:
    service = make_service(BrokenStore(error))
    yield service


@pytest.fixture(scope="module")
def unavailable() -> Iterator[Service]:
    yield from broken(StoreUnavailable())


@pytest.fixture(scope="module")
def buggy() -> Iterator[Service]:
    yield from broken(RuntimeError(INSIDE))


def every_error() -> set[type[TodoError]]:
    """Every class of refusal in the program: all modules are imported first, so that none can hide."""
    for package in (todo_core, todo_adapters, todo_app):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".testing" not in module.name and ".versions" not in module.name and not module.name.endswith(".env"):
                importlib.import_module(module.name)
    found, unseen = set(), [TodoError]
    while unseen:
        found.update(children := unseen.pop().__subclasses__())
        unseen += children
    return {kind for kind in found if kind.__module__.startswith("todo_")}


def test_every_refusal_has_a_status_and_a_code_of_its_own() -> None:
    errors = every_error()
    assert set(STATUSES) <= errors
    assert len({kind.code for kind in STATUSES}) == len(STATUSES)
    for kind in errors:
        status, title = status_of(kind)
        assert title
        assert kind.code in CODES[status]
        if kind not in STATUSES:  # a subclass is answered like its base class
            assert kind.code == next(parent for parent in kind.__mro__ if parent in STATUSES).code
    assert {code for codes in CODES.values() for code in codes} == {kind.code for kind in errors}


@pytest.mark.parametrize(("method", "path"), EVERY_ROUTE)
async def test_an_outage_is_answered_with_retry_after(unavailable: Service, method: str, path: str) -> None:
    unavailable.forget()
    answer = await unavailable.ask(method, path, json_={"title": "x"} if not path.endswith("complete") else ...)
    problem(answer, 503, "store_unavailable")
    assert answer.headers["retry-after"] == str(RETRY_AFTER_OUTAGE)
    assert [line["event"] for line in unavailable.log()] == ["request"]  # no bug of ours


async def test_readiness_follows_the_store_and_liveness_does_not(unavailable: Service, service: Service) -> None:
    problem(await unavailable.ask("GET", "/health/ready", user=None), 503)
    assert (await unavailable.ask("GET", "/health/live", user=None)).json() == {"status": "live"}
    assert (await service.ask("GET", "/health/ready", user=None)).json() == {"status": "ready"}


@pytest.mark.parametrize(("method", "path"), [*EVERY_ROUTE, ("GET", "/health/ready")])
async def test_a_bug_is_answered_without_any_details(buggy: Service, method: str, path: str) -> None:
    buggy.forget()
    answer = await buggy.ask(method, path, json_={"title": "x"} if not path.endswith("complete") else ...)
    shown = problem(answer, 500, "internal_error")
    everything = answer.text + str(answer.headers)
    for word in ("hunter2", "SELECT", "secret", "RuntimeError", "Traceback", ".py", "raise", str(buggy.store)):
        assert word not in everything
    bug, request = buggy.log()
    assert (bug["event"], bug["level"], bug["exception"]) == ("bug", "error", "RuntimeError")
    assert bug["request_id"] == request["request_id"] == shown["request_id"]
    assert bug["route"] == request["route"] == path.replace(ANN, "{user_id}").replace(str(make_id(1)), "{task_id}")
    assert any("tasks_of" in frame or "ready" in frame for frame in bug["at"])
    assert "hunter2" not in buggy.raw_log().decode()


async def test_an_id_that_already_exists_is_a_conflict() -> None:
    service = make_service(BrokenStore(TaskExists()))
    problem(await service.ask("POST", TASKS, json_={"title": "x"}), HTTPStatus.CONFLICT, "task_exists")


async def test_a_bug_is_answered_with_500_to_head(buggy: Service) -> None:
    head = await buggy.ask("HEAD", TASKS)
    assert (head.status_code, head.content) == (500, b"")


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ([], None),
        ([(b"authorization", b"Basic dXNlcjpwYXNz")], None),
        ([(b"authorization", b"Bearer")], "invalid_request"),
        ([(b"authorization", b"Bearer a b")], "invalid_request"),
        ([(b"authorization", b"Bearer x"), (b"authorization", b"Bearer x")], "invalid_request"),
        ([(b"authorization", b"Bearer " + b"x" * 9000)], "invalid_request"),
        ([(b"authorization", b"Bearer x.y.z")], "invalid_token"),
        ([(b"authorization", b"Bearer \xff\x00")], "invalid_request"),
    ],
)
async def test_an_unauthenticated_client_gets_a_bearer_challenge(
    service: Service, headers: Any, error: str | None
) -> None:
    answer = await service.ask("GET", TASKS, user=None, headers=headers)
    shown = problem(answer, 401, "not_authenticated")
    assert shown["detail"] == "A valid bearer token is required."
    challenge = 'Bearer realm="todo"' + (f', error="{error}"' if error else "")
    assert answer.headers.get_list("www-authenticate") == [challenge]


async def test_a_good_token_twice_is_refused(service: Service) -> None:
    good = f"Bearer {service.token(ANN)}".encode()
    for headers in ([(b"authorization", good)] * 2, [(b"authorization", good), (b"authorization", b"")]):
        problem(await service.ask("GET", TASKS, user=None, headers=headers), 401)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/health/live", "/nowhere"])
async def test_public_paths_need_no_token_and_ignore_a_bad_one(service: Service, path: str) -> None:
    plain = await service.ask("GET", path, user=None)
    for headers in ([(b"authorization", b"Bearer x")], [(b"authorization", b"x")] * 2):
        assert (await service.ask("GET", path, user=None, headers=headers)).status_code == plain.status_code


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        ({"op": "delete"}, "must be the id of one of your tasks"),
        ({"op": "delete_list"}, "must be the id of one of your lists"),
        ({"op": "restore"}, "must be the id of a task or list in your trash"),
    ],
)
async def test_the_refusal_of_an_unknown_id_in_a_batch_is_a_sentence(
    service: Service, operation: dict[str, Any], says: str
) -> None:
    create = {"op": "create", "task": {"title": "Milk"}}
    refused = problem(await batch(service, create, operation | {"id": str(make_id(1))}), 422)
    assert refused["detail"] == f"operations/1/id {says}"
