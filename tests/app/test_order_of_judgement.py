"""If a request has two faults, the first in this order is reported: 401, 403, 404/405, 413/415/400, 422, 412."""

from itertools import combinations
from typing import Any

import pytest
from asking import Service, make_service
from clocks import Seconds
from factories import ANN, BOB, make_id
from refusals import problem

from todo_adapters.rate_limit import memory
from todo_core import OwnerId

# Each fault makes its own change to a request that would otherwise have been answered with 200.
Request = dict[str, Any]
FAULTS: dict[str, Any] = {
    "401 no token": lambda r: r.update(user=None),
    "401 bad token": lambda r: r["headers"].append((b"authorization", b"Bearer x.y.z")),
    "403 another's path": lambda r: r.update(owner=BOB),
    "404 unknown id": lambda r: r.update(id=make_id(1)),
    "404 id in another form": lambda r: r.update(id="x"),
    "405 method": lambda r: r.update(method="POST"),
    "413 too large": lambda r: r.update(body=b"{" * 70_000),
    "415 media type": lambda r: r.update(type_="text/plain"),
    "400 not JSON": lambda r: r.update(body=b'{"title":'),
    "400 no entity tag": lambda r: r["headers"].append((b"if-match", b"garbage")),
    "422 unknown member": lambda r: r.update(body=b'{"title":"x","y":1}'),
    "422 blank title": lambda r: r.update(body=b'{"title":" "}'),
    "412 stale": lambda r: r["headers"].append((b"if-match", b'"9"')),
}
RANK = {"401": 0, "403": 1, "404": 3, "405": 3, "413": 4, "415": 4, "400": 4, "422": 5, "412": 6}
PAIRS = [
    (first, second)
    for first, second in combinations(FAULTS, 2)
    if RANK[first[:3]] != RANK[second[:3]]
    # A body or a header can be wrong in one way only.
    and not {first, second} <= {"413 too large", "400 not JSON", "422 unknown member", "422 blank title"}
    and not {first, second} <= {"400 no entity tag", "412 stale"}
    and {first[:3], second[:3]} != {"404", "405"}
]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("faults", [*((fault,) for fault in FAULTS), *PAIRS], ids="+".join)
async def test_the_fault_that_is_checked_first_is_reported(
    service: Service, task: Request, method: str, faults: tuple[str, ...]
) -> None:
    request: Request = {"method": method, "owner": ANN, "id": task["id"], "headers": [], "body": b'{"title":"y"}'}
    for fault in faults:
        FAULTS[fault](request)
    before = await service.tasks_of(ANN, BOB)
    path = f"/api/{request.pop('owner')}/tasks/{request.pop('id')}"
    answer = await service.ask(request.pop("method"), path, **request)
    problem(answer, int(min(faults, key=lambda fault: RANK[fault[:3]])[:3]))
    assert await service.tasks_of(ANN, BOB) == before


async def test_an_unknown_id_is_reported_before_a_wrong_content_length(service: Service) -> None:
    answer = await service.ask(
        "PUT", f"/api/{ANN}/tasks/{make_id(1)}", headers=[(b"content-length", b"x")], body=[b"{}"]
    )
    problem(answer, 404)


async def test_the_limit_comes_after_the_path_and_before_the_rest() -> None:
    service = make_service(rate_limit="1/hour")
    assert (await service.ask("GET", f"/api/{ANN}/tasks")).status_code == 200
    problem(await service.ask("GET", f"/api/{ANN}/tasks", user=None), 401)
    problem(await service.ask("GET", f"/api/{BOB}/tasks"), 403)
    for method, path in (("GET", "/nowhere"), ("FOO", "/tasks"), ("POST", "/tasks"), ("GET", "/tasks?limit=0")):
        answer = await service.ask(method, f"/api/{ANN}{path}", body=b"{")
        problem(answer, 429)
    assert (await service.ask("GET", f"/api/{BOB}/tasks", user=BOB)).status_code == 200
    assert await service.tasks_of(OwnerId(ANN)) == []


async def test_a_rate_limited_answer_says_how_much_of_the_window_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "monotonic", clock := Seconds())
    service = make_service(rate_limit="1/hour")
    for moved, left in ((0, 3600), (600, 3000), (1000, 2000)):
        clock.now += moved
        answer = await service.ask("GET", f"/api/{ANN}/tasks")
        assert answer.headers["ratelimit"] == f'"default";r=0;t={left}'
        assert answer.headers.get("retry-after") == (f"{left}" if moved else None)
    problem(answer, 429)


async def test_a_preflight_needs_no_token_and_plain_options_does(service: Service) -> None:
    problem(await service.ask("OPTIONS", f"/api/{ANN}/tasks", user=None), 401)
    problem(await service.ask("OPTIONS", f"/api/{BOB}/tasks"), 403)
    problem(await service.ask("OPTIONS", f"/api/{ANN}/nowhere"), 404)
