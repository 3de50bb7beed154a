"""The command `todo`: says what to install where it came without the packages that it needs."""

import sys
import zoneinfo

from todo_app.streams import forget_unwritten, open_missing

# Names and rules of time zones are those of the package tzdata: the same on every machine and in every image. Here, so
# that worker processes that are not forked have it too: they import this module first.
zoneinfo.reset_tzpath(to=())


def main() -> int:
    """Hand over to the command line; returns the exit code."""
    open_missing()  # before anything else is opened
    try:
        from todo_app.cli import main as command
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("todo_"):
            raise
        needed = "pip install 'todo-api[server]', or [all] for a PostgreSQL of its own too"
        print(f"todo: {missing.name} is not installed; {needed}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        return command()
    finally:
        forget_unwritten()


if __name__ == "__main__":
    sys.exit(main())
