"""Serves the API's own documentation, with no request to any other host."""

import json

from litestar import get
from litestar.handlers import HTTPRouteHandler

from todo_app.http.exchange import Reply
from todo_app.http.openapi import openapi


def docs_routes() -> list[HTTPRouteHandler]:
    """`/openapi.json`."""
    document = json.dumps(openapi(), ensure_ascii=False).encode()

    @get("/openapi.json")
    async def openapi_json() -> Reply:
        return Reply(200, [(b"content-type", b"application/json"), (b"cache-control", b"no-cache")], document)

    return [openapi_json]
