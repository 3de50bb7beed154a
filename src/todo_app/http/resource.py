"""What `/mcp` is to clients that sign in by themselves: a protected resource (RFC 9728)."""

from typing import Any, Final

from todo_app.http.errors import MalformedRequest
from todo_app.http.exchange import Exchange
from todo_core import SCOPES

MCP: Final = "/mcp"
METADATA: Final = f"/.well-known/oauth-protected-resource{MCP}"


def base_url(exchange: Exchange, public_url: str | None) -> str | None:
    """Under which URL the service is reached from outside: the configured one, or what the request says."""
    return public_url.rstrip("/") if public_url else exchange.origin


def metadata(exchange: Exchange, public_url: str | None, issuer: str | None) -> dict[str, Any]:
    """Which resource it is, who gives tokens for it, if that is known, and with which scopes (RFC 9728 §2)."""
    base = base_url(exchange, public_url)
    if base is None:
        raise MalformedRequest("The Host header names no host.")
    issuers = {"authorization_servers": [issuer]} if issuer else {}
    return {
        "resource": f"{base}{MCP}",
        **issuers,
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
        "resource_name": "todo-api",
    }
