"""The OpenAPI 3.1 document of the service."""

from todo_app.http.openapi.document import openapi

__all__ = ["openapi"]
