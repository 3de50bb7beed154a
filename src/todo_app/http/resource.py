"""`/mcp` as an OAuth protected resource (RFC 9728), for clients that sign in by themselves."""

from typing import Any, Final

from todo_app.http.errors import MalformedRequest
from todo_app.http.exchange import Exchange
from todo_core import SCOPES

MCP: Final = "/mcp"
METADATA: Final = f"/.well-known/oauth-protected-resource{MCP}"


def base_url(exchange: Exchange, public_url: str | None) -> str | None:
    """The service's URL for clients: the configured one, or else the request's origin."""
    return public_url.rstrip("/") if public_url else exchange.origin


def metadata(exchange: Exchange, public_url: str | None, issuer: str | None) -> dict[str, Any]:
    """The resource's metadata (RFC 9728 §2): its URL, the authorization server if known, and the scopes."""
    base = base_url(exchange, public_url)
    if base is None:
        raise MalformedRequest("The Host header is not a valid host.")
    issuers = {"authorization_servers": [issuer]} if issuer else {}
    return {
        "resource": f"{base}{MCP}",
        **issuers,
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
        "resource_name": "todo-api",
    }
