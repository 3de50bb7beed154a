"""The command line: `todo serve`, `migrate`, `token`, `mcp`, `openapi` and `--version`."""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from datetime import timedelta
from importlib.metadata import version
from typing import Any, Final

from todo_adapters.embedded import EmbeddedDatabaseError
from todo_app.loading import without_collections
from todo_app.local import LocalDatabase, local_secret, readable, token_for
from todo_app.settings import Settings, SettingsError, trimmed
from todo_app.streams import StreamError, say, show
from todo_core import SCOPES, InvalidInput
from todo_core.due import ZONE_RULE, is_time_zone

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_HOUR: Final = timedelta(hours=1)


class CommandError(Exception):
    """A command cannot be carried out. The message is one line: why, and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command, and return the exit code. Errors are reported on standard error, each in one line."""
    try:
        options = _parser().parse_args(arguments)
        settings = Settings.read(os.environ)
        for name in settings.trimmed:
            say(f"todo: {name} ends with a newline, which is ignored")
            os.environ[name] = trimmed(name, os.environ[name])  # for the workers
        _leave_deleted_folder()
        for name, meant in settings.misspelt:
            say(f"todo: {name} is ignored: it is not a setting{f'; do you mean {meant}?' if meant else ''}")
        return int(options.run(options, settings) or 0)
    except (SettingsError, CommandError, StreamError, EmbeddedDatabaseError, InvalidInput) as error:
        say("\n".join(f"todo: {line}" for line in str(error).splitlines()))
        return 2
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    """Raises `StreamError` where argparse ignores that its help or version cannot be written."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            show(message.removesuffix("\n"))
        else:
            super()._print_message(message, file)


def _leave_deleted_folder() -> None:
    """Granian, for one, needs a current folder. The settings have no path that is relative to it."""
    try:
        os.getcwd()  # noqa: PTH109 (as it is asked for there)
    except FileNotFoundError:
        os.chdir("/")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="todo", description="A per-user task API on PostgreSQL.")
    parser.add_argument("--version", action="version", version=f"todo {version('todo-api')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve the API; without DATABASE_URL on a PostgreSQL of its own")
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address or name to listen on; :: is every address",
    )
    serve.add_argument("--port", type=_port, default=8000, help="the TCP port to listen on")
    serve.add_argument("--workers", type=_workers, default=1, help="the number of worker processes")
    serve.set_defaults(run=_serve)
    migrate = commands.add_parser("migrate", help="bring the database's schema up to date")
    migrate.set_defaults(run=_migrate)
    token = commands.add_parser("token", help="print a bearer token for a user, signed with BETTER_AUTH_SECRET")
    token.add_argument("user", help="the user's id: the `sub`, and the `user_id` in paths")
    token.add_argument("--expires", type=_duration, default=_HOUR, metavar="1h", help="for how long: 90s, 15m, 1h, 30d")
    _add_scope(token, "what the token allows")
    token.set_defaults(run=_token)
    mcp = commands.add_parser("mcp", help="give an agent a user's tasks, over standard input and output (MCP)")
    mcp.add_argument("user", help="the user's id")
    _add_scope(mcp, "what the agent may do")
    mcp.add_argument(
        "--time-zone", type=_zone, default="UTC", help="the user's time zone, which decides which day is today"
    )
    mcp.set_defaults(run=_mcp)
    openapi = commands.add_parser("openapi", help="print the OpenAPI document")
    openapi.set_defaults(run=_openapi)
    return parser


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


def _serve(options: argparse.Namespace, settings: Settings) -> None:
    with without_collections():
        from todo_app.server import serve

    serve(settings, host=options.host, port=options.port, workers=options.workers)


def _migrate(_: argparse.Namespace, settings: Settings) -> None:
    from todo_app.database_errors import database_errors_named
    from todo_app.log import Log
    from todo_app.signals import Signals

    Signals()
    if (given := settings.migrations_database_url) is not None:
        direct = readable(name := "TODO_MIGRATIONS_DATABASE_URL", given, lambda: Log(settings.log_level))
        with database_errors_named(direct, name):
            _migrate_and_report(direct)
        return
    embedded = None if settings.database_url else f"embedded database in {settings.data_dir}"
    with LocalDatabase(settings) as database_url, database_errors_named(database_url):
        _migrate_and_report(database_url, embedded)


def _migrate_and_report(url: str, embedded: str | None = None) -> None:
    from todo_adapters.postgres.migrations import current_revision, migrate, place_of

    schema = f"the schema of the {embedded or f'database {place_of(url)}'}"
    before = current_revision(url)
    migrate(url, again=True)
    now = current_revision(url)
    if now == before:
        say(f"todo: {schema} was already up to date, at revision {now}")
    else:
        say(f"todo: {schema} is now up to date, at revision {now} (before: {before or 'none'})")


def _token(options: argparse.Namespace, settings: Settings) -> None:
    secret = settings.secret or (None if settings.database_url else local_secret(settings.data_dir))
    if secret is None:
        raise CommandError("BETTER_AUTH_SECRET is not set: it signs the tokens")
    show(token_for(options.user, options.expires, secret, settings, options.scope))


def _mcp(options: argparse.Namespace, settings: Settings) -> None:
    with without_collections():
        from todo_app.mcp.stdio import serve

    serve(settings, options.user, scopes=options.scope, zone=options.time_zone)


def _openapi(_: argparse.Namespace, settings: Settings) -> None:
    from todo_app.api.openapi import openapi

    show(json.dumps(openapi(settings.root_path), indent=2))
