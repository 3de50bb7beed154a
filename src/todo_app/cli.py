"""The command line: carries out `todo serve`, `migrate`, `token`, `mcp` and `openapi`."""

import argparse
import json
import os
from collections.abc import Sequence
from typing import Final

from todo_adapters.embedded import EmbeddedDatabaseError
from todo_app.arguments import parser
from todo_app.loading import without_collections
from todo_app.local import LocalDatabase, local_secret, readable, token_for
from todo_app.settings import Settings, SettingsError, trimmed
from todo_app.streams import StreamError, say, show
from todo_core import InvalidInput


class CommandError(Exception):
    """A command cannot be carried out. The message is one line: why, and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command, and return the exit code. Errors are reported on standard error, each in one line."""
    try:
        options = parser().parse_args(arguments)
        settings = Settings.read(os.environ)
        for name in settings.trimmed:
            say(f"todo: {name} ends with a newline, which is ignored")
            os.environ[name] = trimmed(name, os.environ[name])  # for the workers
        for name in settings.quoted:
            say(f"todo: the quotation marks around {name} are part of its value; leave them out if they are not meant")
        _leave_deleted_folder()
        for name, meant in settings.misspelt:
            say(f"todo: {name} is ignored: it is not a setting{f'; do you mean {meant}?' if meant else ''}")
        _COMMANDS[options.command](options, settings)
        return 0
    except (SettingsError, CommandError, StreamError, EmbeddedDatabaseError, InvalidInput) as error:
        say("\n".join(f"todo: {line}" for line in str(error).splitlines()))
        return 2
    except KeyboardInterrupt:
        return 130


def _leave_deleted_folder() -> None:
    """Granian, for one, needs a current folder. The settings have no path that is relative to it."""
    try:
        os.getcwd()  # noqa: PTH109 (as it is asked for there)
    except FileNotFoundError:
        os.chdir("/")


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


_COMMANDS: Final = {"serve": _serve, "migrate": _migrate, "token": _token, "mcp": _mcp, "openapi": _openapi}
