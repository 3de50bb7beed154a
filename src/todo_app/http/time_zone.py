"""Reads the header `Time-Zone`."""

from todo_app.http.errors import MalformedRequest
from todo_app.http.exchange import Exchange
from todo_core.due import ZONE_RULE, is_time_zone


def read_time_zone(exchange: Exchange) -> str | None:
    """The zone in `Time-Zone`, if any. Raises `MalformedRequest` for an unknown zone."""
    header = exchange.header(b"time-zone")
    if header is None:
        return None
    name = header.decode("latin-1").strip()
    if not is_time_zone(name):
        raise MalformedRequest(f"Time-Zone {ZONE_RULE}.")
    return name
