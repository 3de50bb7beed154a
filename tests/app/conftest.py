"""The service in this process, on a store in memory."""

import pytest
from asking import Service, make_service
from factories import ANN


@pytest.fixture(scope="session")
def shared_service() -> Service:
    """The service that most tests ask, one after the other."""
    return make_service()


@pytest.fixture
def service(shared_service: Service) -> Service:
    """A service with nothing stored and nothing logged."""
    shared_service.forget()
    return shared_service


@pytest.fixture
async def task(service: Service) -> dict[str, object]:
    """A task of Ann's, as she was answered when she made it."""
    body = {"title": "Buy milk", "description": "two litres"}
    return dict((await service.ask("POST", f"/api/{ANN}/tasks", json_=body)).json())


@pytest.fixture
def url(task: dict[str, object]) -> str:
    """Where that task is."""
    return f"/api/{ANN}/tasks/{task['id']}"
