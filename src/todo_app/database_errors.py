"""Reports why the configured database cannot be used in one line, instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError

from todo_adapters.postgres.migrations import UnfitDatabase
from todo_adapters.postgres.url import BadVariable, variables_beside
from todo_app.settings import SettingsError
from todo_core import StoreUnavailable

# What to do, by the SQLSTATE that the database reports.
_WAYS_OUT: Final = {
    "25006": "it is read-only, or a standby: use the primary",
    "42P07": "something else uses this database: use one of its own",
}


@contextmanager
def database_errors_named(url: str, setting: str = "DATABASE_URL") -> Iterator[None]:
    """Raise errors of that setting's database as `SettingsError`, without the URL, which contains the password.

    If no connection can be made, libpq's variables, which may be the reason, are named.
    """
    try:
        yield
    except BadVariable as error:
        raise SettingsError(str(error)) from error
    except (ValueError, UnfitDatabase) as error:
        raise SettingsError(f"{setting}: {error}") from error
    except StoreUnavailable as error:
        raise SettingsError(f"{setting}: the database {_reason(url, error.__cause__)}") from error
    except DBAPIError as error:
        raise SettingsError(f"{setting}: the database {_reason(url, error.orig)}") from error


def _reason(url: str, error: BaseException | None) -> str:
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    if (state := getattr(error, "sqlstate", None)) is not None:
        return f"reports: {first_line}{f'; {_WAYS_OUT[state]}' if state in _WAYS_OUT else ''}"
    names = ", ".join(variables_beside(url))
    beside = f" (set in the environment: {names})" if names else ""
    return f"cannot be reached: {first_line}{beside}"
