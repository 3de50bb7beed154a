"""Makes the ASGI application: Litestar with the layers around it, and its start and shutdown."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from litestar import Litestar, Response
from litestar.routes import ASGIRoute, HTTPRoute

from todo_app.api.openapi import openapi
from todo_app.api.public import Service
from todo_app.api.subjects import by_path, routes
from todo_app.container import Container
from todo_app.http.docs import docs_routes, document_asset
from todo_app.http.edge import Edge
from todo_app.http.exchange import App, Exchange
from todo_app.http.gate import Gate, methods_by_path
from todo_app.loading import without_packages
from todo_app.mcp.http import McpEndpoint
from todo_app.settings import Settings


def create_app(container: Container) -> App:
    """The ASGI application, of what `container` wires."""
    log, metrics = container.log(), container.metrics()
    router = _router(container)
    gate = Gate(
        router,
        operations=_direct(router),
        identification=container.identification(),
        limiter=container.limiter(),
        turns=container.turns(),
        origins=container.settings().cors_origins,
        public_url=container.settings().public_url,
        methods=methods_by_path(
            [
                *((route.path_format, route.methods) for route in router.routes if isinstance(route, HTTPRoute)),
                *by_path().items(),
            ]
        ),
    )

    def observe(exchange: Exchange, seconds: float) -> None:
        metrics.request(exchange, seconds)
        log.request(exchange, seconds)

    return Edge(gate, observe=observe, report=log.bug, root_path=container.settings().root_path)


def create_container() -> Container:
    """The container, wired from the environment's settings."""
    return Container(settings=Settings.read(os.environ))


def _router(container: Container) -> Litestar:
    settings = container.settings()
    document = document_asset(openapi(settings.root_path))
    service = Service(container.store(), container.metrics(), document, settings.public_url, settings.issuer)
    with without_packages("attr", "opentelemetry", "pydantic", "starlette"):  # installed for `mcp`, not needed here
        return Litestar(
            route_handlers=[
                *routes(container.tasks(), container.live(), service),
                McpEndpoint(container.tasks()).route(),
                *docs_routes(settings.root_path),
            ],
            exception_handlers={Exception: _pass_on},
            lifespan=[lambda _: _running(container)],
            openapi_config=None,
            logging_config=None,
        )


@asynccontextmanager
async def _running(container: Container) -> AsyncIterator[None]:
    """The start and the shutdown."""
    container.log().adopt()
    container.metrics().watch(container.engine())
    opening = asyncio.create_task(container.engine().open_ahead())
    try:
        yield
    finally:
        opening.cancel()
        await asyncio.wait({opening})
        for part in (container.live, container.store, container.verifier, container.limiter):
            await part().aclose()
        await container.engine().dispose()
        container.log().flush()


def _direct(router: Litestar) -> dict[str, App]:
    """The router's handlers of operations, by path: the gate calls them itself, at a sixth of the cost of routing."""
    return {
        route.path: cast("App", route.route_handler.fn)
        for route in router.routes
        if isinstance(route, ASGIRoute) and route.path.startswith("/api/")
    }


def _pass_on(_: object, error: Exception) -> Response[None]:
    """Leave every exception to the edge, which answers it."""
    raise error
