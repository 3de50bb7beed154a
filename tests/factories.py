"""Owners, moments and tasks for tests, those of the published contract; and texts for cursors."""

import base64
import json

from todo_core.testing.examples import ANN, BOB, LATER, NASTY, NOON, make_id, make_list, make_owner, make_task

__all__ = ["ANN", "BOB", "LATER", "NASTY", "NOON", "make_id", "make_list", "make_owner", "make_task"]


def cursor_text(value: object) -> str:
    """JSON as a cursor would hold it."""
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")
