"""Below a path prefix that a proxy strips, all URLs that the service returns begin with the prefix."""

import pytest
from asking import Service, make_service
from factories import ANN

PREFIXES = ["/todo", "/t", "/api", "/a", f"/api/{ANN}", "/apps/todo-api"]  # also such as paths of its own begin with


@pytest.fixture(params=PREFIXES)
async def prefix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def below(prefix: str) -> Service:
    """A service that is reached below the prefix."""
    return make_service(public_url=f"https://example.org{prefix}")


async def test_every_url_that_is_returned_works_from_outside(below: Service, prefix: str) -> None:
    tasks = f"/api/{ANN}/tasks"
    for title in ("x", "y"):
        made = await below.ask("POST", tasks, json_={"title": title})
        location = made.headers["location"]
        assert location.startswith(f"{prefix}{tasks}/")
        assert (await below.ask("GET", location.removeprefix(prefix))).json() == made.json()
    page = await below.ask("GET", f"{tasks}?limit=1")
    target = page.headers["link"][1 : page.headers["link"].index(">")]
    assert target.startswith(f"{prefix}{tasks}?")
    assert [task["title"] for task in (await below.ask("GET", target.removeprefix(prefix))).json()["items"]] == ["x"]
    assert (await below.ask("DELETE", location.removeprefix(prefix))).status_code == 204


async def test_the_openapi_document_names_the_public_url_as_server(below: Service, prefix: str) -> None:
    document = (await below.ask("GET", "/openapi.json", user=None)).json()
    assert document["servers"] == [{"url": prefix}]


async def test_the_log_has_routes_without_the_prefix(below: Service) -> None:
    await below.ask("GET", f"/api/{ANN}/tasks")
    assert [line["route"] for line in below.log()] == ["/api/{user_id}/tasks"]


async def test_a_path_that_still_has_the_prefix_is_not_served(below: Service, prefix: str) -> None:
    answer = await below.ask("GET", f"{prefix}/health/live")
    assert answer.status_code in {403, 404}
