"""The arguments of the command line. Needs no package: `--version` and `--help` work without the extra `server`."""

import argparse
import re
import sys
from datetime import timedelta
from importlib.metadata import version
from typing import Any, Final

from todo_app.streams import show
from todo_core import SCOPES
from todo_core.due import ZONE_RULE, is_time_zone

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_HOUR: Final = timedelta(hours=1)


class _Parser(argparse.ArgumentParser):
    """Raises `StreamError` where argparse ignores that its help or version cannot be written."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            show(message.removesuffix("\n"))
        else:
            super()._print_message(message, file)


def parser() -> argparse.ArgumentParser:
    """The parser of `todo`'s arguments; `command` is the command's name. Raises `StreamError`."""
    todo = _Parser(prog="todo", description="A per-user task API on PostgreSQL.")
    todo.add_argument("--version", action="version", version=f"todo {version('todo-api')}")
    commands = todo.add_subparsers(required=True, metavar="COMMAND", dest="command")
    serve = commands.add_parser("serve", help="serve the API; without DATABASE_URL on a PostgreSQL of its own")
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address or name to listen on; :: is every address",
    )
    serve.add_argument("--port", type=_port, default=8000, help="the TCP port to listen on")
    serve.add_argument("--workers", type=_workers, default=1, help="the number of worker processes")
    commands.add_parser("migrate", help="bring the database's schema up to date")
    token = commands.add_parser("token", help="print a bearer token for a user, signed with BETTER_AUTH_SECRET")
    token.add_argument("user", help="the user's id: the `sub`, and the `user_id` in paths")
    token.add_argument("--expires", type=_duration, default=_HOUR, metavar="1h", help="for how long: 90s, 15m, 1h, 30d")
    _add_scope(token, "what the token allows")
    mcp = commands.add_parser("mcp", help="give an agent a user's tasks, over standard input and output (MCP)")
    mcp.add_argument("user", help="the user's id")
    _add_scope(mcp, "what the agent may do")
    mcp.add_argument(
        "--time-zone", type=_zone, default="UTC", help="the user's time zone, which decides which day is today"
    )
    commands.add_parser("openapi", help="print the OpenAPI document")
    return todo


def _add_scope(command: argparse.ArgumentParser, purpose: str) -> None:
    text = f"{purpose}; repeat it for several; default: everything"
    command.add_argument("--scope", action="append", choices=SCOPES, help=text)


def _zone(text: str) -> str:
    if not is_time_zone(text):
        raise argparse.ArgumentTypeError(ZONE_RULE)
    return text


def _port(text: str) -> int:
    return _whole_number(text, 1, 65535)


def _workers(text: str) -> int:
    return _whole_number(text, 1, 256)


def _whole_number(text: str, minimum: int, maximum: int) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or not minimum <= int(text) <= maximum:
        raise argparse.ArgumentTypeError(f"must be a whole number from {minimum} to {maximum}")
    return int(text)


def _duration(text: str) -> timedelta:
    match = re.fullmatch("([1-9][0-9]{0,5})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError("must look like 90s, 15m, 1h or 30d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
